use std::sync::Arc;

use super::*;
use crate::core::lane::Reading;

fn lane(topics: &[&str], at: Offset) -> Lane {
    let partitions = topics.iter().map(|t| (TopicPartition::new(*t, 0), Progress::opened_at(at)));
    Lane { partitions: partitions.collect(), ..Lane::default() }
}

/// One snapshot of main, oldest first.
enum Step {
    Sluice(Vec<(&'static str, Lane)>),
    Foreign,
    Retires(&'static str, Vec<(&'static str, Lane)>),
}

use Step::*;

/// Snapshots 1, 2, …, with the properties and the tag as the producer leaves them.
fn table(steps: Vec<Step>) -> TableView {
    let mut table = TableView {
        uuid: 1,
        metadata_location: "m".into(),
        head: None,
        tag: None,
        snapshots: BTreeMap::new(),
        properties: BTreeMap::new(),
        live: Arc::default(),
    };
    for (i, step) in steps.into_iter().enumerate() {
        let id = SnapshotId(i as i64 + 1);
        let (lanes, retired) = match step {
            Sluice(lanes) => (Some(lanes), BTreeSet::new()),
            Retires(lane, others) => (Some(others), BTreeSet::from([LaneName::from(lane)])),
            Foreign => (None, BTreeSet::new()),
        };
        let commit_id = CommitId(id.0 as u128);
        let sluice = lanes.map(|lanes| {
            table.tag = Some(id);
            for (name, lane) in &lanes {
                let property = LaneProperty { lane: lane.clone(), commit_id, snapshot: id };
                table.properties.insert((*name).into(), Ok(property));
            }
            table.properties.retain(|name, _| !retired.contains(name));
            let lanes = lanes.into_iter().map(|(n, lane)| (n.into(), Ok(LaneEntry { lane, own: None }))).collect();
            Arc::new(SluiceKeys { commit_id, lanes, retired })
        });
        table.snapshots.insert(id, SnapshotView { id, parent: table.head, timestamp_ms: id.0, sluice });
        table.head = Some(id);
    }
    table
}

fn planned(table: &TableView, target: i64) -> Result<RollBack, Refusal> {
    plan(table, SnapshotId(target), &BTreeMap::new())
}

/// The table as the plan leaves it.
fn rolled_back(table: &TableView, target: i64) -> TableView {
    let RollBack { plan, .. } = planned(table, target).unwrap();
    let mut table = TableView { head: Some(plan.target), ..table.clone() };
    table.properties.extend(plan.properties.into_iter().map(|(name, property)| (name, Ok(property))));
    table
}

fn both(g: Offset, h: Offset) -> Vec<(&'static str, Lane)> {
    vec![("g", lane(&["a"], g)), ("h", lane(&["a"], h))]
}

#[test]
fn every_lane_is_read_at_the_target_as_it_stood_there() {
    let table = table(vec![Sluice(both(1, 7)), Sluice(both(5, 7)), Sluice(both(5, 9)), Sluice(both(8, 9))]);
    for (target, g, h) in [(1, 1, 7), (2, 5, 7), (3, 5, 9)] {
        let after = rolled_back(&table, target);
        for (name, at) in [("g", g), ("h", h)] {
            let read = lane::read(&after, &name.into(), None, None);
            assert_eq!(read, Reading::Known { lane: lane(&["a"], at), needs_anchor: false }, "{name} at {target}");
            let property = after.properties[name].as_ref().unwrap();
            assert_eq!((property.snapshot, property.commit_id), (SnapshotId(target), CommitId(target as u128)));
        }
        assert_eq!(after.tag, Some(SnapshotId(4)), "the tag stays");
    }
}

#[test]
fn behind_another_engines_snapshot_the_properties_name_the_sluice_snapshot_below_it() {
    let table = table(vec![Sluice(both(1, 7)), Foreign, Foreign, Sluice(both(5, 7))]);
    let RollBack { plan, .. } = planned(&table, 3).unwrap();
    let snapshots: Vec<_> = plan.properties.values().map(|p| p.snapshot.0).collect();
    assert_eq!((plan.target, snapshots), (SnapshotId(3), vec![1, 1]));
    // Should another engine's maintenance take the snapshot below it, the properties are its own.
    let mut after = rolled_back(&table, 3);
    after.snapshots.remove(&SnapshotId(1));
    assert!(matches!(lane::read(&after, &"g".into(), None, None), Reading::Known { .. }));
}

#[test]
fn it_is_refused_to_before_the_opening_of_a_topic_or_lane() {
    let joined = vec![("g", lane(&["a", "b"], 5)), ("h", lane(&["a"], 7))];
    let opened = table(vec![Foreign, Sluice(vec![("h", lane(&["a"], 7))]), Sluice(both(1, 7)), Sluice(joined.clone())]);
    let before = |lane: &str, target| Refusal::BeforeLane { target: SnapshotId(target), lane: lane.into() };
    let topics = BTreeSet::from(["b".into()]);
    let before_b = Refusal::BeforeTopics { target: SnapshotId(3), lane: "g".into(), topics };
    assert_eq!(planned(&opened, 3), Err(before_b.clone()));
    assert_eq!(planned(&opened, 2), Err(before("g", 2)));
    assert_eq!(planned(&opened, 1), Err(before("g", 1)));

    // The same where the properties were removed by hand, so that nothing but the history speaks.
    let mut without = opened.clone();
    without.properties.clear();
    assert_eq!(planned(&without, 3), Err(before_b));
    assert_eq!(planned(&without, 2), Err(before("g", 2)));

    // A partition that was added to a known topic is no reason: it begins at 0 whenever it is opened.
    let mut wider = lane(&["a"], 5);
    wider.partitions.insert(TopicPartition::new("a", 1), Progress::opened_at(3));
    let added = table(vec![Sluice(vec![("g", lane(&["a"], 1))]), Sluice(vec![("g", wider)])]);
    assert!(planned(&added, 1).is_ok());
}

#[test]
fn only_snapshots_that_main_came_from_are_targets() {
    let mut table = table(vec![Sluice(both(1, 7)), Sluice(both(5, 7)), Sluice(both(8, 7))]);
    assert_eq!(planned(&table, 3), Err(Refusal::IsTheHead { target: SnapshotId(3) }));
    assert_eq!(planned(&table, 9), Err(Refusal::NotInHistory { target: SnapshotId(9) }));
    table.head = Some(SnapshotId(1));
    assert_eq!(planned(&table, 2), Err(Refusal::NotInHistory { target: SnapshotId(2) }));
}

#[test]
fn it_waits_for_every_group_whose_lane_it_moves() {
    let table = table(vec![Sluice(both(1, 7)), Sluice(both(5, 7))]);
    let members = |lane: &str, of: &[&str]| {
        BTreeMap::from([(LaneName::from(lane), of.iter().map(|m| m.to_string()).collect::<Vec<_>>())])
    };
    let refused = Refusal::GroupHasMembers { lane: "h".into(), members: vec!["m-1".into()] };
    assert_eq!(plan(&table, SnapshotId(1), &members("h", &["m-1"])), Err(refused));
    assert!(plan(&table, SnapshotId(1), &members("h", &[])).is_ok());
    assert!(plan(&table, SnapshotId(1), &members("of another table", &["m-1"])).is_ok());
}

#[test]
fn a_lane_that_was_retired_since_is_there_again() {
    let after_it = vec![("h", lane(&["a"], 8))];
    let table = table(vec![Sluice(both(1, 7)), Retires("g", vec![("h", lane(&["a"], 7))]), Sluice(after_it)]);
    let planned = planned(&table, 1).unwrap();
    assert_eq!(planned.revived, BTreeSet::from(["g".into()]));
    let read = lane::read(&rolled_back(&table, 1), &"g".into(), None, None);
    assert_eq!(read, Reading::Known { lane: lane(&["a"], 1), needs_anchor: false });
}

#[test]
fn a_retired_lanes_opening_is_no_bound() {
    let retired = Retires("g", vec![("h", lane(&["a"], 7))]);
    let table = table(vec![Sluice(vec![("h", lane(&["a"], 7))]), Sluice(both(1, 7)), retired]);
    assert!(planned(&table, 1).is_ok());
}

#[test]
fn over_an_expired_history_a_lane_that_could_not_be_read_again_forbids_the_target() {
    let mut table = table(vec![Sluice(both(1, 7)), Foreign, Sluice(both(5, 7)), Sluice(both(6, 7))]);
    table.snapshots.remove(&SnapshotId(1));
    assert!(planned(&table, 3).is_ok());
    let refused = planned(&table, 2).unwrap_err();
    assert!(matches!(&refused, Refusal::LaneUnreadable { lane, .. } if &**lane == "g"), "{refused:?}");
}

#[test]
fn over_an_expired_history_the_property_of_the_missing_snapshot_stays_as_it_is() {
    let mut table = table(vec![Sluice(both(1, 7)), Foreign, Foreign]);
    table.snapshots.remove(&SnapshotId(1));
    let planned = planned(&table, 2).unwrap();
    assert_eq!(planned.plan.properties, BTreeMap::new());
    let read = lane::read(&rolled_back(&table, 2), &"g".into(), None, None);
    assert_eq!(read, Reading::Known { lane: lane(&["a"], 1), needs_anchor: true });
}

#[test]
fn a_lane_of_a_later_format_is_left_alone_and_holds_up_nobody_else() {
    let mut table = table(vec![Sluice(both(1, 7)), Sluice(both(5, 7))]);
    table.properties.insert("h".into(), Err("sluice.format is 2".into()));
    let planned = planned(&table, 1).unwrap();
    assert_eq!(planned.plan.properties.keys().map(|n| &**n).collect::<Vec<_>>(), ["g"]);
    assert_eq!(planned.stopped.keys().map(|n| &**n).collect::<Vec<_>>(), ["h"]);
}

#[test]
fn a_lane_that_can_not_be_read_never_becomes_a_new_one() {
    let mut table = table(vec![Foreign, Sluice(vec![("g", lane(&["a"], 1))])]);
    let snapshot = table.snapshots.get_mut(&SnapshotId(2)).unwrap();
    let garbled = BTreeMap::from([("g".into(), Err("sluice.format is 2".to_string()))]);
    snapshot.sluice = Some(Arc::new(SluiceKeys { commit_id: CommitId(2), lanes: garbled, retired: BTreeSet::new() }));
    table.properties.clear();
    assert_eq!(planned(&table, 1), Err(Refusal::BeforeLane { target: SnapshotId(1), lane: "g".into() }));
}
