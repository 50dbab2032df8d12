//! `sluice verify`: judges one fixed snapshot from the outside. It shares no rule with the code that writes: what the
//! table's history must look like, which rows must be live, and what a fold over the Kafka log says must be in Gold are
//! all stated here a second time, so that a fault of the writer can't excuse itself.
//!
//! Everything is plain values. Callers read; [`lineage`] walks the snapshots, [`head`] compares property and tag,
//! [`files`] and [`duplicates`] take the live rows as readers see them, [`log`] takes the records of Kafka. Nothing is
//! held per row but a fingerprint; [`Shard`] splits what doesn't fit the budget into passes over the same input.

pub mod duplicates;
pub mod files;
pub mod finding;
pub mod head;
pub mod history;
pub mod key;
mod lane_step;
pub mod lineage;
pub mod log;

pub use duplicates::{ExactScan, LiveKey, SuspectScan};
pub use files::{FileFacts, FileLoss, LiveRow, LiveRows};
pub use finding::{Check, Finding, Findings, Weight};
pub use head::{HeadState, judge_head};
pub use history::{HistoryEnd, HistorySnapshot, Operation, Stated};
pub use key::{Key, RowPrint, Shard};
pub use lineage::{LaneHistory, Lineage, judge_lineage};
pub use log::{GoldRow, LogAudit, LogEvent, LogState, ReadRange};

use crate::error::{Exit, Stop};

#[cfg(test)]
mod tests;

/// How much was looked at: a clean answer over nothing proves nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scope {
    pub snapshots: u64,
    pub lanes: u64,
    pub partitions: u64,
    pub ranges: u64,
    pub files: u64,
    /// Live rows, delete files applied.
    pub rows: u64,
    pub hours: u64,
    /// Records of Kafka that were read again; none without `--deep`.
    pub records: Option<u64>,
}

/// The answer of `sluice verify`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    pub snapshot: Option<crate::types::SnapshotId>,
    pub scope: Scope,
    pub findings: Findings,
}

impl Report {
    /// What the process ends with: none is exit 0. `strict` counts what can't be proven like a violation.
    pub fn stop(&self, strict: bool) -> Option<Stop> {
        let violations = self.findings.count(Weight::Violation);
        let unprovable = self.findings.count(Weight::Unprovable);
        if violations > 0 {
            return Some(Stop::new(
                Exit::Inconsistent,
                format!("the table breaks {violations} of the promises that verify checks"),
                "read the findings above: each names the snapshot, partition or file it is about",
            ));
        }
        (strict && unprovable > 0).then(|| {
            Stop::new(
                Exit::Inconsistent,
                format!("{unprovable} promises can't be proven, and --strict was given"),
                "read the findings above; without --strict they don't fail the command",
            )
        })
    }
}
