//! `sluice table describe` and `sluice table snapshots`: what the table holds, as text and JSON.

use std::fmt::Write as _;

use iceberg::spec::TableMetadata;
use serde::Serialize;

use crate::cli::output::{columns, or_none, time};
use crate::core::table::{LaneKeys, LaneProperty, OwnChange};
use crate::core::verify::{HistoryEnd, HistorySnapshot, Operation};
use crate::sink::history::history_of;
use crate::sink::summary;
use crate::types::*;

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct TableDescription {
    pub name: String,
    pub uuid: String,
    pub location: String,
    pub format_version: u8,
    pub snapshot: Option<i64>,
    /// Where the tag `sluice` is.
    pub tag: Option<i64>,
    pub snapshots: usize,
    pub columns: Vec<ColumnDescription>,
    pub partitioned_by: Vec<String>,
    /// Without those of the lanes.
    pub properties: Vec<(String, String)>,
    /// Live data files, their rows and bytes, delete files aside; null where they weren't listed.
    pub files: Option<FileTotals>,
    pub lanes: Vec<LaneDescription>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct ColumnDescription {
    pub id: i32,
    pub name: String,
    #[serde(rename = "type")]
    pub data_type: String,
    pub required: bool,
    pub doc: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Default)]
pub struct FileTotals {
    pub files: u64,
    pub rows: u64,
    pub bytes: u64,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LaneDescription {
    pub group: String,
    /// The snapshot that the property was written with.
    pub snapshot: Option<i64>,
    pub partitions: usize,
    pub topics: Vec<String>,
    pub written: u64,
    pub duplicate: u64,
    pub late: u64,
    pub dead_lettered: u64,
    /// Why the lane can't be read.
    pub unreadable: Option<String>,
}

pub fn describe(name: &str, metadata: &TableMetadata, files: Option<FileTotals>) -> TableDescription {
    let schema = metadata.current_schema();
    let spec = metadata.default_partition_spec();
    let fields = schema.as_struct().fields().iter().map(|field| ColumnDescription {
        id: field.id,
        name: field.name.clone(),
        data_type: field.field_type.to_string(),
        required: field.required,
        doc: field.doc.clone(),
    });
    let partitioned_by = spec.fields().iter().map(|f| {
        let source = schema.field_by_id(f.source_id).map_or(f.name.as_str(), |field| field.name.as_str());
        format!("{}({source})", f.transform)
    });
    let state = summary::property_key("");
    let mut properties: Vec<(String, String)> = metadata.properties().clone().into_iter().collect();
    properties.retain(|(key, _)| !key.starts_with(&state));
    properties.sort();
    let lanes = summary::parse_properties(metadata.properties());
    TableDescription {
        name: name.to_string(),
        uuid: metadata.uuid().to_string(),
        location: metadata.location().to_string(),
        format_version: metadata.format_version() as u8,
        snapshot: metadata.current_snapshot_id(),
        tag: metadata.snapshot_for_ref("sluice").map(|s| s.snapshot_id()),
        snapshots: metadata.snapshots().len(),
        columns: fields.collect(),
        partitioned_by: partitioned_by.collect(),
        properties,
        files,
        lanes: lanes.iter().map(|(name, property)| lane(name, property)).collect(),
    }
}

fn lane(name: &str, property: &Result<LaneProperty, String>) -> LaneDescription {
    let (lane, snapshot, unreadable) = match property {
        Ok(property) => (Some(&property.lane), Some(property.snapshot.0), None),
        Err(wrong) => (None, None, Some(wrong.clone())),
    };
    let counts = lane.map(|l| l.totals.counts).unwrap_or_default();
    LaneDescription {
        group: name.to_string(),
        snapshot,
        partitions: lane.map_or(0, |l| l.partitions.len()),
        topics: lane.into_iter().flat_map(|l| l.topics()).map(|t| t.to_string()).collect(),
        written: counts.written,
        duplicate: counts.duplicate,
        late: counts.late,
        dead_lettered: counts.dead_lettered,
        unreadable,
    }
}

impl TableDescription {
    pub fn text(&self) -> String {
        let mut out = String::new();
        let facts = [
            ("table", self.name.clone()),
            ("uuid", self.uuid.clone()),
            ("location", self.location.clone()),
            ("format version", self.format_version.to_string()),
            ("snapshot", or_none(self.snapshot)),
            ("tag sluice", or_none(self.tag)),
            ("snapshots kept", self.snapshots.to_string()),
            ("partitioned by", self.partitioned_by.join(", ")),
        ];
        for (name, value) in facts {
            let _ = writeln!(out, "{name:<16}{value}");
        }
        if let Some(FileTotals { files, rows, bytes }) = self.files {
            let _ = writeln!(out, "{:<16}{files}, {rows} rows, {bytes} bytes", "live files");
        }
        let fields = self.columns.iter().map(|c| {
            let required = if c.required { "required" } else { "" };
            vec![
                c.id.to_string(),
                c.name.clone(),
                c.data_type.clone(),
                required.to_string(),
                c.doc.clone().unwrap_or_default(),
            ]
        });
        let _ = write!(out, "\n{}", columns(&["ID", "COLUMN", "TYPE", "", ""], &fields.collect::<Vec<_>>()));
        let lanes = self.lanes.iter().map(|l| {
            let counts = [l.written, l.duplicate, l.late, l.dead_lettered].map(|n| n.to_string());
            let topics = l.unreadable.clone().unwrap_or_else(|| l.topics.join(" "));
            [vec![l.group.clone(), l.partitions.to_string()], counts.to_vec(), vec![topics]].concat()
        });
        let header = ["LANE", "PARTITIONS", "WRITTEN", "DUPLICATE", "LATE", "DEAD-LETTERED", "TOPICS"];
        let _ = write!(out, "\n{}", columns(&header, &lanes.collect::<Vec<_>>()));
        let _ = write!(out, "\n{}", columns(&["PROPERTY", "VALUE"], &self.property_rows()));
        out
    }

