//! Steps 1 to 5 of a commit, on a freshly loaded base: had it landed, does it fit, what does it hold already, send.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::core::batch::{Batch, Settled, Span, Survey};
use crate::core::event_time::LatePolicy;
use crate::core::identity;
use crate::core::instance::commit::{Attempt, InFlight, Phase, Work};
use crate::core::instance::*;
use crate::core::lane;
use crate::core::plan::SnapshotPlan;
use crate::core::planted::{Bug, planted};
use crate::core::table::*;
use crate::error::Stop;
use crate::types::*;

impl Instance {
    /// The base of the commit in flight has been loaded.
    pub(super) fn base_loaded(&mut self, now_ms: u64, load: Load, out: &mut Vec<Effect>) {
        let flight = self.in_flight.take().expect("a commit waits for this load");
        if planted(Bug::LibraryRebase) && self.can_rebase(&flight, &load) {
            return self.post_batch(flight, &load, out);
        }
        if let Some(table) = &load.table
            && let Some((commit, snapshot)) = table.find_commit(&flight.unsettled_commits())
        {
            self.landed(now_ms, flight, commit, snapshot, out);
            return self.table_loaded(now_ms, load, out);
        }
        if let Some(stop) = self.rejected_twice(&flight, &load) {
            self.in_flight = Some(flight);
            return out.push(Effect::Stop(stop));
        }
        match flight.work {
            Work::Batch(_) => self.batch_on_base(now_ms, flight, load, out),
            Work::Opening(_) => self.opening_on_base(now_ms, flight, load, out),
            // nothing of these is kept: what the table asks for is begun afresh
            Work::CreateTable => self.table_loaded(now_ms, load, out),
            Work::Anchor => self.anchor_on_base(now_ms, flight, load, out),
        }
    }

    fn batch_on_base(&mut self, now_ms: u64, flight: InFlight, load: Load, out: &mut Vec<Effect>) {
        let lane = match self.read_lane(now_ms, &load, out) {
            Ok(Some(lane)) => lane,
            // the table as it is now stops the lane: so does it the batch
            Ok(None) => return out.push(Effect::Stop(stops::lane_vanished(&self.settings.lane))),
            Err(stop) => return out.push(Effect::Stop(stop)),
        };
        let batch = flight.batch().expect("this is a batch");
        if let Some(fence) = self.compare_batch(batch, &lane, &load.kafka) {
            return self.fence(now_ms, flight, fence, &lane, &load.kafka, out);
        }
        self.compare_open(now_ms, Some(batch), &lane, &load.kafka, out);
        let Work::Batch(work) = &flight.work else { unreachable!("this is a batch") };
        let mut survey = work.sealed.survey_duplicates(&self.live, &self.coverage);
        if flight.posts == 0 || !planted(Bug::FirstProbeKept) {
            work.sealed.survey_pending(&mut survey, &self.live, &self.coverage);
        }
        if survey.lookups.is_empty() {
            return self.looked_up(now_ms, flight, load, survey, out);
        }
        let mut flight = flight;
        flight.ticket = self.ticket();
        let number = flight.batch_number().expect("this is a batch");
        out.push(Effect::Probe { ticket: flight.ticket, batch: number, lookups: survey.lookups.clone() });
        flight.phase = Phase::LookingUp { load: Box::new(load), survey };
        self.in_flight = Some(flight);
    }

    /// Everything asked of the base is known.
    pub(super) fn looked_up(
        &mut self,
        now_ms: u64,
        mut flight: InFlight,
        load: Load,
        survey: Survey,
        out: &mut Vec<Effect>,
    ) {
        let table = load.table.as_ref().expect("a batch is looked up on a table").clone();
        let Work::Batch(work) = &mut flight.work else { unreachable!("only batches are looked up") };
        let fallen: BTreeSet<EventHour> = work.sealed.fallen(&table.live, &survey).map(|r| r.hour).collect();
        if !fallen.is_empty() {
            let reason = format!("duplicates of hours {fallen:?} have no ground on the base any more");
            let lane = self.lane_of(&table).expect("read when the base was loaded");
            let partitions = flight.batch().into_iter().flat_map(|b| b.spans.keys()).cloned().collect();
            return self.fence(now_ms, flight, compare::Fence { reason, partitions }, &lane, &load.kafka, out);
        }
        let settled = work.sealed.settle(&table.live, &survey);
        if work.prepared && settled.taken_out.is_empty() {
            return self.post_batch(flight, &load, out);
        }
        let number = work.number;
        if work.prepared {
            flight.commit = None;
            work.files.retain(|f| !settled.taken_out.contains_key(&f.hour));
            flight.ticket = self.ticket();
            out.push(Effect::Rewrite { ticket: flight.ticket, batch: number, taken_out: settled.taken_out });
            flight.phase = Phase::Rewriting { load: Box::new(load) };
            self.in_flight = Some(flight);
            return;
        }
        self.prepare(now_ms, flight, load, settled, out);
    }

