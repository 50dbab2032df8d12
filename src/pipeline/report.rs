//! What the instance says of itself: log lines, metrics and the status page, from the core's reports.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::core::batch::Lookup;
use crate::core::breaker::Flood;
use crate::core::event_time::LatePolicy;
use crate::core::instance::*;
use crate::core::table::*;
use crate::error::Stop;
use crate::pipeline::Held;
use crate::pipeline::effects::{Names, Ports};
use crate::pipeline::lag::Timestamps;
use crate::pipeline::letters::LetterReasons;
use crate::pipeline::rows::TopicCounts;
use crate::pipeline::shown;
use crate::pipeline::standing::StandingWatch;
use crate::ports::*;
use crate::state::memory::{Account, Budget};
use crate::telemetry::logs::nested;
use crate::telemetry::metrics::{
    self, CommitOutcome, LateAction, Latency, LoadSource, LookupTier, Metrics, RegistryOutcome,
};
use crate::telemetry::status::{Assignment, Board, LastCommit, Phase, Status, rfc3339};
use crate::types::*;

#[derive(Clone)]
pub struct Telemetry {
    pub metrics: Arc<Metrics>,
    pub board: Arc<Board>,
    pub account: Arc<Account>,
    pub budget: Budget,
    /// Resident memory of the process in bytes; none where it can't be told.
    pub resident: fn() -> Option<u64>,
}

/// Requests to the schema registry, counted by whoever makes them.
type RegistryCounts = Arc<crate::decode::registry::RegistryRequests>;

impl Telemetry {
    /// Shows the registry's counts among the metrics.
    pub fn with_registry(self, requests: RegistryCounts) -> Self {
        let metrics = self.metrics.clone();
        tokio::spawn(async move {
            let mut shown = [0; 3];
            let mut every = tokio::time::interval(Duration::from_secs(1));
            loop {
                every.tick().await;
                let now = [&requests.known, &requests.unknown, &requests.failed].map(|n| n.load(Ordering::Relaxed));
                let outcomes = [RegistryOutcome::Known, RegistryOutcome::NotFound, RegistryOutcome::Failed];
                for ((outcome, now), shown) in outcomes.into_iter().zip(now).zip(&mut shown) {
                    (*shown..now).for_each(|_| metrics.registry_request(outcome));
                    *shown = now;
                }
            }
        });
        self
    }

    pub fn file_loaded(&self, source: LoadSource) {
        self.metrics.dedup.file_loaded(source);
    }

    pub fn letters_sent(&self, letters: &[Letter]) {
        let Some(all) = LetterReasons::of(letters) else { return };
        tracing::warn!(
            event = "dead_letter.sent",
            letters = letters.len(),
            reasons = nested(&all.reasons),
            first = all.first,
            offset = all.offset,
            reason = all.message,
            "records that can't become rows were sent to the dead-letter topic"
        );
    }
}

pub struct Reporter {
    pub telemetry: Telemetry,
    pub(super) ports: Ports,
    pub(super) names: Names,
    pub(super) status: Status,
    pub(super) lane: Option<Lane>,
    pub(super) standing: StandingWatch,
    /// Owned partitions aren't read from: what was delivered has to be judged first.
    pub(super) paused: bool,
    pub(super) timestamps: Timestamps,
    /// Next offset that is expected of the consumer.
    pub(super) delivered_to: BTreeMap<TopicPartition, Offset>,
    pub(super) assignment: Assignment,
    pub(super) known: Option<Known>,
    pub(super) stop_cleared: bool,
    pub(super) commits: u64,
    pub(super) swept_at: u64,
    pub(super) unreadable: BTreeSet<LaneName>,
    pub(super) last_status_ms: u64,
    pub(super) late: LatePolicy,
    pub(super) progress: Progressing,
    held_back: Option<LetterReasons>,
}

/// For the stall watchdog: when anything last moved.
pub(super) struct Progressing {
    pub since_ms: u64,
    pub mark: (u64, Option<CommitId>),
}

impl Reporter {
    pub fn new(telemetry: Telemetry, names: &Names, late: LatePolicy, ports: Ports) -> Self {
        for topic in &names.topics {
            telemetry.metrics.records.declare_topic(topic);
        }
        let status =
            Status { phase: Phase::Running, group: names.lane.to_string(), table: names.table.clone(), ..Status::default() };
        let since_ms = ports.clock.monotonic_ms();
        Self {
            standing: StandingWatch::start(ports.clone()),
            paused: false,
            ports,
            names: names.clone(),
            status,
            telemetry,
            lane: None,
            timestamps: Timestamps::default(),
            delivered_to: BTreeMap::new(),
            assignment: Assignment::Waiting,
            known: None,
            stop_cleared: false,
            commits: 0,
            swept_at: 0,
            unreadable: BTreeSet::new(),
            last_status_ms: 0,
            late,
            progress: Progressing { since_ms, mark: (0, None) },
            held_back: None,
        }
    }

    /// The lane as the table had it last.
    pub fn lane(&self) -> Option<&Lane> {
        self.lane.as_ref()
    }

