//! Planted bugs, one after the other: how many seeds each takes to be seen.

use crate::core::invariant::Invariant;
use crate::core::planted::{Bug, plant};
use crate::sim::run::run;
use crate::sim::scenario::Scenario;

/// What became of one planted bug.
#[derive(Clone, Debug)]
pub struct Caught {
    pub bug: Bug,
    /// Seeds until it was seen, and what was seen; none where it wasn't.
    pub after: Option<(u64, Invariant, String)>,
}

/// Runs seeds from `first` with the bug on, until an invariant breaks.
pub fn hunt(bug: Bug, first: u64, seeds: u64) -> Caught {
    plant(Some(bug));
    let broken = (0..seeds).find_map(|n| {
        let violation = run(&Scenario::of(first + n), false).violation?;
        Some((n + 1, violation.invariant, violation.what))
    });
    plant(None);
    Caught { bug, after: broken }
}
