use super::*;

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}
fn tps(partitions: &[i32]) -> Vec<TopicPartition> {
    partitions.iter().map(|p| tp(*p)).collect()
}
fn at(partition: i32, epoch: u64, offset: i64) -> Placement {
    (tp(partition), Epoch(epoch), StartAt::Offset(offset))
}
fn place(partition: i32, offset: i64) -> (TopicPartition, FetchAt) {
    (tp(partition), FetchAt::Offset(offset))
}
fn told(outcome: &Outcome) -> Vec<String> {
    outcome.tell.iter().map(|event| format!("{event:?}")).collect()
}
fn assigned(partitions: &[i32]) -> Rebalance {
    Rebalance::Assign(tps(partitions))
}
fn revoked(partitions: &[i32]) -> Rebalance {
    Rebalance::Revoke { partitions: tps(partitions), lost: false }
}

use Protocol::{Cooperative, Eager};

/// Owns and reads these, each from offset 10 x partition under epoch 1.
fn reading(partitions: &[i32], protocol: Protocol) -> Assignment {
    let mut assignment = Assignment::default();
    assignment.on_rebalance(assigned(partitions), protocol);
    assignment.assign(partitions.iter().map(|p| at(*p, 1, i64::from(*p) * 10)).collect(), protocol);
    assignment
}

#[test]
fn an_assignment_is_told_and_waits_for_its_answer() {
    let mut assignment = Assignment::default();
    let outcome = assignment.on_rebalance(assigned(&[0, 1]), Cooperative);
    assert!(outcome.steps.is_empty());
    assert_eq!(told(&outcome), ["Assigned { partitions: [t:0, t:1] }"]);
    let outcome = assignment.assign(vec![at(0, 1, 5), (tp(1), Epoch(2), StartAt::Parked), at(9, 3, 1)], Cooperative);
    assert_eq!(
        outcome.steps,
        [Step::Add(vec![place(0, 5), (tp(1), FetchAt::LogEnd)]), Step::Pause(tps(&[1])), Step::Resume(tps(&[0])),]
    );
    assert!(assignment.is_current(&tp(0), Epoch(1)) && !assignment.is_current(&tp(0), Epoch(2)));
}

#[test]
fn an_assignment_of_nothing_is_answered_at_once_and_told() {
    let mut assignment = Assignment::default();
    let outcome = assignment.on_rebalance(assigned(&[]), Cooperative);
    assert_eq!(outcome.steps, [Step::Add(vec![])]);
    assert_eq!(told(&outcome), ["Assigned { partitions: [] }"]);
    let late = assignment.assign(vec![], Cooperative);
    assert!(late.steps.is_empty() && late.tell.is_empty());
}

#[test]
fn a_revoke_gives_back_what_is_read_and_only_what_it_names() {
    let mut assignment = reading(&[0, 1, 2], Cooperative);
    assert_eq!(
        told(&assignment.on_rebalance(revoked(&[1, 2]), Cooperative)),
        ["Revoked { partitions: [t:1, t:2], lost: false }"]
    );
    assert!(!assignment.is_current(&tp(1), Epoch(1)), "its records are somebody else's soon");
    assert!(assignment.is_current(&tp(0), Epoch(1)));
    assert_eq!(assignment.unassign(Cooperative).steps, [Step::Remove(tps(&[1, 2]))]);
    assert!(assignment.is_current(&tp(0), Epoch(1)));
}

#[test]
fn partitions_that_were_never_read_are_not_in_the_answer_to_a_revoke() {
    let mut assignment = Assignment::default();
    assignment.on_rebalance(assigned(&[0, 1]), Cooperative);
    assignment.assign(vec![at(0, 1, 5)], Cooperative);
    assignment.on_rebalance(revoked(&[0, 1]), Cooperative);
    assert_eq!(assignment.unassign(Cooperative).steps, [Step::Remove(tps(&[0]))]);
}

#[test]
fn a_reposition_is_an_unassign_and_an_assign() {
    let mut assignment = reading(&[0, 1], Cooperative);
    let outcome = assignment.reposition(vec![at(1, 2, 3)], Cooperative, false);
    assert_eq!(outcome.steps, [Step::Remove(tps(&[1])), Step::Add(vec![place(1, 3)]), Step::Resume(tps(&[1]))]);
    assert!(assignment.is_current(&tp(1), Epoch(2)) && !assignment.is_current(&tp(1), Epoch(1)));
}

#[test]
fn a_reposition_waits_while_a_rebalance_event_has_no_answer() {
    let mut assignment = reading(&[0, 1], Cooperative);
    assignment.on_rebalance(assigned(&[2]), Cooperative);
    assert!(assignment.reposition(vec![at(0, 2, 3)], Cooperative, false).steps.is_empty());
    assert!(assignment.reposition(vec![at(0, 3, 4)], Cooperative, false).steps.is_empty());
    assert!(assignment.is_current(&tp(0), Epoch(1)));
    let outcome = assignment.assign(vec![at(2, 4, 7)], Cooperative);
    assert_eq!(
        outcome.steps,
        [
            Step::Add(vec![place(2, 7)]),
            Step::Resume(tps(&[2])),
            Step::Remove(tps(&[0])),
            Step::Add(vec![place(0, 4)]),
            Step::Resume(tps(&[0])),
        ]
    );
}

