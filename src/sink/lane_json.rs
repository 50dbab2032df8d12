//! The JSON inside Sluice's summary keys and table properties, to and from the core's values. Strict: what isn't exactly
//! as INTERFACE says is an error that names the key's fault, and costs its own lane only.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::core::table::*;
use crate::types::*;

/// topic → partition → value. Partitions are printed in numeric order.
pub type ByTopic<V> = BTreeMap<String, BTreeMap<i32, V>>;

/// Key of `sluice.event-time.G` that lists idle partitions; a topic of this name can't be written there.
pub const IDLE: &str = "idle";

pub fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|e| e.to_string())
}

pub fn print<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("maps with string and integer keys are always JSON")
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CountsJson {
    consumed: u64,
    written: u64,
    duplicate: u64,
    late: u64,
    dead_lettered: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TotalsJson {
    consumed: u64,
    written: u64,
    duplicate: u64,
    late: u64,
    dead_lettered: u64,
    redriven: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceJson {
    #[serde(rename = "cluster-id", default, skip_serializing_if = "Option::is_none")]
    cluster_id: Option<String>,
    topics: BTreeMap<String, TopicJson>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct TopicJson {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(rename = "leader-epochs", default)]
    leader_epochs: BTreeMap<i32, i32>,
}

/// `{"topic":{"0":1767225600000000,"1":null},"idle":{"topic":[1]}}`, `idle` last.
#[derive(Default)]
pub struct EventTimeJson {
    times: ByTopic<Option<Micros>>,
    idle: BTreeMap<String, BTreeSet<i32>>,
}

impl Serialize for EventTimeJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.times.len() + 1))?;
        for (topic, times) in &self.times {
            map.serialize_entry(topic, times)?;
        }
        map.serialize_entry(IDLE, &self.idle)?;
        map.end()
    }
}

impl<'de> Deserialize<'de> for EventTimeJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut map = BTreeMap::<String, serde_json::Value>::deserialize(deserializer)?;
        let idle = map.remove(IDLE).map(serde_json::from_value).transpose().map_err(D::Error::custom)?;
        let times = map.into_iter().map(|(topic, times)| Ok((topic, serde_json::from_value(times)?)));
        let times = times.collect::<Result<_, serde_json::Error>>().map_err(D::Error::custom)?;
        Ok(Self { times, idle: idle.unwrap_or_default() })
    }
}

impl From<&Counts> for CountsJson {
    fn from(c: &Counts) -> Self {
        Self {
            consumed: c.consumed(),
            written: c.written,
            duplicate: c.duplicate,
            late: c.late,
            dead_lettered: c.dead_lettered,
        }
    }
}

impl TryFrom<CountsJson> for Counts {
    type Error = String;
    fn try_from(json: CountsJson) -> Result<Self, String> {
        let CountsJson { consumed, written, duplicate, late, dead_lettered } = json;
        let sum = [written, duplicate, late, dead_lettered].into_iter().try_fold(0u64, u64::checked_add);
        match sum {
            Some(sum) if sum == consumed => Ok(Counts { written, duplicate, late, dead_lettered }),
            _ => Err(format!("consumed is {consumed} and not the sum of the others")),
        }
    }
}

impl From<&Totals> for TotalsJson {
    fn from(totals: &Totals) -> Self {
        let CountsJson { consumed, written, duplicate, late, dead_lettered } = (&totals.counts).into();
        Self { consumed, written, duplicate, late, dead_lettered, redriven: totals.redriven }
    }
}

impl TryFrom<TotalsJson> for Totals {
    type Error = String;
    fn try_from(json: TotalsJson) -> Result<Self, String> {
        let TotalsJson { consumed, written, duplicate, late, dead_lettered, redriven } = json;
        let counts = CountsJson { consumed, written, duplicate, late, dead_lettered }.try_into()?;
        Ok(Totals { counts, redriven })
    }
}

/// The four JSON values of which a lane is made, in a summary as in a property.
pub struct LaneJson {
    pub offsets: ByTopic<Offset>,
    pub event_time: EventTimeJson,
    pub totals: TotalsJson,
    pub source: SourceJson,
}

impl From<&Lane> for LaneJson {
    fn from(lane: &Lane) -> Self {
        Self {
            offsets: by_topic(lane.partitions.iter().map(|(tp, p)| (tp, p.next_offset))),
            event_time: EventTimeJson {
                times: by_topic(lane.partitions.iter().map(|(tp, p)| (tp, p.max_event_time))),
                idle: idle_partitions(lane),
            },
            totals: (&lane.totals).into(),
            source: source_json(lane),
        }
    }
}

