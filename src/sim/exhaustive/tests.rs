//! Small worlds, seen whole.

use super::bounds::row;
use super::*;

fn print(bounds: &Bounds) -> Explored {
    let seen = explore(bounds);
    println!(
        "{:40} {:>9} states {:>10} transitions, depth {:>3}, {:>7.1} s, complete {}, {:?}\n    {:?}",
        bounds.name,
        seen.states,
        seen.transitions,
        seen.depth,
        seen.took.as_secs_f64(),
        seen.complete,
        bounds.faults,
        seen.happened,
    );
    if let Some(trace) = &seen.violation {
        println!("{trace}");
    }
    seen
}

/// The world breaks its promise: how is it noticed?
fn broken(broken: BrokenPromise, bounds: Bounds) -> Violation {
    let seen = print(&Bounds { broken: Some(broken), ..bounds });
    seen.violation.expect("a broken promise is noticed").what
}

#[test]
fn without_faults_two_instances_always_end_with_the_whole_log() {
    let seen = print(&Bounds::calm());
    assert!(seen.complete && seen.violation.is_none());
    let tried = ["committed", "refused or unanswered", "looked up in files"];
    assert!(tried.iter().all(|what| seen.happened.contains_key(what)), "{:?}", seen.happened);
}

#[test]
fn the_same_bounds_twice_are_the_same_states() {
    let bounds = Bounds { logs: vec![vec![row(0), row(1)]], instances: 1, ..Bounds::least() };
    let (one, two) = (explore(&bounds), explore(&bounds));
    assert_eq!((one.states, one.transitions, one.happened), (two.states, two.transitions, two.happened));
}

#[test]
#[ignore = "minutes: cargo test --release --lib -- --ignored exhaustive --nocapture"]
fn within_every_short_bound_nothing_is_lost_doubled_or_stuck() {
    for bounds in Bounds::short() {
        let seen = print(&bounds);
        assert!(seen.complete && seen.violation.is_none(), "{}", bounds.name);
    }
}

#[test]
fn a_catalog_that_ignores_the_base_is_noticed() {
    let what = broken(BrokenPromise::CatalogIgnoresBase, Bounds::calm());
    assert!(matches!(what, Violation::Lane { .. }), "{what}");
}

#[test]
fn a_failed_probe_taken_for_a_no_is_noticed() {
    let what = broken(BrokenPromise::FailedProbeIsNo, Bounds { hot: false, ..Bounds::calm() });
    assert!(matches!(what, Violation::Twice(_)), "{what}");
}

#[test]
fn the_end_of_a_log_reported_before_a_record_is_noticed() {
    let what = broken(BrokenPromise::EndBeforeRecord, Bounds::calm());
    assert!(matches!(what, Violation::Count { .. }), "{what}");
}

#[test]
fn a_consumer_that_ignores_a_reposition_is_noticed() {
    let faults = Faults { roll_backs: 1, ..Faults::default() };
    let what = broken(BrokenPromise::ConsumerIgnoresReposition, Bounds { faults, ..Bounds::calm() });
    assert!(matches!(what, Violation::Count { .. }), "{what}");
}

#[test]
fn a_pause_that_never_ends_is_noticed_though_nothing_wrong_is_ever_committed() {
    assert_eq!(broken(BrokenPromise::PauseNeverEnds, Bounds::calm()), Violation::Stuck);
}
