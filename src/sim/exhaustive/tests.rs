//! Small worlds, seen whole.

use std::time::Duration;

use super::*;

const fn row(id: u128) -> Option<Key> {
    Some((EventHour(10), MessageId(id)))
}

fn bounds(name: &'static str, logs: Vec<Vec<Option<Key>>>, instances: u8) -> Bounds {
    Bounds {
        name,
        logs,
        instances,
        opened: true,
        late: LatePolicy::Admit,
        hot: true,
        faults: Faults::default(),
        limit: Duration::from_secs(600),
        states_max: 20_000_000,
        reach: true,
        broken: None,
    }
}

fn print(bounds: &Bounds) -> Explored {
    let seen = explore(bounds);
    println!(
        "{:50} {:>9} states {:>10} transitions {:>9} snapshots depth {:>3} {:>7.1} s complete {} {:?}",
        bounds.name,
        seen.states,
        seen.transitions,
        seen.snapshots,
        seen.depth,
        seen.took.as_secs_f64(),
        seen.complete,
        bounds.faults
    );
    if let Some(trace) = &seen.violation {
        println!("{trace}");
    }
    seen
}

#[test]
fn one_instance_without_faults_always_ends_with_the_whole_log() {
    let seen = print(&bounds("1 instance, 3 records", vec![vec![row(0), row(1)], vec![row(1)]], 1));
    assert!(seen.complete && seen.violation.is_none());
}

#[test]
fn two_instances_without_faults_always_end_with_the_whole_log() {
    let seen = print(&bounds("2 instances, 3 records", vec![vec![row(0), row(1)], vec![row(1)]], 2));
    assert!(seen.complete && seen.violation.is_none());
}
