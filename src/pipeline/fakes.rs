//! Ports without anything behind them, for tests of single steps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::RecordBatch;
use async_trait::async_trait;

use crate::core::plan::{RollBackPlan, SnapshotPlan};
use crate::core::table::{LiveFile, SourceIdentity, TableView};
use crate::pipeline::{Health, Ports};
use crate::ports::*;
use crate::types::*;

pub fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

fn down() -> PortError {
    Down { dependency: "kafka", reason: "told to be".into() }.into()
}

/// Topics of two partitions with offsets 1 to 9, 8 of them stable; a group of two members that has committed 4 in the
/// first partition.
#[derive(Default)]
pub struct FakeKafka {
    pub down: bool,
}

#[async_trait]
impl SourceAdmin for FakeKafka {
    async fn identity(&self, _: &[Topic]) -> Result<SourceIdentity, PortError> {
        Ok(SourceIdentity::default())
    }
    async fn partitions(&self, topics: &[Topic]) -> Result<BTreeMap<Topic, Vec<i32>>, PortError> {
        Ok(topics.iter().map(|topic| (topic.clone(), vec![0, 1])).collect())
    }
    async fn compacted(&self, _: &[Topic]) -> Result<BTreeSet<Topic>, PortError> {
        Ok(BTreeSet::new())
    }
    async fn log_offsets(&self, at: &[(TopicPartition, LogEdge)]) -> Result<BTreeMap<TopicPartition, LogOffset>, PortError> {
        let offset = |edge: &LogEdge| match edge {
            LogEdge::Earliest => 1,
            LogEdge::LastStable | LogEdge::Timestamp(_) => 8,
            LogEdge::HighWatermark => 9,
        };
        let answer = |edge| LogOffset { offset: offset(edge), leader_epoch: None, timestamp_ms: None };
        match self.down {
            true => Err(down()),
            false => Ok(at.iter().map(|(tp, edge)| (tp.clone(), answer(edge))).collect()),
        }
    }
    async fn group_offsets(&self, of: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, GroupOffset>, PortError> {
        let committed = of.iter().filter(|tp| tp.partition == 0);
        Ok(committed.map(|tp| (tp.clone(), GroupOffset { offset: 4, metadata: String::new() })).collect())
    }
    async fn group_members(&self) -> Result<Vec<GroupMember>, PortError> {
        let member = |client_id: &str, partition| GroupMember {
            member_id: format!("{client_id}-1"),
            client_id: client_id.into(),
            host: "/127.0.0.1".into(),
            partitions: vec![tp("a", partition)],
        };
        Ok(vec![member("one", 0), member("two", 1)])
    }
}

/// Every read of it is a millisecond later.
#[derive(Default)]
pub struct FakeClock(AtomicU64);

impl Clock for FakeClock {
    fn monotonic_ms(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
    fn wall_ms(&self) -> i64 {
        self.monotonic_ms() as i64
    }
}

/// The rest of the ports. Files hold the ids below 10; their bloom filters say no to the ids from 20 on.
pub struct Nothing;

#[async_trait]
impl DeadLetters for Nothing {
    async fn send(&self, _: &[Letter]) -> Result<(), PortError> {
        Ok(())
    }
}

#[async_trait]
impl Table for Nothing {
    async fn load(&self) -> Result<Loaded, PortError> {
        Ok(Loaded::Missing)
    }
    async fn create(&self) -> Result<(), PortError> {
        Ok(())
    }
    async fn commit(&self, _: &TableView, _: &SnapshotPlan, _: &[WrittenFile]) -> Outcome {
        Outcome::NotSent("there is no catalog".into())
    }
    async fn roll_back(&self, _: &TableView, _: &RollBackPlan) -> Outcome {
        Outcome::NotSent("there is no catalog".into())
    }
}

#[async_trait]
impl DataFiles for Nothing {
    async fn write(&self, _: EventHour, _: &str, _: Micros, _: Vec<RecordBatch>) -> Result<Vec<WrittenFile>, PortError> {
        Ok(vec![])
    }
    async fn probe(&self, _: &LiveFile, _: EventHour, ids: &[ProbeId]) -> Result<Probed, PortError> {
        let hits = ids.iter().map(|id| id.id).filter(|id| id.0 < 10).collect();
        Ok(Probed { hits, read: ids.iter().filter(|id| id.id.0 < 20).count() })
    }
    async fn read_ids(&self, _: &LiveFile) -> Result<Vec<(MessageId, EventHour)>, PortError> {
        Ok(vec![])
    }
    async fn exists(&self, _: &str) -> Result<bool, PortError> {
        Ok(true)
    }
    #[cfg(feature = "planted-bugs")]
    async fn delete(&self, _: &str) -> Result<(), PortError> {
        Ok(())
    }
}

/// Has the ids of one file.
pub struct FakeStore {
    pub path: &'static str,
    pub ids: Vec<(MessageId, EventHour)>,
}

#[async_trait]
impl DedupStore for FakeStore {
    async fn use_table(&self, _: u128) {}
    async fn get(&self, path: &FilePath) -> Option<FileIds> {
        (**path == *self.path).then(|| self.ids.clone())
    }
    async fn put(&self, _: &FilePath, _: FileIds) {}
    async fn sweep(&self, _: Keep) {}
}

#[async_trait]
impl Notes for Nothing {
    async fn known(&self) -> Option<Known> {
        None
    }
    async fn remember(&self, _: Known) {}
    async fn clear_stop(&self) {}
}

impl Random for Nothing {
    fn u64(&self) -> u64 {
        0
    }
    fn u128(&self) -> u128 {
        0
    }
}

pub fn ports(store: FakeStore) -> Ports {
    let clock: Arc<dyn Clock> = Arc::new(FakeClock::default());
    Ports {
        admin: Arc::new(FakeKafka::default()),
        letters: Arc::new(Nothing),
        table: Arc::new(Nothing),
        files: Arc::new(Nothing),
        store: Arc::new(store),
        clock: clock.clone(),
        random: Arc::new(Nothing),
        notes: Arc::new(Nothing),
        health: Arc::new(Health::new(clock)),
    }
}
