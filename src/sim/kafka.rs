//! The brokers: topics with their logs, transactions, retention, and what the group coordinator keeps of offsets.

use std::collections::BTreeMap;

use crate::ports::{Frame, GroupOffset, RecordChunk};
use crate::sim::history::{Entry, LogId, PartitionLog, Record, Serial};
use crate::sim::workload::{BEGIN_MS, Production, Transaction, value_of};
use crate::types::*;

#[derive(Clone, Debug)]
pub struct TopicState {
    pub id: TopicId,
    pub partitions: i32,
}

#[derive(Default)]
pub struct Kafka {
    pub topics: BTreeMap<Topic, TopicState>,
    pub logs: BTreeMap<LogId, PartitionLog>,
    /// Broker timestamps, for frames: milliseconds since 1970 by serial.
    timestamps: BTreeMap<Serial, i64>,
    /// First offset of each transaction that isn't ended, and the moment at which it is aborted.
    open: BTreeMap<LogId, Vec<(Offset, Offset, u64)>>,
    pub group_offsets: BTreeMap<String, BTreeMap<TopicPartition, GroupOffset>>,
    /// Another one answers under the same address once this has changed.
    pub cluster: u8,
    next_topic: u8,
    next_serial: u64,
}

/// What a fetch found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fetched {
    /// Offsets of records that are delivered, and where the position stands behind them.
    Records(Vec<Offset>, Offset),
    /// Nothing stable from here on.
    End(Offset),
    OutOfRange,
}

impl Kafka {
    pub fn create(&mut self, topic: &Topic, partitions: i32, log_start: Offset) {
        self.next_topic += 1;
        let id = TopicId([self.next_topic; 16]);
        self.topics.insert(topic.clone(), TopicState { id, partitions });
        for partition in 0..partitions {
            let entries = vec![Entry::Hole; log_start as usize];
            let log = PartitionLog { start: log_start, stable: log_start, entries, truncated: BTreeMap::new() };
            let id = self.log_id(&TopicPartition::new(topic.clone(), partition)).expect("just created");
            self.logs.insert(id, log);
        }
    }

    pub fn add_partition(&mut self, topic: &Topic) {
        let Some(state) = self.topics.get_mut(topic) else { return };
        state.partitions += 1;
        let added = TopicPartition::new(topic.clone(), state.partitions - 1);
        let id = self.log_id(&added).expect("the topic is there");
        self.logs.insert(id, PartitionLog::default());
    }

    pub fn recreate(&mut self, topic: &Topic) {
        let Some(state) = self.topics.get(topic) else { return };
        let partitions = state.partitions;
        self.create(topic, partitions, 0);
    }

    pub fn cluster_id(&self) -> String {
        format!("cluster-{}", self.cluster)
    }

    /// Another cluster answers under the address, with topics of the same names.
    pub fn replace_cluster(&mut self) {
        self.cluster += 1;
        let topics: Vec<Topic> = self.topics.keys().cloned().collect();
        topics.iter().for_each(|topic| self.recreate(topic));
    }

    pub fn log_id(&self, at: &TopicPartition) -> Option<LogId> {
        let state = self.topics.get(&at.topic).filter(|t| at.partition < t.partitions)?;
        Some(LogId { topic: at.topic.clone(), topic_id: state.id.to_string(), partition: at.partition })
    }

    pub fn log(&self, at: &TopicPartition) -> Option<&PartitionLog> {
        self.logs.get(&self.log_id(at)?)
    }

