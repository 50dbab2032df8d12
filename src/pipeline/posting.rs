//! The parts of a commit as they are carried out: how long each took, and how a request to the catalog ended.

use std::future::Future;
use std::time::Duration;

use crate::pipeline::report::Telemetry;
use crate::ports::{Clock, Outcome, WrittenFile};
use crate::telemetry::metrics::{CommitOutcome, CommitPhase};
use crate::types::CommitId;

impl Telemetry {
    /// Does one part of a commit and tells how long it took. One that is given up tells nothing.
    pub async fn timed<T>(&self, phase: CommitPhase, clock: &dyn Clock, part: impl Future<Output = T>) -> T {
        let since_ms = clock.monotonic_ms();
        let done = part.await;
        self.metrics.commits.phase(phase, Duration::from_millis(clock.monotonic_ms() - since_ms));
        done
    }

    /// A request to commit has ended.
    pub fn posted(&self, commit: CommitId, outcome: &Outcome, files: &[WrittenFile]) {
        let commits = &self.metrics.commits;
        match outcome {
            Outcome::Committed(_) => {
                commits.attempted(CommitOutcome::Committed);
                files.iter().for_each(|f| commits.data_file(f.bytes));
            }
            Outcome::NotSent(why) => {
                commits.attempted(CommitOutcome::NotSent);
                tracing::warn!(commit_id = %commit, why, "the commit was not sent; it is tried again");
            }
            Outcome::Conflict(why) => {
                commits.attempted(CommitOutcome::Conflict);
                tracing::info!(commit_id = %commit, why, "the table moved on; the commit is tried again");
            }
            Outcome::Unknown(why) => {
                commits.attempted(CommitOutcome::Unknown);
                tracing::warn!(commit_id = %commit, why, "it isn't known whether the commit landed: the table is asked");
            }
            Outcome::Rejected { status, text } => {
                commits.attempted(CommitOutcome::Rejected);
                tracing::error!(
                    event = "iceberg.rejected", commit_id = %commit, status, text,
                    "the catalog rejected the commit: mend what it names"
                );
            }
        }
    }
}
