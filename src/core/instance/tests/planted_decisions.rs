//! What each planted bug changes at its place, where the random histories can't see it: the decision as it should be,
//! and as it is with the bug.

use std::collections::{BTreeMap, BTreeSet};

use super::world::*;
use crate::core::event_time::LatePolicy;
use crate::core::identity::EpochIdentity;
use crate::core::instance::*;
use crate::core::plan::{Reference, SnapshotPlan, required_references};
use crate::core::planted::{Bug, plant};
use crate::types::*;

/// The outcome without the bug, and with it.
fn without_and_with<T>(bug: Bug, history: impl Fn() -> T) -> (T, T) {
    let without = history();
    plant(Some(bug));
    let with = history();
    plant(None);
    (without, with)
}

const EARLY: EventHour = EventHour(10);
const LATER: EventHour = EventHour(12);

fn start_of(hour: EventHour) -> Micros {
    hour.bounds().0
}

/// Topic, partition, and the hour and id of each record.
type LogOf<'a> = (&'static str, i32, &'a [(EventHour, u128)]);

/// A world whose only instance reads all of these logs.
fn world(logs: &[LogOf], late: LatePolicy) -> World {
    let logs = logs.iter().map(|(topic, partition, records)| {
        (tp(topic, *partition), records.iter().map(|(hour, id)| Some((*hour, MessageId(*id)))).collect::<Log>())
    });
    let mut world = World::new(logs.collect());
    let topics: BTreeSet<Topic> = world.logs.keys().map(|tp| tp.topic.clone()).collect();
    let topics: Vec<&str> = topics.iter().map(|t| &**t).collect();
    world.add_node(settings(1, &topics, late));
    let all = world.logs.keys().cloned().collect();
    world.assign(0, all);
    world
}

/// Everything asked is answered and every request lands; nothing is read.
fn answer(world: &mut World) {
    for _ in 0..40 {
        world.now_ms += 300;
        for node in 0..world.nodes.len() {
            while !world.nodes[node].coming.is_empty() {
                world.deliver(node, 0);
            }
            while !world.nodes[node].asked.is_empty() {
                world.carry_out(node, 0);
            }
            world.feed(node, Event::Tick);
        }
        for request in std::mem::take(&mut world.requests) {
            let posted = world.land(&request).map_or(Posted::Unsettled, Posted::Committed);
            world.reply(&request, posted);
        }
    }
}

fn read_all(world: &mut World) {
    for partition in world.logs.keys().cloned().collect::<Vec<_>>() {
        world.read(0, &partition, 10);
    }
    answer(world);
}

fn in_table(world: &World, partition: &TopicPartition) -> Progress {
    let property = world.properties[LANE].as_ref().expect("can be read");
    property.lane.partitions[partition].clone()
}

fn position(world: &World, partition: &TopicPartition) -> Place {
    world.nodes[0].core.owned()[partition].position.as_ref().expect("placed").place
}

fn judge(world: &mut World, partition: TopicPartition, offset: Offset, hour: EventHour, id: u128) -> Verdict {
    let epoch = world.nodes[0].core.owned()[&partition].epoch;
    let body = Body::Row { id: MessageId(id), event_time: start_of(hour) };
    let record = RecordMeta { offset, leader_epoch: None, body };
    world.nodes[0].core.judge(world.now_ms, &partition, epoch, &[record]).expect("of the current epoch")[0]
}

#[test]
fn maxima_are_written_with_their_offsets() {
    let history = || {
        let mut world = world(&[("a", 0, &[(LATER, 1)])], LatePolicy::Admit);
        answer(&mut world);
        read_all(&mut world);
        in_table(&world, &tp("a", 0)).place()
    };
    let (without, with) = without_and_with(Bug::MaximaNotPersisted, history);
    assert_eq!(without, Place { next_offset: 1, max_event_time: Some(start_of(LATER)) });
    assert_eq!(with, Place { next_offset: 1, max_event_time: None });
}

