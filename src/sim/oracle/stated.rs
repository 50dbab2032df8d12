//! What a summary says of one lane, read by INTERFACE section 4 and nothing else.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Invariant;
use crate::types::*;

pub(super) type Summary = HashMap<String, String>;

/// The keys that every snapshot says of every lane that it carries, each with what is broken where it can't be read.
pub(super) const CARRIED: [(&str, Invariant); 4] = [
    ("sluice.offsets.", Invariant::LaneIsItsHistory),
    ("sluice.event-time.", Invariant::MaximaAreTheLogs),
    ("sluice.totals.", Invariant::TotalsAddUp),
    ("sluice.source.", Invariant::LaneIsItsHistory),
];
const OWN: [&str; 4] = ["sluice.ranges.", "sluice.reset.", "sluice.counts.", "sluice.watermark."];

/// A value that isn't as INTERFACE says: which promise it breaks, and how.
pub(super) type Fault = (Invariant, String);

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tally {
    pub consumed: u64,
    pub written: u64,
    pub duplicate: u64,
    pub late: u64,
    pub dead_lettered: u64,
    #[serde(default)]
    pub redriven: u64,
}

impl Tally {
    pub fn balances(&self) -> bool {
        let parts = [self.written, self.duplicate, self.late, self.dead_lettered];
        u128::from(self.consumed) == parts.into_iter().map(u128::from).sum::<u128>()
    }

    pub fn plus(&self, more: &Tally) -> Tally {
        Tally {
            consumed: self.consumed.wrapping_add(more.consumed),
            written: self.written.wrapping_add(more.written),
            duplicate: self.duplicate.wrapping_add(more.duplicate),
            late: self.late.wrapping_add(more.late),
            dead_lettered: self.dead_lettered.wrapping_add(more.dead_lettered),
            redriven: self.redriven.wrapping_add(more.redriven),
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
pub(super) struct Source {
    #[serde(rename = "cluster-id")]
    pub cluster: Option<String>,
    pub topics: BTreeMap<String, SourceTopic>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
pub(super) struct SourceTopic {
    pub id: Option<String>,
}

impl Source {
    pub fn id(&self, topic: &str) -> Option<&str> {
        self.topics.get(topic)?.id.as_deref()
    }
}

pub(super) type ByPartition<V> = BTreeMap<TopicPartition, V>;
pub(super) type Ranges = ByPartition<(Offset, Offset)>;
pub(super) type Resets = ByPartition<(Option<Offset>, Offset)>;

pub(super) enum Own {
    Ranges(Ranges, Tally),
    Reset(Resets),
}

pub(super) struct Stated {
    pub offsets: ByPartition<Offset>,
    pub times: ByPartition<Option<Micros>>,
    pub idle: BTreeSet<TopicPartition>,
    pub totals: Tally,
    pub source: Source,
    pub watermark: Option<Micros>,
}

/// Every lane of which the summary says anything.
pub(super) fn lanes(summary: &Summary) -> BTreeSet<&str> {
    let prefixes = CARRIED.iter().map(|(prefix, _)| *prefix).chain(OWN);
    let of_key = |key: &'_ String| -> Option<usize> { prefixes.clone().find(|p| key.starts_with(*p)).map(str::len) };
    summary.keys().filter_map(|key| Some(&key[of_key(key)?..])).collect()
}

pub(super) fn retired(summary: &Summary) -> Result<BTreeSet<String>, Fault> {
    Ok(read(summary, "sluice.retired", Invariant::OtherLanesKept)?.unwrap_or_default())
}

/// What makes the snapshot the lane's own; none where it only carries it.
pub(super) fn own(summary: &Summary, lane: &str) -> Result<Option<Own>, Fault> {
    let ranges = read(summary, &format!("sluice.ranges.{lane}"), Invariant::RangesContiguous)?;
    let reset = read(summary, &format!("sluice.reset.{lane}"), Invariant::RangesContiguous)?;
    let counts = read(summary, &format!("sluice.counts.{lane}"), Invariant::CountsBalance)?;
    match (ranges, reset, counts) {
        (None, None, None) => Ok(None),
        (Some(ranges), None, Some(counts)) => Ok(Some(Own::Ranges(flat(ranges), counts))),
        (None, Some(reset), None) => Ok(Some(Own::Reset(flat(reset)))),
        (_, None, _) => Err((Invariant::CountsBalance, format!("lane {lane} has ranges or counts without the other"))),
        _ => Err((Invariant::RangesContiguous, format!("lane {lane} has a reset together with ranges or counts"))),
    }
}

pub(super) fn lane(summary: &Summary, lane: &str) -> Result<Stated, Fault> {
    let [offsets, times, totals, source] = CARRIED;
    let mut times: BTreeMap<String, serde_json::Value> = required(summary, lane, times)?;
    let typed = |value| serde_json::from_value(value).map_err(|e| (Invariant::MaximaAreTheLogs, format!("event time: {e}")));
    let idle = times.remove("idle").map(serde_json::from_value::<BTreeMap<String, BTreeSet<i32>>>).transpose();
    let idle = idle.map_err(|e| (Invariant::LaneIsItsHistory, format!("idle: {e}")))?.unwrap_or_default();
    let idle = idle.iter().flat_map(|(topic, all)| all.iter().map(|p| TopicPartition::new(topic.as_str(), *p)));
    let times = times.into_iter().map(|(topic, value)| Ok((topic, typed(value)?)));
    let times = times.collect::<Result<BTreeMap<String, BTreeMap<i32, Option<Micros>>>, Fault>>()?;
    Ok(Stated {
        offsets: flat(required(summary, lane, offsets)?),
        times: flat(times),
        idle: idle.collect(),
        totals: required(summary, lane, totals)?,
        source: required(summary, lane, source)?,
        watermark: watermark(summary, lane)?,
    })
}

pub(super) fn watermark(summary: &Summary, lane: &str) -> Result<Option<Micros>, Fault> {
    let Some(text) = summary.get(&format!("sluice.watermark.{lane}")) else { return Ok(None) };
    let time = chrono::DateTime::parse_from_rfc3339(text);
    Ok(Some(time.map_err(|e| (Invariant::WatermarkIsTheLanes, format!("watermark {text:?}: {e}")))?.timestamp_micros()))
}

fn required<T: DeserializeOwned>(summary: &Summary, lane: &str, (prefix, broken): (&str, Invariant)) -> Result<T, Fault> {
    let key = format!("{prefix}{lane}");
    read(summary, &key, broken)?.ok_or_else(|| (broken, format!("{key} is missing")))
}

fn read<T: DeserializeOwned>(summary: &Summary, key: &str, broken: Invariant) -> Result<Option<T>, Fault> {
    let parsed = summary.get(key).map(|text| serde_json::from_str(text));
    parsed.transpose().map_err(|e| (broken, format!("{key}: {e}")))
}

fn flat<V>(nested: BTreeMap<String, BTreeMap<i32, V>>) -> ByPartition<V> {
    let topics = nested.into_iter().map(|(topic, values)| (Topic::from(topic), values));
    let each = |(topic, values): (Topic, BTreeMap<i32, V>)| {
        values.into_iter().map(move |(partition, value)| (TopicPartition { topic: topic.clone(), partition }, value))
    };
    topics.flat_map(each).collect()
}
