//! The snapshots of one lineage as verify takes them: the parsed keys, and beside them what the raw summary says.

use std::collections::BTreeMap;

use crate::core::table::{LaneName, SnapshotView};
use crate::types::{Micros, SnapshotId};

/// How the walk along `parent-snapshot-id` ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HistoryEnd {
    /// At the table's first snapshot.
    Root,
    /// At a parent that the table no longer has.
    Expired(SnapshotId),
    /// At a snapshot that can't be the table's first, though it names no parent: another engine expired what was before it.
    Erased,
}

/// Iceberg's `operation` of a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    Append,
    /// Files exchanged, rows unchanged: compaction.
    Replace,
    Overwrite,
    Delete,
}

/// What the raw summary says of one lane beside the parsed keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stated {
    /// `consumed` of `sluice.counts.G`.
    pub consumed: Option<u64>,
    /// `sluice.watermark.G`.
    pub watermark: Option<Micros>,
    /// `written` of `sluice.redrive.G`: rows that a redrive or replay added.
    pub redriven: Option<u64>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HistorySnapshot {
    pub view: SnapshotView,
    pub operation: Operation,
    /// `added-records`; Iceberg leaves a zero out.
    pub added_rows: u64,
    /// `deleted-records`: rows of data files that the snapshot removed.
    pub removed_rows: u64,
    /// `added-delete-files`: files that take rows away from data files without touching them.
    pub added_deletes: u64,
    pub stated: BTreeMap<LaneName, Stated>,
    /// Keys of the summary that hold something else than they should: (key, what is wrong).
    pub unreadable: Vec<(String, String)>,
}

impl HistorySnapshot {
    /// `summary` is the snapshot's without `operation`, as Iceberg keeps it.
    pub fn from_summary<'a>(
        view: SnapshotView,
        operation: Operation,
        summary: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Self {
        let (stated, unreadable) = (BTreeMap::new(), Vec::new());
        let mut snapshot = Self { view, operation, added_rows: 0, removed_rows: 0, added_deletes: 0, stated, unreadable };
        for (key, value) in summary {
            if let Err(wrong) = snapshot.take(key, value) {
                snapshot.unreadable.push((key.clone(), wrong));
            }
        }
        snapshot
    }

    fn take(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "added-records" => self.added_rows = number(value)?,
            "deleted-records" => self.removed_rows = number(value)?,
            "added-delete-files" => self.added_deletes = number(value)?,
            _ => {
                // A lane's name may hold dots: it is the whole rest of the key.
                if let Some(lane) = key.strip_prefix("sluice.counts.") {
                    self.lane(lane).consumed = Some(member(value, "consumed")?);
                } else if let Some(lane) = key.strip_prefix("sluice.redrive.") {
                    self.lane(lane).redriven = Some(member(value, "written")?);
                } else if let Some(lane) = key.strip_prefix("sluice.watermark.") {
                    let time = chrono::DateTime::parse_from_rfc3339(value).map_err(|e| format!("{value:?}: {e}"))?;
                    self.lane(lane).watermark = Some(time.timestamp_micros());
                }
            }
        }
        Ok(())
    }

    fn lane(&mut self, lane: &str) -> &mut Stated {
        self.stated.entry(lane.into()).or_default()
    }
}

fn number(value: &str) -> Result<u64, String> {
    value.parse().map_err(|_| format!("{value:?} is not a count"))
}

fn member(value: &str, name: &str) -> Result<u64, String> {
    let json: serde_json::Value = serde_json::from_str(value).map_err(|e| format!("{value:?}: {e}"))?;
    json.get(name).and_then(serde_json::Value::as_u64).ok_or_else(|| format!("{value:?} has no count {name:?}"))
}