#[test]
fn maxima_are_those_at_the_end_offsets() {
    let history = || {
        let mut world = world(&[("a", 0, &[(EARLY, 1), (LATER, 2)])], LatePolicy::Admit);
        answer(&mut world);
        world.read(0, &tp("a", 0), 1);
        world.now_ms += 2_000;
        world.feed(0, Event::Tick);
        world.read(0, &tp("a", 0), 1);
        while world.requests.is_empty() {
            world.carry_out(0, 0);
            world.deliver(0, 0);
        }
        let request = world.requests.remove(0);
        world.land(&request);
        in_table(&world, &tp("a", 0)).place()
    };
    let (without, with) = without_and_with(Bug::MaximaAheadOfOffsets, history);
    assert_eq!(without, Place { next_offset: 1, max_event_time: Some(start_of(EARLY)) });
    assert_eq!(with, Place { next_offset: 1, max_event_time: Some(start_of(LATER)) });
}

/// Committed, then rolled back to the opening, and no input since.
fn rolled_back() -> Place {
    let mut world = world(&[("a", 0, &[(LATER, 1)])], LatePolicy::Admit);
    answer(&mut world);
    let opening = world.head.expect("opened");
    read_all(&mut world);
    world.roll_back(opening);
    answer(&mut world);
    position(&world, &tp("a", 0))
}

#[test]
fn maxima_are_rewound_with_the_offsets() {
    let (without, with) = without_and_with(Bug::MaximaNotRewound, rolled_back);
    assert_eq!(without, Place { next_offset: 0, max_event_time: None });
    assert_eq!(with, Place { next_offset: 0, max_event_time: Some(start_of(LATER)) });
}

#[test]
fn a_partition_without_input_is_compared_too() {
    let (without, with) = without_and_with(Bug::OnlyBatchPartitionsCompared, rolled_back);
    assert_eq!((without.next_offset, with.next_offset), (0, 1));
}

#[test]
fn a_record_is_late_by_its_own_partition_only() {
    let history = || {
        let mut world = world(&[("a", 0, &[]), ("a", 1, &[])], LatePolicy::Drop);
        answer(&mut world);
        judge(&mut world, tp("a", 0), 0, LATER, 1);
        judge(&mut world, tp("a", 1), 0, EARLY, 2)
    };
    let (without, with) = without_and_with(Bug::LatenessFromOtherPartitions, history);
    assert_eq!((without, with), (Verdict::Fresh { hour: EARLY, late: false }, Verdict::Late));
}

#[test]
fn no_record_is_late_by_the_clock() {
    let history = || {
        let mut world = world(&[("a", 0, &[])], LatePolicy::Drop);
        answer(&mut world);
        world.nodes[0].core.host_clock(start_of(LATER) / 1_000);
        judge(&mut world, tp("a", 0), 0, EARLY, 1)
    };
    let (without, with) = without_and_with(Bug::LatenessFromWallClock, history);
    assert_eq!((without, with), (Verdict::Fresh { hour: EARLY, late: false }, Verdict::Late));
}

#[test]
fn a_copy_behind_a_late_record_is_written() {
    let history = || {
        let mut world = world(&[("a", 0, &[]), ("a", 1, &[])], LatePolicy::Drop);
        answer(&mut world);
        judge(&mut world, tp("a", 0), 0, LATER, 1);
        assert_eq!(judge(&mut world, tp("a", 0), 1, EARLY, 2), Verdict::Late);
        judge(&mut world, tp("a", 1), 0, EARLY, 2)
    };
    let (without, with) = without_and_with(Bug::LateEntersPending, history);
    assert_eq!((without, with), (Verdict::Fresh { hour: EARLY, late: false }, Verdict::Duplicate));
}

#[test]
fn an_end_of_an_older_epoch_moves_nothing() {
    let history = || {
        let mut world = world(&[("a", 0, &[])], LatePolicy::Admit);
        answer(&mut world);
        world.feed(0, Event::EndOfPartition { partition: tp("a", 0), epoch: Epoch(0), offset: 9 });
        position(&world, &tp("a", 0)).next_offset
    };
    assert_eq!(without_and_with(Bug::OldEpochEofBelieved, history), (0, 9));
}

#[test]
fn the_identity_of_an_epoch_is_remembered() {
    let history = || {
        let topic = Topic::from("a");
        let kafka = |id: u8| SourceIdentity {
            cluster_id: Some("c".into()),
            topics: BTreeMap::from([(topic.clone(), TopicId([id; 16]))]),
        };
        EpochIdentity::of(&topic, &kafka(1)).is_still(&topic, &kafka(2))
    };
    assert_eq!(without_and_with(Bug::IdentityAskedAnew, history), (false, true));
}

