use std::sync::Arc;

use super::*;
use crate::core::table::Lane;
use crate::sink::local_fs::LocalFs;
use crate::sink::manifests::read_list;
use crate::sink::testing::*;
use crate::types::EventHour;

async fn summary_at(world: &World, id: SnapshotId) -> HashMap<String, String> {
    world.loaded().await.metadata.snapshot_by_id(id.0).unwrap().summary().additional_properties.clone()
}

fn reference(table: &TableMetadata, name: &str) -> serde_json::Value {
    serde_json::to_value(table).unwrap()["refs"][name].clone()
}

#[tokio::test]
async fn a_batch_tells_other_engines_what_it_added_and_what_there_is() {
    let world = World::new().await;
    world.commit(&batch(1, "g", 10, 10), &[written("a", HOUR, 7), written("b", EventHour(HOUR.0 + 1), 3)]).await;
    let id = world.commit(&batch(2, "g", 15, 5), &[written("c", HOUR, 5)]).await;
    let keys = summary_at(&world, id).await;
    for (key, value) in [
        ("added-data-files", "1"),
        ("added-records", "5"),
        ("added-files-size", "500"),
        ("changed-partition-count", "1"),
        ("total-data-files", "3"),
        ("total-records", "15"),
        ("total-files-size", "1500"),
        ("total-delete-files", "0"),
    ] {
        assert_eq!(keys.get(key).map(String::as_str), Some(value), "{key}");
    }
    assert_eq!(keys["sluice.snapshot-id"], id.to_string());
}

#[tokio::test]
async fn a_snapshot_without_files_lists_what_its_parent_lists() {
    let world = World::new().await;
    world.commit(&opening(1, "g", 0), &[]).await;
    assert!(world.load().await.live.is_empty());
    world.commit(&batch(2, "g", 10, 10), &[written("a", HOUR, 10)]).await;
    let id = world.commit(&batch(3, "g", 10, 0), &[]).await;
    let table = world.loaded().await.metadata;
    let list = read_list(&LocalFs, table.snapshot_by_id(id.0).unwrap().manifest_list()).await.unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!((list[0].sequence_number, list[0].min_sequence_number), (2, 2));
    assert_eq!(table.last_sequence_number(), 3);
    assert_eq!(table.current_snapshot().unwrap().summary().operation, Operation::Append);
    assert!(!summary_at(&world, id).await.contains_key("added-data-files"));
}

#[tokio::test]
async fn what_is_remembered_of_a_commit_is_what_a_reader_of_its_files_sees() {
    let world = World::new().await;
    for i in 1..=3 {
        world.commit(&batch(i, "g", 10 * i as i64, 10), &[written(&format!("f{i}"), HOUR, 10)]).await;
        let ours = world.load().await;
        let fresh = view(&table_in(world.dir.path(), world.rows.clone(), world.clock.clone(), 9)).await;
        assert_eq!(ours, fresh);
        assert_eq!(paths(&ours).len() as u128, i);
    }
}

#[tokio::test]
async fn the_timestamp_is_always_after_the_table_even_when_the_clock_is_an_hour_behind() {
    let world = World::new().await;
    world.clock.0.fetch_add(3_600_000, std::sync::atomic::Ordering::SeqCst);
    let ahead = world.commit(&batch(1, "g", 10, 10), &[written("a", HOUR, 10)]).await;
    world.clock.0.fetch_sub(3_600_000, std::sync::atomic::Ordering::SeqCst);
    let behind = world.commit(&batch(2, "g", 20, 10), &[written("b", HOUR, 10)]).await;
    let table = world.loaded().await.metadata;
    let at = |id: SnapshotId| table.snapshot_by_id(id.0).unwrap().timestamp_ms();
    assert_eq!(at(behind), at(ahead) + 1);
}

