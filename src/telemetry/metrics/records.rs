//! Records by topic and verdict. All but the fetched ones count when they are committed.

use prometheus::local::LocalHistogram;
use prometheus::{Histogram, IntCounterVec};

use super::registry::Registered;

/// Buckets for latencies from a record to its commit: a commit interval is 30 s, and 60 s is what is promised.
const LATENCY_SECONDS: [f64; 13] = [0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0, 300.0, 900.0];

pub struct Records {
    consumed: IntCounterVec,
    written: IntCounterVec,
    duplicate: IntCounterVec,
    late: IntCounterVec,
    dead_lettered: IntCounterVec,
    fetched: IntCounterVec,
    offset_holes: IntCounterVec,
    event_to_commit: Histogram,
    silver_to_gold: Histogram,
}

/// Records of one topic that a commit made final.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TopicCounts {
    pub consumed: u64,
    pub written: u64,
    pub duplicate: u64,
}

/// `sluice_records_late_total{action}`: what became of a late record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LateAction {
    /// Written although late, and in no other count but `written`.
    Admitted,
    DeadLettered,
    Dropped,
}

/// How long a written record took, in seconds, and how many records it stands for.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Latency {
    /// Since its event time.
    pub event_to_commit: f64,
    /// Since its broker timestamp, where it has one.
    pub silver_to_gold: Option<f64>,
    pub rows: u64,
}

impl LateAction {
    const ALL: [Self; 3] = [Self::Admitted, Self::DeadLettered, Self::Dropped];

    fn label(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::DeadLettered => "dead_lettered",
            Self::Dropped => "dropped",
        }
    }
}

impl Records {
    pub(super) fn new(r: &Registered) -> Records {
        let by_topic = |name, help| r.counters(name, help, &["topic"]);
        Records {
            consumed: by_topic("sluice_records_consumed_total", "Records that commits passed, whatever their verdict."),
            written: by_topic("sluice_records_written_total", "Records that commits wrote to Gold."),
            duplicate: by_topic("sluice_records_duplicate_total", "Records whose id was in their hour of Gold already."),
            late: r.counters(
                "sluice_records_late_total",
                "Late records by what became of them; admitted ones were written as well.",
                &["topic", "action"],
            ),
            dead_lettered: r.counters(
                "sluice_records_dead_lettered_total",
                "Records sent to the dead-letter topic for what they are; late ones count as late.",
                &["topic", "reason"],
            ),
            fetched: by_topic("sluice_records_fetched_total", "Records delivered by Kafka, committed or not."),
            offset_holes: by_topic("sluice_offset_holes_total", "Offsets without a record between delivered ones."),
            event_to_commit: r.histogram(
                "sluice_event_to_commit_latency_seconds",
                "From a record's event time to its commit, of every record written; in a commit of more than 1024, every \
                 second (fourth, eighth ...) counts for those behind it.",
                &LATENCY_SECONDS,
            ),
            silver_to_gold: r.histogram(
                "sluice_silver_to_gold_latency_seconds",
                "From a record's broker timestamp to its commit, of every record written that has one; in a commit of more \
                 than 1024, every second (fourth, eighth ...) counts for those behind it.",
                &LATENCY_SECONDS,
            ),
        }
    }

    /// Lets the counters of a topic begin at 0, so that its first records show as an increase.
    pub fn declare_topic(&self, topic: &str) {
        for counters in [&self.consumed, &self.written, &self.duplicate, &self.fetched, &self.offset_holes] {
            counters.with_label_values(&[topic]);
        }
        for action in LateAction::ALL {
            self.late.with_label_values(&[topic, action.label()]);
        }
    }

    /// A commit's records of one topic.
    pub fn committed(&self, topic: &str, counts: TopicCounts) {
        self.consumed.with_label_values(&[topic]).inc_by(counts.consumed);
        self.written.with_label_values(&[topic]).inc_by(counts.written);
        self.duplicate.with_label_values(&[topic]).inc_by(counts.duplicate);
    }

    /// A commit's late records of one topic.
    pub fn late(&self, topic: &str, action: LateAction, records: u64) {
        self.late.with_label_values(&[topic, action.label()]).inc_by(records);
    }

    /// A commit's dead letters of one topic; `reason` is the letter's stable short name.
    pub fn dead_lettered(&self, topic: &str, reason: &'static str, records: u64) {
        self.dead_lettered.with_label_values(&[topic, reason]).inc_by(records);
    }

    pub fn fetched(&self, topic: &str, records: u64) {
        self.fetched.with_label_values(&[topic]).inc_by(records);
    }

    /// `offsets`: how many were missing between two delivered ones.
    pub fn offset_holes(&self, topic: &str, offsets: u64) {
        self.offset_holes.with_label_values(&[topic]).inc_by(offsets);
    }

    /// Latencies of a commit's records. Negative ones, from clocks that differ, count as 0.
    pub fn latencies(&self, all: impl Iterator<Item = Latency>) {
        // local: a commit has up to millions of records, and this is no atomic write for each
        let (event_to_commit, silver_to_gold) = (self.event_to_commit.local(), self.silver_to_gold.local());
        for latency in all {
            let observe = |histogram: &LocalHistogram, seconds: f64| {
                (0..latency.rows).for_each(|_| histogram.observe(seconds.max(0.0)));
            };
            observe(&event_to_commit, latency.event_to_commit);
            if let Some(seconds) = latency.silver_to_gold {
                observe(&silver_to_gold, seconds);
            }
        }
        event_to_commit.flush();
        silver_to_gold.flush();
    }
}
