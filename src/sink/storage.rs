//! Whole objects by their path, as the table lists it: the local disk now, an object store later behind the same trait.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Stop;
use crate::ports::{Down, PortError};

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StorageError {
    /// The store answers and has no such object.
    #[error("{path} does not exist")]
    NotFound { path: String },
    /// May pass: no answer, no space, a fault of the store.
    #[error("{path}: {reason}")]
    Unavailable { path: String, reason: String },
    /// The store does not let this process: no permission, read-only.
    #[error("{path}: {reason}")]
    Refused { path: String, reason: String },
    /// The path is none of this store's.
    #[error("{path}: {reason}")]
    Foreign { path: String, reason: String },
}

impl From<StorageError> for PortError {
    fn from(error: StorageError) -> Self {
        match &error {
            StorageError::NotFound { path } => Stop::inconsistent(
                format!("{path} is named by the table and does not exist"),
                "restore the file, or roll the table back to a snapshot that does not need it",
            )
            .into(),
            StorageError::Unavailable { .. } => Down { dependency: "object store", reason: error.to_string() }.into(),
            StorageError::Refused { .. } | StorageError::Foreign { .. } => Stop::usage(
                error.to_string(),
                "check iceberg.warehouse, its credentials and the permissions of this process",
            )
            .into(),
        }
    }
}

/// Paths are as the table lists them, with or without a scheme. Every method may be called again after a failure.
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// Writes a whole object. It is durable when this returns, and never half there under its path.
    async fn put(&self, path: &str, content: Bytes) -> Result<(), StorageError>;
    async fn get(&self, path: &str) -> Result<Bytes, StorageError>;
    /// Bytes of a half-open range, cut at the end of the object.
    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError>;
    /// Bytes of the object; none where it does not exist.
    async fn size(&self, path: &str) -> Result<Option<u64>, StorageError>;
    /// No error where it does not exist.
    async fn delete(&self, path: &str) -> Result<(), StorageError>;
}
