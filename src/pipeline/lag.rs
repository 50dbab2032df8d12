//! Lag of the table behind the log, in records and in seconds: what monitors and an operator look at.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::sync::watch;

use crate::pipeline::effects::Ports;
use crate::ports::{Frame, LogEdge};
use crate::types::*;

/// How often the log's ends are asked.
const EVERY: Duration = Duration::from_secs(5);
/// Chunks remembered for each partition.
const CHUNKS: usize = 4096;

/// The log's edges of one partition, as last asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Edges {
    pub start: Offset,
    /// Last stable offset.
    pub stable: Offset,
    pub end: Offset,
}

/// Asks for the edges of the partitions that are owned, in the background.
pub struct LogEnds {
    ask: watch::Sender<Vec<TopicPartition>>,
    answers: watch::Receiver<BTreeMap<TopicPartition, Edges>>,
}

impl LogEnds {
    pub fn start(ports: Ports) -> Self {
        let (ask, asked) = watch::channel(Vec::new());
        let (answer, answers) = watch::channel(BTreeMap::new());
        tokio::spawn(async move {
            let mut asked = asked;
            loop {
                let partitions = asked.borrow_and_update().clone();
                if !partitions.is_empty()
                    && let Some(edges) = edges(&ports, &partitions).await
                    && answer.send(edges).is_err()
                {
                    return;
                }
                // sooner when other partitions are asked for
                let changed = tokio::time::timeout(EVERY, asked.changed()).await;
                if matches!(changed, Ok(Err(_))) {
                    return;
                }
            }
        });
        Self { ask, answers }
    }

    pub fn of(&self, partitions: Vec<TopicPartition>) -> BTreeMap<TopicPartition, Edges> {
        self.ask.send_if_modified(|asked| {
            let changed = *asked != partitions;
            *asked = partitions;
            changed
        });
        self.answers.borrow().clone()
    }
}

/// None while Kafka doesn't answer: the figures stay as they were.
async fn edges(ports: &Ports, partitions: &[TopicPartition]) -> Option<BTreeMap<TopicPartition, Edges>> {
    let ask = |edge| partitions.iter().map(|tp| (tp.clone(), edge)).collect::<Vec<_>>();
    let start = ports.admin.log_offsets(&ask(LogEdge::Earliest)).await.ok()?;
    let stable = ports.admin.log_offsets(&ask(LogEdge::LastStable)).await.ok()?;
    let end = ports.admin.log_offsets(&ask(LogEdge::HighWatermark)).await.ok()?;
    let edges = partitions.iter().filter_map(|tp| {
        let edges = Edges { start: start.get(tp)?.offset, stable: stable.get(tp)?.offset, end: end.get(tp)?.offset };
        Some((tp.clone(), edges))
    });
    Some(edges.collect())
}

/// Broker timestamps of what was delivered and isn't in the table yet, chunk by chunk.
#[derive(Default)]
pub struct Timestamps {
    chunks: BTreeMap<TopicPartition, VecDeque<(Offset, i64)>>,
}

impl Timestamps {
    pub fn delivered(&mut self, partition: &TopicPartition, frames: &[Frame]) {
        let (Some(first), Some(last)) = (frames.first(), frames.last()) else { return };
        let Some(timestamp_ms) = first.timestamp_ms else { return };
        let chunks = self.chunks.entry(partition.clone()).or_default();
        chunks.push_back((last.offset, timestamp_ms));
        if chunks.len() > CHUNKS {
            // too many to tell apart: every other one will do
            let mut keep = false;
            chunks.retain(|_| {
                keep = !keep;
                keep
            });
        }
    }

    /// Broker timestamp of the chunk that has the first record at or above `offset`; none where nothing is known.
    pub fn first_from(&mut self, partition: &TopicPartition, offset: Offset) -> Option<i64> {
        let chunks = self.chunks.get_mut(partition)?;
        while chunks.front().is_some_and(|(last, _)| *last < offset) {
            chunks.pop_front();
        }
        chunks.front().map(|(_, timestamp_ms)| *timestamp_ms)
    }

    pub fn forget(&mut self, partition: &TopicPartition) {
        self.chunks.remove(partition);
    }
}
