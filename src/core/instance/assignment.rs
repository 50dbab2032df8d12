//! Rebalances: an assignment is answered with the table's offsets, within a bound; a revoke flushes within the same.

use std::collections::BTreeSet;

use crate::core::instance::{Due, Effect, Ending, Instance, LogEdges, Owned};
use crate::types::*;

impl Instance {
    pub(super) fn assigned(&mut self, now_ms: u64, partitions: BTreeSet<TopicPartition>, out: &mut Vec<Effect>) {
        // Given again without having been taken back: what was read of them belongs to an assignment that is over.
        if self.uncommitted_partitions().iter().any(|p| partitions.contains(p)) {
            self.let_fall("assigned anew", out);
        }
        for partition in &partitions {
            let epoch = self.epoch();
            self.owned.insert(partition.clone(), Owned { epoch, position: None, leaving: false });
        }
        self.due = Some(Due::Assignment { partitions, deadline_ms: now_ms + self.settings.answer_within_ms });
        // whatever load is under way was asked before the assignment: its tripwire may be too
        self.load = None;
    }

    pub(super) fn revoked(&mut self, now_ms: u64, partitions: BTreeSet<TopicPartition>, lost: bool, out: &mut Vec<Effect>) {
        if lost {
            return self.give_up(partitions, "assignment lost", out);
        }
        for partition in &partitions {
            if let Some(owned) = self.owned.get_mut(partition) {
                owned.leaving = true;
            }
        }
        self.due = Some(Due::Revocation { partitions, deadline_ms: now_ms + self.settings.answer_within_ms });
    }

    /// The bound has passed: an assignment is answered without positions, a revoke without the commits.
    pub(super) fn answer_overdue(&mut self, now_ms: u64, out: &mut Vec<Effect>) {
        match self.due.clone() {
            Some(Due::Assignment { partitions, deadline_ms }) if deadline_ms <= now_ms => {
                self.due = None;
                let parked = partitions.into_iter().map(|tp| {
                    let epoch = self.epoch();
                    let owned = self.owned.entry(tp.clone()).or_insert(Owned { epoch, position: None, leaving: false });
                    // nothing read from the log end may ever be taken for the partition's own
                    owned.epoch = epoch;
                    owned.position = None;
                    (tp, epoch, None)
                });
                let parked = parked.collect();
                out.push(Effect::Assign(parked));
            }
            Some(Due::Revocation { partitions, deadline_ms }) if deadline_ms <= now_ms => {
                self.give_up(partitions, "revoked before the commit was known", out);
            }
            _ => {}
        }
        if let Ending::Closing { deadline_ms } = self.ending
            && deadline_ms <= now_ms
        {
            self.close(out);
        }
    }

    /// Lets partitions go, and with them everything uncommitted: a batch mixes partitions in one file, so it falls whole.
    /// What is still owned is put back to the table's offsets.
    fn give_up(&mut self, partitions: BTreeSet<TopicPartition>, reason: &'static str, out: &mut Vec<Effect>) {
        for partition in &partitions {
            self.owned.remove(partition);
        }
        self.let_fall(reason, out);
        self.due = None;
        out.push(Effect::Unassign(partitions));
    }

    /// Everything uncommitted falls, and its partitions have no position until the table gives them one.
    fn let_fall(&mut self, reason: &'static str, out: &mut Vec<Effect>) {
        let uncommitted = self.uncommitted_partitions();
        self.discard_all(reason, out);
        for partition in uncommitted {
            if let Some(owned) = self.owned.get_mut(&partition) {
                owned.position = None;
            }
        }
    }

    fn uncommitted_partitions(&self) -> BTreeSet<TopicPartition> {
        let in_flight = self.in_flight.iter().filter_map(|f| f.batch());
        in_flight.chain([&self.open]).flat_map(|b| b.spans.keys().chain(b.idle.keys())).cloned().collect()
    }

    /// Everything is committed: answers the revoke, or leaves the group.
    pub(super) fn leave(&mut self, out: &mut Vec<Effect>) {
        if let Some(Due::Revocation { partitions, .. }) = self.due.take() {
            for partition in &partitions {
                self.owned.remove(partition);
            }
            out.push(Effect::Unassign(partitions));
        }
        if self.is_closing() {
            self.close(out);
        }
    }

    /// Nothing more is judged; what was is committed until the deadline.
    pub(super) fn closing(&mut self, deadline_ms: u64) {
        if self.ending == Ending::Running {
            self.ending = Ending::Closing { deadline_ms };
            for owned in self.owned.values_mut() {
                owned.leaving = true;
            }
            // the consumer answers for itself when it is closed
            self.due = self.due.take().filter(|due| matches!(due, Due::Revocation { .. }));
        }
    }

    fn close(&mut self, out: &mut Vec<Effect>) {
        let unknown = self.in_flight.as_ref().map(|f| f.unsettled_commits()).unwrap_or_default();
        self.ending = Ending::Closed;
        self.in_flight = None;
        out.push(Effect::Leave { unknown });
    }

    /// The consumer could not fetch at its position.
    pub(super) fn log_checked(&mut self, partition: &TopicPartition, epoch: Epoch, edges: LogEdges, out: &mut Vec<Effect>) {
        let Some(owned) = self.owned.get(partition).filter(|o| o.epoch == epoch) else { return };
        let Some(position) = &owned.position else { return };
        let at = position.place.next_offset;
        if at < edges.start {
            out.push(Effect::Stop(super::stops::lost_to_retention(partition, at, edges.start)));
        } else if at > edges.end {
            out.push(Effect::Stop(super::stops::log_truncated(partition, at, edges.end)));
        } else {
            // it is in the log after all: start again there
            let epoch = self.epoch();
            self.owned.get_mut(partition).expect("looked up above").epoch = epoch;
            out.push(Effect::Reposition(vec![(partition.clone(), epoch, Some(at))]));
        }
    }

    pub(super) fn covered(&mut self, path: FilePath, hour: EventHour, ids: &[MessageId]) {
        if self.live.is_seen(&path) {
            self.coverage.cover(path, hour, ids);
            let evicted = self.coverage.evict_to(self.settings.hot_bytes_max);
            drop(evicted);
        }
    }
}