impl TryFrom<LaneJson> for Lane {
    type Error = String;
    fn try_from(json: LaneJson) -> Result<Self, String> {
        let LaneJson { offsets, event_time, totals, source } = json;
        let times = partitions(event_time.times)?;
        let idle: BTreeSet<_> = event_time
            .idle
            .iter()
            .flat_map(|(topic, ps)| ps.iter().map(|p| TopicPartition::new(topic.as_str(), *p)))
            .collect();
        let epochs = source.topics.iter().map(|(topic, t)| (topic.clone(), t.leader_epochs.clone()));
        let epochs = partitions(epochs.collect())?;
        let identity = identity(source)?;
        let mut lane = Lane { totals: totals.try_into()?, source: identity, ..Lane::default() };
        for (tp, next_offset) in partitions(offsets)? {
            if next_offset < 0 {
                return Err(format!("the next offset of {tp} is {next_offset}"));
            }
            let max_event_time = *times.get(&tp).ok_or_else(|| format!("event-time lacks {tp}"))?;
            let (idle, leader_epoch) = (idle.contains(&tp), epochs.get(&tp).copied());
            lane.partitions.insert(tp, Progress { next_offset, max_event_time, idle, leader_epoch });
        }
        match times.keys().chain(&idle).chain(epochs.keys()).find(|tp| !lane.partitions.contains_key(tp)) {
            Some(stray) => Err(format!("offsets lack {stray}")),
            None => Ok(lane),
        }
    }
}

pub fn by_topic<'a, V>(entries: impl Iterator<Item = (&'a TopicPartition, V)>) -> ByTopic<V> {
    let mut map: ByTopic<V> = BTreeMap::new();
    for (tp, value) in entries {
        map.entry(tp.topic.to_string()).or_default().insert(tp.partition, value);
    }
    map
}

pub fn partitions<V>(map: ByTopic<V>) -> Result<BTreeMap<TopicPartition, V>, String> {
    let mut flat = BTreeMap::new();
    for (topic, values) in map {
        let topic = Topic::from(topic);
        for (partition, value) in values {
            if partition < 0 {
                return Err(format!("{topic} has a partition {partition}"));
            }
            flat.insert(TopicPartition { topic: topic.clone(), partition }, value);
        }
    }
    Ok(flat)
}

fn idle_partitions(lane: &Lane) -> BTreeMap<String, BTreeSet<i32>> {
    let mut idle: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for (tp, _) in lane.partitions.iter().filter(|(_, p)| p.idle) {
        idle.entry(tp.topic.to_string()).or_default().insert(tp.partition);
    }
    idle
}

fn source_json(lane: &Lane) -> SourceJson {
    let mut topics: BTreeMap<String, TopicJson> = BTreeMap::new();
    for (topic, id) in &lane.source.topics {
        topics.entry(topic.to_string()).or_default().id = Some(id.to_string());
    }
    for (tp, progress) in &lane.partitions {
        if let Some(epoch) = progress.leader_epoch {
            topics.entry(tp.topic.to_string()).or_default().leader_epochs.insert(tp.partition, epoch);
        }
    }
    SourceJson { cluster_id: lane.source.cluster_id.clone(), topics }
}

fn identity(source: SourceJson) -> Result<SourceIdentity, String> {
    let mut topics = BTreeMap::new();
    for (topic, json) in source.topics {
        if let Some(id) = json.id {
            topics.insert(Topic::from(topic), id.parse::<TopicId>().map_err(|e| e.to_string())?);
        }
    }
    Ok(SourceIdentity { cluster_id: source.cluster_id, topics })
}

/// `{"topic":{"0":[900,1001]}}`
pub fn ranges_json(ranges: &BTreeMap<TopicPartition, OffsetRange>) -> ByTopic<(Offset, Offset)> {
    by_topic(ranges.iter().map(|(tp, r)| (tp, (r.start, r.end))))
}

pub fn ranges_from(json: ByTopic<(Offset, Offset)>) -> Result<BTreeMap<TopicPartition, OffsetRange>, String> {
    let checked = partitions(json)?.into_iter().map(|(tp, (start, end))| match 0 <= start && start <= end {
        true => Ok((tp, OffsetRange { start, end })),
        false => Err(format!("the range of {tp} is [{start},{end}]")),
    });
    checked.collect()
}

/// `{"topic":{"0":[1001,0]}}`, the first null where the partition was opened.
pub fn reset_json(reset: &BTreeMap<TopicPartition, ResetRange>) -> ByTopic<(Option<Offset>, Offset)> {
    by_topic(reset.iter().map(|(tp, r)| (tp, (r.from, r.to))))
}

pub fn reset_from(json: ByTopic<(Option<Offset>, Offset)>) -> Result<BTreeMap<TopicPartition, ResetRange>, String> {
    let checked = partitions(json)?.into_iter().map(|(tp, (from, to))| match to >= 0 && from.is_none_or(|f| f >= 0) {
        true => Ok((tp, ResetRange { from, to })),
        false => Err(format!("the reset of {tp} is to {to}")),
    });
    checked.collect()
}