#[test]
fn a_reposition_of_what_is_taken_away_meanwhile_is_dropped() {
    let mut assignment = reading(&[0, 1], Cooperative);
    assignment.on_rebalance(revoked(&[0]), Cooperative);
    assignment.reposition(vec![at(0, 2, 3), at(5, 2, 3)], Cooperative, false);
    assert_eq!(assignment.unassign(Cooperative).steps, [Step::Remove(tps(&[0]))]);
    assert!(!assignment.has_held());
}

#[test]
fn a_reposition_waits_while_the_assignment_is_lost() {
    let mut assignment = reading(&[0], Cooperative);
    assert!(assignment.reposition(vec![at(0, 2, 3)], Cooperative, true).steps.is_empty());
    assert!(assignment.has_held());
    assert!(!assignment.release_held(Cooperative).steps.is_empty());
    assert!(!assignment.has_held());
}

#[test]
fn rebalance_events_are_told_one_after_the_other() {
    let mut assignment = reading(&[0, 1], Cooperative);
    assert_eq!(assignment.on_rebalance(revoked(&[1]), Cooperative).tell.len(), 1);
    assert!(assignment.on_rebalance(assigned(&[2]), Cooperative).tell.is_empty());
    assert_eq!(told(&assignment.unassign(Cooperative)), ["Assigned { partitions: [t:2] }"]);
    assert!(assignment.unassign(Cooperative).steps.is_empty(), "nothing to answer with that");
    assert_eq!(assignment.assign(vec![at(2, 5, 0)], Cooperative).steps[0], Step::Add(vec![place(2, 0)]));
}

#[test]
fn the_eager_protocol_replaces_everything_and_reads_the_others_on_from_where_they_are() {
    let mut assignment = reading(&[0, 1], Eager);
    let slot = assignment.slot_of(&tp(0)).unwrap();
    assignment.slot(slot).admit_record(41);
    let outcome = assignment.reposition(vec![at(1, 2, 3)], Eager, false);
    assert_eq!(outcome.steps, [Step::Replace(vec![place(0, 42), place(1, 3)]), Step::Resume(tps(&[0, 1]))]);
    assert!(assignment.is_current(&tp(0), Epoch(1)), "the same epoch: nothing was skipped or repeated");

    assignment.on_rebalance(revoked(&[0, 1]), Eager);
    assert_eq!(assignment.unassign(Eager).steps, [Step::Clear]);
    assignment.on_rebalance(assigned(&[1, 2]), Eager);
    let outcome = assignment.assign(vec![at(1, 3, 7), at(2, 4, 8)], Eager);
    assert_eq!(outcome.steps[0], Step::Replace(vec![place(1, 7), place(2, 8)]));
}

#[test]
fn backpressure_and_the_pipelines_own_pauses_are_told_apart() {
    let mut assignment = reading(&[0, 1], Cooperative);
    assert_eq!(assignment.pause(&tps(&[0, 7])).steps, [Step::Pause(tps(&[0]))]);
    assert_eq!(assignment.set_backpressure(true).steps, [Step::Pause(tps(&[1]))]);
    assert!(assignment.set_backpressure(true).steps.is_empty());
    assert!(assignment.resume(&tps(&[0])).steps.is_empty(), "still under backpressure");
    assert!(assignment.pause(&tps(&[0])).steps.is_empty());
    assert_eq!(assignment.set_backpressure(false).steps, [Step::Resume(tps(&[1]))]);
    let outcome = assignment.reposition(vec![at(0, 2, 3)], Cooperative, false);
    assert_eq!(outcome.steps.last(), Some(&Step::Pause(tps(&[0]))), "a pause survives a reposition");
    assert_eq!(assignment.resume(&tps(&[0])).steps, [Step::Resume(tps(&[0]))]);
}

#[test]
fn a_parked_partition_is_not_resumed_by_anyone() {
    let mut assignment = Assignment::default();
    assignment.on_rebalance(assigned(&[0]), Cooperative);
    assignment.assign(vec![(tp(0), Epoch(0), StartAt::Parked)], Cooperative);
    assert!(assignment.resume(&tps(&[0])).steps.is_empty());
    assignment.set_backpressure(true);
    assert!(assignment.set_backpressure(false).steps.is_empty());
    let outcome = assignment.reposition(vec![at(0, 1, 3)], Cooperative, false);
    assert_eq!(outcome.steps, [Step::Remove(tps(&[0])), Step::Add(vec![place(0, 3)]), Step::Resume(tps(&[0]))]);
}

#[test]
fn closing_answers_what_waits() {
    let mut assignment = reading(&[0], Cooperative);
    assert!(assignment.close().steps.is_empty());
    let mut assignment = reading(&[0], Cooperative);
    assignment.on_rebalance(assigned(&[1]), Cooperative);
    assert_eq!(assignment.close().steps, [Step::Clear]);
    assert!(!assignment.is_current(&tp(0), Epoch(1)));
}

#[test]
fn a_restart_keeps_epoch_and_position() {
    let mut assignment = reading(&[0], Cooperative);
    let slot = assignment.slot_of(&tp(0)).unwrap();
    assignment.slot(slot).admit_record(6);
    let outcome = assignment.restart(slot, Cooperative);
    assert_eq!(outcome.steps, [Step::Remove(tps(&[0])), Step::Add(vec![place(0, 7)]), Step::Resume(tps(&[0]))]);
    assert!(assignment.is_current(&tp(0), Epoch(1)));
}
