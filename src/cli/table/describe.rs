use std::collections::BTreeMap;

use serde::Serialize;

use crate::cli::arguments::show_datetime;
use crate::cli::output::{Output, columns};
use crate::config::units::show_bytes;
use crate::core::table::{Lane, LaneName, TableView};
use crate::error::Stop;
use crate::types::Micros;

/// `sluice table describe`.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Description {
    pub table: String,
    pub uuid: String,
    pub metadata_location: String,
    pub snapshot_id: Option<i64>,
    /// Where the tag `sluice` is.
    pub tag: Option<i64>,
    pub snapshots: usize,
    pub data_files: usize,
    /// Rows of live data files, delete files ignored.
    pub rows: u64,
    pub bytes: u64,
    /// First and last event hour with data.
    pub hours: Option<(String, String)>,
    pub lanes: Vec<LaneRow>,
}

#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct LaneRow {
    pub group: String,
    pub topics: Vec<String>,
    pub partitions: usize,
    pub consumed: u64,
    pub written: u64,
    pub duplicate: u64,
    pub late: u64,
    pub dead_lettered: u64,
    pub redriven: u64,
    /// RFC 3339; none while no partition has a record.
    pub watermark: Option<String>,
}

/// `lanes` as they were read, whatever the head is.
pub fn describe(table: &str, view: &TableView, lanes: &BTreeMap<LaneName, Lane>, watermark_delay: Micros) -> Description {
    let newest = view.live.hours_newest_first().next();
    let oldest = view.live.hours_newest_first().last();
    Description {
        table: table.into(),
        uuid: uuid::Uuid::from_u128(view.uuid).to_string(),
        metadata_location: view.metadata_location.to_string(),
        snapshot_id: view.head.map(|id| id.0),
        tag: view.tag.map(|id| id.0),
        snapshots: view.snapshots.len(),
        data_files: view.live.len(),
        rows: view.live.iter().map(|file| file.rows).sum(),
        bytes: view.live.iter().map(|file| file.bytes).sum(),
        hours: oldest.zip(newest).map(|(oldest, newest)| (oldest.to_string(), newest.to_string())),
        lanes: lanes.iter().map(|(name, lane)| lane_row(name, lane, watermark_delay)).collect(),
    }
}

fn lane_row(name: &LaneName, lane: &Lane, watermark_delay: Micros) -> LaneRow {
    let counts = lane.totals.counts;
    LaneRow {
        group: name.to_string(),
        topics: lane.topics().iter().map(|topic| topic.to_string()).collect(),
        partitions: lane.partitions.len(),
        consumed: counts.consumed(),
        written: counts.written,
        duplicate: counts.duplicate,
        late: counts.late,
        dead_lettered: counts.dead_lettered,
        redriven: lane.totals.redriven,
        watermark: lane.watermark(watermark_delay).map(show_datetime),
    }
}

impl Description {
    pub fn print(&self, output: Output) -> Result<(), Stop> {
        output.print(self, || self.text())
    }

    fn text(&self) -> String {
        let or_none = |id: Option<i64>| id.map_or_else(|| "none".into(), |id| id.to_string());
        let hours = self.hours.as_ref().map_or_else(|| "none".into(), |(oldest, newest)| format!("{oldest} to {newest}"));
        let facts = [
            ("table", self.table.clone()),
            ("uuid", self.uuid.clone()),
            ("metadata", self.metadata_location.clone()),
            ("snapshot", or_none(self.snapshot_id)),
            ("tag sluice", or_none(self.tag)),
            ("snapshots", self.snapshots.to_string()),
            ("data", format!("{} rows in {} files, {}", self.rows, self.data_files, show_bytes(self.bytes))),
            ("hours", hours),
        ];
        let mut text: String = facts.iter().map(|(name, value)| format!("{name:<11} {value}\n")).collect();
        if !self.lanes.is_empty() {
            text += "\n";
            text += &columns(
                &["GROUP", "TOPICS", "PARTITIONS", "CONSUMED", "WRITTEN", "DUPLICATE", "LATE", "DEAD-LETTERED", "WATERMARK"],
                &self.lanes.iter().map(lane_cells).collect::<Vec<_>>(),
            );
        }
        text
    }
}

fn lane_cells(lane: &LaneRow) -> Vec<String> {
    let numbers = [lane.consumed, lane.written, lane.duplicate, lane.late, lane.dead_lettered].map(|n| n.to_string());
    let [consumed, written, duplicate, late, dead_lettered] = numbers;
    let watermark = lane.watermark.clone().unwrap_or_else(|| "-".into());
    let (group, topics, partitions) = (lane.group.clone(), lane.topics.join(","), lane.partitions.to_string());
    vec![group, topics, partitions, consumed, written, duplicate, late, dead_lettered, watermark]
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::core::table::{LiveFile, Progress, Totals};
    use crate::types::{Counts, EventHour, SnapshotId, TopicPartition};

    #[test]
    fn a_table_is_described_with_its_data_and_its_lanes() {
        let file = |path: &str, hour| LiveFile { path: path.into(), hour: Some(EventHour(hour)), rows: 10, bytes: 1_000 };
        let view = TableView {
            uuid: 1,
            metadata_location: "/w/m.json".into(),
            head: Some(SnapshotId(5)),
            tag: Some(SnapshotId(5)),
            snapshots: BTreeMap::new(),
            properties: BTreeMap::new(),
            live: Arc::new([file("a", 490_896), file("b", 490_900)].into_iter().collect()),
        };
        let progress = Progress { max_event_time: Some(1_767_225_600_000_000), ..Progress::opened_at(7) };
        let totals = Totals { counts: Counts { written: 5, duplicate: 2, late: 0, dead_lettered: 1 }, redriven: 0 };
        let partitions = BTreeMap::from([(TopicPartition::new("silver", 0), progress)]);
        let lanes = BTreeMap::from([("g".into(), Lane { partitions, totals, ..Lane::default() })]);
        let description = describe("db.gold", &view, &lanes, 300_000_000);
        assert_eq!((description.rows, description.bytes, description.data_files), (20, 2_000, 2));
        assert_eq!(description.hours, Some(("2026-01-01T00Z".into(), "2026-01-01T04Z".into())));
        assert_eq!(description.lanes[0].watermark.as_deref(), Some("2025-12-31T23:55:00.000000Z"));
        assert_eq!(description.lanes[0].consumed, 8);
        let text = description.text();
        assert!(text.contains("20 rows in 2 files, 2KB") && text.contains("silver"), "{text}");
    }
}
