//! What a loaded table says about where this instance stands: lane, identity, and *equality* of every position with its
//! event-time maximum. "At least" would hide gaps.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::core::batch::{Batch, Span};
use crate::core::identity;
use crate::core::instance::commit::{InFlight, Opening, Work};
use crate::core::instance::*;
use crate::core::lane::{self, Reading};
use crate::core::planted::{Bug, planted};
use crate::core::table::*;
use crate::core::tripwire::{Trace, Witness};
use crate::error::Stop;
use crate::types::*;

/// Why a batch can't go on this base.
pub(super) struct Fence {
    pub reason: String,
    pub partitions: BTreeSet<TopicPartition>,
}

/// Whether what is expected is what the table has: offset and greatest event time, one value.
fn stands(table: Option<Place>, expected: Place) -> bool {
    match table {
        Some(table) if planted(Bug::AtLeastForEqual) => expected.next_offset >= table.next_offset,
        Some(table) if planted(Bug::MaximaNotRewound) => expected.next_offset == table.next_offset,
        table => table == Some(expected),
    }
}

/// Whether a batch that starts here may go on a base that stands there.
fn fits(table: Option<Place>, start: Place) -> bool {
    stands(table, start) || planted(Bug::NoFence) && table.is_some()
}

impl Instance {
    pub(super) fn loaded(&mut self, now_ms: u64, ticket: Ticket, load: Load, out: &mut Vec<Effect>) {
        self.last_load_ms = Some(now_ms);
        if self.load == Some(ticket) {
            self.load = None;
            return self.table_loaded(now_ms, load, out);
        }
        self.base_loaded(now_ms, load, out);
    }

    /// A load that no commit waits for: opens what is unknown, places what has no position, compares the rest.
    pub(super) fn table_loaded(&mut self, now_ms: u64, load: Load, out: &mut Vec<Effect>) {
        let lane = match self.read_lane(now_ms, &load, out) {
            Ok(Some(lane)) => lane,
            Ok(None) => Lane::default(),
            Err(stop) => return self.trip(&load, stop, out),
        };
        if self.needs_placing() {
            let opening = match (&load.table, self.opening_needed(&lane, &load)) {
                (_, Err(stop)) => return self.trip(&load, stop, out),
                (None, Ok(_)) => Some(Work::CreateTable),
                (Some(_), Ok(opening)) => opening.map(Work::Opening),
            };
            match opening {
                None => self.place_missing(now_ms, &lane, &load.kafka, out),
                // whatever is made anew, the tripwire is asked first
                Some(_) if !load.witnessed => return self.start_load(true, out),
                Some(work) => return self.begin(work, out),
            }
        }
        self.tripped = false;
        self.compare_open(now_ms, None, &lane, &load.kafka, out);
        self.mirror(&lane, None, out);
    }

    /// The tripwire was read before the table: on a hit the table is loaded once more before it stops, since another
    /// instance may have opened the lane in between.
    fn trip(&mut self, load: &Load, stop: Stop, out: &mut Vec<Effect>) {
        if load.witness.is_some() && !self.tripped && !planted(Bug::TripwireAfterTable) {
            self.tripped = true;
            return self.start_load(true, out);
        }
        out.push(Effect::Stop(stop));
    }

    fn place_missing(&mut self, now_ms: u64, lane: &Lane, kafka: &KafkaView, out: &mut Vec<Effect>) {
        let missing: BTreeSet<TopicPartition> =
            self.owned.iter().filter(|(_, o)| o.position.is_none() && !o.leaving).map(|(tp, _)| tp.clone()).collect();
        if let Some(Due::Assignment { partitions, .. }) = &self.due
            && partitions.is_empty()
        {
            self.due = None;
            out.push(Effect::Assign(Vec::new()));
        }
        self.place(now_ms, &missing, lane, kafka, "assigned", out);
    }

