//! What Kafka answers about itself: port `SourceAdmin`.
//!
//! Asked over a client of its own, which is no member of the group. Every call ends within [`TIMEOUT`] and runs on
//! tokio's blocking threads.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;

use super::settings::{Connection, Role, client_config};
use crate::core::table::SourceIdentity;
use crate::error::Stop;
use crate::ports::{GroupMember, GroupOffset, LogEdge, LogOffset, PortError, SourceAdmin};
use crate::types::*;

mod calls;
mod cleanup;
mod client;
mod groups;
mod log_offsets;
mod topics;

use client::AdminClient;

/// Of one request to Kafka.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// How librdkafka's in-process cluster names itself. It has no topic ids, no topic configuration, and no group
/// administration.
const MOCK_CLUSTER: &str = "mockCluster";

#[derive(Clone)]
pub struct KafkaAdmin {
    client: Arc<AdminClient>,
    group_id: Arc<str>,
    first_cluster_id: Arc<OnceLock<String>>,
}

impl KafkaAdmin {
    /// Connects in the background.
    ///
    /// # Errors
    /// Exit 2 for a property that can't be.
    pub fn new(connection: &Connection, group_id: &str) -> Result<Self, Stop> {
        let mut config = client_config(connection, Role::Admin)?;
        // It subscribes to nothing, so it joins nothing. But a client without a group has no object for it, and librdkafka
        // follows that pointer when a broker says that it isn't the group's coordinator (confluentinc/librdkafka#5040).
        config.set("group.id", group_id);
        let client = AdminClient::new(&config, TIMEOUT)?;
        Ok(Self { client: Arc::new(client), group_id: group_id.into(), first_cluster_id: Arc::default() })
    }

    async fn blocking<T, F>(&self, ask: F) -> Result<T, PortError>
    where
        T: Send + 'static,
        F: FnOnce(&Self) -> Result<T, PortError> + Send + 'static,
    {
        let admin = self.clone();
        match tokio::task::spawn_blocking(move || ask(&admin)).await {
            Ok(answer) => answer,
            Err(error) => Err(Stop::internal(format!("a question to Kafka was not finished: {error}")).into()),
        }
    }

    /// The mock's id, if it is one. A client never changes from a mock to a real cluster.
    fn mock_id(&self) -> Result<Option<&str>, PortError> {
        let id = match self.first_cluster_id.get() {
            Some(known) => known,
            None => {
                let id = self.client.first_cluster_id()?;
                self.first_cluster_id.get_or_init(|| id)
            }
        };
        Ok(id.starts_with(MOCK_CLUSTER).then_some(id))
    }

    fn ask_identity(&self, names: &[Topic]) -> Result<SourceIdentity, PortError> {
        if let Some(mock) = self.mock_id()? {
            return Ok(SourceIdentity { cluster_id: Some(mock.to_owned()), topics: BTreeMap::new() });
        }
        // Afresh every time: an address can lead to another cluster from one call to the next.
        let cluster_id = topics::cluster_id(&self.client)?;
        Ok(SourceIdentity { cluster_id, topics: topics::ids(&self.client, names)? })
    }
}

#[async_trait]
impl SourceAdmin for KafkaAdmin {
    async fn identity(&self, topics: &[Topic]) -> Result<SourceIdentity, PortError> {
        let names = topics.to_vec();
        self.blocking(move |admin| admin.ask_identity(&names)).await
    }

    async fn partitions(&self, topics: &[Topic]) -> Result<BTreeMap<Topic, Vec<i32>>, PortError> {
        let names = topics.to_vec();
        self.blocking(move |admin| match admin.mock_id()? {
            Some(_) => topics::mock_partitions(&admin.client, &names),
            None => topics::partitions(&admin.client, &names),
        })
        .await
    }

    /// A partition that is asked about twice has the last edge's answer.
    async fn log_offsets(&self, at: &[(TopicPartition, LogEdge)]) -> Result<BTreeMap<TopicPartition, LogOffset>, PortError> {
        let at: BTreeMap<_, _> = at.iter().cloned().collect();
        self.blocking(move |admin| log_offsets::ask(&admin.client, at)).await
    }

    /// A topic whose policy Kafka doesn't tell, for want of the ACL DESCRIBE_CONFIGS, may be compacted.
    async fn compacted(&self, topics: &[Topic]) -> Result<BTreeSet<Topic>, PortError> {
        let names = topics.to_vec();
        self.blocking(move |admin| match admin.mock_id()? {
            Some(_) => Ok(BTreeSet::new()),
            None => cleanup::compacted(&admin.client, &names),
        })
        .await
    }

    async fn group_offsets(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, GroupOffset>, PortError> {
        let partitions = partitions.to_vec();
        self.blocking(move |admin| groups::offsets(&admin.client, &admin.group_id, &partitions)).await
    }

    async fn group_members(&self) -> Result<Vec<GroupMember>, PortError> {
        self.blocking(|admin| {
            if admin.mock_id()?.is_some() {
                return Ok(Vec::new());
            }
            groups::members(&admin.client, &admin.group_id)
        })
        .await
    }
}

#[cfg(test)]
mod tests;