    pub fn partitions(&self) -> impl Iterator<Item = TopicPartition> + '_ {
        self.topics.iter().flat_map(|(t, state)| (0..state.partitions).map(|p| TopicPartition::new(t.clone(), p)))
    }

    // ---- producers

    pub fn produce(&mut self, topic: &Topic, production: &Production, now_ms: u64) {
        let at = TopicPartition::new(topic.clone(), production.partition);
        let Some(id) = self.log_id(&at) else { return };
        let log = self.logs.get_mut(&id).expect("a topic has its logs");
        let first = log.entries.len() as Offset;
        for kind in &production.records {
            let entry = match production.transaction {
                Transaction::Aborted | Transaction::Open { .. } => Entry::Aborted,
                Transaction::None | Transaction::Committed => {
                    self.next_serial += 1;
                    let serial = Serial(self.next_serial);
                    self.timestamps.insert(serial, BEGIN_MS + now_ms as i64);
                    Entry::Record(Record { serial, kind: kind.clone() })
                }
            };
            log.truncated.remove(&(log.entries.len() as Offset));
            log.entries.push(entry);
        }
        match production.transaction {
            Transaction::None => {}
            Transaction::Committed | Transaction::Aborted => log.entries.push(Entry::Control),
            Transaction::Open { ms } => {
                let end = log.entries.len() as Offset;
                self.open.entry(id.clone()).or_default().push((first, end, now_ms + ms));
            }
        }
        self.settle(&id);
    }

    /// Ends transactions whose time is up; all of them with `all`.
    pub fn end_transactions(&mut self, now_ms: u64, all: bool) {
        let ids: Vec<LogId> = self.open.keys().cloned().collect();
        for id in ids {
            let open = self.open.get_mut(&id).expect("just listed");
            let before = open.len();
            open.retain(|(.., until)| !all && *until > now_ms);
            let ended = before - open.len();
            let log = self.logs.get_mut(&id).expect("a transaction has its log");
            log.entries.extend(std::iter::repeat_n(Entry::Control, ended));
            self.settle(&id);
        }
        self.open.retain(|_, open| !open.is_empty());
    }

    fn settle(&mut self, id: &LogId) {
        let first_open = self.open.get(id).and_then(|open| open.iter().map(|(first, ..)| *first).min());
        let log = self.logs.get_mut(id).expect("a log that was just written");
        log.stable = first_open.unwrap_or(log.entries.len() as Offset).max(log.start);
    }

    pub fn retain(&mut self, at: &TopicPartition, keep: u64) {
        let Some(id) = self.log_id(at) else { return };
        let log = self.logs.get_mut(&id).expect("a topic has its logs");
        log.start = log.start.max(log.stable - keep as Offset);
        // a truncation is never hidden by a later retention
    }

    /// Takes the newest records away. False where it would leave nothing to take.
    pub fn truncate(&mut self, at: &TopicPartition, records: u64) -> bool {
        let Some(id) = self.log_id(at).filter(|id| !self.open.contains_key(id)) else { return false };
        let log = self.logs.get_mut(&id).expect("a topic has its logs");
        let end = log.entries.len() as Offset;
        let keep = (end - records as Offset).max(log.start);
        for offset in keep..end {
            log.truncated.insert(offset, log.entries[offset as usize].clone());
        }
        log.entries.truncate(keep as usize);
        self.settle(&id);
        keep < end
    }

    // ---- consumers

    /// Up to `count` records from `from`. The position passes what isn't delivered; an end is seen only on its own.
    pub fn fetch(&self, at: &TopicPartition, from: Offset, count: u64) -> Fetched {
        let Some(log) = self.log(at) else { return Fetched::End(from) };
        if from < log.start || from > log.entries.len() as Offset {
            return Fetched::OutOfRange;
        }
        let mut offsets = Vec::new();
        let mut position = from;
        while position < log.stable && offsets.len() < count as usize {
            if matches!(log.entries[position as usize], Entry::Record(_)) {
                offsets.push(position);
            }
            position += 1;
        }
        if offsets.is_empty() { Fetched::End(position) } else { Fetched::Records(offsets, position) }
    }

    /// The records at these offsets as the client hands them over; those that are gone meanwhile are left out.
    pub fn chunk(&self, at: &TopicPartition, offsets: &[Offset]) -> RecordChunk {
        let mut chunk = RecordChunk::default();
        let Some(log) = self.log(at) else { return chunk };
        for offset in offsets {
            let Some(Entry::Record(record)) = log.at(*offset) else { continue };
            let value = value_of(record).map(|bytes| {
                let from = chunk.data.len() as u32;
                chunk.data.extend(bytes);
                (from, chunk.data.len() as u32)
            });
            let timestamp_ms = self.timestamps.get(&record.serial).copied();
            chunk.frames.push(Frame { offset: *offset, timestamp_ms, leader_epoch: Some(0), key: None, value });
        }
        chunk
    }

    pub fn serial_at(&self, at: &TopicPartition, offset: Offset) -> Option<Serial> {
        match self.log(at)?.at(offset)? {
            Entry::Record(record) => Some(record.serial),
            Entry::Control | Entry::Aborted | Entry::Hole => None,
        }
    }
}
