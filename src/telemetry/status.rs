//! What the pipeline says of itself: one plain value, published after each change, and what follows from it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use serde::Serialize;

use super::logs::redact::Secrets;
use crate::ports::{Clock, Down};

/// The state of an instance as its HTTP pages show it. Times are RFC 3339, UTC.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct Status {
    pub phase: Phase,
    /// `group_id`, the lane.
    pub group: String,
    /// `namespace.table`.
    pub table: String,
    pub assignment: Assignment,
    /// The table was loaded at least once, and its identity checked.
    pub catalog_loaded: bool,
    /// Why the last batch fell, until positions are right again.
    pub fenced: Option<String>,
    /// Which stage makes no progress although all dependencies answer.
    pub stalled: Option<String>,
    pub dependencies: BTreeMap<&'static str, DependencyStatus>,
    /// Partitions of the lane, in order.
    pub partitions: Vec<PartitionStatus>,
    pub last_commit: Option<LastCommit>,
    pub watermark: Option<String>,
    pub memory: MemoryStatus,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    #[default]
    Starting,
    Running,
    Stopping,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Assignment {
    /// The group hasn't answered yet.
    #[default]
    Waiting,
    /// Member of the group, without partitions: there are fewer of them than members.
    StandingBy,
    Assigned,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum DependencyStatus {
    Up { since: String },
    Down { since: String, reason: String },
}

/// One partition, as `offsets describe` shows it. None is what isn't known, or not yet.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct PartitionStatus {
    pub topic: String,
    pub partition: i32,
    pub log_start_offset: Option<i64>,
    pub log_end_offset: Option<i64>,
    /// What lag is counted against: an open transaction holds it back.
    pub last_stable_offset: Option<i64>,
    /// Kafka's own, as last asked: mirrored after each commit.
    pub group_offset: Option<i64>,
    /// The truth.
    pub table_offset: Option<i64>,
    pub lag_records: Option<u64>,
    pub lag_seconds: Option<f64>,
    /// Client id of the member that owns it.
    pub owner: Option<String>,
    /// This process owns it and doesn't read from it at the moment.
    pub paused: bool,
    /// Silent for so long that it no longer holds the watermark back.
    pub idle: bool,
}

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct LastCommit {
    pub snapshot_id: i64,
    pub commit_id: String,
    pub timestamp: String,
    pub consumed: u64,
    pub written: u64,
    pub duplicate: u64,
    pub late: u64,
    pub dead_lettered: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct MemoryStatus {
    pub memory_max: u64,
    /// As the kernel counts it.
    pub resident: Option<u64>,
    pub parts: BTreeMap<&'static str, u64>,
}

/// One condition of readiness. `reason` says why it isn't met.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Check {
    pub name: String,
    pub reason: Option<String>,
}

