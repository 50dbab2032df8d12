//! The IO surface on one page. Production parts, test doubles and the simulator stand behind these; `core` decides,
//! `pipeline` carries its decisions out through them. Every method may be called again after any failure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::core::plan::{RollBackPlan, SnapshotPlan};
use crate::core::table::*;
use crate::error::Stop;
use crate::types::*;

/// A dependency did not answer, or answered with a passing fault: wait and try again.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{dependency}: {reason}")]
pub struct Down {
    /// `kafka`, `schema registry`, `catalog`, `object store`, `dead-letter topic`
    pub dependency: &'static str,
    pub reason: String,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PortError {
    #[error(transparent)]
    Down(#[from] Down),
    /// Waiting won't help: an operator must act.
    #[error(transparent)]
    Stop(#[from] Stop),
}

// ---------------------------------------------------------------------------------------------------------------- Kafka

/// Records of one partition in offset order, payloads in one buffer. Offsets may have holes.
#[derive(Clone, Debug, Default)]
pub struct RecordChunk {
    pub frames: Vec<Frame>,
    pub data: Vec<u8>,
    /// Headers of those records that have any: (index into `frames`, headers in order).
    pub headers: Vec<(usize, Vec<Header>)>,
}

pub type Header = (String, Option<Vec<u8>>);

#[derive(Clone, Copy, Debug)]
pub struct Frame {
    pub offset: Offset,
    /// The broker's record timestamp; none where the record carries none.
    pub timestamp_ms: Option<i64>,
    pub leader_epoch: Option<i32>,
    /// Byte range in `data`; none for a null key or value.
    pub key: Option<(u32, u32)>,
    pub value: Option<(u32, u32)>,
}

impl RecordChunk {
    pub fn key(&self, i: usize) -> Option<&[u8]> {
        self.frames[i].key.map(|(from, to)| &self.data[from as usize..to as usize])
    }
    pub fn value(&self, i: usize) -> Option<&[u8]> {
        self.frames[i].value.map(|(from, to)| &self.data[from as usize..to as usize])
    }
    pub fn headers(&self, i: usize) -> &[Header] {
        match self.headers.binary_search_by_key(&i, |(at, _)| *at) {
            Ok(at) => &self.headers[at].1,
            Err(_) => &[],
        }
    }
}

/// What the consumer delivers, in order per partition. Everything of a partition carries the epoch it was read under.
#[derive(Debug)]
pub enum SourceEvent {
    Records {
        partition: TopicPartition,
        epoch: Epoch,
        chunk: RecordChunk,
    },
    /// The log end as it was behind every record delivered before; `offset` is the event's own.
    EndOfPartition {
        partition: TopicPartition,
        epoch: Epoch,
        offset: Offset,
    },
    /// The fetch position is outside the log.
    OutOfRange {
        partition: TopicPartition,
        epoch: Epoch,
        reason: String,
    },
    /// The group gave us these (incrementally under a cooperative assignor): the consumer waits for `Source::assign`.
    Assigned {
        partitions: Vec<TopicPartition>,
    },
    /// The group takes these back: the consumer waits for `Source::unassign`. `lost`: they are already somebody else's.
    Revoked {
        partitions: Vec<TopicPartition>,
        lost: bool,
    },
    /// Brokers don't answer, or answer again.
    Down(Down),
    Up,
    /// The consumer can't go on: credentials refused before the first success, fenced static member, fatal client error.
    Fatal(Stop),
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartAt {
    Offset(Offset),
    /// No position is known yet: assigned at the log end and paused, so that the group isn't held up. Its events carry an
    /// epoch that counts as closed.
    Parked,
}

/// The consumer of the group. Commands are carried out by its poll thread in the order given.
pub trait Source: Send + Sync {
    /// Answers `Assigned`.
    fn assign(&self, partitions: Vec<(TopicPartition, Epoch, StartAt)>);
    /// Answers `Revoked`.
    fn unassign(&self, partitions: Vec<TopicPartition>);
    /// Starts owned partitions at other offsets under a new epoch. Held back by the poll thread while a rebalance event
    /// waits for its answer; ignored for partitions that are no longer owned.
    fn reposition(&self, partitions: Vec<(TopicPartition, Epoch, StartAt)>);
    fn pause(&self, partitions: Vec<TopicPartition>);
    fn resume(&self, partitions: Vec<TopicPartition>);
    /// Commits group offsets (`next`, not `last`) with `metadata`; best effort, failures are logged.
    fn mirror_group_offsets(&self, offsets: BTreeMap<TopicPartition, Offset>, metadata: String);
    /// Leaves the group; ends with `SourceEvent::Closed`.
    fn close(&self);
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupOffset {
    pub offset: Offset,
    pub metadata: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogEdge {
    Earliest,
    /// Last stable offset under read_committed.
    LastStable,
    HighWatermark,
    /// First record whose broker timestamp (ms) is not before this; the last stable offset where there is none.
    Timestamp(i64),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogOffset {
    pub offset: Offset,
    pub leader_epoch: Option<i32>,
    pub timestamp_ms: Option<i64>,
}

/// What Kafka answers about itself. All calls are bounded in time.
#[async_trait]
pub trait SourceAdmin: Send + Sync {
    /// Cluster id, and ids of these topics. A topic that doesn't exist is absent from the map.
    async fn identity(&self, topics: &[Topic]) -> Result<SourceIdentity, PortError>;
    /// Partition ids of each topic; a topic that doesn't exist is absent.
    async fn partitions(&self, topics: &[Topic]) -> Result<BTreeMap<Topic, Vec<i32>>, PortError>;
    async fn log_offsets(&self, at: &[(TopicPartition, LogEdge)]) -> Result<BTreeMap<TopicPartition, LogOffset>, PortError>;
    /// Those topics whose records may have been removed from the middle of the log.
    async fn compacted(&self, topics: &[Topic]) -> Result<BTreeSet<Topic>, PortError>;
    /// Committed group offsets, with metadata; partitions without one are absent.
    async fn group_offsets(&self, partitions: &[TopicPartition])
    -> Result<BTreeMap<TopicPartition, GroupOffset>, PortError>;
    /// Empty for a group that doesn't exist.
    async fn group_members(&self) -> Result<Vec<GroupMember>, PortError>;
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupMember {
    pub member_id: String,
    pub client_id: String,
    pub host: String,
    pub partitions: Vec<TopicPartition>,
}

/// Where a dead letter fell out: `__connect.errors.stage`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Stage {
    Decode,
    Validate,
    Late,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    pub partition: TopicPartition,
    pub offset: Offset,
    pub timestamp_ms: Option<i64>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<Header>,
    pub stage: Stage,
    /// A stable short name: the label `reason` of the metric and the header `sluice.reason`.
    pub reason: &'static str,
    /// What exactly was wrong, with values of lengths and names but no payload.
    pub message: String,
    pub schema_id: Option<u32>,
}

#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Returns when every letter is acknowledged (acks=all, idempotent).
    async fn send(&self, letters: &[Letter]) -> Result<(), PortError>;
}

// ------------------------------------------------------------------------------------------------------ Schema registry

#[derive(Clone, Debug)]
pub enum SchemaAnswer {
    /// The writer's schema as JSON, and those that it references, dependencies first.
    Known { schema: Arc<str>, references: Vec<Arc<str>> },
    /// The registry knows the id, and the schema is of another type: `PROTOBUF`, `JSON`.
    NotAvro { schema_type: Arc<str> },
    /// The registry answers and doesn't know the id.
    Unknown,
}

#[async_trait]
pub trait Schemas: Send + Sync {
    async fn schema(&self, id: u32) -> Result<SchemaAnswer, PortError>;
}

// -------------------------------------------------------------------------------------------------------------- Iceberg

/// A file that is written and durable, not yet in the table.
#[derive(Clone, Debug)]
pub struct WrittenFile {
    pub path: FilePath,
    pub hour: EventHour,
    pub rows: u64,
    pub bytes: u64,
    /// What the manifest will say of it.
    pub data_file: iceberg::spec::DataFile,
}

#[derive(Clone, Debug)]
pub enum Loaded {
    Table(TableView),
    /// The catalog answers and there is no such table.
    Missing,
}

/// How one attempt to commit ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    Committed(SnapshotId),
    /// Nothing left this process.
    NotSent(String),
    /// The table is no longer the base, says the catalog. It may be our own success all the same.
    Conflict(String),
    /// Everything else: it may have landed, or may still land.
    Unknown(String),
    /// A 4xx other than 408, 409 and 429; `status` is the HTTP status, or 0 where there is none.
    Rejected {
        status: u16,
        text: String,
    },
}

#[async_trait]
pub trait Table: Send + Sync {
    /// Fresh from the catalog, never from a cache. Checks files that other engines wrote when they are first seen.
    async fn load(&self) -> Result<Loaded, PortError>;
    /// Makes the table when it is missing; no error when another made it first.
    async fn create(&self) -> Result<(), PortError>;
    /// Builds the snapshot on `base` (manifest, manifest list) and posts it, requiring uuid, head, tag, schema and spec as
    /// they are there.
    async fn commit(&self, base: &TableView, plan: &SnapshotPlan, files: &[WrittenFile]) -> Outcome;
    /// Moves main back, requiring uuid, head and tag as they are in `base`; committed is then the target. After an unknown
    /// answer the head tells: no commit id is left behind.
    async fn roll_back(&self, base: &TableView, plan: &RollBackPlan) -> Outcome;
}

/// An id to look up in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProbeId {
    pub id: MessageId,
    /// The message_id itself, for the bloom filter; where it is unknown, the column must be read.
    pub text: Option<Arc<str>>,
}

/// Ids that were looked up in one file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Probed {
    /// Those that the file holds, in the order asked.
    pub hits: Vec<MessageId>,
    /// How many of those asked were looked for in the message_id column; the footer and the bloom filters said no to the
    /// others.
    pub read: usize,
}

#[async_trait]
pub trait DataFiles: Send + Sync {
    /// Writes the rows of one hour, durable when it returns: the 15 columns of Silver in the table's order; the three
    /// derived ones are added. `name` gives the files of the hour their paths, and no write before had it.
    /// `gold_ingestion_timestamp` is the batch's own.
    async fn write(
        &self,
        hour: EventHour,
        name: &str,
        gold_ingestion_timestamp: Micros,
        rows: Vec<RecordBatch>,
    ) -> Result<Vec<WrittenFile>, PortError>;
    /// Which of `ids` are in the file in rows of `hour`? A failure is never a "no".
    async fn probe(&self, file: &LiveFile, hour: EventHour, ids: &[ProbeId]) -> Result<Probed, PortError>;
    /// Every message_id of the file with its event hour; rows without id or timestamp left out.
    async fn read_ids(&self, file: &LiveFile) -> Result<Vec<(MessageId, EventHour)>, PortError>;
    async fn exists(&self, path: &str) -> Result<bool, PortError>;
    /// For the bug that does what no writer may.
    #[cfg(feature = "planted-bugs")]
    async fn delete(&self, path: &str) -> Result<(), PortError>;
}

/// Every message_id of a file with its event hour.
pub type FileIds = Vec<(MessageId, EventHour)>;

/// Whether a file's ids are kept, by its path.
pub type Keep = Box<dyn Fn(&str) -> bool + Send>;

/// The read-through cache of ids per data file. It can be empty or gone at any time: that costs time only, so nothing
/// here fails.
#[async_trait]
pub trait DedupStore: Send + Sync {
    /// Told at every load: what is kept of another table never answers for this one.
    async fn use_table(&self, uuid: u128);
    async fn get(&self, path: &FilePath) -> Option<FileIds>;
    async fn put(&self, path: &FilePath, ids: FileIds);
    /// Forgets every file that `keep` refuses.
    async fn sweep(&self, keep: Keep);
}

// ------------------------------------------------------------------------------------------------- From start to start

/// What an instance knows of the table from an earlier start: it can stop a start (a table or lane that is gone), never
/// give a position.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Known {
    /// `namespace.table` as configured.
    pub table: String,
    pub table_uuid: uuid::Uuid,
    /// `group_id`: the lane.
    pub group: String,
    /// Topics that the lane was seen to know.
    pub topics: BTreeSet<String>,
    /// Newest commit of the lane that this instance saw; none after an opening that it only read.
    pub last_commit: Option<uuid::Uuid>,
}

/// What is kept for the next start. It can be lost at any time, and then nothing is said: nothing here fails.
#[async_trait]
pub trait Notes: Send + Sync {
    async fn known(&self) -> Option<Known>;
    /// Replaces what is known.
    async fn remember(&self, known: Known);
    /// There is progress again: the stop that was kept says nothing any more.
    async fn clear_stop(&self);
}

// -------------------------------------------------------------------------------------------------------- Time and chance

pub trait Clock: Send + Sync {
    /// Milliseconds since some start, never going back: for durations.
    fn monotonic_ms(&self) -> u64;
    /// Milliseconds since 1970, as the host believes: for `gold_ingestion_timestamp`, snapshots and logs only.
    fn wall_ms(&self) -> i64;
}

pub trait Random: Send + Sync {
    fn u64(&self) -> u64;
    fn u128(&self) -> u128;
}
