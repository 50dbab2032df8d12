//! One request to commit, and how it ended.

use std::sync::Arc;
use std::time::Instant;

use crate::ports::{Outcome, WrittenFile};
use crate::telemetry::metrics::{CommitOutcome, Metrics};
use crate::types::CommitId;

/// One request to commit on its way.
pub struct Posting {
    metrics: Arc<Metrics>,
    commit: CommitId,
    since: Instant,
}

impl Posting {
    pub fn of(commit: CommitId, metrics: Arc<Metrics>) -> Self {
        Self { metrics, commit, since: Instant::now() }
    }

    pub fn posted(self, outcome: &Outcome, files: &[WrittenFile]) {
        let commits = &self.metrics.commits;
        commits.phase("post", self.since.elapsed());
        let commit = self.commit;
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
                tracing::error!(commit_id = %commit, status, text, "the catalog rejected the commit");
            }
        }
    }
}