impl Check {
    fn add(&mut self, reason: Option<String>) {
        self.reason = match (self.reason.take(), reason) {
            (Some(own), Some(more)) => Some(format!("{own}; {more}")),
            (own, more) => own.or(more),
        };
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Readiness {
    /// In the order in which a start meets them.
    pub checks: Vec<Check>,
}

impl Readiness {
    pub fn is_ready(&self) -> bool {
        self.checks.iter().all(|check| check.reason.is_none())
    }

    /// All reasons against, none when ready.
    pub fn reason(&self) -> Option<String> {
        let reasons: Vec<&str> = self.checks.iter().filter_map(|check| check.reason.as_deref()).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }
}

impl Status {
    /// Ready: running, assigned or standing by, the table loaded, not fenced, not stalled, no dependency down.
    pub fn readiness(&self) -> Readiness {
        let phase = match self.phase {
            Phase::Starting => Some("starting".into()),
            Phase::Running => None,
            Phase::Stopping => Some("stopping".into()),
        };
        let assignment =
            (self.assignment == Assignment::Waiting).then(|| "waiting for the group to assign partitions".into());
        let catalog = (!self.catalog_loaded).then(|| "the table is not loaded yet".into());
        let fenced = self.fenced.as_ref().map(|why| format!("fenced: {why}"));
        let stalled = self.stalled.as_ref().map(|why| format!("stalled: {why}"));
        let own =
            [("phase", phase), ("assignment", assignment), ("catalog", catalog), ("fence", fenced), ("progress", stalled)];
        let mut checks: Vec<Check> = own.into_iter().map(|(name, reason)| Check { name: name.into(), reason }).collect();
        let dependencies = self.dependencies.iter().map(|(name, status)| Check {
            name: name.to_string(),
            reason: match status {
                DependencyStatus::Up { .. } => None,
                DependencyStatus::Down { reason, since } => Some(format!("{name} is down since {since}: {reason}")),
            },
        });
        for dependency in dependencies {
            match checks.iter_mut().find(|check| check.name == dependency.name) {
                Some(same) => same.add(dependency.reason),
                None => checks.push(dependency),
            }
        }
        Readiness { checks }
    }

    /// The same with what is secret hidden in every text that came from outside.
    pub(super) fn without(mut self, secrets: &Secrets) -> Status {
        let hide = |text: &mut String| *text = secrets.hide(text).into_owned();
        self.fenced.iter_mut().chain(self.stalled.iter_mut()).for_each(hide);
        for status in self.dependencies.values_mut() {
            if let DependencyStatus::Down { reason, .. } = status {
                hide(reason);
            }
        }
        self
    }
}

/// Where the pipeline publishes its status and its heartbeat, and the pages read them.
#[derive(Debug, Default)]
pub struct Board {
    status: RwLock<Arc<Status>>,
    beat_ms: AtomicU64,
}

impl Board {
    pub fn publish(&self, status: Status) {
        *self.status.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(status);
    }

    pub fn read(&self) -> Arc<Status> {
        self.status.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The loop is alive: at least every few seconds, also while it waits. `now_ms` is monotonic.
    pub fn beat(&self, now_ms: u64) {
        self.beat_ms.fetch_max(now_ms, Ordering::Relaxed);
    }

    /// Milliseconds since the last beat.
    pub fn silent_for(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.beat_ms.load(Ordering::Relaxed))
    }
}

/// Which dependencies answer. A change is one log line, however often it is reported.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Dependencies(BTreeMap<&'static str, Dependency>);

#[derive(Clone, PartialEq, Eq, Debug)]
struct Dependency {
    since_wall_ms: i64,
    since_ms: u64,
    /// Why it is down; none while it is up.
    reason: Option<String>,
}

/// A dependency changed. The first answer of one that was never down is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    Down { dependency: &'static str, reason: String },
    Up { dependency: &'static str, after_ms: u64 },
}

impl Dependencies {
    /// It didn't answer. A new reason for the same state is kept and is no change.
    pub fn down(&mut self, down: &Down, clock: &dyn Clock) -> Option<Change> {
        let entry = self.0.get_mut(down.dependency);
        if let Some(Dependency { reason: Some(reason), .. }) = entry {
            reason.clone_from(&down.reason);
            return None;
        }
        self.0.insert(down.dependency, Dependency::now(Some(down.reason.clone()), clock));
        Some(Change::Down { dependency: down.dependency, reason: down.reason.clone() })
    }

    /// It answered.
    pub fn up(&mut self, dependency: &'static str, clock: &dyn Clock) -> Option<Change> {
        let before = self.0.get(dependency);
        if before.is_some_and(|known| known.reason.is_none()) {
            return None;
        }
        let down_since = before.map(|known| known.since_ms);
        self.0.insert(dependency, Dependency::now(None, clock));
        let after_ms = clock.monotonic_ms().saturating_sub(down_since?);
        Some(Change::Up { dependency, after_ms })
    }

    pub fn any_down(&self) -> bool {
        self.0.values().any(|known| known.reason.is_some())
    }

    /// For [`Status::dependencies`].
    pub fn status(&self) -> BTreeMap<&'static str, DependencyStatus> {
        self.0.iter().map(|(name, known)| (*name, known.status())).collect()
    }
}

impl Dependency {
    fn now(reason: Option<String>, clock: &dyn Clock) -> Dependency {
        Dependency { since_wall_ms: clock.wall_ms(), since_ms: clock.monotonic_ms(), reason }
    }

    fn status(&self) -> DependencyStatus {
        let since = rfc3339(self.since_wall_ms);
        match &self.reason {
            Some(reason) => DependencyStatus::Down { since, reason: reason.clone() },
            None => DependencyStatus::Up { since },
        }
    }
}

impl Change {
    /// Writes `dependency.down` or `dependency.up`.
    pub fn log(&self) {
        match self {
            Change::Down { dependency, reason } => tracing::warn!(
                event = "dependency.down",
                dependency,
                exception = reason.as_str(),
                "{dependency} does not answer: waiting, nothing is lost"
            ),
            Change::Up { dependency, after_ms } => {
                let down_seconds = *after_ms as f64 / 1e3;
                tracing::info!(event = "dependency.up", dependency, down_seconds, "{dependency} answers again");
            }
        }
    }
}

/// Milliseconds of Unix time as RFC 3339, UTC, for the texts of [`Status`].
pub fn rfc3339(wall_ms: i64) -> String {
    match chrono::DateTime::from_timestamp_millis(wall_ms) {
        Some(time) => time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        None => format!("{wall_ms} ms"),
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
pub(super) mod tests;
