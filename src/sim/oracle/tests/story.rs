//! Builds small histories by hand. A commit is honest in what follows from what it is told (offsets, totals, watermark,
//! properties); a test states ranges, rows, counts and maxima, and bends any key that it wants wrong.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::core::event_time::LatePolicy;
use crate::sim::history::*;
use crate::sim::oracle::{Oracle, Violation};
use crate::types::*;

pub const DELAY: Micros = 5;

type Partition = (&'static str, i32);

#[derive(Clone, Default)]
pub struct Told {
    offsets: BTreeMap<Partition, Offset>,
    times: BTreeMap<Partition, Option<Micros>>,
    idle: BTreeSet<Partition>,
    totals: [u64; 4],
    pub ids: BTreeMap<&'static str, String>,
    watermark: Option<Micros>,
}

pub struct Story {
    pub history: History,
    pub oracle: Oracle,
    told: BTreeMap<SnapshotId, BTreeMap<&'static str, Told>>,
    pub table: u128,
    serial: u64,
    next: i64,
}

/// Topic `t` has id `T`, and so on.
pub fn id_of(topic: &str) -> String {
    topic.to_uppercase()
}

impl Story {
    pub fn new(late: LatePolicy) -> Self {
        let history = History {
            rules: Rules { late, watermark_delay: DELAY },
            logs: BTreeMap::new(),
            files: BTreeMap::new(),
            landed: BTreeMap::new(),
            heads: Vec::new(),
            letters: BTreeSet::new(),
            properties: BTreeMap::new(),
            expired: BTreeSet::new(),
            spoilt: BTreeSet::new(),
        };
        Self { history, oracle: Oracle::new(), told: BTreeMap::new(), table: 1, serial: 0, next: 100 }
    }

    pub fn log(&mut self, topic: &str, id: &str, partition: i32) -> &mut PartitionLog {
        let id = LogId { topic: topic.into(), topic_id: id.into(), partition };
        self.history.logs.entry(id).or_default()
    }

    fn append(&mut self, (topic, partition): Partition, id: &str, entry: Entry) {
        let log = self.log(topic, id, partition);
        log.entries.push(entry);
        log.stable += 1;
    }

    fn record(&mut self, at: Partition, id: &str, kind: RecordKind) -> Serial {
        self.serial += 1;
        let serial = Serial(self.serial);
        self.append(at, id, Entry::Record(Record { serial, kind }));
        serial
    }

    pub fn trade_in(&mut self, at: Partition, topic_id: &str, id: &str, time: Micros) -> Serial {
        self.record(at, topic_id, RecordKind::Trade { id: id.into(), time })
    }

    pub fn trade(&mut self, at: Partition, id: &str, time: Micros) -> Serial {
        self.trade_in(at, &id_of(at.0), id, time)
    }

    pub fn malformed(&mut self, at: Partition) -> Serial {
        self.record(at, &id_of(at.0), RecordKind::Malformed)
    }

    pub fn silent(&mut self, at: Partition, entry: Entry) {
        self.append(at, &id_of(at.0), entry);
    }

    pub fn head(&self) -> Option<SnapshotId> {
        self.history.heads.last().copied().filter(|head| self.history.landed[head].table == self.table)
    }

    fn live(&self) -> BTreeSet<FilePath> {
        self.head().map(|head| BTreeSet::clone(&self.history.landed[&head].live)).unwrap_or_default()
    }

    /// The row that a record makes.
    pub fn row_of(&self, serial: Serial) -> Row {
        let entries = self.history.logs.values().flat_map(|log| &log.entries);
        let mut rows = entries.filter_map(|entry| match entry {
            Entry::Record(Record { serial: s, kind: RecordKind::Trade { id, time } }) if *s == serial => {
                Some(Row { id: id.clone(), time: *time, from: Some(serial) })
            }
            _ => None,
        });
        rows.next().expect("a trade of this serial")
    }

    pub fn commit(&mut self) -> Commit<'_> {
        let lanes = self.head().and_then(|head| self.told.get(&head)).cloned().unwrap_or_default();
        let live = self.live();
        Commit { story: self, own: None, lanes, live, added: Vec::new(), bent: BTreeMap::new(), properties: BTreeMap::new() }
    }

    /// Opens partitions of one lane.
    pub fn open(&mut self, lane: &'static str, partitions: &[(Partition, Offset)]) {
        let resets: Vec<_> = partitions.iter().map(|(at, to)| (*at, None, *to)).collect();
        self.commit().reset(lane, &resets).land().expect("an opening");
    }

    pub fn foreign(&mut self) -> Foreign<'_> {
        let live = self.live();
        Foreign { story: self, live, deleted: BTreeSet::new(), summary: HashMap::new() }
    }

    pub fn roll_back(&mut self, to: SnapshotId) -> Result<(), Violation> {
        self.history.heads.push(to);
        self.oracle.judge(&self.history)
    }

    pub fn finished(&mut self, lane: &str, topics: &[&str]) -> Result<(), Violation> {
        let ids = topics.iter().map(|topic| (Topic::from(*topic), id_of(topic))).collect();
        self.oracle.finished(&self.history, lane, &ids)
    }

    fn store(&mut self, path: &str, rows: Vec<Row>) -> FilePath {
        let path = FilePath::from(path);
        self.history.files.insert(path.clone(), Arc::new(rows));
        path
    }

    fn land(&mut self, live: BTreeSet<FilePath>, added: Vec<FilePath>, summary: HashMap<String, String>, by: By) {
        let (id, parent) = (SnapshotId(self.next), self.head());
        let lanes = parent.and_then(|parent| self.told.get(&parent)).cloned().unwrap_or_default();
        self.next += 1;
        let (summary, live) = (Arc::new(summary), Arc::new(live));
        self.history.landed.insert(id, Landed { table: self.table, id, parent, summary, live, added, by });
        self.told.insert(id, lanes);
        self.history.heads.push(id);
    }
}

