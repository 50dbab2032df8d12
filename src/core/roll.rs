//! When a batch ends.

use crate::core::batch::Batch;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RollRules {
    pub commit_interval_ms: u64,
    pub idle_commit_interval_ms: u64,
    pub batch_rows_max: u64,
    pub batch_bytes_max: u64,
}

impl RollRules {
    /// Has so much that it ends whatever its age. Until it can be sealed, nothing more is read. `bytes`: Arrow memory of
    /// its rows.
    pub fn is_full(&self, batch: &Batch, bytes: u64) -> bool {
        batch.counts.consumed() >= self.batch_rows_max || bytes >= self.batch_bytes_max
    }

    /// When the batch is due by age, in milliseconds of the monotonic clock; none while it is empty. `at_log_end`: there is
    /// nothing more to read, so progress without content doesn't wait for more.
    pub fn due_ms(&self, batch: &Batch, at_log_end: bool) -> Option<u64> {
        let by_content = batch.first_content_ms.map(|t| t + self.commit_interval_ms);
        let wait = if at_log_end { self.commit_interval_ms } else { self.idle_commit_interval_ms };
        let by_progress = batch.first_progress_ms.map(|t| t + wait);
        match (by_content, by_progress) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }
}