    pub fn stopping(&mut self) {
        self.status.phase = Phase::Stopping;
        self.last_status_ms = 0;
    }

    // ---- the source

    /// In the ids that are in memory, when the records were judged.
    pub fn looked_up(&self, ids: usize) {
        self.telemetry.metrics.dedup.lookups(LookupTier::Hot, ids as u64);
    }

    pub fn fetched(&mut self, partition: &TopicPartition, chunk: &RecordChunk) {
        let (Some(first), Some(last)) = (chunk.frames.first(), chunk.frames.last()) else { return };
        let records = chunk.frames.len() as u64;
        let within = (last.offset - first.offset + 1) as u64 - records;
        self.telemetry.metrics.records.fetched(&partition.topic, records);
        self.passed(partition, first.offset, last.offset + 1);
        self.telemetry.metrics.records.offset_holes(&partition.topic, within);
        self.timestamps.delivered(partition, &chunk.frames);
    }

    /// The consumer stands at the log end: what was passed on the way there held no record.
    pub fn end_of_partition(&mut self, partition: &TopicPartition, offset: Offset) {
        self.passed(partition, offset, offset);
    }

    /// Delivery went on at `from` and stands at `to`: offsets since the last delivery are holes.
    fn passed(&mut self, partition: &TopicPartition, from: Offset, to: Offset) {
        if let Some(expected) = self.delivered_to.get_mut(partition) {
            let holes = (from - *expected).max(0) as u64;
            self.telemetry.metrics.records.offset_holes(&partition.topic, holes);
            *expected = to.max(*expected);
        }
    }

    pub fn assigned(&mut self, partitions: &[TopicPartition]) {
        self.telemetry.metrics.partitions.rebalanced();
        tracing::info!(
            event = "source.assigned",
            partitions = shown::list(partitions),
            count = partitions.len(),
            "assigned"
        );
        self.assignment = if partitions.is_empty() { Assignment::StandingBy } else { Assignment::Assigned };
    }

    pub fn revoked(&mut self, partitions: &[TopicPartition], lost: bool) {
        self.telemetry.metrics.partitions.rebalanced();
        tracing::info!(event = "source.revoked", partitions = shown::list(partitions), lost, "revoked");
        for partition in partitions {
            self.timestamps.forget(partition);
        }
    }

    pub fn paused(&mut self, partitions: usize) {
        self.paused = partitions > 0;
        self.telemetry.metrics.partitions.paused(partitions as u64);
    }

    pub fn probed(&self, lookups: &[Lookup]) {
        let ids: u64 = lookups.iter().map(|l| l.ids.len() as u64).sum();
        tracing::debug!(files = lookups.len(), ids, "looking ids up in files that aren't in memory");
    }

    // ---- the core's reports

    /// `held`: the rows of the batch that the report is about.
    pub(super) fn report(&mut self, report: Report, held: Option<&Held>) {
        match report {
            Report::Committed(committed) => self.committed(*committed, held),
            Report::Opened { partitions, commit, snapshot } => {
                tracing::info!(
                    event = "lane.opened", lane = %self.names.lane, partitions = shown::by_topic(&partitions), commit_id = %commit,
                    snapshot_id = snapshot.0, "the lane was opened for these partitions"
                );
            }
            Report::Anchored { snapshot } => {
                tracing::info!(
                    event = "iceberg.commit",
                    snapshot_id = snapshot.0,
                    kind = "anchor",
                    "another engine's head now has a snapshot of Sluice behind it"
                );
            }
            Report::Fenced { reason, partitions } => {
                self.telemetry.metrics.commits.attempted(CommitOutcome::Fenced);
                self.status.fenced = Some(reason.clone());
                tracing::warn!(
                    event = "iceberg.fenced",
                    reason,
                    partitions = shown::list(&partitions),
                    "the batch was given up: it doesn't fit the table any more, its records are read again"
                );
            }
            Report::Repositioned { partitions, reason } => {
                let offsets = shown::by_topic(partitions.iter().map(|(tp, place)| (tp, place.next_offset)));
                tracing::info!(
                    event = "source.positioned",
                    partitions = offsets,
                    reason,
                    "reading from the table's offsets"
                );
                self.delivered_to.extend(partitions.into_iter().map(|(tp, place)| (tp, place.next_offset)));
            }
            Report::Read { lane, others, table } => self.read(lane, others, &table),
            Report::LaneUnreadable { lane, why } => {
                if lane != self.names.lane && self.unreadable.insert(lane.clone()) {
                    tracing::warn!(%lane, why, "another lane of the table can't be read: it is neither carried nor touched");
                }
            }
            Report::Conflict { attempts } => {
                tracing::debug!(attempts, "the commit is tried again on the table as it is now")
            }
            Report::Discarded { commits, files, reason } => {
                tracing::warn!(
                    commits = shown::names(commits),
                    files = files.len(),
                    reason,
                    "commits whose outcome isn't known were given up; the table decides"
                );
            }
            Report::Flood { flood, .. } => self.flooded(flood, held),
        }
    }