#[test]
fn a_missing_table_that_something_knows_is_not_made_again() {
    let history = || {
        let mut world = world(&[("a", 0, &[])], LatePolicy::Admit);
        world.mirrored.insert("a".into());
        answer(&mut world);
        (world.exists, world.nodes[0].stopped.is_some())
    };
    assert_eq!(without_and_with(Bug::MissingTableSkipped, history), ((false, true), (true, false)));
}

#[test]
fn the_second_instance_of_a_first_start_looks_once_more() {
    let history = || {
        let mut world = world(&[("a", 0, &[])], LatePolicy::Admit);
        // what it knew, and the table from before it was opened
        world.exists = true;
        world.mirrored.insert("a".into());
        world.deliver(0, 0);
        world.carry_out(0, 0);
        world.mirrored.clear();
        let second = world.add_node(settings(2, &["a"], LatePolicy::Admit));
        let stale = std::mem::take(&mut world.nodes[0].coming);
        world.nodes[0].asked.clear();
        world.assign(second, BTreeSet::from([tp("a", 0)]));
        answer(&mut world);
        assert!(world.head.is_some(), "the other instance opened the lane");
        world.nodes[0].coming = stale;
        answer(&mut world);
        world.nodes[0].stopped.is_some()
    };
    assert_eq!(without_and_with(Bug::TripwireAfterTable, history), (false, true));
}

#[test]
fn reading_begins_where_the_table_says() {
    let history = || {
        let mut world = world(&[("a", 0, &[])], LatePolicy::Admit);
        answer(&mut world);
        world.restart(0, settings(2, &["a"], LatePolicy::Admit));
        world.deliver(0, 0);
        world.carry_out(0, 0);
        let Event::Loaded { load, .. } = &mut world.nodes[0].coming[0] else { panic!("the table was loaded") };
        load.kafka.group_offsets.insert(tp("a", 0), 5);
        world.deliver(0, 0);
        world.nodes[0].reading[&tp("a", 0)].1
    };
    assert_eq!(without_and_with(Bug::GroupOffsetIsTruth, history), (0, 5));
}

#[test]
fn a_discarded_commit_keeps_its_id_to_itself() {
    let history = || {
        let mut world = world(&[("a", 0, &[(EARLY, 1)])], LatePolicy::Admit);
        answer(&mut world);
        let mut posted = || {
            world.read(0, &tp("a", 0), 1);
            world.now_ms += 10_000;
            world.feed(0, Event::Tick);
            while world.requests.is_empty() {
                world.carry_out(0, 0);
                world.deliver(0, 0);
            }
            let commit = world.requests.remove(0).plan.commit_id;
            let partitions = BTreeSet::from([tp("a", 0)]);
            world.feed(0, Event::Revoked { partitions: partitions.clone(), lost: true });
            world.assign(0, partitions);
            answer(&mut world);
            commit
        };
        posted() == posted()
    };
    assert_eq!(without_and_with(Bug::DiscardedIdSettles, history), (false, true));
}

#[test]
fn a_commit_requires_main_and_the_tag() {
    let history = || required_references().contains(&Reference::Tag);
    assert_eq!(without_and_with(Bug::TagNotRequired, history), (true, false));
}

#[test]
fn every_carried_lane_has_its_property_moved() {
    let history = || {
        let lanes = ["g", "h"].map(|name| (LaneName::from(name), Lane::default()));
        let own = Some(("g".into(), OwnChange::Reset(BTreeMap::new())));
        let plan = SnapshotPlan { commit_id: CommitId(1), lanes: lanes.into(), own, retired: BTreeSet::new() };
        plan.properties().map(|(name, _)| name.to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(without_and_with(Bug::OnlyOwnPropertyMoved, history), ("g h".to_string(), "g".to_string()));
}

#[test]
fn a_summary_counts_for_the_snapshot_that_it_names() {
    let history = || [None, Some(SnapshotId(1)), Some(SnapshotId(2))].map(|named| names_itself(SnapshotId(1), named));
    let (without, with) = without_and_with(Bug::CopiedSummaryBelieved, history);
    assert_eq!((without, with), ([false, true, false], [false, true, true]));
}
