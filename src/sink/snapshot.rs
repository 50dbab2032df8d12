//! The one producer of snapshots: manifest, manifest list, and the request that makes them the table's head. What it is
//! told is a [`SnapshotPlan`]; what it hands back has not been sent.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataFileFormat, MAIN_BRANCH, ManifestFile, ManifestListWriter, ManifestWriterBuilder, Operation, Snapshot,
    SnapshotReference, SnapshotRetention, Summary, TableMetadata,
};
use iceberg::{TableRequirement, TableUpdate};

use super::storage::{ObjectStore, StorageError};
use super::{gold, is_ours, lane_json::IDLE, summary};
use crate::core::plan::{Reference, SnapshotPlan, required_references};
use crate::core::table::LaneProperty;
use crate::crash_point::{self, Point};
use crate::error::Stop;
use crate::ports::{PortError, WrittenFile};
use crate::types::SnapshotId;

/// What the outside world gives to a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Stamp {
    /// Positive, and not that of a snapshot of the base.
    pub id: SnapshotId,
    /// Wall clock, milliseconds.
    pub now_ms: i64,
    /// Makes the names of this attempt's manifests unique.
    pub file_id: uuid::Uuid,
}

/// A snapshot whose files are durable, and the request that commits it.
#[derive(Debug)]
pub struct Attempt {
    pub id: SnapshotId,
    pub requirements: Vec<TableRequirement>,
    pub updates: Vec<TableUpdate>,
    pub manifest_list: String,
    /// What the manifest list lists: the new manifest first, where there is one, then the parent's.
    pub manifests: Vec<ManifestFile>,
    /// Path of the manifest that lists the new files; none for a snapshot without files.
    pub manifest: Option<String>,
    /// By how many milliseconds the clock is behind the table; 0 where it isn't.
    pub clock_behind_ms: i64,
}

impl Attempt {
    /// The files that were written for it, and that nobody needs when it was never sent.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.manifest.iter().map(String::as_str).chain([self.manifest_list.as_str()])
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("snapshot on {head:?}: {source}")]
    Iceberg { head: Option<i64>, source: iceberg::Error },
}

impl From<ProduceError> for PortError {
    fn from(error: ProduceError) -> Self {
        match error {
            ProduceError::Storage(error) => error.into(),
            ProduceError::Iceberg { .. } => Stop::internal(error.to_string()).into(),
        }
    }
}

/// Writes manifest and manifest list of a snapshot on `base`, whose head lists `parents`.
pub async fn produce(
    store: &dyn ObjectStore,
    base: &TableMetadata,
    parents: &[ManifestFile],
    plan: &SnapshotPlan,
    files: &[WrittenFile],
    stamp: Stamp,
) -> Result<Attempt, ProduceError> {
    check_plan(plan);
    check_files(base, files);
    assert!(stamp.id.0 > 0 && base.snapshot_by_id(stamp.id.0).is_none(), "snapshot id {} can't be used", stamp.id);
    let iceberg = |source| ProduceError::Iceberg { head: base.current_snapshot_id(), source };
    let folder = gold::metadata_folder(base);
    let mut manifests = Vec::with_capacity(parents.len() + 1);
    if !files.is_empty() {
        let path = format!("{folder}/sluice-{}-m0.avro", stamp.file_id);
        let (manifest, content) = manifest(base, files, stamp.id, path.clone()).await.map_err(iceberg)?;
        store.put(&path, content).await?;
        crash_point::pass(Point::ManifestDurable);
        manifests.push(manifest);
    }
    // A manifest whose entries were all deleted tells something about its own snapshot only.
    manifests.extend(parents.iter().filter(|m| m.has_added_files() || m.has_existing_files()).cloned());

    let manifest_list = format!("{folder}/snap-{}-sluice-{}.avro", stamp.id, stamp.file_id);
    let content = list(base, &manifests, stamp.id).await.map_err(iceberg)?;
    store.put(&manifest_list, content).await?;
    crash_point::pass(Point::ManifestListDurable);

    let timestamp_ms = timestamp(base, stamp.now_ms);
    let snapshot = Snapshot::builder()
        .with_snapshot_id(stamp.id.0)
        .with_parent_snapshot_id(base.current_snapshot_id())
        .with_sequence_number(base.next_sequence_number())
        .with_timestamp_ms(timestamp_ms)
        .with_manifest_list(manifest_list.clone())
        .with_schema_id(base.current_schema_id())
        .with_summary(summary_of(base, plan, files, stamp.id))
        .build();
    Ok(Attempt {
        id: stamp.id,
        requirements: requirements(base),
        updates: updates(base, plan, snapshot).map_err(iceberg)?,
        manifest: (!files.is_empty()).then(|| manifests[0].manifest_path.clone()),
        manifests: with_sequence_number(manifests, base.next_sequence_number()),
        manifest_list,
        clock_behind_ms: timestamp_ms - stamp.now_ms,
    })
}