    fn prepare(&mut self, now_ms: u64, mut flight: InFlight, load: Load, settled: Settled, out: &mut Vec<Effect>) {
        let late_letters = match self.settings.event_time.late {
            LatePolicy::DeadLetter => settled.late.clone(),
            LatePolicy::Admit | LatePolicy::Drop => Vec::new(),
        };
        if let Work::Batch(work) = &mut flight.work {
            work.late = settled.late;
        }
        let batch = flight.batch().expect("only batches are prepared");
        let counts = batch.counts;
        let letters = counts.dead_lettered - batch.tombstones;
        let judged = self.breaker.judge(self.settings.breaker, now_ms, counts.consumed(), letters);
        if let Err(flood) = judged {
            let batch = flight.batch_number().expect("only batches are prepared");
            self.in_flight = Some(flight);
            out.push(Effect::Report(Report::Flood { flood, batch }));
            return out.push(Effect::Stop(stops::flood(flood, self.settings.breaker)));
        }
        // whoever holds the rows has to know of those taken out, also where none is left to write
        let untouched = batch.pending.values().all(|ids| ids.is_empty()) && settled.taken_out.is_empty();
        if untouched && counts.dead_lettered == 0 && late_letters.is_empty() {
            if let Work::Batch(work) = &mut flight.work {
                work.prepared = true;
            }
            return self.post_batch(flight, &load, out);
        }
        let number = flight.batch_number().expect("only batches are prepared");
        flight.ticket = self.ticket();
        flight.phase = Phase::Preparing;
        out.push(Effect::Prepare { ticket: flight.ticket, batch: number, taken_out: settled.taken_out, late: late_letters });
        self.in_flight = Some(flight);
    }

    pub(super) fn post_batch(&mut self, flight: InFlight, load: &Load, out: &mut Vec<Effect>) {
        let table = load.table.as_ref().expect("a batch is posted on a table");
        let Work::Batch(work) = &flight.work else { unreachable!("only batches are posted here") };
        let batch = &work.sealed.batch;
        let lanes = match flight.attempts.first() {
            Some(first) if planted(Bug::LanesOfOlderBase) => first.lanes.clone(),
            _ => self.merged_lanes(table, batch, &load.kafka.identity),
        };
        let own = OwnChange::Ranges { ranges: batch.ranges(), counts: batch.counts };
        let (files, counts) = (work.files.clone(), batch.counts);
        self.post(flight, table.clone(), lanes, Some(own), files, counts, out);
    }

    /// All lanes as this base has them, the own one as it stands behind the batch.
    fn merged_lanes(&self, table: &TableView, batch: &Batch, kafka: &SourceIdentity) -> BTreeMap<LaneName, Lane> {
        let mut lanes = lane::read_all(table, self.memory.as_ref()).readable;
        let base = self.lane_of(table).expect("read when the base was loaded");
        lanes.insert(self.settings.lane.clone(), self.lane_after(base, batch, kafka));
        lanes
    }

    /// For the bug that does as libraries do, which know nothing of positions: the request as it was, on the new head.
    fn can_rebase(&self, flight: &InFlight, load: &Load) -> bool {
        let Some(batch) = flight.batch().filter(|_| flight.posts > 0 && flight.rejected.is_none()) else { return false };
        let lane = load.table.as_ref().and_then(|table| self.lane_of(table));
        lane.is_some_and(|lane| batch.spans.keys().all(|tp| lane.partitions.contains_key(tp)))
    }

