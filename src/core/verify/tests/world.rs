//! A table, its history and the Kafka log behind it, made up from a seed by a plain sequential reader: what a faultless
//! service would leave behind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::core::table::*;
use crate::core::verify::log::Kafka;
use crate::core::verify::*;
use crate::types::*;

pub const DELAY: Micros = 300_000_000;
pub const LANE: &str = "sluice.gold-1";
const START: Micros = 1_767_225_600_000_000;

#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub id: String,
    pub time: Micros,
    /// Stands for all the other values.
    pub payload: u64,
    pub date: i32,
    pub hour: i32,
}

#[derive(Clone, Debug)]
pub enum Record {
    Good { id: String, time: Micros, payload: u64 },
    Bad,
}

#[derive(Clone, Debug)]
pub struct File {
    pub facts: FileFacts,
    /// None: the file is gone.
    pub rows: Option<Vec<Row>>,
}

#[derive(Clone)]
pub struct World {
    /// Oldest first.
    pub history: Vec<HistorySnapshot>,
    pub end: HistoryEnd,
    pub properties: BTreeMap<LaneName, Result<LaneProperty, String>>,
    pub tag: Option<SnapshotId>,
    pub files: Vec<File>,
    pub log: BTreeMap<TopicPartition, BTreeMap<Offset, Record>>,
    pub kafka: Kafka,
    lane: Lane,
    other: Option<Lane>,
    gold: BTreeSet<(String, i64)>,
    drops_late: bool,
    rng: SmallRng,
    times: Micros,
}

pub fn print(row: (&str, Micros, u64)) -> RowPrint {
    let (id, time, payload) = row;
    let mut columns = [payload; 15];
    columns[0] = key::fingerprint(id);
    columns[5] = time as u64;
    RowPrint::of_columns(columns)
}

/// A history of `steps` snapshots.
pub fn world(seed: u64, steps: usize) -> World {
    let mut rng = SmallRng::seed_from_u64(seed);
    let drops_late = rng.random_bool(0.5);
    let topics = [("silver.a", 2), ("silver.b", 1)];
    let mut lane = Lane { source: source(), ..Lane::default() };
    lane.source.topics.retain(|t, _| &**t != "late.topic");
    let mut world = World {
        history: vec![],
        end: HistoryEnd::Root,
        properties: BTreeMap::new(),
        tag: None,
        files: vec![],
        log: BTreeMap::new(),
        kafka: Kafka { cluster_id: Some("cluster".into()), ..Kafka::default() },
        lane,
        other: None,
        gold: BTreeSet::new(),
        drops_late,
        rng,
        times: START,
    };
    for (topic, partitions) in topics {
        for partition in 0..partitions {
            let start = if world.rng.random_bool(0.3) { 5000 } else { 0 };
            world.fill(TopicPartition::new(topic, partition), start, 60 + steps * 12);
        }
    }
    if world.rng.random_bool(0.5) {
        world.foreign_append();
    }
    world.open(&["silver.a"]);
    for _ in 0..steps {
        world.step();
    }
    world.seal();
    world
}

fn source() -> SourceIdentity {
    let topics = ["silver.a", "silver.b", "late.topic"].iter().enumerate();
    SourceIdentity {
        cluster_id: Some("cluster".into()),
        topics: topics.map(|(i, t)| (Topic::from(*t), TopicId([i as u8 + 1; 16]))).collect(),
    }
}

