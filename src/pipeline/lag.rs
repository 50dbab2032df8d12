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
    /// Since when a partition has been behind without any of its missing records having been delivered.
    behind_since_ms: BTreeMap<TopicPartition, i64>,
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

    /// When the first record that the table doesn't have reached Kafka: by its broker timestamp, or, before it is
    /// delivered, no later than when the log was first seen to go on behind the table. `stable`: the log's last stable
    /// offset. None for a partition that isn't behind, or that nothing is known of.
    pub fn oldest_ms(
        &mut self,
        partition: &TopicPartition,
        table: Offset,
        stable: Option<Offset>,
        wall_ms: i64,
    ) -> Option<i64> {
        let first = self.first_from(partition, table);
        if first.is_some() || stable.is_none_or(|stable| stable <= table) {
            self.behind_since_ms.remove(partition);
            return first;
        }
        Some(*self.behind_since_ms.entry(partition.clone()).or_insert(wall_ms))
    }

    /// Broker timestamp of the chunk that has the first record at or above `offset`; none where nothing is known.
    fn first_from(&mut self, partition: &TopicPartition, offset: Offset) -> Option<i64> {
        let chunks = self.chunks.get_mut(partition)?;
        while chunks.front().is_some_and(|(last, _)| *last < offset) {
            chunks.pop_front();
        }
        chunks.front().map(|(_, timestamp_ms)| *timestamp_ms)
    }

    pub fn forget(&mut self, partition: &TopicPartition) {
        self.chunks.remove(partition);
        self.behind_since_ms.remove(partition);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::fakes::tp;

    fn frames(offsets: std::ops::Range<Offset>, timestamp_ms: i64) -> Vec<Frame> {
        let frame = |offset| Frame { offset, timestamp_ms: Some(timestamp_ms), leader_epoch: None, key: None, value: None };
        offsets.map(frame).collect()
    }

    #[test]
    fn the_oldest_record_is_that_of_the_chunk_where_the_table_ends() {
        let (a, mut times) = (tp("a", 0), Timestamps::default());
        times.delivered(&a, &frames(0..10, 100));
        times.delivered(&a, &frames(10..20, 200));
        assert_eq!(times.oldest_ms(&a, 9, Some(20), 1_000), Some(100));
        assert_eq!(times.oldest_ms(&a, 10, Some(20), 1_000), Some(200));
        assert_eq!(times.oldest_ms(&a, 20, Some(20), 1_000), None, "drained");
    }

    /// A partition that was behind while nothing of it was delivered had a lag of 0 seconds, however long that went on: no
    /// alert on it could ever fire.
    #[test]
    fn a_lag_of_records_that_are_not_delivered_grows_from_when_it_was_first_seen() {
        let (a, mut times) = (tp("a", 0), Timestamps::default());
        assert_eq!(times.oldest_ms(&a, 5, None, 900), None, "the log's end isn't known");
        assert_eq!(times.oldest_ms(&a, 5, Some(8), 1_000), Some(1_000));
        assert_eq!(times.oldest_ms(&a, 5, Some(9), 61_000), Some(1_000));
        times.delivered(&a, &frames(5..9, 990));
        assert_eq!(times.oldest_ms(&a, 5, Some(9), 62_000), Some(990), "its own timestamp, once it is there");
        assert_eq!(times.oldest_ms(&a, 9, Some(9), 63_000), None);
        assert_eq!(times.oldest_ms(&a, 9, Some(10), 64_000), Some(64_000), "behind anew");
    }
}
