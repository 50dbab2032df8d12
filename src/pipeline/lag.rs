//! How old the lag is: broker timestamps of what was delivered and isn't in the table yet.

use std::collections::{BTreeMap, VecDeque};

use crate::ports::Frame;
use crate::types::*;

/// Chunks remembered for each partition.
const CHUNKS: usize = 4096;

/// Chunk by chunk.
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
