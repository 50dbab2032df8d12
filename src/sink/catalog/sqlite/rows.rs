//! The two tables of Iceberg's SQL catalog, as pyiceberg and the Java catalog make them, in a SQLite file. Blocking.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, params};

use crate::crash_point::{self, Point};

/// Name under which other engines open the catalog: `SqlCatalog("sluice", …)`.
pub const CATALOG_NAME: &str = "sluice";

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS iceberg_tables (
    catalog_name VARCHAR(255) NOT NULL,
    table_namespace VARCHAR(255) NOT NULL,
    table_name VARCHAR(255) NOT NULL,
    metadata_location VARCHAR(1000),
    previous_metadata_location VARCHAR(1000),
    iceberg_type VARCHAR(5),
    PRIMARY KEY (catalog_name, table_namespace, table_name)
);
CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
    catalog_name VARCHAR(255) NOT NULL,
    namespace VARCHAR(255) NOT NULL,
    property_key VARCHAR(255) NOT NULL,
    property_value VARCHAR(1000) NOT NULL,
    PRIMARY KEY (catalog_name, namespace, property_key)
);";

const SELECT: &str = "SELECT metadata_location FROM iceberg_tables
    WHERE catalog_name = ?1 AND table_namespace = ?2 AND table_name = ?3";

const SWAP: &str = "UPDATE iceberg_tables SET metadata_location = ?4, previous_metadata_location = ?5
    WHERE catalog_name = ?1 AND table_namespace = ?2 AND table_name = ?3 AND metadata_location = ?5";

/// The row of one table. Every call opens the file anew: a file that was replaced meanwhile is never written through an
/// old handle.
#[derive(Clone, Debug)]
pub struct Rows {
    pub file: PathBuf,
    pub namespace: String,
    pub table: String,
    /// How long to wait for another writer.
    pub busy_timeout: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    #[error("{file}: {source}")]
    Sqlite { file: String, source: rusqlite::Error },
    #[error("{file}: {source}")]
    Io { file: String, source: io::Error },
}

impl RowsError {
    /// The file is something else than a SQLite database.
    pub fn is_not_a_database(&self) -> bool {
        matches!(self, Self::Sqlite { source, .. } if source.sqlite_error_code() == Some(ErrorCode::NotADatabase))
    }

    /// This process may not read or write the file.
    pub fn is_refused(&self) -> bool {
        match self {
            Self::Sqlite { source, .. } => {
                matches!(source.sqlite_error_code(), Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied))
            }
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
            }
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Swap {
    Done,
    /// The row names another metadata file than the expected one.
    OtherLocation(String),
    Gone,
    /// Nothing was changed.
    NotSent(String),
    /// Nothing was changed, and this process may not change anything.
    Refused(String),
    /// COMMIT failed: what is on the disk decides.
    Unknown(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Insert {
    Done,
    Exists,
}

impl Rows {
    /// None where the file, the tables or the row are missing.
    pub fn location(&self) -> Result<Option<String>, RowsError> {
        let there = self.file.try_exists().map_err(|source| RowsError::Io { file: self.name(), source })?;
        if !there {
            return Ok(None);
        }
        self.read_location().map_err(|e| self.fault(e))
    }

    fn read_location(&self) -> rusqlite::Result<Option<String>> {
        let db = self.open(OpenFlags::empty())?;
        match db.table_exists(None, "iceberg_tables")? {
            true => self.select(&db),
            false => Ok(None),
        }
    }

    fn select(&self, db: &Connection) -> rusqlite::Result<Option<String>> {
        let row = db.query_row(SELECT, params![CATALOG_NAME, self.namespace, self.table], |row| row.get(0));
        Ok(row.optional()?.flatten())
    }

    fn open(&self, extra: OpenFlags) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | extra;
        let db = Connection::open_with_flags(&self.file, flags)?;
        db.busy_timeout(self.busy_timeout)?;
        // A last connection that closes would lock everybody out while it empties the log: a process stopped just then
        // would stop all others.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(db)
    }

    /// For writing: COMMIT returns when the data is on the disk, and readers don't hold up writers where the file can be
    /// switched to a write-ahead log. Where a reader keeps it from being switched, it stays as it is: slower, as safe.
    fn open_to_write(&self, extra: OpenFlags) -> rusqlite::Result<Connection> {
        let db = self.open(extra)?;
        db.busy_timeout(Duration::ZERO)?;
        let _ = db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()));
        db.busy_timeout(self.busy_timeout)?;
        db.execute_batch("PRAGMA synchronous = FULL")?;
        Ok(db)
    }

