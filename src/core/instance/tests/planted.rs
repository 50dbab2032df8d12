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

#[test]
fn survey_of_all() {
    let only = std::env::var("BUG").ok();
    let n: u64 = std::env::var("SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    for bug in Bug::ALL.into_iter().filter(|b| only.as_ref().is_none_or(|o| b.name() == *o)) {
        let found = caught(bug, 0..n);
        eprintln!("RESULT {:32} {:?} {:?}", bug.name(), bug.breaks(), found);
    }
}
