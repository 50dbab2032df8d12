//! What goes into an [`Instance`](super::Instance) and what comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::core::batch::{LateRecord, Lookup};
use crate::core::breaker::Flood;
use crate::core::plan::SnapshotPlan;
use crate::core::table::*;
use crate::core::tripwire::Witness;
use crate::error::Stop;
use crate::types::*;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ticket(pub u64);

/// Names the rows of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BatchNumber(pub u64);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    Assigned {
        partitions: BTreeSet<TopicPartition>,
    },
    Revoked {
        partitions: BTreeSet<TopicPartition>,
        lost: bool,
    },
    EndOfPartition {
        partition: TopicPartition,
        epoch: Epoch,
        offset: Offset,
    },
    /// Kafka refused the position; where the log begins and ends, asked twice, 10 s apart where it seemed too short.
    LogChecked {
        partition: TopicPartition,
        epoch: Epoch,
        edges: LogEdges,
    },
    Loaded {
        ticket: Ticket,
        load: Load,
    },
    Answered {
        ticket: Ticket,
        answer: Answer,
    },
    /// All ids of a live file in one hour.
    Covered {
        path: FilePath,
        hour: EventHour,
        ids: Vec<MessageId>,
    },
    /// Finish until the deadline, commit, leave.
    Close {
        deadline_ms: u64,
    },
    Flush,
    Tick,
}

/// The table and what Kafka says of itself, both asked afresh; the witness was asked before the table.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Load {
    pub table: Option<Arc<TableView>>,
    pub kafka: KafkaView,
    /// What outside the table knows the lane; none where nothing does, or where it wasn't asked.
    pub witness: Option<Witness>,
    /// The tripwire was read: only then may a table be created or a lane opened.
    pub witnessed: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct KafkaView {
    pub identity: SourceIdentity,
    /// Partition ids of the configured topics; a topic that doesn't exist is absent.
    pub partitions: BTreeMap<Topic, Vec<i32>>,
    /// For the bug that reads them.
    #[cfg(feature = "planted-bugs")]
    pub group_offsets: BTreeMap<TopicPartition, Offset>,
}

impl KafkaView {
    pub fn new(identity: SourceIdentity, partitions: BTreeMap<Topic, Vec<i32>>) -> Self {
        let mut view = Self::default();
        (view.identity, view.partitions) = (identity, partitions);
        view
    }