/// What can't be told by the keys of a summary is never written.
fn check_plan(plan: &SnapshotPlan) {
    let ended: Vec<_> = plan.retired.iter().filter(|name| plan.lanes.contains_key(*name)).collect();
    assert!(ended.is_empty(), "{ended:?} are both carried and retired");
    let own = plan.own.as_ref().map(|(name, _)| name);
    assert!(own.is_none_or(|name| plan.lanes.contains_key(name)), "{own:?} commits and is not carried");
    for (name, lane) in &plan.lanes {
        let unspeakable = lane.topics().into_iter().find(|topic| &**topic == IDLE);
        assert!(unspeakable.is_none(), "lane {name} has a topic {unspeakable:?}, which is a key of its event times");
    }
}

/// What the writer promises of its files; the manifest repeats it to every reader.
fn check_files(base: &TableMetadata, files: &[WrittenFile]) {
    let (spec, schema) = (base.default_partition_spec(), base.current_schema());
    let paths: BTreeSet<_> = files.iter().map(|f| &f.path).collect();
    assert!(paths.len() == files.len(), "a file is named twice in {paths:?}");
    for WrittenFile { path, hour, rows, bytes, data_file } in files {
        let in_manifest = (data_file.file_path(), data_file.record_count(), data_file.file_size_in_bytes());
        assert!(
            in_manifest == (&**path, *rows, *bytes),
            "{path}, {rows} rows, {bytes} bytes, is {in_manifest:?} in the manifest"
        );
        assert!(*rows > 0 && is_ours(path), "{path} with {rows} rows is no file of ours");
        assert!(data_file.file_format() == DataFileFormat::Parquet, "{path} is {:?}", data_file.file_format());
        let partition = gold::hour_of_partition(spec, schema, data_file.partition());
        assert!(partition == Some(*hour), "{path} of {hour} is in the partition {:?}", data_file.partition());
    }
}

/// The clock, but always after everything that the table has seen: another writer's clock may be ahead.
fn timestamp(base: &TableMetadata, now_ms: i64) -> i64 {
    let head = base.current_snapshot().map(|s| s.timestamp_ms());
    let log = base.history().last().map(|entry| entry.timestamp_ms());
    let last = [Some(base.last_updated_ms()), head, log].into_iter().flatten().max();
    last.map_or(now_ms, |last| now_ms.max(last.saturating_add(1)))
}

async fn manifest(
    base: &TableMetadata,
    files: &[WrittenFile],
    id: SnapshotId,
    path: String,
) -> iceberg::Result<(ManifestFile, Bytes)> {
    let scratch = FileIO::new_with_memory();
    let output = scratch.new_output(SCRATCH)?;
    let spec = base.default_partition_spec().as_ref().clone();
    let mut writer = ManifestWriterBuilder::new(output, Some(id.0), base.current_schema().clone(), spec).build_v2_data();
    for file in files {
        // No sequence number of its own: it inherits the manifest's, as every reader knows.
        writer.add_file(file.data_file.clone(), -1)?;
    }
    let manifest = writer.write_manifest_file().await?;
    Ok((ManifestFile { manifest_path: path, ..manifest }, scratch.new_input(SCRATCH)?.read().await?))
}

async fn list(base: &TableMetadata, manifests: &[ManifestFile], id: SnapshotId) -> iceberg::Result<Bytes> {
    let scratch = FileIO::new_with_memory();
    let output = scratch.new_output(SCRATCH)?.writer().await?;
    let mut writer = ManifestListWriter::v2(output, id.0, base.current_snapshot_id(), base.next_sequence_number());
    writer.add_manifests(manifests.iter().cloned())?;
    writer.close().await?;
    scratch.new_input(SCRATCH)?.read().await
}