pub struct Foreign<'a> {
    story: &'a mut Story,
    live: BTreeSet<FilePath>,
    deleted: BTreeSet<Key>,
    summary: HashMap<String, String>,
}

impl Foreign<'_> {
    pub fn add(mut self, path: &str, rows: Vec<Row>) -> Self {
        self.live.insert(self.story.store(path, rows));
        self
    }

    pub fn remove(mut self, path: &str) -> Self {
        assert!(self.live.remove(path));
        self
    }

    pub fn delete(mut self, id: &str, time: Micros) -> Self {
        self.deleted.insert((EventHour::of(time), id.into()));
        self
    }

    pub fn copy_of(mut self, snapshot: SnapshotId) -> Self {
        self.summary = HashMap::clone(&self.story.history.landed[&snapshot].summary);
        self
    }

    pub fn land(self) -> Result<SnapshotId, Violation> {
        let Self { story, live, deleted, summary } = self;
        story.land(live, Vec::new(), summary, By::Foreign { deleted });
        story.oracle.judge(&story.history)?;
        Ok(story.head().unwrap())
    }
}

pub struct Commit<'a> {
    pub story: &'a mut Story,
    own: Option<(&'static str, Vec<(&'static str, String)>)>,
    pub lanes: BTreeMap<&'static str, Told>,
    live: BTreeSet<FilePath>,
    added: Vec<FilePath>,
    bent: BTreeMap<String, Option<String>>,
    properties: BTreeMap<&'static str, Option<String>>,
}

impl Commit<'_> {
    pub fn reset(mut self, lane: &'static str, resets: &[(Partition, Option<Offset>, Offset)]) -> Self {
        let told = self.lanes.entry(lane).or_default();
        let mut printed: BTreeMap<&str, BTreeMap<String, Value>> = BTreeMap::new();
        for (at, from, to) in resets {
            let back = told.offsets.insert(*at, *to).is_none_or(|stood| *to < stood);
            let time = told.times.entry(*at).or_default();
            *time = if back { None } else { *time };
            told.idle.remove(at);
            told.ids.entry(at.0).or_insert_with(|| id_of(at.0));
            printed.entry(at.0).or_default().insert(at.1.to_string(), json!([from, to]));
        }
        self.own = Some((lane, vec![("reset", json!(printed).to_string())]));
        self
    }

    /// `max`: greatest event time at the end of the range. `counts`: written, duplicate, late, dead-lettered.
    pub fn batch(mut self, lane: &'static str, ranges: &[(Partition, Offset, Offset, Micros)], counts: [u64; 4]) -> Self {
        let told = self.lanes.get_mut(lane).expect("an open lane");
        let mut printed: BTreeMap<&str, BTreeMap<String, Value>> = BTreeMap::new();
        for (at, start, end, max) in ranges {
            told.offsets.insert(*at, *end);
            told.times.insert(*at, Some(*max).filter(|max| *max != 0));
            printed.entry(at.0).or_default().insert(at.1.to_string(), json!([start, end]));
        }
        told.totals = std::array::from_fn(|i| told.totals[i] + counts[i]);
        self.own = Some((lane, vec![("ranges", json!(printed).to_string()), ("counts", tally(counts).to_string())]));
        self
    }

    pub fn idle(mut self, lane: &'static str, partitions: &[Partition]) -> Self {
        self.lanes.get_mut(lane).unwrap().idle = partitions.iter().copied().collect();
        self
    }

    pub fn retire(mut self, lane: &'static str) -> Self {
        self.drop_lane(lane);
        self.bent.insert("sluice.retired".into(), Some(json!([lane]).to_string()));
        self
    }

    pub fn drop_lane(&mut self, lane: &'static str) {
        self.lanes.remove(lane);
    }

    pub fn without(mut self, lane: &'static str) -> Self {
        self.drop_lane(lane);
        self
    }

    pub fn add(mut self, path: &str, records: &[Serial]) -> Self {
        let rows = records.iter().map(|serial| self.story.row_of(*serial)).collect();
        self = self.add_rows(path, rows);
        self
    }

    pub fn add_rows(mut self, path: &str, rows: Vec<Row>) -> Self {
        let path = self.story.store(path, rows);
        self.live.insert(path.clone());
        self.added.push(path);
        self
    }

    pub fn take_away(mut self, path: &str) -> Self {
        assert!(self.live.remove(path));
        self
    }

    /// Another value for a key of the summary, and for the property where it has it too; none: without the key.
    pub fn bend(mut self, key: &str, value: Option<&str>) -> Self {
        self.bent.insert(key.into(), value.map(Into::into));
        self
    }

    pub fn bend_property(mut self, lane: &'static str, value: Option<&str>) -> Self {
        self.properties.insert(lane, value.map(Into::into));
        self
    }

    pub fn land(self) -> Result<SnapshotId, Violation> {
        let Self { story, own, mut lanes, live, added, bent, properties } = self;
        let id = story.next;
        let mut keys = BTreeMap::from([
            ("sluice.snapshot-id".to_string(), id.to_string()),
            ("sluice.commit-id".to_string(), format!("c{id}")),
            ("sluice.format".to_string(), "1".to_string()),
        ]);
        for (name, told) in &mut lanes {
            let awake = told.times.iter().filter(|(at, _)| !told.idle.contains(*at)).filter_map(|(_, time)| *time).min();
            let begun = told.times.values().any(Option::is_some);
            if own.as_ref().is_some_and(|(own, _)| own == name) {
                told.watermark = awake.map(|t| t - DELAY).or(told.watermark.filter(|_| begun));
            }
            keys.extend(told.keys(name));
        }
        if let Some((lane, own)) = &own {
            keys.extend(own.iter().map(|(key, value)| (format!("sluice.{key}.{lane}"), value.clone())));
        }
        for (key, value) in bent {
            match value {
                Some(value) => drop(keys.insert(key, value)),
                None => drop(keys.remove(&key)),
            }
        }
        story.land(live, added, keys.clone().into_iter().collect(), By::Sluice);
        for name in lanes.keys().filter(|name| !properties.contains_key(*name)) {
            story.history.properties.insert(format!("sluice.state.{name}"), property(name, &keys, id));
        }
        for (name, value) in properties {
            story.history.properties.extend(value.map(|value| (format!("sluice.state.{name}"), value)));
        }
        story.told.insert(SnapshotId(id), lanes);
        story.oracle.judge(&story.history)?;
        Ok(SnapshotId(id))
    }
}

