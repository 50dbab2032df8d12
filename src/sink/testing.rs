//! A Gold table on a temporary disk, and another engine beside us, for tests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use async_trait::async_trait;
use iceberg::TableUpdate;
use iceberg::io::FileIO;
use iceberg::spec::*;
use rand::rngs::SmallRng;
use rand::{RngCore, SeedableRng};

use super::catalog::sqlite::SqliteCatalog;
use super::catalog::{Catalog, CommitAnswer, LoadedTable};
use super::foreign::RowHours;
use super::local_fs::{LocalFs, folder_uri};
use super::table::IcebergTable;
use super::{gold, manifests};
use crate::core::plan::SnapshotPlan;
use crate::core::table::*;
use crate::ports::{Clock, Loaded, Outcome, PortError, Random, Table, WrittenFile};
use crate::types::*;

pub const TOPIC: &str = "silver.binance.trades";
pub const HOUR: EventHour = EventHour(490_896);

/// A wall clock that stands still until it is moved.
pub struct FixedClock(pub AtomicI64);

impl Clock for FixedClock {
    fn monotonic_ms(&self) -> u64 {
        0
    }
    fn wall_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

pub struct SeededRandom(std::sync::Mutex<SmallRng>);

impl SeededRandom {
    pub fn new(seed: u64) -> Self {
        Self(std::sync::Mutex::new(SmallRng::seed_from_u64(seed)))
    }
}

impl Random for SeededRandom {
    fn u64(&self) -> u64 {
        self.0.lock().unwrap().next_u64()
    }
    fn u128(&self) -> u128 {
        u128::from(self.u64()) << 64 | u128::from(self.u64())
    }
}

/// Rows of foreign files, by what is at the end of their path; counts how often it was asked.
#[derive(Default)]
pub struct FakeRows {
    pub hours: BTreeMap<&'static str, BTreeSet<EventHour>>,
    pub asked: AtomicU64,
}

#[async_trait]
impl RowHours for FakeRows {
    async fn hours(&self, file: &LiveFile) -> Result<BTreeSet<EventHour>, PortError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let known = self.hours.iter().find(|(end, _)| file.path.ends_with(**end));
        Ok(known.unwrap_or_else(|| panic!("nobody should read {}", file.path)).1.clone())
    }
}

pub struct World {
    pub dir: tempfile::TempDir,
    pub catalog: Arc<SqliteCatalog>,
    pub clock: Arc<FixedClock>,
    pub rows: Arc<FakeRows>,
    pub table: IcebergTable,
}

pub fn database(dir: &Path) -> PathBuf {
    dir.join("catalog.db")
}

pub fn catalog_in(dir: &Path) -> SqliteCatalog {
    let warehouse = folder_uri(dir.join("lake").to_str().unwrap()).unwrap();
    SqliteCatalog::new("market_data.gold".parse().unwrap(), database(dir), warehouse, Arc::new(LocalFs))
}

/// Makes the catalog's file one that nobody may write, whoever runs the test: a database of a later format is read-only.
pub fn make_read_only(dir: &Path) {
    // The last connection empties the write-ahead log: the header lies in the file itself then.
    drop(
        rusqlite::Connection::open(database(dir))
            .and_then(|db| db.execute_batch("SELECT 1 FROM iceberg_tables").map(|()| db)),
    );
    set_write_version(dir, 9);
}

pub fn make_writable(dir: &Path) {
    set_write_version(dir, 2);
}

fn set_write_version(dir: &Path, version: u8) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::OpenOptions::new().write(true).open(database(dir)).unwrap();
    file.write_all_at(&[version], 18).unwrap();
}

pub fn table_in(dir: &Path, rows: Arc<FakeRows>, clock: Arc<FixedClock>, seed: u64) -> IcebergTable {
    let random = Arc::new(SeededRandom::new(seed));
    IcebergTable::new(Arc::new(catalog_in(dir)), Arc::new(LocalFs), rows, clock, random)
}

impl World {
    /// A table that was just created.
    pub async fn new() -> Self {
        Self::with_rows(FakeRows::default()).await
    }

    pub async fn with_rows(rows: FakeRows) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now = chrono::Utc::now().timestamp_millis();
        let (rows, clock) = (Arc::new(rows), Arc::new(FixedClock(AtomicI64::new(now))));
        let table = table_in(dir.path(), rows.clone(), clock.clone(), 1);
        table.create().await.unwrap();
        Self { catalog: Arc::new(catalog_in(dir.path())), dir, clock, rows, table }
    }

    pub async fn load(&self) -> TableView {
        view(&self.table).await
    }

    pub async fn loaded(&self) -> LoadedTable {
        self.catalog.load().await.unwrap().unwrap()
    }

    pub async fn commit(&self, plan: &SnapshotPlan, files: &[WrittenFile]) -> SnapshotId {
        match self.table.commit(&self.load().await, plan, files).await {
            Outcome::Committed(id) => id,
            other => panic!("{other:?}"),
        }
    }

    /// Changes to the table by somebody else.
    pub async fn foreign(&self, updates: Vec<TableUpdate>) -> LoadedTable {
        match self.catalog.commit(&self.loaded().await, &[], updates).await {
            CommitAnswer::Committed(table) => table,
            other => panic!("{other:?}"),
        }
    }

    /// An append (or, with `content`, a delete) by an engine that knows nothing of Sluice.
    pub async fn foreign_append(&self, files: Vec<DataFile>, content: ManifestContentType) -> i64 {
        let loaded = self.loaded().await;
        let (snapshot, id) = foreign_snapshot(&loaded.metadata, files, content).await;
        let builder = TableMetadata::clone(&loaded.metadata).into_builder(None);
        let changes = builder.set_branch_snapshot(snapshot, MAIN_BRANCH).unwrap().build().unwrap().changes;
        self.foreign(changes).await;
        id
    }
}

