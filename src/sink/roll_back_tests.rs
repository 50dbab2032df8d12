use std::collections::BTreeMap;

use iceberg::spec::ManifestContentType;
use serde_json::Value;

use super::*;
use crate::core::lane::{self, Reading};
use crate::core::table::{LaneName, TableView};
use crate::core::{retire, rollback};
use crate::ports::{Outcome, Table};
use crate::sink::testing::*;
use crate::types::*;

/// The request of a plan made on the table as it is now.
fn planned(base: &TableView, target: SnapshotId) -> RollBackPlan {
    rollback::plan(base, target, &BTreeMap::new()).unwrap().plan
}

async fn roll_back(world: &World, target: SnapshotId) {
    let base = world.load().await;
    assert_eq!(world.table.roll_back(&base, &planned(&base, target)).await, Outcome::Committed(target));
}

fn at(view: &TableView, lane: &str) -> Option<Offset> {
    match lane::read(view, &LaneName::from(lane), None, None) {
        Reading::Known { lane, needs_anchor: false } => Some(lane.partitions[&tp(0)].next_offset),
        Reading::New => None,
        other => panic!("{other:?}"),
    }
}

/// A batch of `g` with a file, carrying `h`, which stands at `h_at`.
async fn commit(world: &World, n: u128, end: Offset, h_at: Offset) -> SnapshotId {
    let mut plan = batch(n, "g", end, 10);
    plan.lanes.insert("h".into(), lane_at(h_at));
    world.commit(&plan, &[written(&format!("{n}"), HOUR, 10)]).await
}

#[tokio::test]
async fn main_goes_back_with_every_lane_and_no_snapshot_is_made() {
    let world = World::new().await;
    let first = commit(&world, 1, 10, 3).await;
    let second = commit(&world, 2, 20, 4).await;
    let third = commit(&world, 3, 30, 5).await;
    roll_back(&world, first).await;
    let view = world.load().await;
    assert_eq!((view.head, view.tag), (Some(first), Some(third)), "the tag stays");
    assert_eq!(view.snapshots.keys().copied().collect::<Vec<_>>().len(), 3);
    assert_eq!((at(&view, "g"), at(&view, "h")), (Some(10), Some(3)));
    assert_eq!(paths(&view), ["sluice-1.parquet"]);
    for lane in ["g", "h"] {
        let property = view.properties[lane].as_ref().unwrap();
        assert_eq!((property.snapshot, property.commit_id), (first, CommitId(1)));
    }
    // A fresh process reads the same, and the next commit goes on from there.
    let fresh = crate::sink::testing::view(&table_in(world.dir.path(), world.rows.clone(), world.clock.clone(), 7)).await;
    assert_eq!(fresh, view);
    let fourth = commit(&world, 4, 20, 3).await;
    let view = world.load().await;
    assert_eq!(view.snapshots[&fourth].parent, Some(first));
    assert_eq!((view.tag, at(&view, "g")), (Some(fourth), Some(20)));
    assert_eq!(paths(&view), ["sluice-1.parquet", "sluice-4.parquet"]);
    assert!(rollback::plan(&view, second, &BTreeMap::new()).is_err(), "it is no history of main any more");
}

#[tokio::test]
async fn a_commit_that_was_faster_makes_the_roll_back_a_conflict_and_the_other_way_round() {
    let world = World::new().await;
    let first = commit(&world, 1, 10, 3).await;
    commit(&world, 2, 20, 3).await;
    let base = world.load().await;
    let plan = planned(&base, first);
    commit(&world, 3, 30, 3).await;
    let outcome = world.table.roll_back(&base, &plan).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{outcome:?}");
    assert_eq!(at(&world.load().await, "g"), Some(30));

    let base = world.load().await;
    roll_back(&world, first).await;
    let outcome = world.table.commit(&base, &batch(4, "g", 40, 10), &[written("4", HOUR, 10)]).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{outcome:?}");
    assert_eq!(at(&world.load().await, "g"), Some(10));
}

/// Main is where it was when the request was built, and only the tag tells that the table has been elsewhere meanwhile.
#[tokio::test]
async fn a_roll_back_held_on_its_way_is_refused_because_of_the_tag() {
    let world = World::new().await;
    let first = commit(&world, 1, 10, 3).await;
    let second = commit(&world, 2, 20, 3).await;
    let base = world.load().await;
    let held = planned(&base, first);
    commit(&world, 3, 30, 3).await;
    roll_back(&world, second).await;
    let outcome = world.table.roll_back(&base, &held).await;
    assert!(matches!(&outcome, Outcome::Conflict(text) if text.contains("`sluice`")), "{outcome:?}");
}

