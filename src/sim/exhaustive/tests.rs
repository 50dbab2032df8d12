//! Small worlds, seen whole.

use std::collections::BTreeSet;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::bounds::row;
use super::state::*;
use super::*;
use crate::core::instance::Event;

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

fn seen_whole(list: Vec<Bounds>) {
    for bounds in list {
        let seen = print(&bounds);
        assert!(seen.complete && seen.violation.is_none(), "{}", bounds.name);
    }
}

#[test]
#[ignore = "minutes: cargo test --release --lib -- --ignored --nocapture within_every_short_bound"]
fn within_every_short_bound_nothing_is_lost_doubled_or_stuck() {
    seen_whole(Bounds::short());
}

#[test]
#[ignore = "half an hour: cargo test --release --lib -- --ignored --nocapture within_every_long_bound"]
fn within_every_long_bound_nothing_is_lost_doubled_or_stuck() {
    seen_whole(Bounds::long());
    seen_whole(vec![Bounds::largest()]);
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

/// A step under the names that history gives, without anything that nobody waits for any more. Times are settled: what
/// stays due in one is due again at the next choice in the other.
fn under_its_own_names(state: &State, bounds: &Bounds, choice: Choice) -> State {
    let mut state = state.taken(bounds, choice).unwrap_or_else(|violation| panic!("{violation}")).state;
    for process in &mut state.processes {
        let process = process.edit();
        process.core.settle_times(NOW);
        let (core, live) = (process.core.clone(), process.core.live().clone());
        process.asked.retain_mut(|asked| core.wants(*asked.ticket()));
        process.delayed.retain(|event| match event {
            Event::Loaded { ticket, .. } | Event::Answered { ticket, .. } => core.wants(*ticket),
            _ => true,
        });
        process.wanted.retain(|file| live.contains(&file.path));
    }
    for at in 0..state.requests.len() {
        let waits = state.requests[at].waits;
        let kept = waits.filter(|(who, ticket)| state.processes[usize::from(*who)].core.wants(*ticket));
        state.requests[at].edit().waits = kept;
    }
    let may_go_back = |r: &Request| state.left.roll_backs > 0 && r.base_tag == state.table.tag;
    let alive = |r: &Request| r.waits.is_some() || state.can_land(bounds, r) || may_go_back(r);
    let alive: Vec<bool> = state.requests.iter().map(|r| alive(r)).collect();
    let mut alive = alive.into_iter();
    state.requests.retain(|_| alive.next() == Some(true));
    state.requests.sort_by_key(|r| r.waits);
    state
}

#[test]
fn a_state_in_its_least_form_goes_where_it_went_under_its_own_names() {
    let faults = Faults { unanswered: 1, moves: 1, delayed: 1, overdue: 1, roll_backs: 1, ..Faults::default() };
    for seed in 0..300 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let calm = Bounds::calm();
        let bounds = Bounds { faults, hot: rng.random_bool(0.5), opened: rng.random_bool(0.5), ..calm };
        let (mut least, mut plain) = (State::beginning(&bounds), State::beginning(&bounds));
        // of several that nobody waits for, those that say the same are one in the least form
        let alike = |state: &State| state.requests.iter().filter(|r| r.waits.is_none()).count() > 1;
        for step in 0..60 {
            if alike(&plain) {
                break;
            }
            let choices = least.choices(&bounds);
            assert_eq!(choices, plain.choices(&bounds), "seed {seed}, step {step}");
            let Some(choice) = choices.choose(&mut rng) else { break };
            least = least.after(&bounds, *choice).unwrap_or_else(|violation| panic!("seed {seed}: {violation}")).0;
            plain = under_its_own_names(&plain, &bounds, *choice);
            assert_eq!(what_is_there(&least), what_is_there(&plain), "seed {seed}, step {step}: {choice:?}");
        }
    }
}

/// What a state says about the world, whatever it calls it.
fn what_is_there(state: &State) -> impl PartialEq + std::fmt::Debug + use<> {
    let head = state.table.head().map(|head| {
        let rows: BTreeSet<Key> = head.live.iter().flat_map(|path| canonical::keys_of(path)).collect();
        (head.truth.clone(), rows, head.live.len())
    });
    let read = state.processes.iter().map(|p| {
        let positions = p.core.owned().iter().map(|(tp, o)| (tp.clone(), o.position.as_ref().map(|p| p.place), o.leaving));
        let reading: Vec<_> = p.reading.iter().map(|(tp, (_, at))| (tp.clone(), *at)).collect();
        (positions.collect::<Vec<_>>(), reading, p.core.open_batch().1.counts, p.core.coverage().ids())
    });
    (head, read.collect::<Vec<_>>())
}
