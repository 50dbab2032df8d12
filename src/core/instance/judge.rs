//! Verdicts over delivered records, in the order of the log.

use crate::core::batch::{LateRecord, Rest, Span};
use crate::core::event_time::LatePolicy;
use crate::core::instance::{Instance, commit::InFlight};
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

impl Instance {
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
        let owned = self.owned.get(partition)?;
        if owned.epoch != epoch || owned.leaving {
            return None;
        }
        let mut position = owned.position.clone()?;
        let before = position.place;
        let mut verdicts = Vec::with_capacity(records.len());
        for record in records {
            let expected = position.place.next_offset;
            assert!(record.offset >= expected, "{partition}: offset {} delivered at position {expected}", record.offset);
            verdicts.push(self.judge_one(record, partition, position.place.max_event_time));
            position.place.next_offset = record.offset + 1;
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

    fn judge_one(&mut self, record: &RecordMeta, partition: &TopicPartition, max_before: Option<Micros>) -> Verdict {
        let Body::Row { id, event_time: time } = record.body else {
            self.open.counts.dead_lettered += 1;
            self.open.tombstones += u64::from(record.body == Body::Tombstone);
            return Verdict::Malformed;
        };
        let hour = EventHour::of(time);
        let ground = self.coverage.lookup(hour, id).map(|holder| Some(holder.path.clone()));
        if self.open.is_pending(hour, id) {
            self.open.counts.duplicate += 1;
            return Verdict::Duplicate;
        }
        let in_flight = || self.in_flight.as_ref().and_then(InFlight::batch).is_some_and(|b| b.is_pending(hour, id));
        if let Some(file) = ground.or_else(|| in_flight().then_some(None)) {
            self.open.rests.push(Rest { hour, id, file });
            self.open.counts.duplicate += 1;
            return Verdict::Duplicate;
        }
        let late = self.settings.event_time.is_late(time, max_before);
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
        let Some(owned) = self.owned.get(partition).filter(|o| o.epoch == epoch && !o.leaving) else { return };
        let Some(mut position) = owned.position.clone() else { return };
        let before = position.place;
        position.at_log_end = true;
        if offset > before.next_offset {
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
