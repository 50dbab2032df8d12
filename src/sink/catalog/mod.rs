//! The catalog holds which metadata file is the table. Load and conditional commit, in the words of Iceberg's REST
//! catalog; what stands behind them is the backend's.

pub mod metadata_file;
pub mod sqlite;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use iceberg::spec::TableMetadata;
use iceberg::{TableCreation, TableRequirement, TableUpdate};

use crate::error::Stop;
use crate::ports::PortError;

/// `namespace.table`, where the namespace may have several levels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableName {
    namespace: Vec<String>,
    table: String,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is not a table name: write namespace.table, each part without slash and quote")]
pub struct TableNameError(String);

impl std::str::FromStr for TableName {
    type Err = TableNameError;
    fn from_str(text: &str) -> Result<Self, TableNameError> {
        let mut parts: Vec<String> = text.split('.').map(String::from).collect();
        let sound = |part: &String| !part.is_empty() && !part.contains(['/', '\\', '"', '\'']) && part.trim() == part;
        match parts.pop() {
            Some(table) if !parts.is_empty() && sound(&table) && parts.iter().all(sound) => {
                Ok(Self { namespace: parts, table })
            }
            _ => Err(TableNameError(text.into())),
        }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.namespace.join("."), self.table)
    }
}

impl TableName {
    pub fn namespace(&self) -> &[String] {
        &self.namespace
    }
    pub fn table(&self) -> &str {
        &self.table
    }
}

/// One state of the table. Its metadata file is never changed once it has been written.
#[derive(Clone, Debug)]
pub struct LoadedTable {
    pub location: Arc<str>,
    pub metadata: Arc<TableMetadata>,
}

#[derive(Clone, Debug)]
pub enum Created {
    Made(LoadedTable),
    /// There is one already, ours or anybody's.
    Exists,
}

/// What became of a commit, as far as this process can know.
#[derive(Clone, Debug)]
pub enum CommitAnswer {
    Committed(LoadedTable),
    /// A requirement doesn't hold, or another writer was faster.
    Conflict(String),
    /// The catalog was not asked, or gave up before it changed anything: this can't land any more.
    NotSent(String),
    /// As `NotSent`, for a reason that waiting won't cure: an operator must act.
    Refused(Stop),
    /// It may have landed, or may still land.
    Unknown(String),
    /// Refused for a reason that another attempt won't cure; `status` is the HTTP status, or the one that fits best.
    Rejected {
        status: u16,
        text: String,
    },
}

/// One table of one catalog.
#[async_trait]
pub trait Catalog: Send + Sync {
    fn table(&self) -> &TableName;

    /// The table as the catalog has it now; none where the catalog answers and has no such table.
    async fn load(&self) -> Result<Option<LoadedTable>, PortError>;

    /// Makes the table, and its namespace where that is missing. Name and location are the catalog's to choose.
    async fn create(&self, creation: TableCreation) -> Result<Created, PortError>;

    /// Applies `updates` to the table as it is now, if it meets every requirement. `base` is the state for which they
    /// were made. Never tried a second time by itself.
    async fn commit(&self, base: &LoadedTable, requirements: &[TableRequirement], updates: Vec<TableUpdate>)
    -> CommitAnswer;
}
