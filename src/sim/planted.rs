//! Planted bugs, one after the other: how many seeds each takes to be seen.

use crate::core::invariant::Invariant;
use crate::core::planted::{Bug, plant};
use crate::sim::run::run;
use crate::sim::scenario::Scenario;

/// What became of one planted bug.
#[derive(Clone, Debug)]
pub struct Caught {
    pub bug: Bug,
    /// Seeds until anything was seen, and what.
    pub first: Option<(u64, Invariant)>,
    /// Seeds until what it must break was seen to be broken, and how; of a harmless bug, whatever was seen.
    pub seen: Option<(u64, Invariant, String)>,
}

/// Runs seeds from `first` with the bug on, until the invariant breaks that it must break.
pub fn hunt(bug: Bug, first: u64, seeds: u64) -> Caught {
    plant(Some(bug));
    let mut caught = Caught { bug, first: None, seen: None };
    for n in 0..seeds {
        let Some(violation) = run(&Scenario::of(first + n), false).violation else { continue };
        caught.first.get_or_insert((n + 1, violation.invariant));
        if bug.breaks().is_none_or(|promised| promised == violation.invariant) {
            caught.seen = Some((n + 1, violation.invariant, violation.what));
            break;
        }
    }
    plant(None);
    caught
}