/// Manifests are small and made in memory, so that they reach the disk by the one way that makes them durable.
const SCRATCH: &str = "memory://scratch";

/// The new manifest as a reader of the list sees it.
fn with_sequence_number(mut manifests: Vec<ManifestFile>, sequence_number: i64) -> Vec<ManifestFile> {
    for manifest in &mut manifests {
        if manifest.sequence_number == iceberg::spec::UNASSIGNED_SEQUENCE_NUMBER {
            (manifest.sequence_number, manifest.min_sequence_number) = (sequence_number, sequence_number);
        }
    }
    manifests
}

fn summary_of(base: &TableMetadata, plan: &SnapshotPlan, files: &[WrittenFile], id: SnapshotId) -> Summary {
    let mut keys: HashMap<String, String> = summary::print_summary(plan, id).into_iter().collect();
    keys.extend(counts_of_files(base, files));
    Summary { operation: Operation::Append, additional_properties: keys }
}

/// What other engines expect of every summary: what was added, and the totals where the parent knows its own.
fn counts_of_files(base: &TableMetadata, files: &[WrittenFile]) -> BTreeMap<String, String> {
    let hours: BTreeSet<_> = files.iter().map(|f| f.hour).collect();
    let (rows, bytes) = files.iter().fold((0, 0), |(rows, bytes), f| (rows + f.rows, bytes + f.bytes));
    let mut keys = BTreeMap::new();
    let totals = [
        ("data-files", files.len() as u64),
        ("records", rows),
        ("files-size", bytes),
        ("delete-files", 0),
        ("position-deletes", 0),
        ("equality-deletes", 0),
    ];
    for (what, added) in totals {
        if added > 0 {
            keys.insert(format!("added-{what}"), added.to_string());
        }
        let key = format!("total-{what}");
        let before = match base.current_snapshot() {
            None => Some(0),
            Some(parent) => parent.summary().additional_properties.get(&key).and_then(|v| v.parse::<u64>().ok()),
        };
        keys.extend(before.map(|before| (key, (before + added).to_string())));
    }
    keys.insert("changed-partition-count".into(), hours.len().to_string());
    keys
}

fn requirements(base: &TableMetadata) -> Vec<TableRequirement> {
    let mut all = place_of_refs(base);
    all.push(TableRequirement::CurrentSchemaIdMatch { current_schema_id: base.current_schema_id() });
    all.push(TableRequirement::DefaultSpecIdMatch { default_spec_id: base.default_partition_spec_id() });
    all
}

/// The very table, with main and the tag where they are.
pub(super) fn place_of_refs(base: &TableMetadata) -> Vec<TableRequirement> {
    let reference = |name: &str, snapshot_id| TableRequirement::RefSnapshotIdMatch { r#ref: name.into(), snapshot_id };
    let mut requirements = vec![TableRequirement::UuidMatch { uuid: base.uuid() }];
    requirements.extend(required_references().iter().map(|required| match required {
        Reference::Main => reference(MAIN_BRANCH, base.current_snapshot_id()),
        Reference::Tag => reference(summary::TAG, base.snapshot_for_ref(summary::TAG).map(|s| s.snapshot_id())),
    }));
    requirements
}

/// Snapshot, main, tag and properties in one request. The builder knows how main's own retention is kept.
fn updates(base: &TableMetadata, plan: &SnapshotPlan, snapshot: Snapshot) -> iceberg::Result<Vec<TableUpdate>> {
    let id = snapshot.snapshot_id();
    // Other engines' expiry must not take our newest snapshot.
    let tag = SnapshotReference::new(id, SnapshotRetention::Tag { max_ref_age_ms: Some(i64::MAX) });
    let properties = plan.properties().map(|(name, lane)| {
        let property = LaneProperty { lane: lane.clone(), commit_id: plan.commit_id, snapshot: SnapshotId(id) };
        (summary::property_key(name), summary::print_property(&property))
    });
    let retired: Vec<String> = plan.retired.iter().map(|name| summary::property_key(name)).collect();
    let built = base
        .clone()
        .into_builder(None)
        .set_branch_snapshot(snapshot, MAIN_BRANCH)?
        .set_ref(summary::TAG, tag)?
        .set_properties(properties.collect())?
        .remove_properties(&retired)?
        .build()?;
    Ok(built.changes)
}

#[cfg(test)]
#[path = "snapshot_tests.rs"]
mod tests;