/// With spaces, as another printer would: the values count.
fn property(lane: &str, keys: &BTreeMap<String, String>, id: i64) -> String {
    let key = |prefix: &str| keys.get(&format!("sluice.{prefix}.{lane}")).map_or("null", String::as_str);
    format!(
        r#"{{"format": 1, "offsets": {}, "event-time": {}, "totals": {}, "source": {}, "commit-id": "c{id}", "snapshot-id": {id}}}"#,
        key("offsets"),
        key("event-time"),
        key("totals"),
        key("source"),
    )
}

impl Told {
    fn keys(&self, lane: &str) -> Vec<(String, String)> {
        let mut times = by_topic(self.times.iter().map(|(at, time)| (*at, json!(time))));
        let mut idle: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, partition) in &self.idle {
            idle.entry(topic).or_default().push(*partition);
        }
        times.as_object_mut().unwrap().insert("idle".into(), json!(idle));
        let mut totals = tally(self.totals);
        totals.as_object_mut().unwrap().insert("redriven".into(), json!(0));
        let ids = self.ids.iter().map(|(topic, id)| (*topic, json!({"id": id, "leader-epochs": {"0": 3}})));
        let source = json!({"cluster-id": "k", "topics": ids.collect::<BTreeMap<_, _>>()});
        let offsets = by_topic(self.offsets.iter().map(|(at, offset)| (*at, json!(offset))));
        let values = [("offsets", offsets), ("event-time", times), ("totals", totals), ("source", source)];
        let keys = values.into_iter().map(|(key, value)| (format!("sluice.{key}.{lane}"), value.to_string()));
        let time = self.watermark.map(|t| chrono::DateTime::from_timestamp_micros(t).unwrap().to_rfc3339());
        keys.chain(time.map(|time| (format!("sluice.watermark.{lane}"), time))).collect()
    }

    pub fn forget_watermark(&mut self) {
        self.watermark = None;
    }
}

fn tally([written, duplicate, late, dead_lettered]: [u64; 4]) -> Value {
    let consumed = written + duplicate + late + dead_lettered;
    json!({"consumed": consumed, "written": written, "duplicate": duplicate, "late": late, "dead_lettered": dead_lettered})
}

fn by_topic(values: impl Iterator<Item = (Partition, Value)>) -> Value {
    let mut topics: BTreeMap<&str, BTreeMap<String, Value>> = BTreeMap::new();
    for ((topic, partition), value) in values {
        topics.entry(topic).or_default().insert(partition.to_string(), value);
    }
    json!(topics)
}