    /// What outside the table knows the lane: what the load found, and this process.
    fn witness(&self, load: &Load) -> Option<Witness> {
        let begun = load.table.as_ref().is_some_and(|t| t.head.is_some());
        if planted(Bug::MissingTableSkipped) && !begun {
            return None;
        }
        let mut witness = load.witness.clone().unwrap_or_default();
        for topic in &self.known_topics {
            witness.add(topic.clone(), Trace::ThisProcess);
        }
        witness.seen()
    }

    /// Reads the own lane and takes in everything else that a load says. None: the lane is new, or there is no table.
    pub(super) fn read_lane(&mut self, now_ms: u64, load: &Load, out: &mut Vec<Effect>) -> Result<Option<Lane>, Stop> {
        let witness = self.witness(load);
        let Some(table) = &load.table else {
            return match witness {
                Some(witness) => Err(stops::table_missing(&self.settings.lane, &witness)),
                None => Ok(None),
            };
        };
        if let Some(was) = self.table_uuid.filter(|was| *was != table.uuid) {
            return Err(stops::table_replaced(was, table.uuid));
        }
        let lane = match lane::read(table, &self.settings.lane, self.memory.as_ref(), witness.as_ref()) {
            Reading::Stop(stop) => return Err(stops::lane(stop)),
            Reading::New => None,
            Reading::Known { lane, needs_anchor } => {
                let since = self.needs_anchor_since_ms.unwrap_or(now_ms);
                self.needs_anchor_since_ms = needs_anchor.then_some(since);
                Some(lane)
            }
        };
        if let Some(lane) = &lane {
            self.check_source(lane, &load.kafka, witness.as_ref())?;
        }
        self.sync(table, lane.as_ref(), out);
        Ok(lane)
    }

    pub(super) fn lane_of(&self, table: &TableView) -> Option<Lane> {
        match lane::read(table, &self.settings.lane, self.memory.as_ref(), None) {
            Reading::Known { lane, .. } => Some(lane),
            _ => None,
        }
    }

    /// Kafka now against the lane, for the configured topics.
    fn check_source(&self, lane: &Lane, kafka: &KafkaView, witness: Option<&Witness>) -> Result<(), Stop> {
        let topics = lane.topics();
        let ours: Vec<&Topic> = self.settings.topics.iter().filter(|t| topics.contains(*t)).collect();
        if let Some(change) = identity::compare(&lane.source, &kafka.identity, ours.iter().copied()) {
            return Err(stops::identity(change));
        }
        if let Some(gone) = ours.iter().find(|t| !kafka.partitions.contains_key(**t)) {
            return Err(stops::topic_gone(gone));
        }
        // a topic that the lane doesn't have, while something of ours knows it
        let unknown = self.settings.topics.iter().filter(|t| !topics.contains(*t));
        match witness.map(|w| w.knows(unknown)).and_then(Witness::seen) {
            Some(witness) => Err(stops::topic_vanished(&self.settings.lane, &witness)),
            None => Ok(()),
        }
    }

    /// Each load replaces the live set: a file counts as seen only while it is live on the head last loaded.
    fn sync(&mut self, table: &Arc<TableView>, lane: Option<&Lane>, out: &mut Vec<Effect>) {
        self.table_uuid = Some(table.uuid);
        let ours = table.nearest_sluice().map(|(_, keys)| keys.commit_id);
        self.last_commit = ours.or(self.last_commit);
        self.live = table.live.clone();
        self.coverage.retain_live(&self.live);
        let lanes = lane::read_all(table, self.memory.as_ref());
        for (name, stop) in &lanes.stopped {
            out.push(Effect::Report(Report::LaneUnreadable { lane: name.clone(), why: stop.to_string() }));
        }
        if let Some(lane) = lane {
            self.known_topics.extend(lane.topics().into_iter().filter(|t| self.settings.topics.contains(t)));
            let others = lanes.readable.keys().filter(|n| **n != self.settings.lane).cloned().collect();
            out.push(Effect::Report(Report::Read { lane: lane.clone(), others, table: table.clone() }));
        }
        if let Some(head) = table.head {
            self.memory = Some(Memory { head, lanes: lanes.readable });
        }
        let wanted = self.wanted_files();
        if !wanted.is_empty() {
            out.push(Effect::Cover(wanted));
        }
    }

