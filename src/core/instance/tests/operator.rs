//! What an operator does to the table while instances run on it.

use std::collections::{BTreeMap, BTreeSet};

use super::oracle;
use super::world::*;
use crate::core::event_time::LatePolicy;
use crate::core::instance::*;
use crate::core::lane::{self, Reading};
use crate::types::*;

const HOUR: EventHour = EventHour(10);

/// One partition with eight records, read by one instance for each of `lanes`.
fn world(lanes: &[&str]) -> World {
    let log = (0..8).map(|i| Some((HOUR, MessageId(i)))).collect();
    let mut world = World::new(BTreeMap::from([(tp("a", 0), log)]));
    for (nonce, lane) in (1..).zip(lanes) {
        let settings = Settings { lane: (*lane).into(), ..settings(nonce, &["a"], LatePolicy::Admit) };
        let node = world.add_node(settings);
        world.assign(node, BTreeSet::from([tp("a", 0)]));
    }
    world
}

/// Everything that was asked for is done and answered, in order.
fn settle(world: &mut World) {
    loop {
        let mut quiet = true;
        for node in 0..world.nodes.len() {
            while !world.nodes[node].asked.is_empty() {
                world.carry_out(node, 0);
                quiet = false;
            }
            while !world.nodes[node].coming.is_empty() {
                world.deliver(node, 0);
                quiet = false;
            }
        }
        while !world.requests.is_empty() {
            let request = world.requests.remove(0);
            let posted = world.land(&request).map_or(Posted::Unsettled, Posted::Committed);
            world.reply(&request, posted);
            quiet = false;
        }
        if quiet {
            return;
        }
    }
}

/// `count` more records for every instance, and the time in which they are committed.
fn read_and_commit(world: &mut World, count: usize) {
    settle(world);
    for node in 0..world.nodes.len() {
        world.read(node, &tp("a", 0), count);
    }
    pass(world, 2_000);
}

fn pass(world: &mut World, ms: u64) {
    world.now_ms += ms;
    for node in 0..world.nodes.len() {
        world.feed(node, Event::Tick);
    }
    settle(world);
}

fn at(world: &World, lane: &str) -> Option<Offset> {
    match lane::read(&world.view(), &lane.into(), None, None) {
        Reading::Known { lane, .. } => Some(lane.partitions[&tp("a", 0)].next_offset),
        Reading::New => None,
        Reading::Stop(stop) => panic!("{stop}"),
    }
}

#[test]
fn a_running_instance_rewinds_with_the_table_and_writes_again_what_went_with_it() {
    let mut world = world(&[LANE]);
    read_and_commit(&mut world, 3);
    let target = world.head.unwrap();
    read_and_commit(&mut world, 3);
    assert_eq!(at(&world, LANE), Some(6));
    world.operator_rolls_back(target).unwrap();
    assert_eq!(at(&world, LANE), Some(3));

    // It finds that out by itself, with nothing to read.
    pass(&mut world, 2_000);
    assert_eq!(world.nodes[0].reading[&tp("a", 0)].1, 3);
    read_and_commit(&mut world, 5);
    assert_eq!(at(&world, LANE), Some(8));
    assert_eq!(oracle::finished(&world), Ok(()));
    assert!(world.nodes[0].stopped.is_none());
}

#[test]
fn a_batch_under_way_to_the_head_of_before_falls_with_the_roll_back() {
    let mut world = world(&[LANE]);
    read_and_commit(&mut world, 3);
    let target = world.head.unwrap();
    read_and_commit(&mut world, 1);
    world.read(0, &tp("a", 0), 2);
    world.now_ms += 2_000;
    world.feed(0, Event::Tick);
    while world.requests.is_empty() {
        match world.nodes[0].asked.is_empty() {
            true => world.deliver(0, 0),
            false => world.carry_out(0, 0),
        }
    }
    world.operator_rolls_back(target).unwrap();
    settle(&mut world);
    pass(&mut world, 2_000);
    assert_eq!((world.fenced, at(&world, LANE)), (1, Some(3)));
    read_and_commit(&mut world, 8);
    assert_eq!(oracle::finished(&world), Ok(()));
}

#[test]
fn the_opening_is_as_far_back_as_an_operator_gets() {
    let mut world = world(&[LANE]);
    read_and_commit(&mut world, 3);
    let opening = *world.ancestry().last().unwrap();
    world.operator_rolls_back(opening).unwrap();
    assert_eq!(at(&world, LANE), Some(0));
    pass(&mut world, 2_000);
    read_and_commit(&mut world, 8);
    assert_eq!(oracle::finished(&world), Ok(()));
}

#[test]
fn a_retirement_stops_what_still_runs_for_the_lane_and_nobody_else() {
    let mut world = world(&["g", "h"]);
    read_and_commit(&mut world, 3);
    assert_eq!((at(&world, "g"), at(&world, "h")), (Some(3), Some(3)));
    world.operator_retires("g");
    assert_eq!((at(&world, "g"), at(&world, "h")), (None, Some(3)));
    read_and_commit(&mut world, 5);
    let stop = world.nodes[0].stopped.as_ref().expect("this process knows the lane");
    assert_eq!(stop.exit, crate::error::Exit::Inconsistent);
    assert!(world.nodes[1].stopped.is_none());
    assert_eq!((at(&world, "g"), at(&world, "h")), (None, Some(8)), "nothing was committed to the ended lane");
}

#[test]
fn after_its_retirement_a_lane_is_opened_anew_and_finds_the_rows_that_stayed() {
    let mut world = world(&[LANE]);
    read_and_commit(&mut world, 8);
    let rows = world.view().live.iter().map(|f| f.rows).sum::<u64>();
    world.operator_retires(LANE);
    // its group offsets are deleted with it
    world.mirrored.clear();
    world.restart(0, settings(9, &["a"], LatePolicy::Admit));
    settle(&mut world);
    assert_eq!(at(&world, LANE), Some(0));
    read_and_commit(&mut world, 8);
    // duplicates only: progress with nothing to write waits for its own interval
    pass(&mut world, 10_000);
    assert_eq!(at(&world, LANE), Some(8));
    assert_eq!(world.view().live.iter().map(|f| f.rows).sum::<u64>(), rows);
}
