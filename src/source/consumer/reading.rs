//! One partition as it is read: under which epoch, and up to where events have been delivered.

use super::assignment::FetchAt;
use crate::ports::StartAt;
use crate::types::*;

/// A partition that the group has given us at some time.
pub(crate) struct Slot {
    pub partition: TopicPartition,
    pub owned: bool,
    pub reading: Option<Reading>,
    /// By the pipeline.
    pub paused: bool,
}

/// What librdkafka fetches, under one epoch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub epoch: Epoch,
    /// First offset that no event has passed; none for a parked partition.
    next: Option<Offset>,
    /// Where the fetch was last started again after an "out of range" that didn't fit the position.
    restarted_at: Option<Offset>,
}

/// What an "offset out of range" of the client means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum OutOfRange {
    /// The position is outside the log.
    Real(Epoch),
    /// It speaks of another offset: of an earlier assignment whose fetch ended after ours began. It stopped our fetch all
    /// the same, so that has to be started again.
    Stale,
    /// Of a partition that isn't read, or is parked.
    Nothing,
}

impl Slot {
    pub fn new(partition: TopicPartition) -> Self {
        Self { partition, owned: false, reading: None, paused: false }
    }

    pub fn disown(&mut self) {
        *self = Self::new(self.partition.clone());
    }

    pub fn is_paused(&self) -> bool {
        self.paused || self.reading.is_some_and(|reading| reading.next.is_none())
    }

    pub fn place(&self) -> Option<(TopicPartition, FetchAt)> {
        let at = self.reading?.next.map_or(FetchAt::LogEnd, FetchAt::Offset);
        Some((self.partition.clone(), at))
    }

    /// A record came: its epoch, or none if it must not be delivered. Offsets only grow within an epoch: when a pause or
    /// a rebalance makes librdkafka fetch again, it can bring records that were delivered before.
    pub fn admit_record(&mut self, offset: Offset) -> Option<Epoch> {
        let reading = self.reading.as_mut()?;
        let next = reading.next.as_mut().filter(|next| offset >= **next)?;
        *next = offset + 1;
        Some(reading.epoch)
    }

    /// A log end came. It can lie above the last record: control records take offsets.
    pub fn admit_end(&mut self, offset: Offset) -> Option<Epoch> {
        let reading = self.reading.as_mut()?;
        let next = reading.next.as_mut().filter(|next| offset >= **next)?;
        *next = offset;
        Some(reading.epoch)
    }

    pub fn out_of_range(&mut self, offset: Offset) -> OutOfRange {
        let Some(reading) = self.reading.as_mut() else { return OutOfRange::Nothing };
        let Some(next) = reading.next else { return OutOfRange::Nothing };
        if offset == next || reading.restarted_at == Some(next) {
            return OutOfRange::Real(reading.epoch);
        }
        reading.restarted_at = Some(next);
        OutOfRange::Stale
    }
}

impl Reading {
    pub fn new(epoch: Epoch, start: StartAt) -> Self {
        let next = match start {
            StartAt::Offset(offset) => Some(offset),
            StartAt::Parked => None,
        };
        Self { epoch, next, restarted_at: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(start: StartAt) -> Slot {
        let mut slot = Slot::new(TopicPartition::new("t", 0));
        slot.owned = true;
        slot.reading = Some(Reading::new(Epoch(7), start));
        slot
    }

    #[test]
    fn offsets_only_grow_within_an_epoch_and_may_have_holes() {
        let mut slot = slot(StartAt::Offset(100));
        assert_eq!(slot.admit_record(99), None);
        assert_eq!(slot.admit_record(100), Some(Epoch(7)));
        assert_eq!(slot.admit_record(100), None, "fetched again after a pause");
        assert_eq!(slot.admit_record(105), Some(Epoch(7)));
        assert_eq!(slot.place().unwrap().1, FetchAt::Offset(106));
    }

    #[test]
    fn a_log_end_passes_control_records_and_never_goes_back() {
        let mut slot = slot(StartAt::Offset(0));
        slot.admit_record(8);
        assert_eq!(slot.admit_end(10), Some(Epoch(7)));
        assert_eq!(slot.admit_end(10), Some(Epoch(7)));
        assert_eq!(slot.admit_end(9), None);
        assert_eq!(slot.place().unwrap().1, FetchAt::Offset(10));
    }

    #[test]
    fn a_parked_partition_delivers_nothing() {
        let mut slot = slot(StartAt::Parked);
        assert!(slot.is_paused());
        assert_eq!((slot.admit_record(5), slot.admit_end(6)), (None, None));
        assert_eq!(slot.out_of_range(5), OutOfRange::Nothing);
        assert_eq!(slot.place().unwrap().1, FetchAt::LogEnd);
    }

    #[test]
    fn out_of_range_of_another_offset_is_stale_once() {
        let mut slot = slot(StartAt::Offset(50));
        assert_eq!(slot.out_of_range(1000), OutOfRange::Stale);
        assert_eq!(slot.out_of_range(1000), OutOfRange::Real(Epoch(7)), "the restarted fetch says it again");
        let mut slot = self::slot(StartAt::Offset(50));
        assert_eq!(slot.out_of_range(50), OutOfRange::Real(Epoch(7)));
    }
}
