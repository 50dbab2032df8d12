//! A catalog in a SQLite file on the local disk, for one host: pyiceberg's `SqlCatalog("sluice", uri="sqlite:///…")` opens
//! the same file. Requirements are checked by us on the state that the conditional UPDATE then replaces.

mod rows;

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use iceberg::spec::{MetadataLog, TableMetadata, TableMetadataBuilder};
use iceberg::{TableCreation, TableRequirement, TableUpdate};

use self::rows::{Insert, Rows, RowsError, Swap};
use super::{Catalog, CommitAnswer, Created, LoadedTable, TableName, metadata_file};
use crate::crash_point::{self, Point};
use crate::error::Stop;
use crate::ports::{Down, PortError};
use crate::sink::gold;
use crate::sink::storage::ObjectStore;

pub use self::rows::CATALOG_NAME;

/// How long a writer waits for another one.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Parsed states that are kept, newest first: a load that finds the table where it was costs no parsing.
const STATES_KEPT: usize = 4;

pub struct SqliteCatalog {
    table: TableName,
    rows: Rows,
    warehouse: String,
    store: Arc<dyn ObjectStore>,
    states: Mutex<VecDeque<LoadedTable>>,
    /// This process wrote to the file: a refusal now is a fault that passes, before it was a mistake of the operator.
    proven: AtomicBool,
}

impl SqliteCatalog {
    /// `file` is the database, `warehouse` the folder of new tables as [`crate::sink::local_fs::folder_uri`] gives it.
    pub fn new(table: TableName, file: PathBuf, warehouse: String, store: Arc<dyn ObjectStore>) -> Self {
        let rows = Rows {
            file,
            namespace: table.namespace().join("."),
            table: table.table().to_string(),
            busy_timeout: BUSY_TIMEOUT,
        };
        Self { table, rows, warehouse, store, states: Mutex::default(), proven: false.into() }
    }

    #[cfg(test)]
    fn with_busy_timeout(mut self, timeout: Duration) -> Self {
        self.rows.busy_timeout = timeout;
        self
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&Rows) -> T + Send + 'static) -> Result<T, String> {
        let rows = self.rows.clone();
        tokio::task::spawn_blocking(move || work(&rows)).await.map_err(|panicked| panicked.to_string())
    }

    async fn location(&self) -> Result<Option<Arc<str>>, PortError> {
        let found = self.blocking(Rows::location).await.map_err(Stop::internal)?;
        Ok(found.map_err(|e| self.unavailable(&e))?.map(Arc::from))
    }

    async fn state_at(&self, location: Arc<str>) -> Result<LoadedTable, PortError> {
        let known = self.states.lock().expect("no panic holds it").iter().find(|s| s.location == location).cloned();
        if let Some(state) = known {
            return Ok(state);
        }
        let metadata = Arc::new(metadata_file::read(&*self.store, &location).await?);
        let state = LoadedTable { location, metadata };
        self.remember(state.clone());
        Ok(state)
    }

    fn remember(&self, state: LoadedTable) {
        let mut states = self.states.lock().expect("no panic holds it");
        states.retain(|known| known.location != state.location);
        states.push_front(state);
        states.truncate(STATES_KEPT);
    }

    fn unavailable(&self, error: &RowsError) -> PortError {
        match error {
            _ if error.is_not_a_database() => {
                Stop::usage(format!("iceberg.uri: {error}"), "name the catalog's own file, or one that does not exist yet")
                    .into()
            }
            _ if error.is_refused() && !self.is_proven() => may_not_write(&error.to_string()).into(),
            _ => Down { dependency: "catalog", reason: error.to_string() }.into(),
        }
    }

    fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    async fn write_metadata(&self, metadata: &TableMetadata, location: &str) -> Result<(), PortError> {
        let json = metadata_file::to_json(metadata).map_err(|e| Stop::internal(format!("metadata is no JSON: {e}")))?;
        Ok(self.store.put(location, json).await?)
    }

    /// A metadata file that no catalog row ever named.
    async fn discard(&self, location: &str) {
        if let Err(error) = self.store.delete(location).await {
            tracing::debug!(location, %error, "an unused metadata file stays behind");
        }
    }

    async fn delete_expired(&self, metadata: &TableMetadata, expired: &[MetadataLog]) {
        if gold::property(metadata, gold::DELETE_OLD_METADATA) != Some("true") {
            return;
        }
        for old in expired {
            if let Err(error) = self.store.delete(&old.metadata_file).await {
                tracing::warn!(location = old.metadata_file, %error, "an old metadata file could not be deleted");
            }
        }
    }
}

#[async_trait]
impl Catalog for SqliteCatalog {
    fn table(&self) -> &TableName {
        &self.table
    }

    async fn load(&self) -> Result<Option<LoadedTable>, PortError> {
        loop {
            let Some(location) = self.location().await? else { return Ok(None) };
            match self.state_at(location.clone()).await {
                Ok(state) => return Ok(Some(state)),
                // Another writer may have gone on and cleaned up behind itself between the two reads.
                Err(error) if self.location().await?.as_ref() == Some(&location) => return Err(error),
                Err(_) => {}
            }
        }
    }

