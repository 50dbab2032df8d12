//! The Gold table behind [`ports::Table`](crate::ports::Table): loads that the core can judge, and commits of what it plans.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};

use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use async_trait::async_trait;
use iceberg::TableCreation;
use iceberg::spec::TableMetadata;

use super::catalog::{Catalog, CommitAnswer, LoadedTable};
use super::foreign::RowHours;
use super::manifests::Manifests;
use super::snapshot::{self, Attempt, Stamp};
use super::storage::ObjectStore;
use super::{gold, roll_back, summary};
use crate::core::plan::{RollBackPlan, SnapshotPlan};
use crate::core::table::{LiveFile, SluiceKeys, SnapshotView, TableView};
use crate::error::{Exit, Stop};
use crate::ports::{Clock, Loaded, Outcome, PortError, Random, Table, WrittenFile};
use crate::types::SnapshotId;

/// States on which a commit may still be built: the loads of a few seconds.
const BASES_KEPT: usize = 8;

pub struct IcebergTable {
    catalog: Arc<dyn Catalog>,
    store: Arc<dyn ObjectStore>,
    rows: Arc<dyn RowHours>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    on_load: OnLoad,
    manifests: Manifests,
    seen: Mutex<Seen>,
}

type OnLoad = Box<dyn Fn(&TableMetadata) -> Result<(), Stop> + Send + Sync>;

/// What this process has seen of the table.
#[derive(Default)]
struct Seen {
    first: Option<First>,
    /// The state that was checked last, and told of.
    told: Option<Arc<str>>,
    bases: VecDeque<LoadedTable>,
    /// Parsed once for each snapshot; those of the last load.
    summaries: HashMap<SnapshotId, Option<Arc<SluiceKeys>>>,
    last: Option<TableView>,
    /// Why a commit was refused that only an operator can help.
    refused: Option<Stop>,
}

/// What must not change while we run: files are written by it.
#[derive(Clone, Debug)]
struct First {
    uuid: uuid::Uuid,
    columns: ArrowSchemaRef,
    spec_id: i32,
}

impl IcebergTable {
    /// `rows` reads files of other engines whose manifests don't say which hours they hold.
    pub fn new(
        catalog: Arc<dyn Catalog>,
        store: Arc<dyn ObjectStore>,
        rows: Arc<dyn RowHours>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let manifests = Manifests::new(store.clone());
        let on_load = Box::new(|_: &TableMetadata| Ok(()));
        Self { catalog, store, rows, clock, random, on_load, manifests, seen: Mutex::default() }
    }

    /// `told` learns of every new state of the table that is loaded, before its files are looked at: columns, folder and
    /// properties of new data files may have changed.
    pub fn telling(mut self, told: impl Fn(&TableMetadata) -> Result<(), Stop> + Send + Sync + 'static) -> Self {
        self.on_load = Box::new(told);
        self
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic holds it")
    }

    /// The table as it is now, checked to be the Gold table that this process has seen before, but not its files.
    pub async fn metadata(&self) -> Result<Option<LoadedTable>, PortError> {
        let Some(loaded) = self.catalog.load().await? else { return Ok(None) };
        let told = self.seen().told.as_ref() == Some(&loaded.location);
        if !told {
            self.check_unchanged(&loaded.metadata)?;
            (self.on_load)(&loaded.metadata)?;
            self.seen().told = Some(loaded.location.clone());
        }
        Ok(Some(loaded))
    }

    fn check_unchanged(&self, table: &TableMetadata) -> Result<(), Stop> {
        let name = self.catalog.table();
        gold::validate(table).map_err(|difference| difference.into_stop(&name.to_string()))?;
        let columns = gold::arrow_schema(table.current_schema()).map_err(|d| d.into_stop(&name.to_string()))?;
        let now = First { uuid: table.uuid(), columns, spec_id: table.default_partition_spec_id() };
        let seen = &mut *self.seen();
        let first = seen.first.get_or_insert_with(|| now.clone());
        changed(first, &now).map_or(Ok(()), |what| {
            Err(Stop::inconsistent(
                format!("table {name} was changed while it was being written to: {what}"),
                "check with `sluice table describe` that this is the table you mean, then start again",
            ))
        })
    }

