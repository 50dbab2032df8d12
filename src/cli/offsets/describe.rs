//! `sluice offsets describe`: where every partition stands, in the log, in the group, in the table.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cli::output::{columns, or_none, time};
use crate::error::Stop;
use crate::state::dir;
use crate::types::*;

/// Shows offsets of log, group and table, lag and owner of every partition.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Example:\n  sluice offsets describe\n  sluice offsets describe --output json > before.json\n  sluice offsets describe --compare before.json"
)]
pub struct DescribeArgs {
    /// An earlier `--output json`: exit 0 only if no table offset went back since
    #[arg(long, value_name = "FILE")]
    pub compare: Option<PathBuf>,
}

/// The same names in `/status`, which has a few more. Offsets are the next ones, not the last. Null: not known, or there is none.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PartitionOffsets {
    pub topic: String,
    pub partition: i32,
    pub log_start_offset: Option<Offset>,
    pub log_end_offset: Option<Offset>,
    /// What lag is counted against: an open transaction holds it back.
    pub last_stable_offset: Option<Offset>,
    pub group_offset: Option<Offset>,
    pub table_offset: Option<Offset>,
    /// Offsets from the table's to the last stable one, control records included.
    pub lag_records: Option<u64>,
    /// Since the broker timestamp of the first record that is not in the table; 0 when drained.
    pub lag_seconds: Option<f64>,
    /// Client id of the member that owns it.
    pub owner: Option<String>,
}

impl PartitionOffsets {
    /// What can be said before anything is asked.
    pub fn of(partition: &TopicPartition) -> Self {
        Self {
            topic: partition.topic.to_string(),
            partition: partition.partition,
            log_start_offset: None,
            log_end_offset: None,
            last_stable_offset: None,
            group_offset: None,
            table_offset: None,
            lag_records: None,
            lag_seconds: None,
            owner: None,
        }
    }

    /// Where the log's stable part and the log end. Two brokers may answer, one behind the other: the end is never shown
    /// before what is known to be stable.
    pub fn stable_below(mut self, stable: Option<Offset>, end: Option<Offset>) -> Self {
        self.last_stable_offset = stable;
        self.log_end_offset = end.max(end.and(stable));
        self
    }

    /// Takes `lag_records` from last stable and table offset. Where the table knows nothing, everything is to come.
    pub fn with_lag(mut self) -> Self {
        let from = self.table_offset.or(self.log_start_offset);
        self.lag_records = self.last_stable_offset.zip(from).map(|(end, from)| (end - from).max(0) as u64);
        self
    }
}

/// The typed stop that ended the last run of the service, as kept in its state_dir.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LastStop {
    pub exit: u8,
    pub what: String,
    pub remedy: String,
    /// Milliseconds since 1970, by the clock of the host that stopped.
    pub at_ms: i64,
}

impl From<&dir::LastStop> for LastStop {
    fn from(kept: &dir::LastStop) -> Self {
        let Stop { exit, what, remedy } = &kept.stop;
        Self { exit: exit.code(), what: what.clone(), remedy: remedy.clone(), at_ms: kept.at_ms }
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct OffsetsReport {
    pub group: String,
    /// The snapshot that the table's offsets are read from; null for a lane that the table doesn't know.
    pub snapshot: Option<i64>,
    pub partitions: Vec<PartitionOffsets>,
    pub last_stop: Option<LastStop>,
    /// Topics of the configuration or of the lane that Kafka doesn't have.
    #[serde(default)]
    pub missing_topics: Vec<String>,
}

/// Those of the topics that no partition is of.
pub fn missing(topics: Vec<Topic>, in_kafka: &[TopicPartition]) -> Vec<String> {
    let there: BTreeSet<&Topic> = in_kafka.iter().map(|tp| &tp.topic).collect();
    topics.iter().filter(|topic| !there.contains(topic)).map(ToString::to_string).collect()
}

impl OffsetsReport {
    pub fn text(&self) -> String {
        let header = [
            "TOPIC",
            "PARTITION",
            "LOG-START",
            "LOG-END",
            "STABLE",
            "GROUP-OFFSET",
            "TABLE-OFFSET",
            "LAG",
            "LAG-SECONDS",
            "OWNER",
        ];
        let rows = self.partitions.iter().map(|p| {
            vec![
                p.topic.clone(),
                p.partition.to_string(),
                or_none(p.log_start_offset),
                or_none(p.log_end_offset),
                or_none(p.last_stable_offset),
                or_none(p.group_offset),
                or_none(p.table_offset),
                or_none(p.lag_records),
                or_none(p.lag_seconds.map(|s| format!("{s:.1}"))),
                or_none(p.owner.as_ref()),
            ]
        });
        let mut out = columns(&header, &rows.collect::<Vec<_>>());
        match self.snapshot {
            Some(snapshot) => {
                let _ = writeln!(out, "\ngroup {}, table offsets of snapshot {snapshot}", self.group);
            }
            None => {
                let _ = writeln!(out, "\ngroup {}: the table doesn't know this lane yet", self.group);
            }
        }
        if let Some(stop) = &self.last_stop {
            let at = time(stop.at_ms);
            let _ = writeln!(out, "last stop, {at}: exit {}: {}\n  what to do: {}", stop.exit, stop.what, stop.remedy);
        }
        out
    }

    /// Partitions whose table offset went back since `before`, or is no longer known.
    pub fn went_back_since(&self, before: &OffsetsReport) -> Vec<String> {
        let key = |p: &PartitionOffsets| TopicPartition::new(p.topic.as_str(), p.partition);
        let now: BTreeMap<_, _> = self.partitions.iter().map(|p| (key(p), p.table_offset)).collect();
        let mut back = Vec::new();
        for then in &before.partitions {
            let Some(was) = then.table_offset else { continue };
            let is = now.get(&key(then)).copied().flatten();
            if is.is_none_or(|is| is < was) {
                back.push(format!("{}: {was} then, {} now", key(then), or_none(is)));
            }
        }
        back
    }
}

/// Reads what `--compare` names.
///
/// # Errors
/// Exit 2: not there, or not an earlier output.
pub fn read_earlier(path: &std::path::Path) -> Result<OffsetsReport, Stop> {
    let wrong = |e: String| {
        Stop::usage(
            format!("--compare {}: {e}", path.display()),
            "give it the output of `sluice offsets describe --output json`",
        )
    };
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))
}