    /// Files of the newest event hours until half the budget, and of the hours that are being judged, as far as they
    /// aren't covered.
    fn wanted_files(&self) -> Vec<LiveFile> {
        let budget = self.settings.hot_bytes_max;
        let estimate = |f: &LiveFile| f.rows as usize * crate::core::coverage::BYTES_PER_ID;
        let mut wanted = Vec::new();
        let mut hot = 0;
        for hour in self.live.hours_newest_first() {
            let files: Vec<&LiveFile> = self.live.of_hour(hour).filter(|f| f.hour == Some(hour)).collect();
            hot += files.iter().map(|f| estimate(f)).sum::<usize>();
            if hot > budget / 2 {
                break;
            }
            wanted.extend(files.into_iter().filter(|f| !self.coverage.is_covered(&f.path, hour)).cloned());
        }
        let mut room = budget.saturating_sub(self.coverage.bytes() + wanted.iter().map(&estimate).sum::<usize>());
        let chosen: BTreeSet<FilePath> = wanted.iter().map(|f| f.path.clone()).collect();
        let in_flight = self.in_flight.iter().filter_map(InFlight::batch);
        let judged: BTreeSet<EventHour> = in_flight.chain([&self.open]).flat_map(|b| b.pending.keys().copied()).collect();
        for hour in judged.into_iter().rev() {
            for file in self.live.of_hour(hour).filter(|f| f.hour == Some(hour)) {
                let new = !chosen.contains(&file.path) && !self.coverage.is_covered(&file.path, hour);
                if new && estimate(file) <= room {
                    room -= estimate(file);
                    wanted.push(file.clone());
                }
            }
        }
        wanted
    }

    // ---- openings

    /// Every topic of the configuration that the lane doesn't know, where `start` says; every partition that appeared in
    /// a known topic, at 0.
    fn opening_needed(&self, lane: &Lane, load: &Load) -> Result<Option<Opening>, Stop> {
        let known = lane.topics();
        let mut opening = Opening { places: BTreeMap::new(), unasked: Vec::new(), identity: load.kafka.identity.clone() };
        for topic in &self.settings.topics {
            let Some(partitions) = load.kafka.partitions.get(topic) else { return Err(stops::topic_unknown(topic)) };
            for partition in partitions.iter().map(|p| TopicPartition::new(topic.clone(), *p)) {
                if lane.progress(&partition).is_some() {
                    continue;
                }
                if known.contains(topic) {
                    opening.places.insert(partition, 0);
                } else {
                    opening.unasked.push(partition);
                }
            }
        }
        if opening.places.is_empty() && opening.unasked.is_empty() {
            return Ok(None);
        }
        self.check_start(lane, load, &opening)?;
        Ok(Some(opening))
    }

    /// A new group on topics that another lane covers: `start` must be written, or a renamed group would be a silent gap.
    fn check_start(&self, lane: &Lane, load: &Load, opening: &Opening) -> Result<(), Stop> {
        if self.settings.start != Start::EarliestByDefault || !lane.partitions.is_empty() {
            return Ok(());
        }
        let Some(table) = &load.table else { return Ok(()) };
        let lanes = lane::read_all(table, self.memory.as_ref()).readable;
        let covering = lanes.iter().find_map(|(name, other)| {
            let topics = other.topics();
            opening.unasked.iter().find(|tp| topics.contains(&tp.topic)).map(|tp| (name.clone(), tp.topic.clone()))
        });
        match covering {
            Some((other, topic)) => Err(stops::start_unwritten(&self.settings.lane, &other, &topic)),
            None => Ok(()),
        }
    }

