//! Everybody else: producers, brokers and coordinators at work, other engines, faults of the platform, the operator's own
//! will. The script says who does what and when.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use crate::core::table::LaneName;
use crate::core::{retire, rollback};
use crate::sim::history::{RecordKind, Row};
use crate::sim::operator;
use crate::sim::scenario::{Action, Dependency, Undo};
use crate::sim::world::{Shared, World};
use crate::types::*;

/// Carries the script out; what comes after the heal is production of records only.
pub async fn play(world: Shared) {
    let (began, script) = {
        let world = world.lock();
        (world.began, world.scenario.script.clone())
    };
    for (at, action) in script {
        sleep_until(began + Duration::from_millis(at)).await;
        match action {
            Action::OperatorReset { lane, back, partition } => {
                tokio::spawn(reset(world.clone(), lane, back, partition));
            }
            Action::ForeignPulse { rows, ms, undo } => drop(tokio::spawn(pulse(world.clone(), rows, ms, undo))),
            Action::OperatorRetire { lane } => drop(tokio::spawn(retire_lane(world.clone(), lane))),
            Action::OperatorRollBack { steps } => drop(tokio::spawn(roll_back(world.clone(), steps))),
            action => act(&mut world.lock(), &action),
        }
    }
}

/// Brokers and coordinators, until the history ends.
pub async fn keep_time(world: Shared) {
    loop {
        sleep(Duration::from_millis(100)).await;
        let mut world = world.lock();
        let (now, healed) = (world.now_ms(), world.healed);
        world.kafka.end_transactions(now, healed);
        for lane in 0..world.groups.len() {
            let topics = world.topics_of(lane);
            let partitions = world.kafka.partitions().filter(|tp| topics.contains(&tp.topic)).collect();
            world.groups[lane].subscribe(partitions);
            if !world.is_down(Dependency::Kafka) {
                world.groups[lane].tick(now);
            }
        }
    }
}

/// From a moment on nothing goes wrong any more.
pub async fn heal(world: Shared, at: Instant) {
    sleep_until(at).await;
    let mut world = world.lock();
    world.healed = true;
    for slot in &mut world.slots {
        slot.frozen_until_ms = 0;
    }
    world.note(|| "healed".into());
}

fn act(world: &mut World, action: &Action) {
    if !matches!(action, Action::Produce(_)) {
        world.stats.faults += 1;
    }
    world.note(|| format!("{action:?}"));
    world.taken_away |= takes_away(action);
    match action {
        Action::Produce(production) => {
            let (topic, now) = (world.topic(production.topic), world.now_ms());
            if !world.truncated.contains(&TopicPartition::new(topic.clone(), production.partition)) {
                world.kafka.produce(&topic, production, now);
            }
        }
        Action::AddPartition { topic } => {
            let topic = world.topic(*topic);
            world.kafka.add_partition(&topic);
        }
        Action::JoinTopic { topic } => join(world, *topic),
        Action::Retain { topic, partition, keep } => {
            let at = TopicPartition::new(world.topic(*topic), *partition);
            world.kafka.retain(&at, *keep);
        }
        Action::Truncate { topic, partition, records } => {
            let at = TopicPartition::new(world.topic(*topic), *partition);
            // with a second lane, nobody would know when records may be written there again
            if world.scenario.lanes.len() == 1 && world.kafka.truncate(&at, *records) {
                world.truncated.insert(at);
            }
        }
        Action::Recreate { topic } => {
            let topic = world.topic(*topic);
            world.truncated.retain(|tp| tp.topic != topic);
            world.kafka.recreate(&topic);
        }
        Action::ReplaceCluster => {
            world.truncated.clear();
            world.kafka.replace_cluster();
            world.kafka.group_offsets.clear();
            world.mirrored_since_ms.clear();
        }
        Action::Kill { slot } => world.kill(*slot),
        Action::Terminate { slot } => world.slots[*slot].terminate.notify_one(),
        Action::Freeze { slot, ms } => world.slots[*slot].frozen_until_ms = world.now_ms() + ms,
        Action::LoseAssignment { slot } => lose(world, *slot),
        Action::Outage { of, ms } => {
            let until = world.now_ms() + ms;
            world.outages.insert(*of, until);
        }
        Action::ClockJump { slot, ms } => world.slots[*slot].skew_ms += ms,
        Action::StateLost { slot } => {
            world.slots[*slot].known = None;
            world.slots[*slot].ids.clear();
        }
        Action::StateOlder { slot } => older(world, *slot),
        Action::GroupOffsetsDeleted { lane } => {
            let name = world.scenario.lanes[*lane].name.clone();
            world.kafka.group_offsets.remove(&name);
            world.mirrored_since_ms.retain(|(of, _), _| of != lane);
        }
        Action::GroupOffsetsMoved { lane, by } => {
            let name = world.scenario.lanes[*lane].name.clone();
            for kept in world.kafka.group_offsets.entry(name).or_default().values_mut() {
                kept.offset = (kept.offset + by).max(0);
                kept.metadata.clear();
            }
            world.mirrored_since_ms.retain(|(of, _), _| of != lane);
        }
        Action::DropTable { recreate } => {
            world.lake.drop_table();
            if *recreate {
                world.lake.create();
            }
        }
        Action::HoldPosts { slot, window_ms, after_ms } => {
            world.slots[*slot].held_posts = Some((world.now_ms() + window_ms, *after_ms));
        }
        Action::ForeignAppend { .. }
        | Action::ForeignDelete { .. }
        | Action::ForeignCompact { .. }
        | Action::ForeignExpire { .. }
        | Action::ForeignRollBack { .. }
        | Action::ForeignRollBackBefore { .. }
        | Action::ForeignCopy { .. } => foreign(world, action),
        Action::ForeignPulse { .. }
        | Action::OperatorReset { .. }
        | Action::OperatorRollBack { .. }
        | Action::OperatorRetire { .. } => {
            unreachable!("played as tasks of their own")
        }
    }
}