    /// The lane as it stands behind the batch.
    fn lane_after(&self, mut lane: Lane, batch: &Batch, kafka: &SourceIdentity) -> Lane {
        for (partition, span) in &batch.spans {
            let mut progress = lane.progress(partition).expect("compared with the lane: it has every partition");
            progress.next_offset = span.end.next_offset;
            progress.max_event_time = self.max_event_time_after(partition, span, &progress);
            progress.leader_epoch = span.leader_epoch.or(progress.leader_epoch);
            lane.partitions.insert(partition.clone(), progress);
        }
        for (partition, idle) in &batch.idle {
            if let Some(progress) = lane.partitions.get_mut(partition) {
                progress.idle = *idle;
            }
        }
        lane.totals.counts = lane.totals.counts + batch.counts;
        lane.source = identity::recorded(&lane.source, kafka, batch.spans.keys().map(|tp| &tp.topic));
        lane.watermark = lane.advanced_watermark(self.settings.event_time.watermark_delay);
        lane
    }

    /// The one at the batch's end, not what the open batch has raised since.
    fn max_event_time_after(&self, partition: &TopicPartition, span: &Span, before: &Progress) -> Option<Micros> {
        if planted(Bug::MaximaNotPersisted) {
            return before.max_event_time;
        }
        let read_since = self.owned.get(partition).and_then(|o| o.position.as_ref());
        match read_since {
            Some(position) if planted(Bug::MaximaAheadOfOffsets) => position.place.max_event_time,
            _ => span.end.max_event_time,
        }
    }

    #[allow(clippy::too_many_arguments)]
    pub(super) fn post(
        &mut self,
        mut flight: InFlight,
        base: Arc<TableView>,
        lanes: BTreeMap<LaneName, Lane>,
        own: Option<OwnChange>,
        files: Vec<AddedFile>,
        counts: Counts,
        out: &mut Vec<Effect>,
    ) {
        let commit = match flight.commit {
            Some(commit) => commit,
            None => self.commit_id(),
        };
        let before = flight.attempts.iter().find(|a| a.commit == commit).map_or(0, |a| a.sent);
        flight.attempts.retain(|a| a.commit != commit);
        flight.attempts.push(Attempt { commit, sent: before + 1, files: files.clone(), counts, lanes: lanes.clone() });
        flight.commit = Some(commit);
        flight.posts += 1;
        flight.ticket = self.ticket();
        flight.phase = Phase::Posting { base: base.metadata_location.clone() };
        let own = own.map(|change| (self.settings.lane.clone(), change));
        let plan = SnapshotPlan { commit_id: commit, lanes, own, retired: BTreeSet::new() };
        let files = files.into_iter().map(|f| f.path).collect();
        out.push(Effect::Post { ticket: flight.ticket, base, plan: Box::new(plan), files });
        self.in_flight = Some(flight);
    }

    fn rejected_twice(&self, flight: &InFlight, load: &Load) -> Option<Stop> {
        let (base, times, status, text) = flight.rejected.as_ref()?;
        let unchanged = load.table.as_ref().is_some_and(|t| t.metadata_location == *base);
        (unchanged && *times >= 2).then(|| stops::rejected(*status, text))
    }

    /// Our own answer, not the catalog's: the batch and the open one fall, positions are taken from the table.
    fn fence(
        &mut self,
        now_ms: u64,
        flight: InFlight,
        fence: compare::Fence,
        lane: &Lane,
        kafka: &KafkaView,
        out: &mut Vec<Effect>,
    ) {
        self.in_flight = Some(flight);
        match planted(Bug::OpenBatchKept) {
            false => self.discard_all("fenced", out),
            true => self.discard_in_flight("fenced", out),
        }
        self.fences_in_a_row += 1;
        let reason = fence.reason.clone();
        out.push(Effect::Report(Report::Fenced { reason: fence.reason, partitions: fence.partitions }));
        if self.fences_in_a_row >= 5 {
            return out.push(Effect::Stop(stops::fenced(self.fences_in_a_row, &reason)));
        }
        if planted(Bug::OpenBatchKept) {
            return self.compare_open(now_ms, None, lane, kafka, out);
        }
        let all = self.owned.iter().filter(|(_, o)| o.position.is_some()).map(|(tp, _)| tp.clone()).collect();
        self.place(now_ms, &all, lane, kafka, &reason, out);
    }
}
