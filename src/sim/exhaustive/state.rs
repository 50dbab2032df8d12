//! One state of the world. Everything in it can be hashed, and nothing outside of it changes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::core::batch::Lookup;
use crate::core::breaker::BreakerRules;
use crate::core::event_time::EventTimeRules;
use crate::core::instance::*;
use crate::core::plan::SnapshotPlan;
use crate::core::roll::RollRules;
use crate::core::table::*;
use crate::sim::exhaustive::canonical::Printed;
use crate::sim::exhaustive::oracle::Truth;
use crate::sim::exhaustive::{Bounds, BrokenPromise, Faults, Key};
use crate::types::*;

/// The one time there is. Everything that was read of a clock was read now; what is due is in the past.
pub const NOW: u64 = 1_000_000;
pub const LANE: &str = "g";
pub const TOPIC: &str = "t";

pub fn tp(partition: usize) -> TopicPartition {
    TopicPartition::new(TOPIC, partition as i32)
}

#[derive(Clone)]
pub struct State {
    pub table: Printed<Table>,
    /// On their way to the catalog: those that nobody waits for first, then by who waits.
    pub requests: Vec<Printed<Request>>,
    pub processes: Vec<Printed<Process>>,
    pub group: Group,
    /// Group offsets were mirrored: the tripwire knows the topic.
    pub mirrored: bool,
    pub left: Faults,
}

/// Which instance has which partition, as the group believes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Group {
    pub owner: Vec<u8>,
    /// To whom a partition goes once its owner has let it go.
    pub promised: Vec<Option<u8>>,
}

#[derive(Clone, Hash, Default)]
pub struct Table {
    pub exists: bool,
    /// The history of main, oldest first; what can't matter any more is left out.
    pub line: Vec<Snapshot>,
    pub tag: Option<SnapshotId>,
    pub property: Option<LaneProperty>,
}

#[derive(Clone, Hash)]
pub struct Snapshot {
    pub view: SnapshotView,
    pub live: BTreeSet<FilePath>,
    pub truth: Truth,
}

#[derive(Clone, Hash)]
pub struct Request {
    /// Who waits for its answer.
    pub waits: Option<(u8, Ticket)>,
    pub base_head: Option<SnapshotId>,
    pub base_tag: Option<SnapshotId>,
    pub plan: SnapshotPlan,
    pub files: Vec<FilePath>,
}

/// An instance, its consumer, and what is on the way between it and the world.
#[derive(Clone, Hash)]
pub struct Process {
    pub core: Instance,
    /// Partitions that its consumer believes it has.
    pub assigned: BTreeSet<TopicPartition>,
    /// Where its consumer reads.
    pub reading: BTreeMap<TopicPartition, (Epoch, Offset)>,
    /// Rebalances that it hasn't heard of yet. One is answered before the next is told.
    pub rebalances: VecDeque<Event>,
    pub answering: bool,
    pub asked: Vec<Asked>,
    /// Answers on their way.
    pub delayed: Vec<Event>,
    /// Files whose ids it wants in memory.
    pub wanted: Vec<LiveFile>,
    /// Rows held for the open batch and the one in flight.
    pub rows: BTreeMap<BatchNumber, Vec<Key>>,
    pub taken_out: BTreeMap<BatchNumber, BTreeSet<Key>>,
}

/// Effects that the world answers when it chooses.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Asked {
    Load { ticket: Ticket, with_witness: bool },
    CreateTable { ticket: Ticket },
    LogEdges { ticket: Ticket, partitions: Vec<TopicPartition> },
    Probe { ticket: Ticket, lookups: Vec<Lookup> },
}

impl Asked {
    pub fn ticket(&mut self) -> &mut Ticket {
        match self {
            Asked::Load { ticket, .. }
            | Asked::CreateTable { ticket }
            | Asked::LogEdges { ticket, .. }
            | Asked::Probe { ticket, .. } => ticket,
        }
    }
}

impl Process {
    pub fn new(bounds: &Bounds, index: u8) -> Self {
        Self {
            core: Instance::new(settings(bounds, index)),
            assigned: BTreeSet::new(),
            reading: BTreeMap::new(),
            rebalances: VecDeque::new(),
            answering: false,
            asked: Vec::new(),
            delayed: Vec::new(),
            wanted: Vec::new(),
            rows: BTreeMap::new(),
            taken_out: BTreeMap::new(),
        }
    }
}