impl World {
    /// Puts records into a partition: mostly rising event times, some ids sent again, some late, some broken, holes.
    fn fill(&mut self, tp: TopicPartition, start: Offset, count: usize) {
        let mut offset = start;
        let mut log = BTreeMap::new();
        let mut time = self.times;
        let known: Vec<(String, Micros, u64)> = self
            .log
            .values()
            .flat_map(|l| l.values())
            .filter_map(|r| match r {
                Record::Good { id, time, payload } => Some((id.clone(), *time, *payload)),
                Record::Bad => None,
            })
            .collect();
        let mut sent = known;
        for _ in 0..count {
            offset += if self.rng.random_bool(0.05) { self.rng.random_range(2..5) } else { 1 };
            time += self.rng.random_range(0..120_000_000);
            let record = match self.rng.random_range(0..20) {
                0 => Record::Bad,
                1..=3 if !sent.is_empty() => {
                    let (id, time, payload) = sent[self.rng.random_range(0..sent.len())].clone();
                    let payload = if self.rng.random_bool(0.2) { payload + 1 } else { payload };
                    Record::Good { id, time, payload }
                }
                4 => {
                    let behind = self.rng_range(DELAY, 40 * DELAY);
                    self.good(time - behind)
                }
                _ => self.good(time),
            };
            if let Record::Good { id, time, payload } = &record {
                sent.push((id.clone(), *time, *payload));
            }
            log.insert(offset, record);
        }
        let topic_id = source().topics.get(&tp.topic).copied();
        let state = LogState { start, stable_end: offset + 1, topic_id, compacted: false };
        self.kafka.partitions.insert(tp.clone(), state);
        self.log.insert(tp, log);
    }

    fn rng_range(&mut self, from: i64, to: i64) -> i64 {
        self.rng.random_range(from..to)
    }

    fn good(&mut self, time: Micros) -> Record {
        let id = if self.rng.random_bool(0.9) {
            uuid::Uuid::from_u128(self.rng.random()).to_string()
        } else {
            format!("trade {}", self.rng.random::<u32>())
        };
        Record::Good { id, time, payload: self.rng.random() }
    }

    fn step(&mut self) {
        match self.rng.random_range(0..14) {
            0 => self.snapshot(None, vec![], Counts::default()),
            1 => self.foreign_append(),
            2 => self.foreign_compaction(),
            3 => self.reset(),
            4 if !self.lane.topics().contains("silver.b") => self.open(&["silver.b"]),
            5 if self.other.is_none() => self.second_lane(),
            _ => self.batch(),
        }
    }

    pub fn open(&mut self, topics: &[&str]) {
        let opened = self.kafka.partitions.iter().filter(|(tp, _)| topics.contains(&&*tp.topic));
        let resets: BTreeMap<_, _> =
            opened.map(|(tp, log)| (tp.clone(), ResetRange { from: None, to: log.start })).collect();
        for (tp, reset) in &resets {
            self.lane.partitions.insert(tp.clone(), Progress::opened_at(reset.to));
        }
        self.snapshot(Some(OwnChange::Reset(resets)), vec![], Counts::default());
    }

    fn second_lane(&mut self) {
        self.other = Some(Lane::default());
        self.snapshot(None, vec![], Counts::default());
    }

    /// Back or forth in one partition.
    pub fn reset(&mut self) {
        let tps: Vec<_> = self.lane.partitions.keys().cloned().collect();
        let tp = tps[self.rng.random_range(0..tps.len())].clone();
        let log = self.kafka.partitions[&tp];
        let to = self.rng_range(log.start, log.stable_end);
        let progress = self.lane.partitions.get_mut(&tp).unwrap();
        let from = progress.next_offset;
        progress.next_offset = to;
        progress.idle = false;
        if to < from {
            progress.max_event_time = None;
        }
        let resets = [(tp, ResetRange { from: Some(from), to })].into();
        self.snapshot(Some(OwnChange::Reset(resets)), vec![], Counts::default());
    }