/// After these a typed stop can be right.
fn takes_away(action: &Action) -> bool {
    matches!(
        action,
        Action::Retain { .. }
            | Action::Truncate { .. }
            | Action::Recreate { .. }
            | Action::ReplaceCluster
            | Action::StateOlder { .. }
            | Action::ForeignExpire { .. }
            | Action::ForeignRollBack { .. }
            | Action::ForeignRollBackBefore { .. }
            | Action::DropTable { .. }
    )
}

/// A new topic in the configuration: every instance is started again with it.
fn join(world: &mut World, topic: usize) {
    world.configured.insert(topic);
    for slot in &world.slots {
        slot.terminate.notify_one();
    }
}

fn lose(world: &mut World, slot: usize) {
    let lane = world.slots[slot].lane;
    let members: Vec<u64> = world.groups[lane].members().collect();
    if let Some(member) = world.chance.pick(&members).copied() {
        world.groups[lane].expel(member);
    }
}

fn older(world: &mut World, slot: usize) {
    let this = &mut world.slots[slot];
    match this.older.take() {
        None => this.older = Some((this.known.clone(), this.ids.len())),
        Some((known, ids)) => {
            this.known = known;
            this.ids.truncate(ids);
        }
    }
}

// ---- other engines

fn foreign(world: &mut World, action: &Action) {
    let Some(head) = world.lake.table.as_ref().and_then(|t| t.head) else { return };
    let live: Vec<FilePath> = world.lake.live().iter().cloned().collect();
    let nth = |n: u64| live.get((n % live.len().max(1) as u64) as usize).cloned();
    match action {
        Action::ForeignAppend { rows } => {
            let rows = foreign_rows(world, *rows);
            if rows.is_empty() {
                return;
            }
            world.lake.foreign_append(rows);
        }
        Action::ForeignDelete { file } => {
            let Some(path) = nth(*file) else { return };
            world.lake.foreign_delete(&path);
        }
        Action::ForeignCompact { file } => {
            let Some(path) = nth(*file) else { return };
            let hour = EventHour::of(world.lake.files[&path][0].time);
            world.lake.foreign_compact(hour);
        }
        Action::ForeignExpire { keep, erase_parent, remove_files } => {
            world.lake.expire(*keep as usize, *erase_parent, *remove_files);
            return;
        }
        Action::ForeignRollBack { steps } => {
            let line = world.lake.ancestry();
            let Some(to) = line.get(*steps as usize).filter(|to| **to != head) else { return };
            world.lake.roll_back(*to);
        }
        Action::ForeignRollBackBefore { topic } => {
            let topic = world.topic(*topic);
            let Some(to) = world.lake.newest_without(&topic) else { return };
            world.lake.roll_back(to);
        }
        Action::ForeignCopy { steps } => {
            let line = world.lake.ancestry();
            let Some(of) = line.get(*steps as usize) else { return };
            world.lake.foreign_copy(*of);
        }
        _ => unreachable!("not another engine's"),
    }
    world.judge();
}

