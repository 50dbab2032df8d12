//! Event time: what is late, who is idle.

use crate::types::*;

/// What becomes of a record behind its own partition's greatest event time less the delay.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LatePolicy {
    /// Written, deduplicated like any other.
    Admit,
    DeadLetter,
    Drop,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EventTimeRules {
    pub watermark_delay: Micros,
    pub late: LatePolicy,
    pub idle_timeout_ms: u64,
}

impl EventTimeRules {
    /// Late by its own partition's greatest event time before it, and by nothing else: the same for any number of
    /// instances and after every roll-back.
    pub fn is_late(&self, time: Micros, max_before: Option<Micros>) -> bool {
        max_before.is_some_and(|max| time < max.saturating_sub(self.watermark_delay))
    }
}