    #[cfg(feature = "planted-bugs")]
    pub(super) fn or_group_offset(&self, partition: &TopicPartition, position: Offset) -> Offset {
        use crate::core::planted::{Bug, planted};
        let ahead = self.group_offsets.get(partition).filter(|_| planted(Bug::GroupOffsetIsTruth));
        ahead.map_or(position, |at| position.max(*at))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LogEdges {
    pub start: Offset,
    pub end: Offset,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Answer {
    /// The table was created, or another instance did.
    Created,
    /// Where the log of each partition begins, or its last stable offset: as `start` asks.
    Edges(BTreeMap<TopicPartition, Offset>),
    /// Which ids each file holds: (hour, path, hits) in any order.
    Found(Vec<(EventHour, FilePath, Vec<MessageId>)>),
    /// A file that was to be looked up is no longer live: the base is not what it was.
    BaseMoved,
    /// Letters acknowledged and files durable.
    Prepared(Vec<AddedFile>),
    Posted(Posted),
    /// The pause is over.
    BackedOff,
}

/// A durable data file of ours that isn't in the table yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AddedFile {
    pub path: FilePath,
    pub hour: EventHour,
    pub ids: Arc<[MessageId]>,
}

/// [`ports::Outcome`](crate::ports::Outcome), as far as the protocol tells them apart.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Posted {
    Committed(SnapshotId),
    /// Nothing left this process: this request can't land.
    NotSent,
    /// Conflict or unknown: the next load tells.
    Unsettled,
    Rejected {
        status: u16,
        text: String,
    },
}

#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    Load {
        ticket: Ticket,
        with_witness: bool,
    },
    CreateTable {
        ticket: Ticket,
    },
    /// Asks where each partition begins (or ends, as `latest` wants): for an opening.
    LogEdges {
        ticket: Ticket,
        partitions: Vec<TopicPartition>,
        latest: bool,
    },
    Probe {
        ticket: Ticket,
        batch: BatchNumber,
        lookups: Vec<Lookup>,
    },
    /// Sends the batch's letters (its malformed records, and under `dead-letter` these late ones), then writes its rows
    /// without those taken out.
    Prepare {
        ticket: Ticket,
        batch: BatchNumber,
        taken_out: BTreeMap<EventHour, BTreeSet<MessageId>>,
        late: Vec<LateRecord>,
    },
    /// Writes these hours of the batch again under new paths, without the rows taken out now and before.
    Rewrite {
        ticket: Ticket,
        batch: BatchNumber,
        taken_out: BTreeMap<EventHour, BTreeSet<MessageId>>,
    },
    Post {
        ticket: Ticket,
        base: Arc<TableView>,
        plan: Box<SnapshotPlan>,
        files: Vec<FilePath>,
    },
    /// Waits a while that grows with `attempt`, with jitter.
    BackOff {
        ticket: Ticket,
        attempt: u32,
    },
    /// Answers `Assigned`. None: no position is known, parked.
    Assign(Vec<(TopicPartition, Epoch, Option<Offset>)>),
    /// Answers `Revoked`.
    Unassign(BTreeSet<TopicPartition>),
    Reposition(Vec<(TopicPartition, Epoch, Option<Offset>)>),
    Mirror {
        offsets: BTreeMap<TopicPartition, Offset>,
        table: u128,
        commit: Option<CommitId>,
    },
    /// Read these files' ids and bring them as `Covered`.
    Cover(Vec<LiveFile>),
    /// The rows of this batch will never be written (again).
    Forget(BatchNumber),
    Report(Report),
    Stop(Stop),
    /// Leave the group: everything is committed, or the time is up. Lists commits whose outcome is unknown.
    Leave {
        unknown: Vec<CommitId>,
    },
}

/// What happened, for logs, metrics and the status.
#[derive(Clone, PartialEq, Debug)]
pub enum Report {
    Committed(Box<Committed>),
    Opened {
        partitions: BTreeMap<TopicPartition, Offset>,
        commit: CommitId,
        snapshot: SnapshotId,
    },
    Anchored {
        snapshot: SnapshotId,
    },
    /// Step 2 or 3 refused a batch.
    Fenced {
        reason: String,
        partitions: BTreeSet<TopicPartition>,
    },
    Repositioned {
        partitions: BTreeMap<TopicPartition, Place>,
        reason: String,
    },
    /// The table was loaded: the lane as it stands there.
    Read {
        lane: Lane,
        others: Vec<LaneName>,
        table: Arc<TableView>,
    },
    LaneUnreadable {
        lane: LaneName,
        why: String,
    },
    Conflict {
        attempts: u32,
    },
    Discarded {
        commits: Vec<CommitId>,
        /// Named in a request, so never deleted here: one that is held on its way may land yet.
        files: BTreeSet<FilePath>,
        reason: &'static str,
    },
    /// The breaker holds back the letters of this batch.
    Flood {
        flood: Flood,
        batch: BatchNumber,
    },
}

#[derive(Clone, PartialEq, Debug)]
pub struct Committed {
    pub commit: CommitId,
    pub snapshot: SnapshotId,
    pub attempts: u32,
    pub ranges: BTreeMap<TopicPartition, OffsetRange>,
    pub counts: Counts,
    pub late_admitted: u64,
    pub files: Vec<AddedFile>,
    pub lane: Lane,
    pub batch: BatchNumber,
    /// Late records that weren't written.
    pub late: Vec<LateRecord>,
}
