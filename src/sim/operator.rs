//! The person who looks after a lane: resolves typed stops by the command that the stop names, resets, rolls back and
//! retires of his own accord. The plans are production's; what the command line asks of Kafka is read from the world.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::sleep;

use crate::core::lane;
use crate::core::reset::{self, LateRows, LogEdges, Situation, Target};
use crate::core::table::*;
use crate::sim::world::{Shared, World};
use crate::types::*;

/// Answers stops, one after the other, for as long as the history lasts.
pub async fn answer_stops(world: Shared) {
    loop {
        sleep(Duration::from_millis(300)).await;
        let next = {
            let mut world = world.lock();
            let next = world.stops.pop();
            next.map(|(lane, stop)| {
                world.stops.retain(|(other, _)| *other != lane);
                (lane, stop)
            })
        };
        let Some((lane, stop)) = next else { continue };
        resolve(&world, lane, &stop.what).await;
    }
}

/// Everything again from the earliest record that there is: the safe answer to any stop, since a replay can't duplicate.
async fn resolve(world: &Shared, lane: usize, why: &str) {
    with_lane_stopped(world, lane, |world| {
        world.note(|| format!("the operator answers lane {lane}: {why}"));
        world.lake.create();
        world.breaker_rate_max = 1.0;
        let all: BTreeSet<TopicPartition> = partitions(world, lane);
        world.truncated.retain(|tp| !all.contains(tp));
        reset(world, lane, None, &Target::Earliest);
    })
    .await;
}

/// Moves the lane back by some records, or one partition of it.
pub async fn move_back(world: &Shared, lane: usize, back: u64, partition: Option<i32>) {
    with_lane_stopped(world, lane, |world| reset(world, lane, partition, &Target::Shift(-(back as i64)))).await;
}

/// The commands refuse while a group has members: the operator stops its instances first, and starts them again.
pub async fn with_lane_stopped(shared: &Shared, lane: usize, act: impl FnOnce(&mut World)) {
    with_lanes_stopped(shared, &[lane], act).await;
}

pub async fn with_lanes_stopped(shared: &Shared, lanes: &[usize], act: impl FnOnce(&mut World)) {
    let turn = shared.lock().operator.clone();
    let _turn = turn.lock().await;
    let slots: Vec<usize> = lanes.iter().flat_map(|lane| slots(&shared.lock(), *lane)).collect();
    for slot in &slots {
        let mut world = shared.lock();
        world.slots[*slot].held_back = true;
        world.slots[*slot].terminate.notify_one();
    }
    loop {
        {
            let mut world = shared.lock();
            // one that sleeps past its session is no member any more: nobody waits for it
            let now = world.now_ms();
            let stopped = slots.iter().map(|slot| &world.slots[*slot]).all(|s| !s.alive || s.frozen_until_ms > now);
            if stopped && lanes.iter().all(|lane| world.groups[*lane].members().next().is_none()) {
                act(&mut world);
                for slot in &slots {
                    world.slots[*slot].held_back = false;
                    world.slots[*slot].changed.notify_one();
                }
                return;
            }
        }
        sleep(Duration::from_millis(200)).await;
    }
}

fn slots(world: &World, lane: usize) -> Vec<usize> {
    (0..world.slots.len()).filter(|s| world.slots[*s].lane == lane).collect()
}

fn partitions(world: &World, lane: usize) -> BTreeSet<TopicPartition> {
    let topics = world.topics_of(lane);
    world.kafka.partitions().filter(|tp| topics.contains(&tp.topic)).collect()
}

/// `offsets reset`, of all topics or of one partition of the first; a plan that is refused changes nothing.
fn reset(world: &mut World, lane: usize, partition: Option<i32>, target: &Target) {
    let Some(base) = world.lake.view() else { return };
    let name: LaneName = world.scenario.lanes[lane].name.as_str().into();
    let topics = world.topics_of(lane);
    let read = lane::read(&base, &name, None, None);
    let known = topics.iter().filter_map(|t| Some((t.clone(), world.kafka.topics.get(t)?.id)));
    let identity = SourceIdentity { cluster_id: Some(world.kafka.cluster_id()), topics: known.collect() };
    let situation = Situation {
        reading: reset::Reading::of(&base, &name, &read),
        logs: &edges(world, lane),
        identity: &identity,
        members: &[],
        topics: &topics,
        late: LateRows::Admitted,
        watermark_delay: world.scenario.rules.watermark_delay,
    };
    let scope = match partition {
        None => reset::Scope::AllTopics,
        Some(partition) => {
            let partitions = Some([partition].into());
            reset::Scope::Topics(vec![reset::TopicScope { topic: topics[0].clone(), partitions }])
        }
    };
    match reset::plan(&situation, &scope, target) {
        Err(refusal) => world.note(|| format!("the operator's reset is refused: {refusal:?}")),
        Ok(plan) => {
            let commit_id = CommitId(world.chance.u128());
            let landed = world.lake.commit(&base, &plan.snapshot(&base, &name, commit_id), &[]);
            world.note(|| format!("the operator resets {name}: snapshot {landed:?}, {:?}", plan.moves));
            world.judge();
        }
    }
}

fn edges(world: &World, lane: usize) -> BTreeMap<TopicPartition, LogEdges> {
    let edges = partitions(world, lane).into_iter().filter_map(|tp| {
        let log = world.kafka.log(&tp)?;
        Some((tp, LogEdges { start: log.start, end: log.stable, at_datetime: None }))
    });
    edges.collect()
}