async fn pulse(shared: Shared, rows: u64, ms: u64, undo: Undo) {
    let (before, path) = {
        let mut world = shared.lock();
        let Some(before) = world.lake.table.as_ref().and_then(|t| t.head).filter(|_| !world.healed) else { return };
        let rows = foreign_rows(&mut world, rows);
        if rows.is_empty() {
            return;
        }
        world.stats.faults += 1;
        world.taken_away |= undo == Undo::RollBack;
        world.note(|| format!("another engine appends {rows:?}, to be taken back in {ms} ms by {undo:?}"));
        let path = world.lake.foreign_append(rows);
        world.judge();
        (before, path)
    };
    sleep(Duration::from_millis(ms)).await;
    let mut world = shared.lock();
    let there = world.lake.live().contains(&path);
    let kept = world.lake.ancestry().contains(&before);
    match undo {
        Undo::Delete if there => world.lake.foreign_delete(&path),
        Undo::RollBack if kept && !world.healed => world.lake.roll_back(before),
        Undo::Delete | Undo::RollBack => return,
    }
    world.note(|| format!("{path} is taken back by {undo:?}"));
    world.judge();
}

/// One hour's rows that the table doesn't have: of records that are still to be read, and of nobody's.
fn foreign_rows(world: &mut World, count: u64) -> Vec<Row> {
    let held = world.lake.live_keys();
    let records = world.kafka.logs.values().flat_map(|log| &log.entries).filter_map(|entry| match entry {
        crate::sim::history::Entry::Record(record) => match &record.kind {
            RecordKind::Trade { id, time } => Some(Row { id: id.clone(), time: *time, from: None }),
            RecordKind::Malformed => None,
        },
        _ => None,
    });
    let mut rows: Vec<Row> = records.filter(|row| !held.contains(&row.key())).collect();
    rows.dedup_by_key(|row| row.key());
    let Some(first) = world.chance.pick(&rows).cloned() else { return Vec::new() };
    let hour = EventHour::of(first.time);
    let mut chosen: Vec<Row> = Vec::new();
    for row in rows {
        let new = chosen.iter().all(|c| c.key() != row.key());
        if EventHour::of(row.time) == hour && new && (chosen.len() as u64) < count {
            chosen.push(row);
        }
    }
    chosen
}

// ---- the operator

async fn reset(world: Shared, lane: usize, back: u64, partition: Option<i32>) {
    operator::move_back(&world, lane, back, partition).await;
}

async fn retire_lane(shared: Shared, lane: usize) {
    operator::with_lane_stopped(&shared, lane, |world| {
        world.taken_away = true;
        let Some(base) = world.lake.view() else { return };
        let name: LaneName = world.scenario.lanes[lane].name.as_str().into();
        let commit_id = CommitId(world.chance.u128());
        match retire::plan(&base, &name, &[], commit_id) {
            Err(refusal) => world.note(|| format!("the retirement is refused: {refusal}")),
            Ok(plan) => {
                let landed = world.lake.commit(&base, &plan, &[]);
                world.note(|| format!("the operator retires {name}: {landed:?}"));
                world.kafka.group_offsets.remove(&*name);
                world.mirrored_since_ms.retain(|(of, _), _| *of != lane);
                let slots: Vec<usize> = (0..world.slots.len()).filter(|s| world.slots[*s].lane == lane).collect();
                slots.into_iter().for_each(|slot| world.slots[slot].known = None);
                world.judge();
            }
        }
    })
    .await;
}

async fn roll_back(shared: Shared, steps: u64) {
    let lanes = shared.lock().scenario.lanes.len();
    let act = |world: &mut World| {
        world.taken_away = true;
        let Some(base) = world.lake.view() else { return };
        let Some(target) = world.lake.ancestry().get(steps as usize).copied() else { return };
        match rollback::plan(&base, target, &Default::default()) {
            Err(refusal) => world.note(|| format!("the roll-back is refused: {refusal}")),
            Ok(roll_back) => {
                let landed = world.lake.roll_back_ours(&base, &roll_back.plan);
                world.note(|| format!("the operator rolls back to {target}: {landed}"));
                world.judge();
            }
        }
    };
    let all: Vec<usize> = (0..lanes).collect();
    operator::with_lanes_stopped(&shared, &all, act).await;
}

/// Tasks of a history.
pub fn start(world: &Shared, heal_at: Instant) {
    tokio::spawn(play(world.clone()));
    tokio::spawn(keep_time(world.clone()));
    tokio::spawn(heal(world.clone(), heal_at));
    tokio::spawn(operator::answer_stops(world.clone()));
    let slots = world.lock().slots.len();
    for slot in 0..slots {
        tokio::spawn(crate::sim::process::supervise(world.clone(), slot));
    }
}