    async fn create(&self, creation: TableCreation) -> Result<Created, PortError> {
        if self.location().await?.is_some() {
            return Ok(Created::Exists);
        }
        let folder = format!("{}/{}/{}", self.warehouse, self.table.namespace().join("/"), self.table.table());
        let creation = TableCreation { location: Some(folder), ..creation };
        let metadata = TableMetadataBuilder::from_table_creation(creation).and_then(TableMetadataBuilder::build);
        let metadata = metadata.map_err(|e| Stop::internal(format!("metadata of a new table: {e}")))?.metadata;
        let location: Arc<str> = metadata_file::next_location(&metadata, None).into();
        self.write_metadata(&metadata, &location).await?;
        let row = location.clone();
        let inserted = self.blocking(move |rows| rows.insert(&row)).await.map_err(Stop::internal)?;
        match inserted.map_err(|e| self.unavailable(&e))? {
            Insert::Done => {
                self.proven.store(true, Ordering::Relaxed);
                let state = LoadedTable { location, metadata: Arc::new(metadata) };
                self.remember(state.clone());
                Ok(Created::Made(state))
            }
            Insert::Exists => {
                self.discard(&location).await;
                Ok(Created::Exists)
            }
        }
    }

    async fn commit(
        &self,
        base: &LoadedTable,
        requirements: &[TableRequirement],
        updates: Vec<TableUpdate>,
    ) -> CommitAnswer {
        let current = match self.load().await {
            Ok(Some(current)) => current,
            Ok(None) => return gone(&self.table),
            Err(error) => return unsent(error),
        };
        let (metadata, expired) = match apply(base, &current, requirements, updates) {
            Ok(built) => built,
            Err(answer) => return *answer,
        };
        let location: Arc<str> = metadata_file::next_location(&metadata, Some(&current.location)).into();
        if let Err(error) = self.write_metadata(&metadata, &location).await {
            return unsent(error);
        }
        crash_point::pass(Point::MetadataDurable);
        let (from, to) = (current.location, location.clone());
        let swap = self.blocking(move |rows| rows.swap(&from, &to)).await;
        match swap.unwrap_or_else(Swap::Unknown) {
            Swap::Done => {
                self.proven.store(true, Ordering::Relaxed);
                self.delete_expired(&metadata, &expired).await;
                let state = LoadedTable { location, metadata: Arc::new(metadata) };
                self.remember(state.clone());
                CommitAnswer::Committed(state)
            }
            Swap::Unknown(text) => CommitAnswer::Unknown(text),
            Swap::NotSent(text) => {
                self.discard(&location).await;
                CommitAnswer::NotSent(text)
            }
            Swap::Refused(text) => {
                self.discard(&location).await;
                match self.is_proven() {
                    true => CommitAnswer::NotSent(text),
                    false => CommitAnswer::Refused(may_not_write(&text)),
                }
            }
            Swap::OtherLocation(now) => {
                self.discard(&location).await;
                CommitAnswer::Conflict(format!("the table is at {now} by now"))
            }
            Swap::Gone => {
                self.discard(&location).await;
                gone(&self.table)
            }
        }
    }
}

fn may_not_write(reason: &str) -> Stop {
    Stop::usage(format!("iceberg.uri: {reason}"), "let this process write the file and its folder, or name another one")
}

fn unsent(error: PortError) -> CommitAnswer {
    match error {
        PortError::Down(down) => CommitAnswer::NotSent(down.to_string()),
        PortError::Stop(stop) => CommitAnswer::Refused(stop),
    }
}

fn gone(table: &TableName) -> CommitAnswer {
    CommitAnswer::Rejected { status: 404, text: format!("the catalog has no table {table}") }
}

/// The metadata after the commit, and the entries that its log of old metadata files no longer holds.
fn apply(
    base: &LoadedTable,
    current: &LoadedTable,
    requirements: &[TableRequirement],
    updates: Vec<TableUpdate>,
) -> Result<(TableMetadata, Vec<MetadataLog>), Box<CommitAnswer>> {
    for requirement in requirements {
        let checked = requirement.check(Some(&current.metadata));
        checked.map_err(|e| CommitAnswer::Conflict(e.to_string()))?;
    }
    let builder = TableMetadata::clone(&current.metadata).into_builder(Some(current.location.to_string()));
    let built = updates.into_iter().try_fold(builder, |builder, update| update.apply(builder));
    let built = built.and_then(TableMetadataBuilder::build).map_err(|error| match base.location == current.location {
        true => CommitAnswer::Rejected { status: 400, text: error.to_string() },
        // The updates were made for another state, say with a sequence number that is taken by now.
        false => CommitAnswer::Conflict(error.to_string()),
    })?;
    Ok((built.metadata, built.expired_metadata_logs))
}

#[cfg(test)]
#[path = "../sqlite_tests.rs"]
mod tests;
