//! Verdicts over delivered records, in the order of the log.

use crate::core::batch::{LateRecord, Rest, Span};
use crate::core::event_time::LatePolicy;
use crate::core::instance::{Instance, Position, commit::InFlight};
use crate::core::planted::{Bug, planted};
use crate::types::*;

/// What the core sees of a record.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RecordMeta {
    pub offset: Offset,
    pub leader_epoch: Option<i32>,
    pub body: Body,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Body {
    Row {
        id: MessageId,
        event_time: Micros,
    },
    /// Can't become a row: a dead letter.
    Malformed,
    /// A null value: a dead letter that doesn't count for the breaker.
    Tombstone,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Verdict {
    /// To be written, unless the table turns out to hold it.
    Fresh {
        hour: EventHour,
        late: bool,
    },
    Duplicate,
    /// Behind the delay, and the policy doesn't write it.
    Late,
    Malformed,
}

/// Whether an event at this offset is the next of a partition that stands at `next`. Control records and holes take
/// offsets: whatever lies at or behind the place is.
fn follows(next: Offset, offset: Offset) -> bool {
    offset == next || offset > next && !planted(Bug::ContiguityDemanded)
}

/// An end that was taken for a position may lie behind records that are still to come.
fn a_wrong_end_was_believed() -> bool {
    planted(Bug::LogEndIsPosition) || planted(Bug::OldEpochEofBelieved)
}

/// The hours in which a record of this hour can have a copy.
fn hours_of_key(hour: EventHour) -> impl Iterator<Item = EventHour> {
    let neighbours = [EventHour(hour.0 - 1), EventHour(hour.0 + 1)];
    std::iter::once(hour).chain(neighbours.into_iter().filter(|_| planted(Bug::KeyWidenedToNeighbours)))
}

impl Instance {
    /// Whether records read under this epoch count: the partition has a place, isn't taken back, and they come next.
    pub fn takes(&self, partition: &TopicPartition, epoch: Epoch, mut offsets: impl Iterator<Item = Offset>) -> bool {
        let owned = self.owned.get(partition).filter(|o| o.epoch == epoch && !o.leaving);
        let Some(position) = owned.and_then(|o| o.position.as_ref()) else { return false };
        let mut next = position.place.next_offset;
        let in_turn = |offset| follows(std::mem::replace(&mut next, offset + 1), offset);
        !planted(Bug::ContiguityDemanded) || offsets.all(in_turn)
    }

    /// Judges records of one partition, offsets ascending. None: they were read under an epoch that is over, drop them.
    ///
    /// # Panics
    /// When an offset lies before the position: then the consumer delivers what was asked for no more, and every offset
    /// committed from here would be wrong.
    pub fn judge(
        &mut self,
        now_ms: u64,
        partition: &TopicPartition,
        epoch: Epoch,
        records: &[RecordMeta],
    ) -> Option<Vec<Verdict>> {
        if !self.takes(partition, epoch, records.iter().map(|r| r.offset)) {
            return None;
        }
        let mut position = self.owned.get(partition)?.position.clone()?;
        let before = position.place;
        let mut verdicts = Vec::with_capacity(records.len());
        for record in records {
            let expected = position.place.next_offset;
            let in_order = record.offset >= expected || a_wrong_end_was_believed();
            assert!(in_order, "{partition}: offset {} delivered at position {expected}", record.offset);
            let late_from = self.late_from(&position);
            verdicts.push(self.judge_one(record, partition, late_from));
            position.place.next_offset = expected.max(record.offset + 1);
            if let Body::Row { event_time, .. } = record.body {
                position.place.max_event_time = position.place.max_event_time.max(Some(event_time));
            }
            position.leader_epoch = position.leader_epoch.max(record.leader_epoch);
        }
        if !records.is_empty() {
            position.last_record_ms = now_ms;
            position.at_log_end = false;
            if position.idle {
                position.idle = false;
                self.open.idle.insert(partition.clone(), false);
            }
            self.progressed(now_ms, partition, before, &position);
            let content = |v: &Verdict| match v {
                Verdict::Fresh { .. } | Verdict::Malformed => true,
                Verdict::Late => self.settings.event_time.late == LatePolicy::DeadLetter,
                Verdict::Duplicate => false,
            };
            if self.open.first_content_ms.is_none() && verdicts.iter().any(content) {
                self.open.first_content_ms = Some(now_ms);
            }
        }
        self.owned.get_mut(partition).expect("looked up above").position = Some(position);
        Some(verdicts)
    }

    /// The greatest event time that a record behind this position is measured by: its own partition's before it.
    fn late_from(&self, position: &Position) -> Option<Micros> {
        #[cfg(feature = "planted-bugs")]
        if planted(Bug::LatenessFromWallClock) {
            return Some(self.host_clock);
        }
        let own = position.place.max_event_time;
        if planted(Bug::LatenessFromOtherPartitions) {
            let all = self.owned.values().filter_map(|o| o.position.as_ref()?.place.max_event_time);
            return all.max().max(own);
        }
        own
    }

    fn judge_one(&mut self, record: &RecordMeta, partition: &TopicPartition, late_from: Option<Micros>) -> Verdict {
        let Body::Row { id, event_time: time } = record.body else {
            self.open.counts.dead_lettered += 1;
            self.open.tombstones += u64::from(record.body == Body::Tombstone);
            return Verdict::Malformed;
        };
        let hour = EventHour::of(time);
        if hours_of_key(hour).any(|hour| self.open.is_pending(hour, id)) {
            self.open.counts.duplicate += 1;
            return Verdict::Duplicate;
        }
        if let Some(rest) = hours_of_key(hour).find_map(|hour| self.ground_of(hour, id)) {
            self.open.rests.push(rest);
            self.open.counts.duplicate += 1;
            return Verdict::Duplicate;
        }
        let late = self.settings.event_time.is_late(time, late_from);
        if late && self.settings.event_time.late != LatePolicy::Admit {
            self.open.counts.late += 1;
            self.open.late.push(LateRecord { hour, id, partition: partition.clone(), offset: record.offset });
            return Verdict::Late;
        }
        self.open.late_admitted += u64::from(late);
        self.open.counts.written += 1;
        self.open.pending.entry(hour).or_default().insert(id);
        Verdict::Fresh { hour, late }
    }

    /// What a duplicate verdict would rest on: a covered file, or a pending id of the batch in flight.
    fn ground_of(&self, hour: EventHour, id: MessageId) -> Option<Rest> {
        if let Some(holder) = self.coverage.lookup(hour, id) {
            return Some(Rest { hour, id, file: Some(holder.path.clone()) });
        }
        let in_flight = self.in_flight.as_ref().and_then(InFlight::batch);
        in_flight.filter(|batch| batch.is_pending(hour, id)).map(|_| Rest { hour, id, file: None })
    }

    /// The partition stands at `position` now: the open batch covers everything up to there.
    fn progressed(
        &mut self,
        now_ms: u64,
        partition: &TopicPartition,
        before: crate::core::table::Place,
        position: &super::Position,
    ) {
        let span = self.open.spans.entry(partition.clone()).or_insert_with(|| Span {
            start: before,
            end: before,
            leader_epoch: position.leader_epoch,
            identity: position.identity.clone(),
        });
        span.end = position.place;
        span.leader_epoch = position.leader_epoch;
        self.open.first_progress_ms.get_or_insert(now_ms);
    }

    /// The log end was reached: offsets passed without a record (control records, holes) are progress. The event's own
    /// offset counts, since newer ends belong to records that aren't delivered yet.
    pub(super) fn end_of_partition(&mut self, now_ms: u64, partition: &TopicPartition, epoch: Epoch, offset: Offset) {
        let counts = |of: Epoch| of == epoch || planted(Bug::OldEpochEofBelieved);
        let Some(owned) = self.owned.get(partition).filter(|o| counts(o.epoch) && !o.leaving) else { return };
        let Some(mut position) = owned.position.clone() else { return };
        let before = position.place;
        position.at_log_end = true;
        if offset > before.next_offset && follows(before.next_offset, offset) {
            position.place.next_offset = offset;
            self.progressed(now_ms, partition, before, &position);
        }
        self.owned.get_mut(partition).expect("looked up above").position = Some(position);
    }

    /// A partition that was silent at the log end for long enough no longer holds the watermark back.
    pub(super) fn mark_idle(&mut self, now_ms: u64) {
        let timeout = self.settings.event_time.idle_timeout_ms;
        for (partition, owned) in &mut self.owned {
            let Some(position) = owned.position.as_mut().filter(|_| !owned.leaving) else { continue };
            let silent = position.at_log_end && position.last_record_ms + timeout <= now_ms;
            if silent && !position.idle && position.place.max_event_time.is_some() {
                position.idle = true;
                self.open.idle.insert(partition.clone(), true);
                self.open.first_progress_ms.get_or_insert(now_ms);
            }
        }
    }
}