pub async fn view(table: &IcebergTable) -> TableView {
    match table.load().await.unwrap() {
        Loaded::Table(view) => view,
        Loaded::Missing => panic!("the table is missing"),
    }
}

async fn foreign_snapshot(table: &TableMetadata, files: Vec<DataFile>, content: ManifestContentType) -> (Snapshot, i64) {
    let id = i64::from_be_bytes(uuid::Uuid::new_v4().as_bytes()[..8].try_into().unwrap()) & i64::MAX;
    let io = FileIO::new_with_fs();
    let folder = gold::metadata_folder(table);
    let output = io.new_output(format!("{folder}/foreign-{id}-m0.avro")).unwrap();
    let (schema, spec) = (table.current_schema().clone(), table.default_partition_spec().as_ref().clone());
    let builder = ManifestWriterBuilder::new(output, Some(id), schema, spec);
    let mut writer = match content {
        ManifestContentType::Data => builder.build_v2_data(),
        ManifestContentType::Deletes => builder.build_v2_deletes(),
    };
    for file in files {
        writer.add_file(file, -1).unwrap();
    }
    let mut all = vec![writer.write_manifest_file().await.unwrap()];
    if let Some(head) = table.current_snapshot() {
        all.extend(manifests::read_list(&LocalFs, head.manifest_list()).await.unwrap());
    }
    let list = format!("{folder}/snap-{id}-foreign.avro");
    let output = io.new_output(&list).unwrap().writer().await.unwrap();
    let mut writer = ManifestListWriter::v2(output, id, table.current_snapshot_id(), table.next_sequence_number());
    writer.add_manifests(all.into_iter()).unwrap();
    writer.close().await.unwrap();
    let snapshot = Snapshot::builder()
        .with_snapshot_id(id)
        .with_parent_snapshot_id(table.current_snapshot_id())
        .with_sequence_number(table.next_sequence_number())
        .with_timestamp_ms(table.last_updated_ms() + 1)
        .with_manifest_list(list)
        .with_schema_id(table.current_schema_id())
        .with_summary(Summary { operation: Operation::Append, additional_properties: HashMap::new() })
        .build();
    (snapshot, id)
}

pub fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, partition)
}

pub fn lane_at(next_offset: Offset) -> Lane {
    let progress = Progress { max_event_time: Some(HOUR.bounds().0), ..Progress::opened_at(next_offset) };
    Lane { partitions: BTreeMap::from([(tp(0), progress)]), ..Lane::default() }
}

/// A batch of the lane `name` that ends at `end` and has written `rows` rows.
pub fn batch(commit: u128, name: &str, end: Offset, rows: u64) -> SnapshotPlan {
    let ranges = BTreeMap::from([(tp(0), OffsetRange { start: end - rows as i64, end })]);
    let counts = Counts { written: rows, ..Counts::default() };
    SnapshotPlan {
        commit_id: CommitId(commit),
        lanes: BTreeMap::from([(name.into(), lane_at(end))]),
        own: Some((name.into(), OwnChange::Ranges { ranges, counts })),
        retired: BTreeSet::new(),
    }
}

pub fn opening(commit: u128, name: &str, at: Offset) -> SnapshotPlan {
    let reset = BTreeMap::from([(tp(0), ResetRange { from: None, to: at })]);
    let lane = Lane { partitions: BTreeMap::from([(tp(0), Progress::opened_at(at))]), ..Lane::default() };
    SnapshotPlan {
        lanes: BTreeMap::from([(name.into(), lane)]),
        own: Some((name.into(), OwnChange::Reset(reset))),
        ..batch(commit, name, at, 0)
    }
}

/// A file that a manifest can list; it is not on the disk.
pub fn data_file(path: &str, hour: EventHour, rows: u64, bounds: Option<(Micros, Micros)>) -> DataFileBuilder {
    let timestamp = gold::table_schema().field_id_by_name(gold::TIMESTAMP).unwrap();
    let bound = |value: Micros| HashMap::from([(timestamp, Datum::long(value))]);
    let mut builder = DataFileBuilder::default();
    builder
        .content(DataContentType::Data)
        .file_path(path.to_string())
        .file_format(DataFileFormat::Parquet)
        .partition(gold::partition_values(hour))
        .record_count(rows)
        .file_size_in_bytes(rows * 100);
    if let Some((least, greatest)) = bounds {
        builder.lower_bounds(bound(least)).upper_bounds(bound(greatest));
    }
    builder
}

pub fn written(name: &str, hour: EventHour, rows: u64) -> WrittenFile {
    let path = format!("file:///lake/sluice-{name}.parquet");
    let data_file = data_file(&path, hour, rows, Some(hour.bounds())).build().unwrap();
    WrittenFile { path: path.into(), hour, rows, bytes: rows * 100, data_file }
}

pub fn paths(view: &TableView) -> Vec<String> {
    view.live.iter().map(|f| f.path.rsplit('/').next().unwrap().to_string()).collect()
}
