//! Where partitions are put: one function serves assignment, fence, roll-back and reset.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::identity::EpochIdentity;
use crate::core::instance::{Due, Effect, Instance, KafkaView, Position, Report};
use crate::core::planted::{Bug, planted};
use crate::core::table::*;
use crate::types::*;

impl Instance {
    /// Puts these partitions where the lane says, under a new epoch and with the identity that Kafka answers now. One
    /// that the lane doesn't have stays without a position: it has to be opened first.
    pub(super) fn place(
        &mut self,
        now_ms: u64,
        partitions: &BTreeSet<TopicPartition>,
        lane: &Lane,
        kafka: &KafkaView,
        reason: &str,
        out: &mut Vec<Effect>,
    ) {
        let places: BTreeMap<TopicPartition, Option<Progress>> =
            partitions.iter().map(|tp| (tp.clone(), lane.progress(tp))).collect();
        self.put(now_ms, places, kafka, reason, out);
    }

    /// Puts partitions at given progress under new epochs, and answers the assignment that waits for it.
    pub(super) fn put(
        &mut self,
        now_ms: u64,
        places: BTreeMap<TopicPartition, Option<Progress>>,
        kafka: &KafkaView,
        reason: &str,
        out: &mut Vec<Effect>,
    ) {
        let mut starts = Vec::new();
        let mut reported = BTreeMap::new();
        for (partition, progress) in places {
            if self.owned.get(&partition).is_none_or(|o| o.leaving) {
                continue;
            }
            let epoch = self.epoch();
            let identity = EpochIdentity::of(&partition.topic, &kafka.identity);
            let position = progress.map(|p| Position {
                place: self.place_at(&partition, &p),
                leader_epoch: p.leader_epoch,
                identity,
                idle: p.idle,
                at_log_end: false,
                last_record_ms: now_ms,
            });
            if let Some(position) = &position {
                reported.insert(partition.clone(), position.place);
            }
            let at = position.as_ref().map(|p| p.place.next_offset);
            #[cfg(feature = "planted-bugs")]
            let at = at.map(|at| kafka.or_group_offset(&partition, at));
            starts.push((partition.clone(), epoch, at));
            let owned = self.owned.get_mut(&partition).expect("checked above");
            owned.epoch = epoch;
            owned.position = position;
        }
        self.start_reading(starts, out);
        if !reported.is_empty() {
            out.push(Effect::Report(Report::Repositioned { partitions: reported, reason: reason.into() }));
        }
    }

    /// Offset and greatest event time go back together.
    fn place_at(&self, partition: &TopicPartition, progress: &Progress) -> Place {
        let before = self.owned.get(partition).and_then(|o| o.position.as_ref()).map(|p| p.place);
        let mut place = progress.place();
        if planted(Bug::MaximaNotRewound) {
            place.max_event_time = place.max_event_time.max(before.and_then(|b| b.max_event_time));
        }
        place
    }

    /// Newly assigned partitions are started by the answer to their assignment, all others by a reposition.
    fn start_reading(&mut self, starts: Vec<(TopicPartition, Epoch, Option<Offset>)>, out: &mut Vec<Effect>) {
        let answering = match &self.due {
            Some(Due::Assignment { partitions, .. }) => partitions.clone(),
            _ => BTreeSet::new(),
        };
        let (answer, moved): (Vec<_>, Vec<_>) = starts.into_iter().partition(|(tp, ..)| answering.contains(tp));
        if !answering.is_empty() && answer.len() == answering.len() && answer.iter().all(|(.., at)| at.is_some()) {
            self.due = None;
            out.push(Effect::Assign(answer));
        }
        if !moved.is_empty() {
            out.push(Effect::Reposition(moved));
        }
    }

    /// Drops everything uncommitted. Positions are still to be taken from the table.
    pub(super) fn discard_all(&mut self, reason: &'static str, out: &mut Vec<Effect>) {
        self.discard_in_flight(reason, out);
        self.discard_open(out);
    }

    pub(super) fn discard_in_flight(&mut self, reason: &'static str, out: &mut Vec<Effect>) {
        if let Some(in_flight) = self.in_flight.take() {
            let commits = in_flight.unsettled_commits();
            if planted(Bug::DiscardedIdSettles) {
                self.next_commit -= commits.len() as u64;
            }
            if !commits.is_empty() {
                let files = in_flight.posted_files();
                out.push(Effect::Report(Report::Discarded { commits, files, reason }));
            }
            out.extend(in_flight.batch_number().map(Effect::Forget));
        }
    }

    pub(super) fn discard_open(&mut self, out: &mut Vec<Effect>) {
        let number = self.open_number;
        self.new_open_batch();
        out.push(Effect::Forget(number));
    }
}
