//! Which Kafka the offsets belong to. An offset means nothing without the topic that it was read from: a consumer goes on
//! silently in a recreated topic that has grown past its position.

use crate::core::planted::{Bug, planted};
use crate::core::table::SourceIdentity;
use crate::types::*;

/// What Kafka answered when an epoch of a partition began, before its first fetch. A later answer never replaces it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct EpochIdentity {
    pub cluster_id: Option<String>,
    pub topic_id: Option<TopicId>,
}

impl EpochIdentity {
    pub fn of(topic: &Topic, kafka: &SourceIdentity) -> Self {
        Self { cluster_id: kafka.cluster_id.clone(), topic_id: kafka.topics.get(topic).copied() }
    }

    /// Whether what was read under this identity is of the topic that Kafka has now.
    pub fn is_still(&self, topic: &Topic, kafka: &SourceIdentity) -> bool {
        *self == Self::of(topic, kafka) || planted(Bug::IdentityAskedAnew)
    }
}

/// Kafka now against the lane: a difference stops, whatever was read.
#[derive(Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum IdentityChange {
    #[error("the lane belongs to Kafka cluster {lane}, but {kafka} answers")]
    OtherCluster { lane: String, kafka: String },
    #[error("topic {topic} was deleted and created again: the lane's offsets belong to id {lane}, Kafka has {kafka}")]
    TopicRecreated { topic: Topic, lane: TopicId, kafka: TopicId },
}

/// Compares what Kafka answers now with the lane, for these topics. Values that one side doesn't have are left out.
pub fn compare<'a>(
    lane: &SourceIdentity,
    kafka: &SourceIdentity,
    topics: impl IntoIterator<Item = &'a Topic>,
) -> Option<IdentityChange> {
    if let (Some(of_lane), Some(now)) = (&lane.cluster_id, &kafka.cluster_id)
        && of_lane != now
    {
        return Some(IdentityChange::OtherCluster { lane: of_lane.clone(), kafka: now.clone() });
    }
    topics.into_iter().find_map(|topic| match (lane.topics.get(topic), kafka.topics.get(topic)) {
        (Some(of_lane), Some(now)) if of_lane != now => {
            Some(IdentityChange::TopicRecreated { topic: topic.clone(), lane: *of_lane, kafka: *now })
        }
        _ => None,
    })
}

/// What the next own commit records: Kafka's ids now for these topics, the lane's for all others.
pub fn recorded<'a>(
    lane: &SourceIdentity,
    kafka: &SourceIdentity,
    topics: impl IntoIterator<Item = &'a Topic>,
) -> SourceIdentity {
    let mut next = lane.clone();
    if kafka.cluster_id.is_some() {
        next.cluster_id.clone_from(&kafka.cluster_id);
    }
    for topic in topics {
        if let Some(id) = kafka.topics.get(topic) {
            next.topics.insert(topic.clone(), *id);
        }
    }
    next
}
