//! Commits: attempts, outcomes, durations, files, and the watermark that they carry.

use std::time::Duration;

use prometheus::{Gauge, Histogram, HistogramVec, IntCounter, IntCounterVec};

use super::registry::Registered;

const COMMIT_SECONDS: [f64; 13] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
const ATTEMPTS: [f64; 8] = [1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 21.0, 34.0];
/// 16 KiB to 1 GiB.
const FILE_BYTES: [f64; 9] =
    [16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 67_108_864.0, 268_435_456.0, 1_073_741_824.0];

pub struct Commits {
    outcomes: IntCounterVec,
    attempts: Histogram,
    duration: Histogram,
    phase_duration: HistogramVec,
    last: Gauge,
    watermark: Gauge,
    data_files: IntCounter,
    file_size: Histogram,
}

/// `sluice_commits_total{outcome}`: how an attempt to commit ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommitOutcome {
    Committed,
    Conflict,
    Unknown,
    Rejected,
    NotSent,
    /// Our own answer: the table moved on, and the batch fell before it was sent.
    Fenced,
}

impl CommitOutcome {
    const ALL: [Self; 6] = [Self::Committed, Self::Conflict, Self::Unknown, Self::Rejected, Self::NotSent, Self::Fenced];

    fn label(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Conflict => "conflict",
            Self::Unknown => "unknown",
            Self::Rejected => "rejected",
            Self::NotSent => "not_sent",
            Self::Fenced => "fenced",
        }
    }
}

/// `sluice_commit_phase_duration_seconds{phase}`: a part of a commit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CommitPhase {
    /// The table's head, and what Kafka says of the topics.
    Load,
    /// Ids looked up in data files that aren't in memory.
    Probe,
    /// Dead letters until the last is acknowledged.
    Letters,
    /// Data files until all are durable.
    Files,
    /// One request to the catalog.
    Post,
    /// The pause before the next attempt.
    BackOff,
}

impl CommitPhase {
    const ALL: [Self; 6] = [Self::Load, Self::Probe, Self::Letters, Self::Files, Self::Post, Self::BackOff];

    fn label(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Probe => "probe",
            Self::Letters => "letters",
            Self::Files => "files",
            Self::Post => "post",
            Self::BackOff => "back_off",
        }
    }
}

impl Commits {
    pub(super) fn new(r: &Registered) -> Commits {
        let commits = Commits {
            outcomes: r.counters("sluice_commits_total", "Attempts to commit by their outcome.", &["outcome"]),
            attempts: r.histogram("sluice_commit_attempts", "Attempts that a commit took.", &ATTEMPTS),
            duration: r.histogram(
                "sluice_commit_duration_seconds",
                "From sealing a batch to its committed snapshot.",
                &COMMIT_SECONDS,
            ),
            phase_duration: r.histograms(
                "sluice_commit_phase_duration_seconds",
                "Parts of a commit, each with what it waited for: load (the table's head and Kafka's topics), probe (ids \
                 looked up in data files that are not in memory), letters (dead letters acknowledged), files (data files \
                 durable), post (one request to the catalog), back_off (the pause before the next attempt).",
                &["phase"],
                &COMMIT_SECONDS,
            ),
            last: r.float_gauge("sluice_last_commit_timestamp_seconds", "Unix time of this process's last commit."),
            watermark: r.float_gauge(
                "sluice_watermark_timestamp_seconds",
                "Event-time watermark of the lane as Unix time, 0 while there is none.",
            ),
            data_files: r.counter("sluice_data_files_total", "Data files that commits added to the table."),
            file_size: r.histogram("sluice_file_size_bytes", "Sizes of the data files that commits added.", &FILE_BYTES),
        };
        for o in CommitOutcome::ALL {
            commits.outcomes.with_label_values(&[o.label()]);
        }
        for p in CommitPhase::ALL {
            commits.phase_duration.with_label_values(&[p.label()]);
        }
        commits
    }

    /// One attempt to commit has ended.
    pub fn attempted(&self, outcome: CommitOutcome) {
        self.outcomes.with_label_values(&[outcome.label()]).inc();
    }

    /// A commit has landed: how many attempts and how long it took from sealing, and when it was (milliseconds of Unix
    /// time).
    pub fn committed(&self, attempts: u32, took: Duration, at_ms: i64) {
        self.attempts.observe(f64::from(attempts));
        self.duration.observe(took.as_secs_f64());
        self.last.set(at_ms as f64 / 1e3);
    }

    /// One part of a commit has ended.
    pub fn phase(&self, phase: CommitPhase, took: Duration) {
        self.phase_duration.with_label_values(&[phase.label()]).observe(took.as_secs_f64());
    }

    /// A data file of a commit that has landed.
    pub fn data_file(&self, bytes: u64) {
        self.data_files.inc();
        self.file_size.observe(bytes as f64);
    }

    /// Event time in microseconds; none while the lane has no watermark.
    pub fn watermark(&self, micros: Option<i64>) {
        self.watermark.set(micros.map_or(0.0, |t| t as f64 / 1e6));
    }
}