/// Every wait is long before [`NOW`]; sizes and rates never end a batch.
fn settings(bounds: &Bounds, index: u8) -> Settings {
    Settings {
        lane: LANE.into(),
        topics: BTreeSet::from([Topic::from(TOPIC)]),
        start: Start::Earliest,
        event_time: EventTimeRules { watermark_delay: 0, late: bounds.late, idle_timeout_ms: u64::MAX / 2 },
        roll: RollRules {
            commit_interval_ms: 1_000,
            idle_commit_interval_ms: 2_000,
            batch_rows_max: u64::MAX,
            batch_bytes_max: u64::MAX,
        },
        breaker: BreakerRules { rate_max: 1.0, rate_min: 1 },
        answer_within_ms: 1_000,
        hot_bytes_max: if bounds.hot { 1 << 20 } else { 0 },
        nonce: (u128::from(index) + 1) << 32,
    }
}

pub fn identity() -> SourceIdentity {
    SourceIdentity { cluster_id: Some("c".into()), topics: BTreeMap::from([(TOPIC.into(), TopicId([1; 16]))]) }
}

/// What Kafka says of itself.
pub fn kafka(bounds: &Bounds) -> KafkaView {
    let partitions = (0..bounds.logs.len() as i32).collect();
    KafkaView::new(identity(), BTreeMap::from([(TOPIC.into(), partitions)]))
}

impl State {
    /// Partitions are dealt out in turn; nobody has heard of it yet.
    pub fn beginning(bounds: &Bounds) -> Self {
        let owner: Vec<u8> = (0..bounds.logs.len()).map(|p| (p % usize::from(bounds.instances)) as u8).collect();
        let processes = (0..bounds.instances).map(|i| {
            let mut process = Process::new(bounds, i);
            process.rebalances.extend(assignment(&owner, i));
            Printed::new(process)
        });
        let table = if bounds.opened { opened(bounds) } else { Table::default() };
        Self {
            table: Printed::new(table),
            requests: Vec::new(),
            processes: processes.collect(),
            group: Group { promised: vec![None; owner.len()], owner },
            mirrored: false,
            left: bounds.faults,
        }
    }

    pub fn head(&self) -> Option<SnapshotId> {
        self.table.head().map(|s| s.view.id)
    }

    pub fn can_land(&self, bounds: &Bounds, request: &Request) -> bool {
        let on_its_base = self.head() == request.base_head && self.table.tag == request.base_tag;
        on_its_base || bounds.broken == Some(BrokenPromise::CatalogIgnoresBase)
    }
}

/// The event that gives an instance what the group has for it.
pub fn assignment(owner: &[u8], instance: u8) -> Option<Event> {
    let its = owner.iter().enumerate().filter(|(_, o)| **o == instance).map(|(p, _)| tp(p));
    let partitions: BTreeSet<TopicPartition> = its.collect();
    (!partitions.is_empty()).then_some(Event::Assigned { partitions })
}

/// A table whose only snapshot opens the lane at the beginning of every log.
fn opened(bounds: &Bounds) -> Table {
    let partitions: Vec<TopicPartition> = (0..bounds.logs.len()).map(tp).collect();
    let lane = Lane {
        partitions: partitions.iter().map(|tp| (tp.clone(), Progress::opened_at(0))).collect(),
        source: identity(),
        ..Lane::default()
    };
    let reset = partitions.iter().map(|tp| (tp.clone(), ResetRange { from: None, to: 0 })).collect();
    let entry = LaneEntry { lane: lane.clone(), own: Some(OwnChange::Reset(reset)) };
    let nobody = CommitId(0);
    let keys = SluiceKeys { commit_id: nobody, lanes: BTreeMap::from([(LANE.into(), Ok(entry))]), retired: BTreeSet::new() };
    let id = crate::sim::exhaustive::canonical::snapshot_id(0);
    let view = SnapshotView { id, parent: None, timestamp_ms: 0, sluice: Some(Arc::new(keys)) };
    let truth = Truth { offsets: partitions.into_iter().map(|tp| (tp, 0)).collect(), ..Truth::default() };
    Table {
        exists: true,
        line: vec![Snapshot { view, live: BTreeSet::new(), truth }],
        tag: Some(id),
        property: Some(LaneProperty { lane, commit_id: nobody, snapshot: id }),
    }
}
