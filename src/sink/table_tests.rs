use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering;

use iceberg::spec::{
    DataContentType, DataFileFormat, MAIN_BRANCH, ManifestContentType, NestedField, PrimitiveType, Schema,
    SnapshotReference, SnapshotRetention, Struct, Transform, UnboundPartitionSpec,
};
use iceberg::{TableRequirement, TableUpdate};

use super::*;
use crate::core::table::{LaneEntry, OwnChange};
use crate::error::Exit;
use crate::sink::local_fs::LocalFs;
use crate::sink::testing::*;
use crate::types::*;

async fn stop(table: &IcebergTable) -> Stop {
    match table.load().await {
        Err(PortError::Stop(stop)) => stop,
        other => panic!("{other:?}"),
    }
}

fn main_at(id: i64) -> Vec<TableUpdate> {
    let reference = SnapshotReference::new(id, SnapshotRetention::branch(None, None, None));
    vec![TableUpdate::SetSnapshotRef { ref_name: MAIN_BRANCH.into(), reference }]
}

fn evolved(change: impl FnOnce(&mut Vec<Arc<NestedField>>)) -> Vec<TableUpdate> {
    let mut fields = gold::table_schema().as_struct().fields().to_vec();
    change(&mut fields);
    let schema = Schema::builder().with_schema_id(1).with_fields(fields).build().unwrap();
    vec![TableUpdate::AddSchema { schema }, TableUpdate::SetCurrentSchema { schema_id: -1 }]
}

#[tokio::test]
async fn a_missing_table_is_no_error_and_creating_it_twice_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new().await;
    let table = table_in(dir.path(), world.rows.clone(), world.clock.clone(), 2);
    assert!(matches!(table.load().await.unwrap(), Loaded::Missing));
    table.create().await.unwrap();
    table.create().await.unwrap();
    let view = view(&table).await;
    assert_eq!((view.head, view.tag, view.snapshots.len(), view.live.len()), (None, None, 0, 0));
}

#[tokio::test]
async fn what_was_committed_is_what_is_loaded() {
    let world = World::new().await;
    let opened = world.commit(&opening(1, "my.group", 5), &[]).await;
    let next_hour = EventHour(HOUR.0 + 1);
    let plan = batch(2, "my.group", 15, 10);
    let written = [written("a", HOUR, 7), written("b", next_hour, 3)];
    let id = world.commit(&plan, &written).await;
    let view = world.load().await;
    assert_eq!((view.head, view.tag), (Some(id), Some(id)));
    assert_eq!(view.snapshots[&id].parent, Some(opened));
    let keys = view.snapshots[&id].sluice.as_ref().unwrap();
    assert_eq!(keys.commit_id, CommitId(2));
    let own = plan.own.as_ref().map(|(_, change)| change.clone());
    assert_eq!(keys.lanes["my.group"], Ok(LaneEntry { lane: plan.lanes["my.group"].clone(), own }));
    let first = view.snapshots[&opened].sluice.as_ref().unwrap().lanes["my.group"].as_ref().unwrap();
    assert!(matches!(&first.own, Some(OwnChange::Reset(reset)) if reset[&tp(0)].from.is_none()));
    assert_eq!(view.find_commit(&[CommitId(2)]), Some((CommitId(2), id)));
    let of_hour: Vec<_> = view.live.of_hour(next_hour).map(|f| (f.path.to_string(), f.rows, f.bytes)).collect();
    assert_eq!(of_hour, [("file:///lake/sluice-b.parquet".to_string(), 3, 300)]);
}

#[tokio::test]
async fn a_base_that_is_not_the_head_any_more_conflicts() {
    let world = World::new().await;
    let base = world.load().await;
    world.commit(&opening(1, "g", 0), &[]).await;
    let outcome = world.table.commit(&base, &opening(2, "g", 0), &[]).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "{outcome:?}");
    assert_eq!(world.load().await.find_commit(&[CommitId(2)]), None);
}

#[tokio::test]
async fn a_base_that_nobody_loaded_is_not_sent() {
    let world = World::new().await;
    let base = TableView { metadata_location: "elsewhere".into(), ..world.load().await };
    assert!(matches!(world.table.commit(&base, &opening(1, "g", 0), &[]).await, Outcome::NotSent(_)));
}