/// The stop of `--compare`; none where nothing went back.
pub fn compare(now: &OffsetsReport, before: &OffsetsReport) -> Option<Stop> {
    let back = now.went_back_since(before);
    (!back.is_empty()).then(|| {
        Stop::inconsistent(
            format!("table offsets went back: {}", back.join("; ")),
            "a roll-back of the table or `offsets reset` does that: see `sluice table snapshots`",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(offsets: &[(i32, Option<Offset>)]) -> OffsetsReport {
        let partitions = offsets.iter().map(|(partition, table_offset)| {
            let at = PartitionOffsets::of(&TopicPartition::new("silver.a", *partition));
            PartitionOffsets {
                table_offset: *table_offset,
                log_start_offset: Some(0),
                log_end_offset: Some(55),
                last_stable_offset: Some(50),
                owner: Some("worker-1".into()),
                ..at
            }
            .with_lag()
        });
        let partitions = partitions.collect();
        OffsetsReport { group: "gold".into(), snapshot: Some(7), partitions, last_stop: None, missing_topics: vec![] }
    }

    #[test]
    fn an_offset_that_went_back_or_is_lost_is_found_by_comparison() {
        let before = report(&[(0, Some(10)), (1, None), (2, Some(5))]);
        assert_eq!(compare(&report(&[(0, Some(10)), (1, Some(0)), (2, Some(6)), (3, None)]), &before), None);
        let stop = compare(&report(&[(0, Some(9)), (1, None)]), &before).unwrap();
        assert_eq!(stop.exit, crate::error::Exit::Inconsistent);
        assert_eq!(stop.what, "table offsets went back: silver.a:0: 10 then, 9 now; silver.a:2: 5 then, - now");
    }

    #[test]
    fn the_json_that_is_printed_is_the_json_that_is_compared() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("before.json");
        let report = report(&[(0, Some(10))]);
        std::fs::write(&path, serde_json::to_string_pretty(&report).unwrap()).unwrap();
        assert_eq!(read_earlier(&path).unwrap(), report);
        std::fs::write(&path, "[]").unwrap();
        assert_eq!(read_earlier(&path).unwrap_err().exit, crate::error::Exit::Usage);
    }

    #[test]
    fn what_an_earlier_version_printed_can_be_compared() {
        let before = r#"{"group":"gold","snapshot":7,"partitions":[],"last_stop":null}"#;
        assert_eq!(serde_json::from_str::<OffsetsReport>(before).unwrap(), report(&[]));
    }

    /// A topic with a slip in its name was left out without a word.
    #[test]
    fn topics_that_kafka_does_not_have_are_named() {
        let topics = vec!["silver.a".into(), "silver.b".into()];
        assert_eq!(missing(topics, &[TopicPartition::new("silver.a", 0)]), ["silver.b"]);
    }

    /// Under load the stable offset, asked for a moment later, stood above the log's end.
    #[test]
    fn the_log_never_ends_before_its_stable_part() {
        let ends = |stable, end| {
            let p = PartitionOffsets::of(&TopicPartition::new("silver.a", 0)).stable_below(stable, end);
            (p.last_stable_offset, p.log_end_offset)
        };
        assert_eq!(ends(Some(60), Some(55)), (Some(60), Some(60)));
        assert_eq!(ends(Some(50), Some(55)), (Some(50), Some(55)), "an open transaction");
        assert_eq!(ends(Some(50), None), (Some(50), None), "nothing is made up");
    }

    #[test]
    fn the_status_of_a_running_instance_has_the_same_names() {
        let keys = |value: serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let here = keys(serde_json::to_value(PartitionOffsets::of(&TopicPartition::new("a", 0))).unwrap());
        let there = keys(serde_json::to_value(crate::telemetry::status::PartitionStatus::default()).unwrap());
        let missing: Vec<_> = here.iter().filter(|key| !there.contains(key)).collect();
        assert!(missing.is_empty(), "{missing:?} are not among {there:?}");
    }

    #[test]
    fn lag_counts_from_the_table_or_where_it_knows_nothing_from_the_log_start() {
        let lags: Vec<_> =
            report(&[(0, Some(10)), (1, None), (2, Some(60))]).partitions.iter().map(|p| p.lag_records).collect();
        assert_eq!(lags, [Some(40), Some(50), Some(0)]);
        let stop = LastStop { exit: 6, what: "lost".into(), remedy: "reset".into(), at_ms: 0 };
        let text = OffsetsReport { last_stop: Some(stop), ..report(&[(0, Some(10))]) }.text();
        assert!(
            text.contains(
                "silver.a          0          0       55      50             -            10   40            -  worker-1"
            ),
            "{text}"
        );
        assert!(text.contains("last stop, 1970-01-01T00:00:00.000Z: exit 6: lost"), "{text}");
    }
}
