//! The planted bugs that these histories can reach: each is caught, and the harmless ones harm nothing.

use std::panic::catch_unwind;

use super::driver::{Driver, Faults};
use crate::core::planted::{Bug, plant};

const ALL_FAULTS: Faults = Faults {
    crash: true,
    lost_answers: true,
    moves: true,
    roll_back: true,
    delete: true,
    compact: true,
    expire: true,
    evict: true,
    join: true,
};

/// Histories from gentle to harsh: what one kind of fault hides, another shows.
fn fault_sets() -> [(usize, Faults); 5] {
    let none = Faults::default();
    [
        (2, none),
        (3, Faults { crash: true, lost_answers: true, moves: true, evict: true, ..none }),
        (2, Faults { roll_back: true, lost_answers: true, crash: true, ..none }),
        (2, Faults { delete: true, compact: true, evict: true, lost_answers: true, moves: true, ..none }),
        (2, ALL_FAULTS),
    ]
}

/// The first seed at which a history with this bug breaks a rule, and how.
fn caught(bug: Bug, seeds: std::ops::Range<u64>) -> Option<(u64, String)> {
    plant(Some(bug));
    let broken = seeds.into_iter().find_map(|seed| {
        let told = fault_sets().into_iter().find_map(|(nodes, faults)| {
            match catch_unwind(|| Driver::new(seed, nodes, faults).run(600)) {
                Ok(Ok(_)) => None,
                Ok(Err(violation)) => Some(format!("{violation:?}")),
                Err(panic) => Some(match panic.downcast_ref::<String>() {
                    Some(text) => format!("PANIC {text}"),
                    None => "PANIC".to_string(),
                }),
            }
        });
        told.map(|told| (seed, told))
    });
    plant(None);
    broken
}

/// Those whose consequences these histories and their oracle can see, all within a hundred seeds.
const WITHIN_REACH: [Bug; 14] = [
    Bug::NoFence,
    Bug::AtLeastForEqual,
    Bug::LibraryRebase,
    Bug::CoveragePerInstance,
    Bug::DuplicatesNotLookedUpAgain,
    Bug::VerdictOnPendingKept,
    Bug::ProbeHitKept,
    Bug::FirstProbeKept,
    Bug::PropertyBelieved,
    Bug::LanesOfOlderBase,
    Bug::SeenBeforeCommit,
    Bug::ContiguityDemanded,
    Bug::MissingPartitionIsZero,
    Bug::KeyWidenedToNeighbours,
];

#[test]
fn random_histories_catch_the_bugs_that_they_can_reach() {
    let mut missed = Vec::new();
    for bug in WITHIN_REACH {
        match caught(bug, 0..100) {
            Some((seed, how)) => eprintln!("{:<32} {:<18} seed {seed}: {how}", bug.name(), format!("{:?}", bug.breaks())),
            None => missed.push(bug),
        }
    }
    assert_eq!(missed, []);
}

#[test]
fn the_harmless_ones_harm_nothing() {
    for bug in Bug::ALL.into_iter().filter(|bug| bug.breaks().is_none()) {
        assert_eq!(caught(bug, 0..200), None, "{}", bug.name());
    }
}