#[tokio::test]
async fn mains_own_retention_and_the_users_properties_are_kept() {
    let world = World::new().await;
    let first = commit(&world, 1, 10, 3).await;
    let second = commit(&world, 2, 20, 3).await;
    let reference = SnapshotReference::new(second.0, SnapshotRetention::branch(Some(7), None, None));
    let color = [("color".to_string(), "blue".to_string())];
    world
        .foreign(vec![
            TableUpdate::SetSnapshotRef { ref_name: "main".into(), reference },
            TableUpdate::SetProperties { updates: color.into() },
        ])
        .await;
    roll_back(&world, first).await;
    let metadata = world.loaded().await.metadata;
    let main: Value = serde_json::to_value(&*metadata).unwrap()["refs"]["main"].clone();
    assert_eq!(main, serde_json::json!({"snapshot-id": first.0, "type": "branch", "min-snapshots-to-keep": 7}));
    assert_eq!(metadata.properties()["color"], "blue");
}

#[tokio::test]
async fn a_property_that_another_engine_sets_meanwhile_is_no_conflict() {
    let world = World::new().await;
    let first = commit(&world, 1, 10, 3).await;
    commit(&world, 2, 20, 3).await;
    let base = world.load().await;
    let size = [("write.target-file-size-bytes".to_string(), "1000".to_string())];
    world.foreign(vec![TableUpdate::SetProperties { updates: size.into() }]).await;
    let outcome = world.table.roll_back(&base, &planned(&base, first)).await;
    assert_eq!(outcome, Outcome::Committed(first));
}

#[tokio::test]
async fn a_base_that_nobody_loaded_is_not_sent() {
    let world = World::new().await;
    let first = commit(&world, 1, 10, 3).await;
    commit(&world, 2, 20, 3).await;
    let base = world.load().await;
    let plan = planned(&base, first);
    let base = TableView { metadata_location: "elsewhere".into(), ..base };
    assert!(matches!(world.table.roll_back(&base, &plan).await, Outcome::NotSent(_)));
}

#[tokio::test]
async fn over_another_engines_snapshot_the_properties_are_of_the_sluice_snapshot_below() {
    let world = World::new().await;
    let first = commit(&world, 1, 10, 3).await;
    let foreign = world.foreign_append(Vec::new(), ManifestContentType::Data).await;
    commit(&world, 2, 20, 3).await;
    roll_back(&world, SnapshotId(foreign)).await;
    let view = world.load().await;
    assert_eq!(view.properties["g"].as_ref().unwrap().snapshot, first);
    let read = lane::read(&view, &"g".into(), None, None);
    assert_eq!(read, Reading::Known { lane: lane_at(10), needs_anchor: true });
}

#[tokio::test]
async fn a_retired_lane_is_gone_until_a_roll_back_to_before_brings_it_back() {
    let world = World::new().await;
    let before = commit(&world, 1, 10, 3).await;
    let base = world.load().await;
    let retirement = retire::plan(&base, &"h".into(), &[], CommitId(2)).unwrap();
    // A commit in between: the retirement is planned anew, so that it carries what that one did.
    commit(&world, 3, 20, 3).await;
    let outcome = world.table.commit(&base, &retirement, &[]).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{outcome:?}");
    let retirement = retire::plan(&world.load().await, &"h".into(), &[], CommitId(2)).unwrap();
    let ended = world.commit(&retirement, &[]).await;
    let view = world.load().await;
    assert_eq!((at(&view, "g"), at(&view, "h")), (Some(20), None));
    assert_eq!(view.properties.keys().map(|n| &**n).collect::<Vec<_>>(), ["g"]);
    assert_eq!(paths(&view), ["sluice-1.parquet", "sluice-3.parquet"], "rows stay");
    let keys = view.snapshots[&ended].sluice.as_ref().unwrap();
    assert_eq!(keys.lanes["g"].as_ref().unwrap().own, None, "g is carried, not moved");

    // The group may begin anew; its old lane is another one.
    world.commit(&batch(4, "g", 30, 10), &[written("4", HOUR, 10)]).await;
    assert_eq!(at(&world.load().await, "h"), None);
    roll_back(&world, before).await;
    let view = world.load().await;
    assert_eq!((at(&view, "g"), at(&view, "h")), (Some(10), Some(3)));
}