    /// One commit: some records of some partitions, in some order.
    pub fn batch(&mut self) {
        let tps: Vec<_> = self.lane.partitions.keys().cloned().collect();
        let (mut ranges, mut rows, mut counts) = (BTreeMap::new(), vec![], Counts::default());
        for tp in tps {
            let start = self.lane.partitions[&tp].next_offset;
            let end = (start + self.rng.random_range(0..30)).min(self.kafka.partitions[&tp].stable_end);
            if end <= start || self.rng.random_bool(0.2) {
                continue;
            }
            let records: Vec<Record> = self.log[&tp].range(start..end).map(|(_, r)| r.clone()).collect();
            for record in records {
                self.judge(&tp, record, &mut rows, &mut counts);
            }
            let progress = self.lane.partitions.get_mut(&tp).unwrap();
            progress.next_offset = end;
            progress.idle = false;
            ranges.insert(tp, OffsetRange { start, end });
        }
        if self.rng.random_bool(0.1) {
            self.lane.partitions.values_mut().last().unwrap().idle = true;
        }
        self.lane.totals.counts = self.lane.totals.counts + counts;
        self.snapshot(Some(OwnChange::Ranges { ranges, counts }), rows, counts);
    }

    fn judge(&mut self, tp: &TopicPartition, record: Record, rows: &mut Vec<Row>, counts: &mut Counts) {
        let Record::Good { id, time, payload } = record else {
            counts.dead_lettered += 1;
            return;
        };
        let hour = time.div_euclid(3_600_000_000);
        let maximum = self.lane.partitions[tp].max_event_time;
        let late = maximum.is_some_and(|m| time < m - DELAY);
        self.lane.partitions.get_mut(tp).unwrap().max_event_time = maximum.max(Some(time));
        if self.gold.contains(&(id.clone(), hour)) {
            counts.duplicate += 1;
        } else if late && self.drops_late {
            counts.late += 1;
        } else {
            counts.written += 1;
            self.gold.insert((id.clone(), hour));
            rows.push(Row { id, time, payload, date: hour.div_euclid(24) as i32, hour: hour.rem_euclid(24) as i32 });
        }
    }

    fn add_files(&mut self, prefix: &str, rows: Vec<Row>) {
        let mut by_hour: BTreeMap<i64, Vec<Row>> = BTreeMap::new();
        for row in rows {
            by_hour.entry(row.time.div_euclid(3_600_000_000)).or_default().push(row);
        }
        for (hour, rows) in by_hour {
            let path = format!("s3://lake/data/{hour}/{prefix}{:016x}.parquet", self.rng.random::<u64>());
            let facts =
                FileFacts { path: path.into(), hour: Some(EventHour(hour)), rows: rows.len() as u64, deletes: false };
            self.files.push(File { facts, rows: Some(rows) });
        }
    }

    /// The replaced job's rows, with ids that may come in Silver as well.
    fn foreign_append(&mut self) {
        let mut rows = vec![];
        for _ in 0..self.rng.random_range(1..5) {
            let Record::Good { id, time, payload } = self.good(START) else { continue };
            let hour = time.div_euclid(3_600_000_000);
            self.gold.insert((id.clone(), hour));
            rows.push(Row { id, time, payload, date: hour.div_euclid(24) as i32, hour: hour.rem_euclid(24) as i32 });
        }
        let added = rows.len() as u64;
        self.add_files("00001-foreign-", rows);
        self.push(None, Operation::Append, added, 0, BTreeMap::new());
    }

    fn foreign_compaction(&mut self) {
        let Some(file) = self.files.first().map(|f| f.facts.path.clone()) else { return };
        let at = self.files.iter().position(|f| f.facts.path == file).unwrap();
        let rows = self.files.remove(at).rows.unwrap();
        let count = rows.len() as u64;
        self.add_files("00002-compacted-", rows);
        self.push(None, Operation::Replace, count, count, BTreeMap::new());
    }

