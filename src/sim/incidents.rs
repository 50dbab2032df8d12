//! Histories that need several things in the right order, each drawn with its own times: those that broke an earlier
//! draft, and those that a rule of the protocol is there for. Single events at random would seldom meet.

use crate::sim::chance::Chance;
use crate::sim::scenario::{Action, Scenario, Undo};

type Script = Vec<(u64, Action)>;

/// One incident somewhere before the heal. Some change the deployment, so that they can happen in it.
pub fn incident(scenario: &mut Scenario, chance: &mut Chance) {
    let at = chance.between(500, scenario.heal_at_ms);
    let kinds: [fn(&mut Scenario, &mut Chance, u64) -> Script; 8] = [
        rolled_back_and_maintained,
        rows_come_and_go,
        held_over_a_change,
        recreated_while_asleep,
        recreated_and_reset_in_part,
        rolled_back_before_a_topic,
        held_opening,
        lost_with_a_request_in_the_air,
    ];
    let script = chance.pick(&kinds).expect("some")(scenario, chance, at);
    scenario.script.extend(script);
}

fn slot(scenario: &Scenario, chance: &mut Chance) -> usize {
    chance.between(0, scenario.slots.len() as u64 - 1) as usize
}

fn topic(scenario: &Scenario, chance: &mut Chance) -> usize {
    chance.between(0, scenario.topics.len() as u64 - 1) as usize
}

fn kill_all(scenario: &Scenario, at: u64) -> impl Iterator<Item = (u64, Action)> {
    (0..scenario.slots.len()).map(move |slot| (at, Action::Kill { slot }))
}

/// Nothing that knows better survives: the history of main ends at a snapshot that is gone, and the property is of another.
fn rolled_back_and_maintained(scenario: &mut Scenario, chance: &mut Chance, at: u64) -> Script {
    let mut script = Script::new();
    script.extend(kill_all(scenario, at));
    script.push((at, Action::ForeignRollBack { steps: chance.between(1, 4) }));
    script.push((at, Action::ForeignCompact { file: chance.u64() }));
    let (erase_parent, remove_files) = (chance.happens(0.3), chance.happens(0.5));
    script.push((at, Action::ForeignExpire { keep: 1, erase_parent, remove_files }));
    script
}

/// Rows that are about to be committed appear in the table by another hand, and are gone before the commit is through.
fn rows_come_and_go(_: &mut Scenario, chance: &mut Chance, at: u64) -> Script {
    let undo = if chance.happens(0.5) { Undo::Delete } else { Undo::RollBack };
    let pulse = |chance: &mut Chance| Action::ForeignPulse { rows: chance.between(1, 4), ms: chance.delay_ms(0.7), undo };
    (0..chance.between(5, 25)).map(|n| (at + n * chance.between(20, 400), pulse(chance))).collect()
}

/// The same while a request is held on its way.
fn held_over_a_change(scenario: &mut Scenario, chance: &mut Chance, at: u64) -> Script {
    let mut script = rows_come_and_go(scenario, chance, at);
    for slot in 0..scenario.slots.len() {
        script.push((at, Action::HoldPosts { slot, window_ms: 4_000, after_ms: chance.between(200, 6_000) }));
    }
    script
}

/// A process sleeps with the first records of a topic that is deleted, created again and reset meanwhile: the lane then
/// stands where the sleeping batch begins.
fn recreated_while_asleep(scenario: &mut Scenario, chance: &mut Chance, _at: u64) -> Script {
    (scenario.commit_interval_ms, scenario.batch_rows_max) = (3_000, 1_000);
    // nobody else of the lane, who would find out first
    let mut lanes = std::collections::BTreeSet::new();
    scenario.slots.retain(|lane| lanes.insert(*lane));
    scenario.script.retain(|(_, action)| action.slot().is_none_or(|slot| slot < scenario.slots.len()));
    let topic = topic(scenario, chance);
    scenario.topics[topic].log_start = 0;
    let at = chance.between(800, 3_000);
    vec![
        (at, Action::Freeze { slot: 0, ms: chance.between(14_000, 25_000) }),
        (at + chance.between(0, 2_000), Action::Recreate { topic }),
        (at + 11_000, Action::OperatorReset { lane: 0, back: 100, partition: None }),
    ]
}

fn recreated_and_reset_in_part(scenario: &mut Scenario, chance: &mut Chance, at: u64) -> Script {
    let lane = scenario.slots[slot(scenario, chance)];
    let reset = Action::OperatorReset { lane, back: 100, partition: Some(0) };
    vec![(at, Action::Recreate { topic: 0 }), (at + chance.between(0, 300), reset)]
}

/// And nothing but the property knows that the topic had joined.
fn rolled_back_before_a_topic(scenario: &mut Scenario, chance: &mut Chance, at: u64) -> Script {
    let Some(topic) = scenario.topics.iter().position(|t| !t.from_start) else { return Script::new() };
    let back = at + chance.between(2_000, 9_000);
    let mut script = vec![(at, Action::JoinTopic { topic }), (back, Action::ForeignRollBackBefore { topic })];
    script.extend(kill_all(scenario, back));
    script.extend((0..scenario.slots.len()).map(|slot| (back, Action::StateLost { slot })));
    script.extend((0..scenario.lanes.len()).map(|lane| (back, Action::GroupOffsetsDeleted { lane })));
    script
}

/// An opening is held, another one lands, main goes back to before both, the held one is let go.
fn held_opening(scenario: &mut Scenario, chance: &mut Chance, at: u64) -> Script {
    let Some(topic) = scenario.topics.iter().position(|t| !t.from_start) else { return Script::new() };
    let slot = slot(scenario, chance);
    let back = at + chance.between(1_000, 6_000);
    let held = Action::HoldPosts { slot, window_ms: 2_000, after_ms: back - at + chance.between(10, 600) };
    vec![(at, held), (at, Action::JoinTopic { topic }), (back, Action::ForeignRollBackBefore { topic })]
}

/// A batch is given up while its request is in the air; it lands while the next one is on its way.
fn lost_with_a_request_in_the_air(scenario: &mut Scenario, chance: &mut Chance, at: u64) -> Script {
    let slot = slot(scenario, chance);
    let mut script = Script::new();
    for n in 0..chance.between(1, 4) {
        let at = at + n * 3_000;
        script.push((at, Action::HoldPosts { slot, window_ms: 2_500, after_ms: chance.between(100, 4_000) }));
        script.push((at + chance.between(100, 2_500), Action::LoseAssignment { slot }));
    }
    script
}