    fn property_rows(&self) -> Vec<Vec<String>> {
        self.properties.iter().map(|(key, value)| vec![key.clone(), value.clone()]).collect()
    }
}

/// One snapshot of main's history.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SnapshotRow {
    pub snapshot: i64,
    pub parent: Option<i64>,
    pub timestamp_ms: i64,
    pub operation: &'static str,
    /// batch, opening, reset, retirement, anchor; other: another engine's.
    pub kind: &'static str,
    /// The lane whose own commit it is.
    pub group: Option<String>,
    pub commit_id: Option<String>,
    pub added_rows: u64,
    pub removed_rows: u64,
    pub consumed: Option<u64>,
    pub duplicate: Option<u64>,
    pub late: Option<u64>,
    pub dead_lettered: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct SnapshotList {
    /// Newest first.
    pub snapshots: Vec<SnapshotRow>,
    /// The parent at which the history ends because it was expired.
    pub expired_parent: Option<i64>,
}

/// The history of main.
pub fn snapshots(metadata: &TableMetadata) -> SnapshotList {
    let (history, end) = history_of(metadata, metadata.current_snapshot_id().map(SnapshotId));
    let expired_parent = match end {
        HistoryEnd::Root | HistoryEnd::Erased => None,
        HistoryEnd::Expired(parent) => Some(parent.0),
    };
    SnapshotList { snapshots: history.iter().map(snapshot_row).collect(), expired_parent }
}

fn snapshot_row(snapshot: &HistorySnapshot) -> SnapshotRow {
    let HistorySnapshot { view, operation, added_rows, removed_rows, .. } = snapshot;
    let keys = view.sluice.as_ref();
    let change = |entry: &LaneKeys| entry.as_ref().ok().and_then(|e| e.own.clone());
    let own = keys.and_then(|keys| keys.lanes.iter().find_map(|(name, entry)| Some((name.to_string(), change(entry)?))));
    let (kind, counts) = match (keys, &own) {
        (None, _) => ("other", None),
        (_, Some((_, OwnChange::Ranges { counts, .. }))) => ("batch", Some(*counts)),
        (_, Some((_, OwnChange::Reset(resets)))) if resets.values().all(|r| r.from.is_none()) => ("opening", None),
        (_, Some((_, OwnChange::Reset(_)))) => ("reset", None),
        (Some(keys), None) if !keys.retired.is_empty() => ("retirement", None),
        (Some(_), None) => ("anchor", None),
    };
    SnapshotRow {
        snapshot: view.id.0,
        parent: view.parent.map(|p| p.0),
        timestamp_ms: view.timestamp_ms,
        operation: match operation {
            Operation::Append => "append",
            Operation::Replace => "replace",
            Operation::Overwrite => "overwrite",
            Operation::Delete => "delete",
        },
        kind,
        group: own.map(|(name, _)| name),
        commit_id: keys.map(|k| k.commit_id.to_string()),
        added_rows: *added_rows,
        removed_rows: *removed_rows,
        consumed: counts.map(|c| c.consumed()),
        duplicate: counts.map(|c| c.duplicate),
        late: counts.map(|c| c.late),
        dead_lettered: counts.map(|c| c.dead_lettered),
    }
}

impl SnapshotList {
    pub fn text(&self) -> String {
        let rows = self.snapshots.iter().map(|s| {
            vec![
                s.snapshot.to_string(),
                time(s.timestamp_ms),
                s.operation.to_string(),
                s.kind.to_string(),
                or_none(s.group.as_ref()),
                s.added_rows.to_string(),
                s.removed_rows.to_string(),
                or_none(s.consumed),
                or_none(s.duplicate),
                or_none(s.late),
                or_none(s.dead_lettered),
            ]
        });
        let header = [
            "SNAPSHOT",
            "COMMITTED",
            "OPERATION",
            "KIND",
            "LANE",
            "ROWS-ADDED",
            "ROWS-REMOVED",
            "CONSUMED",
            "DUPLICATE",
            "LATE",
            "DEAD-LETTERED",
        ];
        let mut out = columns(&header, &rows.collect::<Vec<_>>());
        if let Some(parent) = self.expired_parent {
            let _ = writeln!(out, "\nthe history ends here: its parent {parent} was expired");
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::testing::{HOUR, World, batch, opening, written};

    #[tokio::test]
    async fn a_table_is_described_with_its_lanes_and_its_history() {
        let world = World::new().await;
        world.commit(&opening(1, "gold.1", 0), &[]).await;
        world.commit(&batch(2, "gold.1", 5, 5), &[written("a", HOUR, 5)]).await;
        let metadata = world.loaded().await.metadata;
        let files = FileTotals { files: 1, rows: 5, bytes: 500 };
        let description = describe("market_data.gold", &metadata, Some(files));
        assert_eq!(description.snapshot, description.tag);
        assert_eq!(description.partitioned_by, ["identity(exchange_date)", "identity(exchange_hour)"]);
        assert_eq!((description.columns.len(), description.lanes.len()), (18, 1));
        assert_eq!((description.lanes[0].group.as_str(), description.lanes[0].partitions), ("gold.1", 1));
        assert!(!description.properties.iter().any(|(key, _)| key.starts_with("sluice.state.")));
        let text = description.text();
        for part in ["market_data.gold", "exchange_hour", "live files      1, 5 rows, 500 bytes", "gold.1"] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }

        let list = snapshots(&metadata);
        let kinds: Vec<_> = list.snapshots.iter().map(|s| (s.kind, s.added_rows, s.consumed)).collect();
        assert_eq!(kinds, [("batch", 5, Some(5)), ("opening", 0, None)]);
        assert_eq!(list.expired_parent, None);
        assert!(list.text().contains("opening"), "{}", list.text());
    }
}