#[tokio::test]
async fn a_catalog_that_may_not_be_written_stops_a_process_that_never_committed_and_no_other() {
    let world = World::new().await;
    world.commit(&opening(1, "g", 0), &[]).await;
    let started = table_in(world.dir.path(), world.rows.clone(), world.clock.clone(), 2);
    let base = view(&started).await;
    make_read_only(world.dir.path());
    for (table, plan) in [(&started, opening(2, "h", 0)), (&world.table, opening(3, "h", 0))] {
        assert!(matches!(table.commit(&base, &plan, &[]).await, Outcome::NotSent(_)));
    }
    let refused = stop(&started).await;
    assert_eq!(refused.exit, Exit::Usage);
    assert!(refused.what.contains("iceberg.uri"), "{refused}");
    assert_eq!(world.load().await.head, base.head, "the other waits");
}

/// DESIGN section 4: an opening that was held on its way while the table went on and was then rolled back to the very base
/// it was built on. Main is where it was; only the tag tells.
#[tokio::test]
async fn a_request_held_over_a_roll_back_is_refused_because_of_the_tag() {
    let world = World::new().await;
    world.foreign_append(Vec::new(), ManifestContentType::Data).await;
    let base = world.loaded().await;
    let held = world.table.build(&base, &opening(1, "g", 1_000), &[]).await;
    world.load().await;
    let held = held.unwrap();

    world.commit(&opening(2, "g", 0), &[]).await;
    world.foreign(main_at(base.metadata.current_snapshot_id().unwrap())).await;
    assert_eq!(world.load().await.head, base.metadata.current_snapshot_id().map(SnapshotId));
    match world.catalog.commit(&base, &held.requirements, held.updates.clone()).await {
        CommitAnswer::Conflict(text) => assert!(text.contains("`sluice`"), "{text}"),
        other => panic!("{other:?}"),
    }

    let without_tag: Vec<_> = held
        .requirements
        .iter()
        .filter(|r| !matches!(r, TableRequirement::RefSnapshotIdMatch { r#ref, .. } if r#ref == summary::TAG))
        .cloned()
        .collect();
    assert_eq!(without_tag.len(), held.requirements.len() - 1);
    // Nothing else stands in its way: on a catalog that renumbers, it would land.
    for requirement in &without_tag {
        requirement.check(Some(&world.loaded().await.metadata)).unwrap();
    }
}

#[tokio::test]
async fn a_busy_branch_of_others_only_costs_another_attempt() {
    let world = World::new().await;
    world.commit(&opening(1, "g", 0), &[]).await;
    let base = world.load().await;
    let on_branch = world.table.build(&world.loaded().await, &opening(9, "x", 0), &[]).await.unwrap();
    let snapshot = on_branch.updates[0].clone();
    world.foreign(vec![snapshot]).await;
    let outcome = world.table.commit(&base, &batch(2, "g", 10, 0), &[]).await;
    assert!(matches!(outcome, Outcome::Conflict(_)), "its sequence number is taken: {outcome:?}");
    world.commit(&batch(2, "g", 10, 0), &[]).await;
}

#[tokio::test]
async fn a_copy_of_our_snapshot_is_nobodys() {
    let world = World::new().await;
    world.commit(&opening(1, "g", 0), &[]).await;
    let loaded = world.loaded().await;
    let original = loaded.metadata.current_snapshot().unwrap();
    let copy = iceberg::spec::Snapshot::builder()
        .with_snapshot_id(77)
        .with_parent_snapshot_id(None)
        .with_sequence_number(loaded.metadata.next_sequence_number())
        .with_timestamp_ms(original.timestamp_ms() + 1)
        .with_manifest_list(original.manifest_list())
        .with_summary(original.summary().clone())
        .build();
    world.foreign(vec![TableUpdate::AddSnapshot { snapshot: copy }]).await;
    world.foreign(main_at(77)).await;
    let view = world.load().await;
    assert_eq!(view.head, Some(SnapshotId(77)));
    assert_eq!(view.snapshots[&SnapshotId(77)].sluice, None);
    assert_eq!(view.find_commit(&[CommitId(1)]), None);
}

#[tokio::test]
async fn foreign_rows_in_the_hour_of_their_partition_are_live() {
    let world = World::new().await;
    let (first, end) = HOUR.bounds();
    world
        .foreign_append(
            vec![data_file("/x/f.parquet", HOUR, 5, Some((first, end - 1))).build().unwrap()],
            ManifestContentType::Data,
        )
        .await;
    world.commit(&batch(1, "g", 10, 10), &[written("a", HOUR, 10)]).await;
    let view = world.load().await;
    assert_eq!(paths(&view), ["f.parquet", "sluice-a.parquet"]);
    assert_eq!(view.live.get("/x/f.parquet").unwrap().hour, Some(HOUR));
    assert_eq!(world.rows.asked.load(Ordering::SeqCst), 0, "the bounds said enough");
}

#[tokio::test]
async fn foreign_rows_outside_the_hour_of_their_partition_stop_with_the_path() {
    let (first, end) = HOUR.bounds();
    for bounds in [(first - 1, end - 1), (first, end), (first - 7_200_000_000, first - 3_600_000_000)] {
        let world = World::new().await;
        let file = data_file("/x/shifted.parquet", HOUR, 5, Some(bounds)).build().unwrap();
        world.foreign_append(vec![file], ManifestContentType::Data).await;
        for _ in 0..2 {
            let stop = stop(&world.table).await;
            assert_eq!(stop.exit, Exit::Inconsistent);
            assert!(stop.what.contains("/x/shifted.parquet"), "{stop}");
        }
    }
}

#[tokio::test]
async fn foreign_files_without_bounds_are_read_once() {
    let hours = [("right.parquet", BTreeSet::from([HOUR])), ("empty.parquet", BTreeSet::new())].into();
    let world = World::with_rows(FakeRows { hours, ..FakeRows::default() }).await;
    let file = |name| data_file(name, HOUR, 5, None).build().unwrap();
    let right = file("/x/right.parquet");
    world.foreign_append(vec![right.clone(), file("/x/empty.parquet")], ManifestContentType::Data).await;
    world.load().await;
    world.commit(&opening(1, "g", 0), &[]).await;
    world.load().await;
    // Listed again by another manifest, as after a rewrite of manifests.
    world.foreign_append(vec![right], ManifestContentType::Data).await;
    assert_eq!(world.load().await.live.len(), 2);
    assert_eq!(world.rows.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn foreign_files_that_hold_another_hour_or_are_no_parquet_stop() {
    let hours = [("wrong.parquet", BTreeSet::from([HOUR, EventHour(HOUR.0 - 3)]))].into();
    let world = World::with_rows(FakeRows { hours, ..FakeRows::default() }).await;
    let file = data_file("/x/wrong.parquet", HOUR, 5, None).build().unwrap();
    world.foreign_append(vec![file], ManifestContentType::Data).await;
    assert!(stop(&world.table).await.what.contains("/x/wrong.parquet"));

    let world = World::new().await;
    let orc = data_file("/x/f.orc", HOUR, 5, Some(HOUR.bounds())).file_format(DataFileFormat::Orc).build().unwrap();
    world.foreign_append(vec![orc], ManifestContentType::Data).await;
    assert!(stop(&world.table).await.what.contains("only Parquet"));

    let world = World::new().await;
    let nulls = Struct::from_iter([None, None]);
    let file = data_file("/x/null.parquet", HOUR, 5, Some(HOUR.bounds())).partition(nulls).build().unwrap();
    world.foreign_append(vec![file], ManifestContentType::Data).await;
    assert!(stop(&world.table).await.what.contains("/x/null.parquet"));
}

#[tokio::test]
async fn delete_files_are_no_data_files() {
    let world = World::new().await;
    world.commit(&batch(1, "g", 10, 10), &[written("a", HOUR, 10)]).await;
    let deletes = data_file("/x/d.parquet", HOUR, 5, None).content(DataContentType::PositionDeletes).build().unwrap();
    world.foreign_append(vec![deletes], ManifestContentType::Deletes).await;
    assert_eq!(paths(&world.load().await), ["sluice-a.parquet"]);
    world.commit(&batch(2, "g", 20, 10), &[written("b", HOUR, 10)]).await;
    let loaded = world.loaded().await;
    let head = loaded.metadata.current_snapshot_id().map(SnapshotId).unwrap();
    let listing = crate::sink::listing::files_of(&LocalFs, &loaded.metadata, head).await.unwrap();
    let numbers = |files: &[crate::sink::listing::ListedFile]| {
        files.iter().map(|f| (f.file.file_path().to_string(), f.sequence_number, f.ours)).collect::<Vec<_>>()
    };
    assert_eq!(
        numbers(&listing.data),
        [("file:///lake/sluice-b.parquet".into(), 3, true), ("file:///lake/sluice-a.parquet".into(), 1, true)]
    );
    assert_eq!(numbers(&listing.deletes), [("/x/d.parquet".into(), 2, false)], "carried on by our commit");
}

#[tokio::test]
async fn files_of_a_spec_that_was_changed_and_changed_back_are_looked_at_for_every_hour() {
    let world = World::new().await;
    let by_symbol =
        UnboundPartitionSpec::builder().add_partition_field(3, "by_symbol", Transform::Identity).unwrap().build();
    let spec = TableUpdate::AddSpec { spec: by_symbol };
    world.foreign(vec![spec, TableUpdate::SetDefaultSpec { spec_id: -1 }]).await;
    let symbol = Struct::from_iter([Some(iceberg::spec::Literal::string("BTC"))]);
    let file = data_file("/x/s.parquet", HOUR, 5, None).partition(symbol).build().unwrap();
    world.foreign_append(vec![file], ManifestContentType::Data).await;
    assert!(stop(&world.table).await.what.contains("identity(symbol)"));
    world.foreign(vec![TableUpdate::SetDefaultSpec { spec_id: 0 }]).await;
    let view = world.load().await;
    assert_eq!(view.live.get("/x/s.parquet").unwrap().hour, None);
    assert_eq!(view.live.of_hour(EventHour(1)).count(), 1);
}

#[tokio::test]
async fn an_optional_column_of_another_engine_is_no_reason_to_stop() {
    let world = World::new().await;
    world.commit(&opening(1, "g", 0), &[]).await;
    let base = world.load().await;
    let note = Arc::new(NestedField::optional(50, "note", PrimitiveType::String.into()));
    world.foreign(evolved(|fields| fields.push(note))).await;
    let outcome = world.table.commit(&base, &batch(2, "g", 10, 0), &[]).await;
    assert!(matches!(&outcome, Outcome::Conflict(text) if text.contains("schema")), "{outcome:?}");
    world.commit(&batch(2, "g", 10, 10), &[written("a", HOUR, 10)]).await;
}

#[tokio::test]
async fn a_lane_that_cannot_be_read_is_neither_carried_nor_erased() {
    let world = World::new().await;
    let broken = [("sluice.state.broken".to_string(), "{".to_string())];
    world.foreign(vec![TableUpdate::SetProperties { updates: broken.into() }]).await;
    world.commit(&opening(1, "g", 0), &[]).await;
    let view = world.load().await;
    assert!(view.properties["broken"].as_ref().unwrap_err().contains("sluice.state.broken"));
    assert!(view.properties["g"].is_ok());
    assert_eq!(world.loaded().await.metadata.properties()["sluice.state.broken"], "{");
    assert!(!view.snapshots[&view.head.unwrap()].sluice.as_ref().unwrap().lanes.contains_key("broken"));
}

#[tokio::test]
async fn the_writer_of_files_learns_of_every_new_state_once() {
    let world = World::new().await;
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let telling = told.clone();
    let table = table_in(world.dir.path(), world.rows.clone(), world.clock.clone(), 3).telling(move |table| {
        telling.lock().unwrap().push(table.properties().get(gold::TARGET_FILE_SIZE).cloned().unwrap());
        Ok(())
    });
    view(&table).await;
    view(&table).await;
    let size = [(gold::TARGET_FILE_SIZE.to_string(), "1000".to_string())];
    world.foreign(vec![TableUpdate::SetProperties { updates: size.into() }]).await;
    view(&table).await;
    assert_eq!(*told.lock().unwrap(), ["134217728", "1000"]);
}

#[tokio::test]
async fn any_other_change_of_the_table_stops_with_the_difference() {
    let dropped = |fields: &mut Vec<Arc<NestedField>>| fields.retain(|f| f.name != "side");
    let readded = |fields: &mut Vec<Arc<NestedField>>| {
        fields.retain(|f| f.name != "side");
        fields.push(Arc::new(NestedField::optional(60, "side", PrimitiveType::String.into())));
    };
    let v3 = TableUpdate::UpgradeFormatVersion { format_version: iceberg::spec::FormatVersion::V3 };
    let uuid = TableUpdate::AssignUuid { uuid: uuid::Uuid::from_u128(5) };
    for (updates, difference) in [
        (evolved(dropped), "column side is missing"),
        (evolved(readded), "column side was optional with field id 10 and is optional with field id 60"),
        (vec![v3], "format version is 3"),
        (vec![uuid], "uuid was"),
    ] {
        let world = World::new().await;
        world.load().await;
        world.foreign(updates).await;
        let stop = stop(&world.table).await;
        assert_eq!(stop.exit, Exit::Inconsistent);
        assert!(stop.what.contains(difference), "{stop}");
    }
}

#[tokio::test]
async fn a_roll_back_by_another_engine_is_what_is_loaded_next() {
    let world = World::new().await;
    let first = world.commit(&batch(1, "g", 10, 10), &[written("a", HOUR, 10)]).await;
    let second = world.commit(&batch(2, "g", 20, 10), &[written("b", HOUR, 10)]).await;
    world.foreign(main_at(first.0)).await;
    let view = world.load().await;
    assert_eq!((view.head, view.tag), (Some(first), Some(second)));
    assert_eq!(paths(&view), ["sluice-a.parquet"]);
    world.commit(&batch(3, "g", 20, 10), &[written("c", HOUR, 10)]).await;
    assert_eq!(paths(&world.load().await), ["sluice-a.parquet", "sluice-c.parquet"]);
}

/// Commits `count` files on whatever base there is, again and again after conflicts; every commit exactly once.
async fn commit_all(table: &IcebergTable, name: &str, seed: u128, count: u128) {
    for i in 0..count {
        let file = written(&format!("{name}-{i}"), HOUR, 1);
        loop {
            let base = view(table).await;
            match table.commit(&base, &batch(seed * 1000 + i, name, i as i64 + 1, 1), std::slice::from_ref(&file)).await {
                Outcome::Committed(_) => break,
                Outcome::Conflict(_) | Outcome::NotSent(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

async fn assert_all_there(world: &World, names: &[&str], count: u128) {
    let view = world.load().await;
    assert_eq!(view.live.len() as u128, count * names.len() as u128);
    let own: Vec<_> = view.ancestry().map(|s| s.unwrap().sluice.as_ref().unwrap().commit_id).collect();
    assert_eq!(own.len() as u128, count * names.len() as u128, "one snapshot for each commit");
    assert_eq!(own.iter().collect::<BTreeSet<_>>().len(), own.len());
    assert_eq!(view.tag, view.head);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn committers_in_one_process_all_get_through_exactly_once() {
    let world = World::new().await;
    let names = ["a", "b", "c"];
    let tables = names.map(|_| table_in(world.dir.path(), world.rows.clone(), world.clock.clone(), rand::random()));
    let committers = names.iter().zip(&tables).zip(1..).map(|((name, table), seed)| commit_all(table, name, seed, 8));
    futures::future::join_all(committers).await;
    assert_all_there(&world, &names, 8).await;
}

const PROCESS_DIR: &str = "SLUICE_TEST_COMMITTER_DIR";
const PROCESS_NAME: &str = "SLUICE_TEST_COMMITTER_NAME";

/// What the test below starts as processes of their own.
#[tokio::test]
#[ignore = "started by another test"]
async fn committer_process() {
    let dir = PathBuf::from(std::env::var(PROCESS_DIR).unwrap());
    let name = std::env::var(PROCESS_NAME).unwrap();
    let clock = Arc::new(FixedClock(chrono::Utc::now().timestamp_millis().into()));
    let table = table_in(&dir, Arc::default(), clock, rand::random());
    commit_all(&table, &name, u128::from(name.as_bytes()[0]), 10).await;
}

#[tokio::test]
async fn two_processes_all_get_through_exactly_once() {
    let world = World::new().await;
    let start = |name: &str| {
        std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sink::table::tests::committer_process", "--ignored"])
            .env(PROCESS_DIR, world.dir.path())
            .env(PROCESS_NAME, name)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    for mut process in [start("a"), start("b")] {
        assert!(process.wait().unwrap().success());
    }
    assert_all_there(&world, &["a", "b"], 10).await;
}