    pub(super) fn opening_on_base(&mut self, now_ms: u64, flight: InFlight, load: Load, out: &mut Vec<Effect>) {
        let Work::Opening(opening) = &flight.work else { unreachable!("only openings come here") };
        let again = |this: &mut Self, out: &mut Vec<Effect>| this.table_loaded(now_ms, load.clone(), out);
        let Some(table) = load.table.clone() else { return again(self, out) };
        let read = self.read_lane(now_ms, &load, out);
        let Ok(lane) = read else { return again(self, out) };
        let lane = lane.unwrap_or_default();
        let raced = opening.places.keys().any(|tp| lane.partitions.contains_key(tp));
        if raced || opening.identity != load.kafka.identity {
            return again(self, out);
        }
        let mut after = lane;
        for (partition, offset) in &opening.places {
            after.partitions.insert(partition.clone(), Progress::opened_at(*offset));
        }
        after.source = identity::recorded(&after.source, &load.kafka.identity, opening.places.keys().map(|tp| &tp.topic));
        let reset = opening.places.iter().map(|(tp, at)| (tp.clone(), ResetRange { from: None, to: *at })).collect();
        let mut lanes = lane::read_all(&table, self.memory.as_ref()).readable;
        lanes.insert(self.settings.lane.clone(), after);
        self.post(flight, table, lanes, Some(OwnChange::Reset(reset)), Vec::new(), Counts::default(), out);
    }

    pub(super) fn anchor_on_base(&mut self, now_ms: u64, flight: InFlight, load: Load, out: &mut Vec<Effect>) {
        let read = self.read_lane(now_ms, &load, out);
        let (Ok(Some(_)), Some(table), Some(_)) = (read, &load.table, self.needs_anchor_since_ms) else {
            return self.table_loaded(now_ms, load, out);
        };
        let lanes = lane::read_all(table, self.memory.as_ref()).readable;
        self.post(flight, table.clone(), lanes, None, Vec::new(), Counts::default(), out);
    }

    // ---- positions

    /// Step 2 for the batch in flight.
    pub(super) fn compare_batch(&self, batch: &Batch, lane: &Lane, kafka: &KafkaView) -> Option<Fence> {
        let other_epoch: BTreeSet<TopicPartition> = batch
            .spans
            .iter()
            .filter(|(tp, span)| !span.identity.is_still(&tp.topic, &kafka.identity))
            .map(|(tp, _)| tp.clone())
            .collect();
        if !other_epoch.is_empty() {
            let reason = "its records were read under another identity of their topic".into();
            return Some(Fence { reason, partitions: other_epoch });
        }
        let moved: BTreeMap<&TopicPartition, _> = batch
            .spans
            .iter()
            .filter_map(|(tp, span)| {
                let table = lane.progress(tp).map(|p| p.place());
                (!fits(table, span.start)).then_some((tp, (span.start, table)))
            })
            .collect();
        let (tp, (ours, table)) = moved.first_key_value()?;
        let table = table.map_or("nothing".into(), |t| format!("{} ({:?})", t.next_offset, t.max_event_time));
        let reason = format!(
            "the table has {table} for {tp} where the batch starts at {} ({:?})",
            ours.next_offset, ours.max_event_time
        );
        Some(Fence { reason, partitions: moved.keys().map(|tp| (*tp).clone()).collect() })
    }

    /// Step 2 for everything else that is assigned: a difference in the open batch's partitions drops the open batch
    /// whole, elsewhere it moves that partition only.
    pub(super) fn compare_open(
        &mut self,
        now_ms: u64,
        in_flight: Option<&Batch>,
        lane: &Lane,
        kafka: &KafkaView,
        out: &mut Vec<Effect>,
    ) {
        let empty = BTreeMap::new();
        let flying = in_flight.map_or(&empty, |b| &b.spans);
        let moved = self.out_of_place(flying, lane, kafka);
        if moved.is_empty() {
            return;
        }
        let open_falls = moved.iter().any(|tp| self.open.spans.contains_key(tp));
        let mut places: BTreeMap<TopicPartition, Option<Progress>> = BTreeMap::new();
        if open_falls {
            for partition in self.open.spans.keys().chain(self.open.idle.keys()) {
                places.insert(partition.clone(), behind(in_flight, partition, lane));
            }
            self.discard_open(out);
        }
        for partition in moved.into_iter().filter(|tp| !flying.contains_key(tp)) {
            places.insert(partition.clone(), lane.progress(&partition));
        }
        self.put(now_ms, places, kafka, "the table stands elsewhere", out);
    }