#[tokio::test]
async fn the_tag_moves_with_every_snapshot_and_mains_own_retention_is_kept() {
    let world = World::new().await;
    let first = world.commit(&opening(1, "g", 0), &[]).await;
    let retention = SnapshotRetention::branch(Some(7), None, None);
    let reference_to_main = SnapshotReference::new(first.0, retention);
    world.foreign(vec![TableUpdate::SetSnapshotRef { ref_name: "main".into(), reference: reference_to_main }]).await;
    let second = world.commit(&batch(2, "g", 10, 10), &[written("a", HOUR, 10)]).await;
    let table = world.loaded().await.metadata;
    let tag = serde_json::json!({"snapshot-id": second.0, "type": "tag", "max-ref-age-ms": i64::MAX});
    assert_eq!(reference(&table, summary::TAG), tag);
    let main = serde_json::json!({"snapshot-id": second.0, "type": "branch", "min-snapshots-to-keep": 7});
    assert_eq!(reference(&table, "main"), main);
}

#[tokio::test]
async fn a_carried_lane_keeps_its_property_current_and_its_watermark() {
    let world = World::new().await;
    let marked = |offset| Lane { watermark: Some(1_767_225_300_000_000), ..lane_at(offset) };
    let mut first = batch(1, "other", 10, 10);
    first.lanes.insert("other".into(), marked(10));
    world.commit(&first, &[written("a", HOUR, 10)]).await;
    world.foreign_append(Vec::new(), iceberg::spec::ManifestContentType::Data).await;
    let mut plan = batch(2, "g", 20, 10);
    plan.lanes.insert("other".into(), marked(10));
    let id = world.commit(&plan, &[written("b", HOUR, 10)]).await;
    assert_eq!(summary_at(&world, id).await["sluice.watermark.other"], "2025-12-31T23:55:00.000000Z");
    let properties = world.load().await.properties;
    for (name, offset) in [("g", 20), ("other", 10)] {
        let property = properties[name].as_ref().unwrap();
        assert_eq!((property.snapshot, property.commit_id), (id, plan.commit_id));
        assert_eq!(property.lane, lane_at(offset), "the property has no watermark");
    }
}

#[tokio::test]
async fn a_retired_lane_loses_its_property_in_the_same_commit() {
    let world = World::new().await;
    let mut plan = batch(1, "g", 10, 0);
    plan.lanes.insert("old".into(), lane_at(5));
    world.commit(&plan, &[]).await;
    let retirement = SnapshotPlan {
        own: None,
        retired: ["old".into()].into(),
        lanes: BTreeMap::from([("g".into(), lane_at(10))]),
        ..batch(2, "g", 10, 0)
    };
    let id = world.commit(&retirement, &[]).await;
    let view = world.load().await;
    assert_eq!(view.properties.keys().map(|n| n.to_string()).collect::<Vec<_>>(), ["g"]);
    assert_eq!(view.snapshots[&id].sluice.as_ref().unwrap().retired, BTreeSet::from(["old".into()]));
}

#[tokio::test]
#[should_panic(expected = "is in the partition")]
async fn a_file_in_another_partition_than_its_rows_is_never_listed() {
    let world = World::new().await;
    let mut file = written("a", HOUR, 10);
    file.hour = EventHour(HOUR.0 + 1);
    world.commit(&batch(1, "g", 10, 10), &[file]).await;
}

#[tokio::test]
async fn every_attempt_has_names_of_its_own() {
    let world = World::new().await;
    let base = world.loaded().await.metadata;
    let stamp = |id| Stamp { id: SnapshotId(id), now_ms: 0, file_id: uuid::Uuid::new_v4() };
    let (plan, files) = (batch(1, "g", 10, 10), [written("a", HOUR, 10)]);
    let store = Arc::new(LocalFs);
    let one = produce(&*store, &base, &[], &plan, &files, stamp(1)).await.unwrap();
    let two = produce(&*store, &base, &[], &plan, &files, stamp(2)).await.unwrap();
    assert!(one.paths().all(|path| two.paths().all(|other| path != other)));
}