    async fn view(&self, loaded: &LoadedTable) -> Result<TableView, PortError> {
        let known = self.seen().last.as_ref().filter(|view| view.metadata_location == loaded.location).cloned();
        if let Some(view) = known {
            return Ok(view);
        }
        let table = &*loaded.metadata;
        let live = self.manifests.live(table, &*self.rows).await?;
        let seen = &mut *self.seen();
        let before = std::mem::take(&mut seen.summaries);
        let mut snapshots = std::collections::BTreeMap::new();
        for snapshot in table.snapshots() {
            let id = SnapshotId(snapshot.snapshot_id());
            let parse = || summary::parse_summary(id, &snapshot.summary().additional_properties).map(Arc::new);
            let sluice = before.get(&id).cloned().unwrap_or_else(parse);
            seen.summaries.insert(id, sluice.clone());
            let parent = snapshot.parent_snapshot_id().map(SnapshotId);
            snapshots.insert(id, SnapshotView { id, parent, timestamp_ms: snapshot.timestamp_ms(), sluice });
        }
        let view = TableView {
            uuid: table.uuid().as_u128(),
            metadata_location: loaded.location.clone(),
            head: table.current_snapshot_id().map(SnapshotId),
            tag: table.snapshot_for_ref(summary::TAG).map(|s| SnapshotId(s.snapshot_id())),
            snapshots,
            properties: summary::parse_properties(table.properties()),
            live,
        };
        seen.last = Some(view.clone());
        Ok(view)
    }

    fn remember_base(&self, loaded: LoadedTable) {
        let bases = &mut self.seen().bases;
        bases.retain(|known| known.location != loaded.location);
        bases.push_front(loaded);
        bases.truncate(BASES_KEPT);
    }

    /// The state that a view was made of.
    fn base(&self, view: &TableView) -> Result<LoadedTable, String> {
        let known = self.seen().bases.iter().find(|known| known.location == view.metadata_location).cloned();
        known.ok_or_else(|| format!("{} is not among the last states loaded: load again", view.metadata_location))
    }

    fn stamp(&self, base: &TableMetadata) -> Stamp {
        let id = loop {
            let id = (self.random.u64() >> 1) as i64;
            if id > 0 && base.snapshot_by_id(id).is_none() {
                break SnapshotId(id);
            }
        };
        let file_id = uuid::Builder::from_random_bytes(self.random.u128().to_be_bytes()).into_uuid();
        Stamp { id, now_ms: self.clock.wall_ms(), file_id }
    }

    async fn build(&self, base: &LoadedTable, plan: &SnapshotPlan, files: &[WrittenFile]) -> Result<Attempt, PortError> {
        let parents = match base.metadata.current_snapshot() {
            Some(head) => self.manifests.list(head).await?,
            None => Arc::default(),
        };
        let stamp = self.stamp(&base.metadata);
        let attempt = snapshot::produce(&*self.store, &base.metadata, &parents, plan, files, stamp).await?;
        if attempt.clock_behind_ms > 0 {
            tracing::warn!(
                behind_ms = attempt.clock_behind_ms,
                "the clock of this host is behind the table's newest snapshot: its timestamp is counted on from there"
            );
        }
        Ok(attempt)
    }

    /// A wrong configuration is told at the load that follows every commit that was not sent.
    fn not_sent(&self, error: PortError) -> Outcome {
        match error {
            PortError::Down(down) => Outcome::NotSent(down.reason),
            PortError::Stop(stop) => {
                let reason = stop.what.clone();
                self.seen().refused = Some(stop).filter(|stop| stop.exit == Exit::Usage);
                Outcome::NotSent(reason)
            }
        }
    }

    /// What was written for an attempt that no catalog saw.
    async fn discard(&self, attempt: &Attempt) {
        for path in attempt.paths() {
            if let Err(error) = self.store.delete(path).await {
                tracing::debug!(path, %error, "an unused manifest stays behind");
            }
        }
    }

    fn committed(&self, table: LoadedTable, attempt: Attempt, files: &[WrittenFile]) -> Outcome {
        let live = files.iter().map(|f| LiveFile { path: f.path.clone(), hour: Some(f.hour), rows: f.rows, bytes: f.bytes });
        let added = attempt.manifest.map(|path| (path, live.collect()));
        self.manifests.remember(&attempt.manifest_list, attempt.manifests, added);
        self.remember_base(table);
        Outcome::Committed(attempt.id)
    }
}

