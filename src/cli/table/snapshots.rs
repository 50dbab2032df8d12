use serde::Serialize;

use crate::cli::arguments::show_datetime;
use crate::cli::output::{Output, columns};
use crate::core::table::{OwnChange, SnapshotView, TableView};
use crate::error::Stop;
use crate::types::Counts;

/// One snapshot of `sluice table snapshots`.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct SnapshotRow {
    pub snapshot_id: i64,
    pub parent_id: Option<i64>,
    /// RFC 3339.
    pub timestamp: String,
    /// `batch`, `reset` (openings among them), `retirement`, `anchor`: Sluice's. `other`: another engine's, or a copy.
    pub kind: &'static str,
    /// The lane whose own commit it is.
    pub group: Option<String>,
    pub commit_id: Option<String>,
    pub consumed: Option<u64>,
    pub written: Option<u64>,
    pub duplicate: Option<u64>,
    pub late: Option<u64>,
    pub dead_lettered: Option<u64>,
}

/// The history of main, newest first, at most `limit`. It ends at the root or where history was expired.
pub fn snapshots(view: &TableView, limit: usize) -> Vec<SnapshotRow> {
    view.ancestry().filter_map(Result::ok).take(limit).map(row).collect()
}

fn row(snapshot: &SnapshotView) -> SnapshotRow {
    let own = snapshot
        .sluice
        .as_ref()
        .and_then(|keys| keys.lanes.iter().find_map(|(name, lane)| Some((name, lane.as_ref().ok()?.own.as_ref()?))));
    let (kind, counts) = match (&snapshot.sluice, own) {
        (None, _) => ("other", None),
        (Some(_), Some((_, OwnChange::Ranges { counts, .. }))) => ("batch", Some(*counts)),
        (Some(_), Some((_, OwnChange::Reset(_)))) => ("reset", None),
        (Some(keys), None) if !keys.retired.is_empty() => ("retirement", None),
        (Some(_), None) => ("anchor", None),
    };
    let count = |of: fn(&Counts) -> u64| counts.as_ref().map(of);
    SnapshotRow {
        snapshot_id: snapshot.id.0,
        parent_id: snapshot.parent.map(|id| id.0),
        timestamp: show_datetime(snapshot.timestamp_ms.saturating_mul(1_000)),
        kind,
        group: own.map(|(name, _)| name.to_string()),
        commit_id: snapshot.sluice.as_ref().map(|keys| keys.commit_id.to_string()),
        consumed: count(Counts::consumed),
        written: count(|counts| counts.written),
        duplicate: count(|counts| counts.duplicate),
        late: count(|counts| counts.late),
        dead_lettered: count(|counts| counts.dead_lettered),
    }
}

pub fn print_snapshots(rows: &[SnapshotRow], output: Output) -> Result<(), Stop> {
    output.print(&rows, || {
        let headings = ["SNAPSHOT", "TIME", "KIND", "GROUP", "CONSUMED", "WRITTEN", "DUPLICATE", "LATE", "DEAD-LETTERED"];
        columns(&headings, &rows.iter().map(cells).collect::<Vec<_>>())
    })
}

fn cells(row: &SnapshotRow) -> Vec<String> {
    let number = |count: Option<u64>| count.map_or_else(|| "-".into(), |count| count.to_string());
    let group = row.group.clone().unwrap_or_else(|| "-".into());
    let mut cells = vec![row.snapshot_id.to_string(), row.timestamp.clone(), row.kind.into(), group];
    cells.extend([row.consumed, row.written, row.duplicate, row.late, row.dead_lettered].map(number));
    cells
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::Arc;

    use super::*;
    use crate::core::table::{Lane, LaneEntry, LiveFiles, SluiceKeys};
    use crate::types::{CommitId, SnapshotId};

    fn snapshot(id: i64, parent: Option<i64>, sluice: Option<Option<OwnChange>>) -> (SnapshotId, SnapshotView) {
        let keys = |own| SluiceKeys {
            commit_id: CommitId(9),
            lanes: BTreeMap::from([("g".into(), Ok(LaneEntry { lane: Lane::default(), own }))]),
            retired: BTreeSet::new(),
        };
        let sluice = sluice.map(|own| Arc::new(keys(own)));
        (SnapshotId(id), SnapshotView { id: SnapshotId(id), parent: parent.map(SnapshotId), timestamp_ms: 0, sluice })
    }

    #[test]
    fn the_history_of_main_is_told_newest_first_with_what_each_snapshot_is() {
        let counts = Counts { written: 3, duplicate: 1, late: 0, dead_lettered: 0 };
        let batch = OwnChange::Ranges { ranges: BTreeMap::new(), counts };
        let view = TableView {
            uuid: 1,
            metadata_location: "m".into(),
            head: Some(SnapshotId(4)),
            tag: None,
            snapshots: BTreeMap::from([
                snapshot(1, Some(0), Some(Some(OwnChange::Reset(BTreeMap::new())))),
                snapshot(2, Some(1), Some(Some(batch))),
                snapshot(3, Some(2), None),
                snapshot(4, Some(3), Some(None)),
                snapshot(77, None, None),
            ]),
            properties: BTreeMap::new(),
            live: Arc::new(LiveFiles::default()),
        };
        let rows = snapshots(&view, 10);
        let told: Vec<_> = rows.iter().map(|row| (row.snapshot_id, row.kind, row.consumed)).collect();
        assert_eq!(told, [(4, "anchor", None), (3, "other", None), (2, "batch", Some(4)), (1, "reset", None)]);
        assert_eq!(snapshots(&view, 2).len(), 2);
    }
}
