//! How fast the demo may send: the mock keeps little of a partition, so what isn't in the table yet is bounded.

use std::collections::BTreeMap;
use std::time::Duration;

use super::cluster::RETAINED_BYTES;
use crate::types::{Offset, TopicPartition};

/// Bytes that a record takes at most in the mock's log, batch header included; trades are half of it.
const RECORD_BYTES_MAX: u64 = 700;

/// Records of one partition that may be sent and not yet be in the table, at most: half of what the mock keeps.
pub const UNSETTLED_MAX: u64 = RETAINED_BYTES / 2 / RECORD_BYTES_MAX;

/// In so many commits at least the records come into the table, so that there is something to see and to interrupt.
const COMMITS_MIN: u64 = 6;

/// Which records are due and may be sent.
#[derive(Clone, Debug)]
pub struct Pacing {
    /// Records a second.
    rate: f64,
    /// Records of one partition that may be sent and not yet be in the table.
    unsettled_max: u64,
    sent: u64,
    /// By partition: how many records were sent to it.
    written: BTreeMap<TopicPartition, u64>,
}

impl Pacing {
    /// For so many records in all, over so many partitions.
    pub fn new(rate: f64, records: u64, partitions: u64) -> Self {
        let share = records / COMMITS_MIN / partitions;
        Self { rate, unsettled_max: share.clamp(1, UNSETTLED_MAX), sent: 0, written: BTreeMap::new() }
    }

    /// Records that are due by now, of those that may be sent at all. `settled`: the table's next offset by partition;
    /// missing ones count as 0, where the mock's logs begin.
    pub fn due(&self, since_start: Duration, settled: &BTreeMap<TopicPartition, Offset>) -> u64 {
        let most_unsettled = self
            .written
            .iter()
            .map(|(partition, written)| written.saturating_sub(settled.get(partition).map_or(0, |next| next.unsigned_abs())))
            .max()
            .unwrap_or(0);
        // All of what may be sent could go to the fullest partition.
        let room = self.unsettled_max.saturating_sub(most_unsettled);
        let by_now = (since_start.as_secs_f64() * self.rate) as u64;
        by_now.saturating_sub(self.sent).min(room)
    }

    /// Whether the table is past everything that was sent.
    pub fn all_settled(&self, settled: &BTreeMap<TopicPartition, Offset>) -> bool {
        let next = |partition| settled.get(partition).map_or(0, |next| next.unsigned_abs());
        self.written.iter().all(|(partition, written)| next(partition) >= *written)
    }

    pub fn sent_in_all(&self) -> u64 {
        self.sent
    }

    pub fn sent(&mut self, partition: TopicPartition) {
        self.sent += 1;
        *self.written.entry(partition).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(partition: i32) -> TopicPartition {
        TopicPartition::new("t", partition)
    }

    #[test]
    fn the_rate_is_kept() {
        let mut pacing = Pacing::new(100.0, u64::MAX, 1);
        let settled = BTreeMap::new();
        assert_eq!(pacing.due(Duration::ZERO, &settled), 0);
        assert_eq!(pacing.due(Duration::from_secs(2), &settled), 200);
        (0..150).for_each(|_| pacing.sent(partition(0)));
        assert_eq!(pacing.due(Duration::from_secs(2), &settled), 50);
    }

    #[test]
    fn a_short_demo_comes_into_the_table_in_several_commits() {
        let mut pacing = Pacing::new(1e9, 600, 1);
        let (mut settled, mut commits) = (BTreeMap::new(), 0);
        while pacing.sent_in_all() < 600 {
            while pacing.due(Duration::from_secs(1), &settled) > 0 {
                pacing.sent(partition(0));
            }
            settled.insert(partition(0), pacing.sent_in_all() as Offset);
            commits += 1;
        }
        assert_eq!(commits, 6);
    }

    #[test]
    fn no_partition_gets_further_ahead_of_the_table_than_the_mock_keeps() {
        let mut pacing = Pacing::new(1e9, u64::MAX, 3);
        let hour = Duration::from_secs(3_600);
        let mut settled = BTreeMap::new();
        let mut sent = 0;
        while pacing.due(hour, &settled) > 0 {
            pacing.sent(partition(sent % 3));
            sent += 1;
        }
        assert_eq!(sent as u64, 3 * UNSETTLED_MAX - 2);
        settled.insert(partition(0), 10);
        assert_eq!(pacing.due(hour, &settled), 1, "the others are still full but for one record");
        settled.extend([(partition(1), 20), (partition(2), 20)]);
        assert_eq!(pacing.due(hour, &settled), 10);
    }
}
