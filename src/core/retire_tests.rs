use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::core::lane::Memory;
use crate::core::tripwire::{Trace, Witness};
use crate::types::*;

fn lane(at: Offset) -> Lane {
    Lane { partitions: BTreeMap::from([(TopicPartition::new("a", 0), Progress::opened_at(at))]), ..Lane::default() }
}

/// Lanes g at 5 and h at 7, carried by snapshot 1.
fn table() -> TableView {
    let empty = TableView {
        uuid: 1,
        metadata_location: "m".into(),
        head: None,
        tag: None,
        snapshots: BTreeMap::new(),
        properties: BTreeMap::new(),
        live: Arc::default(),
    };
    let lanes = BTreeMap::from([("g".into(), lane(5)), ("h".into(), lane(7))]);
    committed(empty, SnapshotPlan { commit_id: CommitId(1), lanes, own: None, retired: BTreeSet::new() })
}

/// The table behind a snapshot of this plan.
fn committed(mut table: TableView, plan: SnapshotPlan) -> TableView {
    let id = SnapshotId(table.snapshots.len() as i64 + 1);
    for (name, lane) in &plan.lanes {
        let property = LaneProperty { lane: lane.clone(), commit_id: plan.commit_id, snapshot: id };
        table.properties.insert(name.clone(), Ok(property));
    }
    table.properties.retain(|name, _| !plan.retired.contains(name));
    let lanes = plan.lanes.into_iter().map(|(name, lane)| (name, Ok(LaneEntry { lane, own: None }))).collect();
    let keys = SluiceKeys { commit_id: plan.commit_id, lanes, retired: plan.retired };
    let view = SnapshotView { id, parent: table.head, timestamp_ms: id.0, sluice: Some(Arc::new(keys)) };
    table.snapshots.insert(id, view);
    TableView { head: Some(id), tag: Some(id), ..table }
}

fn foreign(mut table: TableView) -> TableView {
    let id = SnapshotId(table.snapshots.len() as i64 + 1);
    table.snapshots.insert(id, SnapshotView { id, parent: table.head, timestamp_ms: id.0, sluice: None });
    TableView { head: Some(id), ..table }
}

fn retired(table: &TableView, name: &str) -> TableView {
    committed(table.clone(), plan(table, &name.into(), &[], CommitId(2)).unwrap())
}

fn witness() -> Witness {
    let mut witness = Witness::default();
    witness.add("a".into(), Trace::GroupOffsets);
    witness
}

#[test]
fn a_retired_lane_is_a_new_lane_and_all_others_are_carried() {
    let table = retired(&table(), "g");
    assert_eq!(lane::read(&table, &"g".into(), None, None), Reading::New);
    assert_eq!(lane::read(&table, &"h".into(), None, None), Reading::Known { lane: lane(7), needs_anchor: false });
    assert_eq!(table.properties.keys().map(|n| &**n).collect::<Vec<_>>(), ["h"]);
    // A walk over other snapshots ends there too.
    assert_eq!(lane::read(&foreign(table), &"g".into(), None, None), Reading::New);
}

#[test]
fn what_still_knows_a_retired_lane_stops_its_group() {
    let mut table = retired(&table(), "g");
    let stops = |table: &TableView, memory: Option<&Memory>, witness: Option<&Witness>| {
        let read = lane::read(table, &"g".into(), memory, witness);
        matches!(read, Reading::Stop(LaneStop::RolledBackBeforeLane { .. }))
    };
    assert!(stops(&table, None, Some(&witness())), "the tripwire");
    let memory = Memory { head: SnapshotId(1), lanes: BTreeMap::from([("g".into(), lane(5))]) };
    assert!(stops(&table, Some(&memory), None), "a running instance");
    let property = LaneProperty { lane: lane(5), commit_id: CommitId(1), snapshot: SnapshotId(1) };
    table.properties.insert("g".into(), Ok(property));
    assert!(stops(&table, None, None), "its property, put back");
}

/// An instance of group h that had read g before it ended would log on every load that g can't be read.
#[test]
fn to_the_instances_of_other_groups_a_retired_lane_is_gone_and_not_unreadable() {
    let lanes = BTreeMap::from([("g".into(), lane(5)), ("h".into(), lane(7))]);
    let memory = Memory { head: SnapshotId(1), lanes };
    let table = retired(&table(), "g");
    for table in [table.clone(), foreign(table)] {
        let lanes = lane::read_all(&table, Some(&memory));
        assert_eq!(lanes.readable, BTreeMap::from([("h".into(), lane(7))]));
        assert_eq!(lanes.stopped, BTreeMap::new());
    }
}

#[test]
fn a_lane_that_is_not_there_or_has_members_is_not_retired() {
    let table = table();
    let unknown = Refusal::NoSuchLane { lane: "x".into() };
    assert_eq!(plan(&table, &"x".into(), &[], CommitId(2)), Err(unknown.clone()));
    assert_eq!(plan(&retired(&table, "g"), &"g".into(), &[], CommitId(3)), Err(Refusal::NoSuchLane { lane: "g".into() }));
    let members = ["m-1".to_string()];
    let refused = Refusal::GroupHasMembers { lane: "g".into(), members: members.to_vec() };
    assert_eq!(plan(&table, &"g".into(), &members, CommitId(2)), Err(refused));
    // A tag without a history, as in a copied table: nobody's lane is there.
    let bare = TableView { snapshots: BTreeMap::new(), head: None, properties: BTreeMap::new(), ..table };
    assert_eq!(plan(&bare, &"x".into(), &[], CommitId(2)), Err(unknown));
}

#[test]
fn a_stopped_lane_can_be_given_up_unless_a_later_version_wrote_it() {
    let mut stopped = foreign(table());
    stopped.snapshots.remove(&SnapshotId(1));
    let property = LaneProperty { lane: lane(9), commit_id: CommitId(8), snapshot: SnapshotId(80) };
    stopped.properties.insert("g".into(), Ok(property));
    assert!(matches!(lane::read(&stopped, &"g".into(), None, None), Reading::Stop(_)));
    let plan_of = |table: &TableView| plan(table, &"g".into(), &[], CommitId(2));
    let planned = plan_of(&stopped).unwrap();
    assert_eq!(planned.lanes, BTreeMap::from([("h".into(), lane(7))]), "carried by its property");

    stopped.properties.insert("g".into(), Err("sluice.format is 2".into()));
    assert!(matches!(plan_of(&stopped), Err(Refusal::Unreadable(_))));
}
