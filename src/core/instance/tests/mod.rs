//! The protocol under histories: random ones from seeds, and those that broke an earlier draft, step by step.

mod all_taken_out;
mod assigned_anew;
mod closing;
mod driver;
mod node;
mod operator;
mod oracle;
#[cfg(feature = "planted-bugs")]
mod planted_decisions;
mod scene;
mod world;

use driver::{Driver, Faults, Told};

fn histories(seeds: std::ops::Range<u64>, nodes: usize, faults: Faults) -> Told {
    let mut all = Told::default();
    for seed in seeds {
        let told = match std::panic::catch_unwind(|| Driver::new(seed, nodes, faults).run(600)) {
            Ok(Ok(told)) => told,
            Ok(Err(violation)) => panic!("seed {seed}, {nodes} nodes: {violation:?}"),
            Err(panic) => {
                eprintln!("seed {seed}, {nodes} nodes");
                std::panic::resume_unwind(panic)
            }
        };
        all.commits += told.commits;
        all.stops += told.stops;
        all.crashes += told.crashes;
        all.moves += told.moves;
        all.fenced += told.fenced;
        all.held += told.held;
        all.foreign += told.foreign;
        all.refused += told.refused;
    }
    eprintln!("{all:?}");
    all
}

#[test]
fn without_faults_two_instances_reading_the_same_ids_write_each_once() {
    let told = histories(0..2_000, 2, Faults::default());
    assert_eq!(told.stops, 0);
    assert!(told.commits > 4_000, "{told:?}");
}

#[test]
fn crashes_and_lost_answers_lose_and_double_nothing() {
    let told = histories(0..2_000, 2, Faults { crash: true, lost_answers: true, ..Faults::default() });
    assert!(told.crashes > 1_000 && told.held > 1_000, "{told:?}");
}

#[test]
fn partitions_that_move_between_instances_lose_and_double_nothing() {
    let faults = Faults { crash: true, lost_answers: true, moves: true, evict: true, ..Faults::default() };
    let told = histories(0..2_000, 3, faults);
    assert!(told.moves > 1_000 && told.fenced > 100, "{told:?}");
}

#[test]
fn a_roll_back_rewinds_offsets_and_what_counts_as_seen() {
    let faults = Faults { roll_back: true, lost_answers: true, crash: true, ..Faults::default() };
    let told = histories(0..2_000, 2, faults);
    assert!(told.foreign > 1_000 && told.fenced > 100, "{told:?}");
}

#[test]
fn a_roll_back_by_the_operator_never_stops_an_instance() {
    let faults = Faults {
        operator: true,
        lost_answers: true,
        crash: true,
        moves: true,
        join: true,
        compact: true,
        ..Faults::default()
    };
    let told = histories(0..2_000, 2, faults);
    assert!(told.foreign > 1_000 && told.fenced > 100 && told.refused > 100, "{told:?}");
    assert_eq!(told.stops, 0);
}

#[test]
fn deletes_compactions_and_evictions_by_others_lose_and_double_nothing() {
    let faults = Faults { delete: true, compact: true, evict: true, lost_answers: true, moves: true, ..Faults::default() };
    histories(0..2_000, 2, faults);
}

#[test]
fn everything_at_once_ends_right_or_in_a_typed_stop() {
    let all = Faults {
        crash: true,
        lost_answers: true,
        moves: true,
        roll_back: true,
        delete: true,
        compact: true,
        expire: true,
        evict: true,
        join: true,
        operator: true,
    };
    let told = histories(0..4_000, 2, all);
    assert!(told.stops > 0, "some histories have lost their lane for good: {told:?}");
}