    fn flooded(&mut self, flood: Flood, held: Option<&Held>) {
        let reasons = held.and_then(|held| LetterReasons::against_the_rate(&held.rows.letters));
        let first = reasons.as_ref();
        tracing::error!(
            event = "dead_letter.rate_exceeded",
            letters = flood.letters,
            records = flood.records,
            reasons = first.map(|r| nested(&r.reasons)),
            first = first.map(|r| r.first.as_str()),
            offset = first.map(|r| r.offset),
            reason = first.map(|r| r.message.as_str()),
            "dead letters above dead_letter.rate_max: nothing of this batch was sent"
        );
        self.held_back = reasons;
    }

    /// The core's stop, with what the core doesn't hold: the letters that the breaker held back.
    pub(super) fn told(&self, stop: Stop) -> Stop {
        match &self.held_back {
            Some(reasons) => reasons.told_with(stop),
            None => stop,
        }
    }

    fn read(&mut self, lane: Lane, others: Vec<LaneName>, table: &TableView) {
        self.status.catalog_loaded = true;
        let unsubscribed: Vec<Topic> = lane.topics().into_iter().filter(|t| !self.names.topics.contains(t)).collect();
        if self.lane.is_none() {
            tracing::info!(lane = %self.names.lane, others = shown::names(others), files = table.live.len(),
                head = table.head.map_or(0, |h| h.0), "the lane was read from the table");
            if !unsubscribed.is_empty() {
                tracing::warn!(
                    topics = shown::names(unsubscribed),
                    "the lane has topics that aren't in kafka.topics: they are carried on unread"
                );
            }
        }
        self.remember(&lane, table.uuid);
        self.lane = Some(lane);
    }

    /// Keeps for the tripwire what the table was seen to know.
    fn remember(&mut self, lane: &Lane, uuid: u128) {
        let known = Known {
            table: self.names.table.clone(),
            table_uuid: uuid::Uuid::from_u128(uuid),
            group: self.names.lane.to_string(),
            topics: lane.topics().iter().map(ToString::to_string).collect(),
            last_commit: None,
        };
        if self.known.as_ref() != Some(&known) {
            self.known = Some(known.clone());
            let notes = self.ports.notes.clone();
            tokio::spawn(async move { notes.remember(known).await });
        }
    }

    fn committed(&mut self, committed: Committed, held: Option<&Held>) {
        self.commits += 1;
        let metrics = &self.telemetry.metrics;
        let now_ms = self.ports.clock.wall_ms();
        let since_ms = held.map_or(0, |held| self.ports.clock.monotonic_ms() - held.sealed_ms);
        let took = Duration::from_millis(since_ms);
        metrics.commits.committed(committed.attempts, took, now_ms);
        if let Some(Held { rows, taken_out, .. }) = held {
            let topics = rows.topic_counts(taken_out, &committed.late);
            for (topic, counts) in &topics {
                self.count_topic(topic, counts);
            }
            metrics.records.latencies(rows.written_times(taken_out).map(|(row, rows)| Latency {
                event_to_commit: (now_ms * 1000 - row.event_time) as f64 / 1e6,
                silver_to_gold: row.broker_ms.map(|at| (now_ms - at) as f64 / 1e3),
                rows,
            }));
        }
        metrics.commits.watermark(committed.lane.watermark);
        let ranges = shown::by_topic(committed.ranges.iter().map(|(tp, r)| (tp, (r.start, r.end))));
        let counts = committed.counts;
        tracing::info!(
            event = "iceberg.commit", snapshot_id = committed.snapshot.0, commit_id = %committed.commit,
            consumed = counts.consumed(), written = counts.written, duplicate = counts.duplicate, late = counts.late,
            dead_lettered = counts.dead_lettered, files = committed.files.len(), attempts = committed.attempts,
            took_ms = took.as_millis() as u64, ranges, "committed"
        );
        self.status.fenced = None;
        self.status.watermark = committed.lane.watermark.map(|w| rfc3339(w.div_euclid(1000)));
        self.status.last_commit = Some(LastCommit {
            snapshot_id: committed.snapshot.0,
            commit_id: committed.commit.to_string(),
            timestamp: rfc3339(now_ms),
            consumed: counts.consumed(),
            written: counts.written,
            duplicate: counts.duplicate,
            late: counts.late,
            dead_lettered: counts.dead_lettered,
        });
        self.lane = Some(committed.lane);
        if !std::mem::replace(&mut self.stop_cleared, true) {
            let notes = self.ports.notes.clone();
            tokio::spawn(async move { notes.clear_stop().await });
        }
    }

    fn count_topic(&self, topic: &Topic, counts: &TopicCounts) {
        let records = &self.telemetry.metrics.records;
        let committed =
            metrics::TopicCounts { consumed: counts.consumed(), written: counts.written, duplicate: counts.duplicate };
        records.committed(topic, committed);
        records.late(topic, LateAction::Admitted, counts.late_admitted);
        let action = match self.late {
            LatePolicy::DeadLetter => LateAction::DeadLettered,
            LatePolicy::Admit | LatePolicy::Drop => LateAction::Dropped,
        };
        records.late(topic, action, counts.late);
        for (reason, letters) in &counts.dead_lettered {
            records.dead_lettered(topic, reason, *letters);
        }
    }
}