    /// Assigned partitions that stand elsewhere than the table, or were read from another topic. `flying`: compared with
    /// the batch in flight.
    fn out_of_place(
        &self,
        flying: &BTreeMap<TopicPartition, Span>,
        lane: &Lane,
        kafka: &KafkaView,
    ) -> BTreeSet<TopicPartition> {
        let differs = |partition: &TopicPartition, position: &Position| {
            let span = self.open.spans.get(partition);
            if planted(Bug::OnlyBatchPartitionsCompared) && span.is_none() {
                return false;
            }
            let expected = span.map_or(position.place, |span| span.start);
            let table = lane.progress(partition).map(|p| p.place());
            let moved = !flying.contains_key(partition) && !stands(table, expected);
            moved || !position.identity.is_still(&partition.topic, &kafka.identity)
        };
        let staying = self.owned.iter().filter(|(_, o)| !o.leaving);
        let placed = staying.filter_map(|(tp, o)| o.position.as_ref().map(|position| (tp, position)));
        placed.filter(|(tp, position)| differs(tp, position)).map(|(tp, _)| tp.clone()).collect()
    }

    /// Group offsets are for monitors and for the tripwire.
    pub(super) fn mirror(&mut self, lane: &Lane, commit: Option<CommitId>, out: &mut Vec<Effect>) {
        let Some(table) = self.table_uuid else { return };
        let offsets: BTreeMap<TopicPartition, Offset> = self
            .owned
            .iter()
            .filter(|(_, o)| o.position.is_some())
            .filter_map(|(tp, _)| lane.partitions.get(tp).map(|p| (tp.clone(), p.next_offset)))
            .collect();
        if !offsets.is_empty() {
            let commit = commit.or(self.last_commit);
            out.push(Effect::Mirror { offsets, table, commit });
        }
    }
}

/// Where a partition stands once the batch in flight is committed, if it is in there; else where the table has it.
fn behind(in_flight: Option<&Batch>, partition: &TopicPartition, lane: &Lane) -> Option<Progress> {
    let in_table = lane.progress(partition);
    let Some(batch) = in_flight else { return in_table };
    let idle = batch.idle.get(partition).copied().or(in_table.as_ref().map(|p| p.idle)).unwrap_or(false);
    match batch.spans.get(partition) {
        Some(span) => Some(Progress {
            next_offset: span.end.next_offset,
            max_event_time: span.end.max_event_time,
            idle,
            leader_epoch: span.leader_epoch,
        }),
        None => in_table.map(|progress| Progress { idle, ..progress }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The open batch fell alone and put its partitions back as awake, although the batch in flight commits them as idle: their
    /// next record would not have lowered the flag, and the watermark would have passed them.
    #[test]
    fn a_partition_is_put_back_with_the_idle_flag_of_the_batch_in_flight() {
        let partition = TopicPartition::new("t", 0);
        let lane = |idle| Lane {
            partitions: BTreeMap::from([(partition.clone(), Progress { idle, ..Progress::opened_at(5) })]),
            ..Lane::default()
        };
        for flag in [true, false] {
            let flying = Batch { idle: BTreeMap::from([(partition.clone(), flag)]), ..Batch::default() };
            let put = behind(Some(&flying), &partition, &lane(!flag)).expect("the table knows it");
            assert_eq!((put.next_offset, put.idle), (5, flag));
            let put = behind(Some(&Batch::default()), &partition, &lane(flag)).expect("the table knows it");
            assert_eq!(put.idle, flag, "the batch in flight says nothing of it");
        }
    }
}
