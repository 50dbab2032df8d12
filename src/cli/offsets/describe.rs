use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cli::output::{Output, columns};
use crate::error::Stop;
use crate::types::Offset;

/// `sluice offsets describe`, as JSON and as the file of `--compare`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct DescribedOffsets {
    pub group: String,
    pub table: String,
    /// By topic and partition.
    pub partitions: Vec<PartitionRow>,
}

/// One partition; `GET /status` shows the same fields.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub struct PartitionRow {
    pub topic: String,
    pub partition: i32,
    pub log_start_offset: Option<Offset>,
    pub log_end_offset: Option<Offset>,
    /// Below it no transaction is open.
    pub last_stable_offset: Option<Offset>,
    /// Mirrored for monitors.
    pub group_offset: Option<Offset>,
    /// The truth: first offset that is not in the table.
    pub table_offset: Option<Offset>,
    /// Last stable offset less the table's.
    pub lag_records: Option<u64>,
    pub lag_seconds: Option<f64>,
    /// Client id and host of the group's member that has it.
    pub owner: Option<String>,
}

/// A partition whose table offset is less than it was.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct WentBack {
    pub topic: String,
    pub partition: i32,
    pub before: Offset,
    /// None: the lane no longer knows the partition.
    pub now: Option<Offset>,
}

impl DescribedOffsets {
    pub fn print(&self, output: Output) -> Result<(), Stop> {
        output.print(self, || {
            let headings = [
                "TOPIC",
                "PARTITION",
                "LOG-START",
                "LOG-END",
                "GROUP-OFFSET",
                "TABLE-OFFSET",
                "LAG",
                "LAG-SECONDS",
                "OWNER",
            ];
            columns(&headings, &self.partitions.iter().map(cells).collect::<Vec<_>>())
        })
    }
}

fn cells(row: &PartitionRow) -> Vec<String> {
    fn or_dash<T: ToString>(value: Option<T>) -> String {
        value.map_or_else(|| "-".into(), |value| value.to_string())
    }
    vec![
        row.topic.clone(),
        row.partition.to_string(),
        or_dash(row.log_start_offset),
        or_dash(row.log_end_offset),
        or_dash(row.group_offset),
        or_dash(row.table_offset),
        or_dash(row.lag_records),
        or_dash(row.lag_seconds.map(|seconds| format!("{seconds:.1}"))),
        or_dash(row.owner.as_ref()),
    ]
}

/// Reads what `offsets describe --output json` wrote.
pub fn read_earlier(path: &Path) -> Result<DescribedOffsets, Stop> {
    let remedy = "name a file that `sluice offsets describe --output json` wrote";
    let refuse = |reason: String| Stop::usage(format!("--compare {}: {reason}", path.display()), remedy);
    let text = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| refuse(error.to_string()))
}

/// Partitions whose table offset is less than before, in the order of before. New partitions are no going back.
pub fn went_back(before: &DescribedOffsets, now: &DescribedOffsets) -> Vec<WentBack> {
    let table_offset = |topic: &str, partition: i32| {
        now.partitions.iter().find(|row| row.topic == topic && row.partition == partition).and_then(|row| row.table_offset)
    };
    before
        .partitions
        .iter()
        .filter_map(|row| {
            let (before, now) = (row.table_offset?, table_offset(&row.topic, row.partition));
            let back = WentBack { topic: row.topic.clone(), partition: row.partition, before, now };
            now.is_none_or(|now| now < before).then_some(back)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(offsets: &[(i32, Option<Offset>)]) -> DescribedOffsets {
        let row = |(partition, table_offset): &(i32, Option<Offset>)| PartitionRow {
            topic: "t".into(),
            partition: *partition,
            log_start_offset: Some(0),
            log_end_offset: Some(10),
            last_stable_offset: Some(8),
            group_offset: None,
            table_offset: *table_offset,
            lag_records: Some(3),
            lag_seconds: Some(1.25),
            owner: None,
        };
        DescribedOffsets { group: "g".into(), table: "a.b".into(), partitions: offsets.iter().map(row).collect() }
    }

    #[test]
    fn only_an_offset_that_is_less_or_gone_went_back() {
        let before = described(&[(0, Some(5)), (1, Some(5)), (2, Some(5)), (3, None), (4, Some(1))]);
        let now = described(&[(0, Some(5)), (1, Some(6)), (2, Some(4)), (3, Some(0)), (5, Some(0))]);
        let back: Vec<_> =
            went_back(&before, &now).into_iter().map(|back| (back.partition, back.before, back.now)).collect();
        assert_eq!(back, [(2, 5, Some(4)), (4, 1, None)]);
    }

    #[test]
    fn what_was_printed_as_json_is_read_back() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let now = described(&[(0, Some(5))]);
        std::fs::write(file.path(), serde_json::to_string_pretty(&now).unwrap()).unwrap();
        assert_eq!(read_earlier(file.path()).unwrap(), now);
        std::fs::write(file.path(), "[]").unwrap();
        assert_eq!(read_earlier(file.path()).unwrap_err().exit.code(), 2);
    }
}