/// What is no longer as it was; none where only optional columns were added.
fn changed(first: &First, now: &First) -> Option<String> {
    if first.uuid != now.uuid {
        return Some(format!("its uuid was {} and is {}", first.uuid, now.uuid));
    }
    if first.spec_id != now.spec_id {
        return Some(format!("its partition spec was {} and is {}", first.spec_id, now.spec_id));
    }
    let columns = first.columns.fields().iter().zip(now.columns.fields());
    let mut differing = columns.filter(|(was, is)| was != is);
    differing.next().map(|(was, is)| {
        let id = |field: &arrow::datatypes::Field| field.metadata().get(gold::FIELD_ID_KEY).cloned().unwrap_or_default();
        let or_null = |field: &arrow::datatypes::Field| if field.is_nullable() { "optional" } else { "required" };
        format!(
            "column {} was {} with field id {} and is {} with field id {}",
            was.name(),
            or_null(was),
            id(was),
            or_null(is),
            id(is)
        )
    })
}

#[async_trait]
impl Table for IcebergTable {
    async fn load(&self) -> Result<Loaded, PortError> {
        if let Some(refused) = self.seen().refused.take() {
            return Err(refused.into());
        }
        let Some(loaded) = self.metadata().await? else { return Ok(Loaded::Missing) };
        let view = self.view(&loaded).await?;
        self.remember_base(loaded);
        Ok(Loaded::Table(view))
    }

    async fn create(&self) -> Result<(), PortError> {
        let creation = TableCreation::builder()
            .name(self.catalog.table().table().to_string())
            .schema(gold::table_schema())
            .partition_spec(gold::partition_spec())
            .properties(gold::PROPERTIES.map(|(key, value)| (key.to_string(), value.to_string())))
            .build();
        self.catalog.create(creation).await?;
        // Another table under this name is refused here, not at the first commit.
        self.metadata().await?;
        Ok(())
    }

    async fn commit(&self, base: &TableView, plan: &SnapshotPlan, files: &[WrittenFile]) -> Outcome {
        let base = match self.base(base) {
            Ok(base) => base,
            Err(reason) => return Outcome::NotSent(reason),
        };
        let mut attempt = match self.build(&base, plan, files).await {
            Ok(attempt) => attempt,
            Err(error) => return self.not_sent(error),
        };
        let updates = std::mem::take(&mut attempt.updates);
        match self.catalog.commit(&base, &attempt.requirements, updates).await {
            CommitAnswer::Committed(table) => self.committed(table, attempt, files),
            CommitAnswer::Conflict(text) => Outcome::Conflict(text),
            CommitAnswer::Unknown(text) => Outcome::Unknown(text),
            CommitAnswer::Rejected { status, text } => Outcome::Rejected { status, text },
            CommitAnswer::NotSent(text) => {
                self.discard(&attempt).await;
                Outcome::NotSent(text)
            }
            CommitAnswer::Refused(stop) => {
                self.discard(&attempt).await;
                self.not_sent(stop.into())
            }
        }
    }

    async fn roll_back(&self, base: &TableView, plan: &RollBackPlan) -> Outcome {
        let base = match self.base(base) {
            Ok(base) => base,
            Err(reason) => return Outcome::NotSent(reason),
        };
        let request = match roll_back::request(&base.metadata, plan) {
            Ok(request) => request,
            Err(error) => return Outcome::NotSent(error.to_string()),
        };
        match self.catalog.commit(&base, &request.requirements, request.updates).await {
            CommitAnswer::Committed(table) => {
                self.remember_base(table);
                Outcome::Committed(plan.target)
            }
            CommitAnswer::Conflict(text) => Outcome::Conflict(text),
            CommitAnswer::Unknown(text) => Outcome::Unknown(text),
            CommitAnswer::Rejected { status, text } => Outcome::Rejected { status, text },
            CommitAnswer::NotSent(text) => Outcome::NotSent(text),
            CommitAnswer::Refused(stop) => self.not_sent(stop.into()),
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
