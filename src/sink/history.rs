//! The snapshots of one lineage with their raw summaries, for commands that judge or list them.

use std::sync::Arc;

use iceberg::spec::{Operation as IcebergOperation, TableMetadata};

use super::summary;
use crate::core::table::SnapshotView;
use crate::core::verify::{HistoryEnd, HistorySnapshot, Operation};
use crate::types::SnapshotId;

/// The lineage of `snapshot`, newest first, and how it ends.
pub fn history_of(metadata: &TableMetadata, snapshot: Option<SnapshotId>) -> (Vec<HistorySnapshot>, HistoryEnd) {
    let mut history = Vec::new();
    let mut next = snapshot;
    let mut oldest_sequence = None;
    while let Some(id) = next {
        let Some(found) = metadata.snapshot_by_id(id.0) else { return (history, HistoryEnd::Expired(id)) };
        next = found.parent_snapshot_id().map(SnapshotId);
        oldest_sequence = Some(found.sequence_number());
        let properties = &found.summary().additional_properties;
        let view = SnapshotView {
            id,
            parent: next,
            timestamp_ms: found.timestamp_ms(),
            sluice: summary::parse_summary(id, properties).map(Arc::new),
        };
        let operation = match found.summary().operation {
            IcebergOperation::Append => Operation::Append,
            IcebergOperation::Replace => Operation::Replace,
            IcebergOperation::Overwrite => Operation::Overwrite,
            IcebergOperation::Delete => Operation::Delete,
        };
        history.push(HistorySnapshot::from_summary(view, operation, properties));
    }
    // the first snapshot of a table has sequence number 1: some engines erase the parent of the oldest that they keep
    let end = if oldest_sequence.is_some_and(|n| n > 1) { HistoryEnd::Erased } else { HistoryEnd::Root };
    (history, end)
}