    /// Points the table from one metadata file to the next, if it still is at the first.
    pub fn swap(&self, from: &str, to: &str) -> Swap {
        match self.try_swap(from, to) {
            Ok(swap) => swap,
            Err(fault) => match self.fault(fault) {
                refused if refused.is_refused() => Swap::Refused(refused.to_string()),
                fault => Swap::NotSent(fault.to_string()),
            },
        }
    }

    /// Every error before COMMIT changed nothing: the transaction is rolled back when the connection drops.
    fn try_swap(&self, from: &str, to: &str) -> rusqlite::Result<Swap> {
        let db = self.open_to_write(OpenFlags::empty())?;
        db.execute_batch("BEGIN IMMEDIATE")?;
        crash_point::pass(Point::CatalogBegun);
        let changed = db.execute(SWAP, params![CATALOG_NAME, self.namespace, self.table, to, from])?;
        crash_point::pass(Point::CatalogUpdated);
        match changed {
            1 => Ok(self.commit(&db)),
            0 => Ok(self.select(&db)?.map_or(Swap::Gone, Swap::OtherLocation)),
            many => Ok(Swap::NotSent(format!("{many} rows for one table in iceberg_tables"))),
        }
    }

    fn commit(&self, db: &Connection) -> Swap {
        match db.execute_batch("COMMIT") {
            Ok(()) => {
                crash_point::pass(Point::CatalogCommitted);
                Swap::Done
            }
            Err(fault) => {
                // A busy COMMIT leaves the transaction open, and closing the connection rolls it back.
                Swap::Unknown(format!("COMMIT: {}", RowsError::Sqlite { file: self.name(), source: fault }))
            }
        }
    }

    /// Adds the row, and what is missing of file, tables and namespace.
    pub fn insert(&self, location: &str) -> Result<Insert, RowsError> {
        if let Some(folder) = self.file.parent() {
            fs::create_dir_all(folder).map_err(|source| RowsError::Io { file: self.name(), source })?;
        }
        self.try_insert(location).map_err(|e| self.fault(e))
    }

    fn try_insert(&self, location: &str) -> rusqlite::Result<Insert> {
        let db = self.open_to_write(OpenFlags::SQLITE_OPEN_CREATE)?;
        db.execute_batch("BEGIN IMMEDIATE")?;
        db.execute_batch(TABLES)?;
        db.execute(
            "INSERT OR IGNORE INTO iceberg_namespace_properties VALUES (?1, ?2, 'exists', 'true')",
            params![CATALOG_NAME, self.namespace],
        )?;
        // Catalogs made by older engines lack the column that tells tables from views.
        let (names, values) = match db.column_exists(None, "iceberg_tables", "iceberg_type")? {
            true => (", iceberg_type", ", 'TABLE'"),
            false => ("", ""),
        };
        let insert = format!(
            "INSERT OR IGNORE INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location{names})
             VALUES (?1, ?2, ?3, ?4{values})"
        );
        let added = db.execute(&insert, params![CATALOG_NAME, self.namespace, self.table, location])?;
        db.execute_batch("COMMIT")?;
        Ok(if added == 1 { Insert::Done } else { Insert::Exists })
    }

    fn name(&self) -> String {
        self.file.display().to_string()
    }

    fn fault(&self, source: rusqlite::Error) -> RowsError {
        RowsError::Sqlite { file: self.name(), source }
    }
}
