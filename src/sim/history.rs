//! What happened, as the world itself knows it: the logs with the truth about every record, and every snapshot that ever
//! was the head of a table. The oracle judges from this and from nothing that Sluice said of itself, except the keys of its
//! summaries, which are what is judged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::core::event_time::LatePolicy;
use crate::types::*;

/// Names one record for ever, whatever happens to its offset.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Serial(pub u64);

/// What lies at one offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entry {
    Record(Record),
    /// A marker of a transaction: takes an offset, is never delivered.
    Control,
    /// A record of an aborted transaction: never delivered.
    Aborted,
    /// Compacted away, or never there.
    Hole,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub serial: Serial,
    pub kind: RecordKind,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RecordKind {
    /// A row of Gold, unless it is a duplicate or late.
    Trade { id: Arc<str>, time: Micros },
    /// Must become a dead letter.
    Malformed,
}

/// A topic that is deleted and created again is another one: partitions are told apart by its id.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LogId {
    pub topic: Topic,
    /// As `sluice.source.G` prints it.
    pub topic_id: String,
    pub partition: i32,
}

#[derive(Clone, Debug, Default)]
pub struct PartitionLog {
    /// First offset that can still be read; retention moves it.
    pub start: Offset,
    /// Every offset ever, from 0, also those that retention took; offsets below the first log start are holes.
    pub entries: Vec<Entry>,
    /// End of what is stable: below the first open transaction.
    pub stable: Offset,
    /// Entries that an unclean leader election took away and that nothing has replaced.
    pub truncated: BTreeMap<Offset, Entry>,
}

impl PartitionLog {
    /// What is, or was, at an offset.
    pub fn at(&self, offset: Offset) -> Option<&Entry> {
        self.entries.get(offset as usize).or_else(|| self.truncated.get(&offset))
    }
}

/// One row of a data file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub id: Arc<str>,
    pub time: Micros,
    /// The record it was made of; none for a row that another engine wrote.
    pub from: Option<Serial>,
}

impl Row {
    pub fn key(&self) -> Key {
        (EventHour::of(self.time), self.id.clone())
    }
}

/// What must be in Gold once.
pub type Key = (EventHour, Arc<str>);

/// A snapshot that was the head of main, from the moment it landed.
#[derive(Clone, Debug)]
pub struct Landed {
    pub table: u128,
    pub id: SnapshotId,
    /// Never forgotten here, whatever expires in the table.
    pub parent: Option<SnapshotId>,
    pub summary: Arc<HashMap<String, String>>,
    /// Data files of the snapshot.
    pub live: Arc<BTreeSet<FilePath>>,
    /// Files that it added.
    pub added: Vec<FilePath>,
    pub by: By,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum By {
    Sluice,
    /// Another engine's append, compaction, delete or copy; rows that it took out of the table.
    Foreign {
        deleted: BTreeSet<Key>,
    },
}

/// The rules under which the instances of a history run: all have the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    pub late: LatePolicy,
    pub watermark_delay: Micros,
}

#[derive(Clone, Debug)]
pub struct History {
    pub rules: Rules,
    pub logs: BTreeMap<LogId, PartitionLog>,
    pub files: BTreeMap<FilePath, Arc<Vec<Row>>>,
    /// By snapshot id; ids are unique over all tables.
    pub landed: BTreeMap<SnapshotId, Landed>,
    /// Heads in the order in which they became head, roll-backs among them.
    pub heads: Vec<SnapshotId>,
    /// Records whose dead letter is acknowledged.
    pub letters: BTreeSet<Serial>,
    /// Properties of the table as it is now.
    pub properties: BTreeMap<String, String>,
    /// Snapshots of `landed` that the table no longer has: somebody's expiry took them.
    pub expired: BTreeSet<SnapshotId>,
    /// Lanes whose property somebody ever overwrote so that it couldn't be read: commits don't carry such a lane, and an
    /// operator may open it anew. None leaves this set.
    pub spoilt: BTreeSet<String>,
}