    fn snapshot(&mut self, own: Option<OwnChange>, rows: Vec<Row>, counts: Counts) {
        let id = self.next_id();
        let added = rows.len() as u64;
        self.add_files("sluice-", rows);
        if own.is_some() {
            self.lane.watermark = self.lane.advanced_watermark(DELAY);
        }
        let consumed = matches!(own, Some(OwnChange::Ranges { .. })).then(|| counts.consumed());
        let stated = Stated { consumed, watermark: self.lane.watermark, redriven: None };
        let mut lanes = BTreeMap::new();
        lanes.insert(LaneName::from(LANE), Ok(LaneEntry { lane: self.lane.clone(), own }));
        if let Some(other) = &mut self.other {
            let own = other.partitions.is_empty().then(|| {
                let tp = TopicPartition::new("elsewhere", 0);
                other.partitions.insert(tp.clone(), Progress::opened_at(0));
                OwnChange::Reset([(tp, ResetRange { from: None, to: 0 })].into())
            });
            lanes.insert("other".into(), Ok(LaneEntry { lane: other.clone(), own }));
        }
        let keys = SluiceKeys { commit_id: CommitId(self.rng.random()), lanes, retired: BTreeSet::new() };
        for (name, entry) in &keys.lanes {
            let lane = Lane { watermark: None, ..entry.as_ref().unwrap().lane.clone() };
            let property = LaneProperty { lane, commit_id: keys.commit_id, snapshot: id };
            self.properties.insert(name.clone(), Ok(property));
        }
        self.tag = Some(id);
        self.push(Some(Arc::new(keys)), Operation::Append, added, 0, [(LaneName::from(LANE), stated)].into());
    }

    fn next_id(&self) -> SnapshotId {
        SnapshotId(self.history.len() as i64 + 100)
    }

    fn push(
        &mut self,
        sluice: Option<Arc<SluiceKeys>>,
        operation: Operation,
        added_rows: u64,
        removed_rows: u64,
        stated: BTreeMap<LaneName, Stated>,
    ) {
        let id = self.next_id();
        let parent = self.history.last().map(|s| s.view.id);
        let view = SnapshotView { id, parent, timestamp_ms: 1_767_000_000_000 + id.0, sluice };
        let unreadable = vec![];
        self.history.push(HistorySnapshot {
            view,
            operation,
            added_rows,
            removed_rows,
            added_deletes: 0,
            stated,
            unreadable,
        });
    }

    /// The idle partition of the other lane's topic, so that its place in Kafka is known.
    fn seal(&mut self) {
        let state = LogState { start: 0, stable_end: 10, topic_id: None, compacted: false };
        self.kafka.partitions.insert(TopicPartition::new("elsewhere", 0), state);
    }

    /// Changes the keys of one snapshot.
    pub fn edit(&mut self, at: usize, change: impl FnOnce(&mut SluiceKeys)) {
        let keys = self.history[at].view.sluice.as_mut().expect("a Sluice snapshot");
        change(Arc::make_mut(keys));
    }

    pub fn edit_lane(&mut self, at: usize, change: impl FnOnce(&mut LaneEntry)) {
        self.edit(at, |keys| change(keys.lanes.get_mut(LANE).unwrap().as_mut().unwrap()));
    }

    /// Adds to the totals of the lane from snapshot `at` on, wherever they stand.
    pub fn shift_totals(&mut self, at: usize, change: impl Fn(&mut Counts)) {
        for at in at..self.history.len() {
            if self.history[at].view.sluice.is_some() {
                self.edit_lane(at, |entry| change(&mut entry.lane.totals.counts));
            }
        }
        if let Some(Ok(property)) = self.properties.get_mut(LANE) {
            change(&mut property.lane.totals.counts);
        }
    }

    /// Snapshots that are batches of the lane, with their counts.
    pub fn batches(&self) -> Vec<(usize, Counts)> {
        let own = |s: &HistorySnapshot| match &s.view.sluice.as_ref()?.lanes.get(LANE)?.as_ref().ok()?.own {
            Some(OwnChange::Ranges { counts, ranges }) if !ranges.is_empty() => Some(*counts),
            _ => None,
        };
        self.history.iter().enumerate().filter_map(|(i, s)| own(s).map(|c| (i, c))).collect()
    }
}
