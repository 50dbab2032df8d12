//! What a snapshot lists, read afresh and with everything that a manifest says: for commands that judge a table.

use iceberg::spec::{DataContentType, DataFile, ManifestFile, ManifestStatus, TableMetadata};

use super::storage::ObjectStore;
use super::{gold, is_ours, manifests};
use crate::error::Stop;
use crate::ports::PortError;
use crate::types::{EventHour, SnapshotId};

#[derive(Clone, Debug)]
pub struct ListedFile {
    /// Path, format, rows, bytes, bounds, equality ids.
    pub file: DataFile,
    /// None for a file of another partition spec, or a partition that is no hour.
    pub hour: Option<EventHour>,
    pub ours: bool,
    /// Data sequence number: a delete file applies to data files before it.
    pub sequence_number: i64,
    pub spec_id: i32,
    /// The snapshot that added it, where the manifest still says.
    pub added_by: Option<SnapshotId>,
}

/// Live files only, in the order of the manifest list.
#[derive(Clone, Debug, Default)]
pub struct Listing {
    pub data: Vec<ListedFile>,
    /// Position and equality deletes.
    pub deletes: Vec<ListedFile>,
}

/// The live files of one snapshot. An empty listing for a table without snapshot is the caller's to make.
///
/// # Errors
/// Stops where the table has no such snapshot, and where a manifest can't be read.
pub async fn files_of(store: &dyn ObjectStore, table: &TableMetadata, id: SnapshotId) -> Result<Listing, PortError> {
    let snapshot = table.snapshot_by_id(id.0).ok_or_else(|| {
        Stop::inconsistent(format!("the table has no snapshot {id}"), "list those that it has: sluice table snapshots")
    })?;
    let mut listing = Listing::default();
    for manifest in manifests::read_list(store, snapshot.manifest_list()).await? {
        let content = manifests::read_manifest(store, &manifest).await?;
        for entry in content.entries().iter().filter(|e| e.is_alive()) {
            let inherits = entry.status() == ManifestStatus::Added;
            let file = ListedFile {
                file: entry.data_file().clone(),
                hour: hour_of(table, &manifest, entry.data_file()),
                ours: is_ours(entry.file_path()),
                sequence_number: entry.sequence_number().unwrap_or(manifest.sequence_number),
                spec_id: manifest.partition_spec_id,
                added_by: entry.snapshot_id().or(inherits.then_some(manifest.added_snapshot_id)).map(SnapshotId),
            };
            match entry.content_type() {
                DataContentType::Data => listing.data.push(file),
                DataContentType::PositionDeletes | DataContentType::EqualityDeletes => listing.deletes.push(file),
            }
        }
    }
    Ok(listing)
}

fn hour_of(table: &TableMetadata, manifest: &ManifestFile, file: &DataFile) -> Option<EventHour> {
    let spec = table.partition_spec_by_id(manifest.partition_spec_id)?;
    gold::hour_of_partition(spec, table.current_schema(), file.partition())
}
