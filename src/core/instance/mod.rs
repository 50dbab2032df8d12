//! One instance of the group: the whole protocol as a state machine. Events in, effects out; the pipeline carries the
//! effects out and brings their answers back as events. Nothing here waits.
//!
//! Each effect that will be answered carries a [`Ticket`]; an answer to a ticket that nobody waits for any more is
//! dropped, so whatever is discarded needs no cancelling.

mod assignment;
mod canonical;
mod commit;
mod compare;
mod judge;
mod messages;
mod on_base;
mod places;
mod stops;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use canonical::{Renamed, Timer};
pub use judge::{Body, RecordMeta, Verdict};
pub use messages::*;

use crate::core::batch::Batch;
use crate::core::breaker::{Breaker, BreakerRules};
use crate::core::coverage::Coverage;
use crate::core::event_time::EventTimeRules;
use crate::core::identity::EpochIdentity;
use crate::core::lane::Memory;
use crate::core::roll::RollRules;
use crate::core::table::*;
use crate::types::*;

use commit::InFlight;

/// Where an unknown topic is opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Start {
    Earliest,
    Latest,
    /// Not written in the configuration: allowed while no other lane covers the topic.
    EarliestByDefault,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Settings {
    pub lane: LaneName,
    pub topics: BTreeSet<Topic>,
    pub start: Start,
    pub event_time: EventTimeRules,
    pub roll: RollRules,
    pub breaker: BreakerRules,
    /// How long an assignment or a revoke may wait for the table.
    pub answer_within_ms: u64,
    /// Bytes that the ids of covered files may take.
    pub hot_bytes_max: usize,
    /// Random, fresh for every process: commit ids are counted from it.
    pub nonce: u128,
}

/// One partition that the group gave us.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Owned {
    pub epoch: Epoch,
    /// None while the table's answer isn't known: in no batch and in no comparison.
    pub position: Option<Position>,
    /// The group takes it back: nothing more is judged.
    pub leaving: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Position {
    pub place: Place,
    pub leader_epoch: Option<i32>,
    pub identity: EpochIdentity,
    pub idle: bool,
    /// The log end was reached behind everything judged so far.
    pub at_log_end: bool,
    /// When the last record came, or the epoch began.
    pub last_record_ms: u64,
}

/// A rebalance event that waits for its answer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Due {
    Assignment { partitions: BTreeSet<TopicPartition>, deadline_ms: u64 },
    Revocation { partitions: BTreeSet<TopicPartition>, deadline_ms: u64 },
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Ending {
    Running,
    /// Flush, then leave.
    Closing {
        deadline_ms: u64,
    },
    Closed,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Instance {
    settings: Settings,
    owned: BTreeMap<TopicPartition, Owned>,
    open: Batch,
    in_flight: Option<InFlight>,
    coverage: Coverage,
    breaker: Breaker,
    /// What was read last of the table: a running instance may go on from there.
    memory: Option<Memory>,
    /// Topics whose lane this process has read: part of the tripwire.
    known_topics: BTreeSet<Topic>,
    live: Arc<LiveFiles>,
    due: Option<Due>,
    ending: Ending,
    /// Seal whatever there is, at once: `run --until-caught-up` has reached its end.
    flush: bool,
    /// A load that no commit waits for: places partitions, compares, mirrors.
    load: Option<Ticket>,
    /// When the table was last loaded, whatever for.
    last_load_ms: Option<u64>,
    /// The tripwire hit: the table is loaded once more before it stops.
    tripped: bool,
    needs_anchor_since_ms: Option<u64>,
    fences_in_a_row: u32,
    /// Arrow bytes of the open batch's rows, told by whoever holds them.
    open_bytes: u64,
    next_ticket: u64,
    next_epoch: u64,
    next_commit: u64,
    next_batch: u64,
    /// The open batch's number: names its rows.
    open_number: BatchNumber,
    table_uuid: Option<u128>,
    /// Newest commit of Sluice in the table, for the metadata of mirrored offsets.
    last_commit: Option<CommitId>,
    /// For the bug that looks at it.
    #[cfg(feature = "planted-bugs")]
    host_clock: Micros,
}

impl Instance {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            owned: BTreeMap::new(),
            open: Batch::default(),
            in_flight: None,
            coverage: Coverage::default(),
            breaker: Breaker::default(),
            memory: None,
            known_topics: BTreeSet::new(),
            live: Arc::default(),
            due: None,
            ending: Ending::Running,
            flush: false,
            load: None,
            last_load_ms: None,
            tripped: false,
            needs_anchor_since_ms: None,
            fences_in_a_row: 0,
            open_bytes: 0,
            next_ticket: 0,
            next_epoch: 1,
            next_commit: 0,
            next_batch: 1,
            open_number: BatchNumber(0),
            table_uuid: None,
            last_commit: None,
            #[cfg(feature = "planted-bugs")]
            host_clock: 0,
        }
    }

    // ---- what the pipeline asks

    pub fn owned(&self) -> &BTreeMap<TopicPartition, Owned> {
        &self.owned
    }
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }
    pub fn open_batch(&self) -> (BatchNumber, &Batch) {
        (self.open_number, &self.open)
    }
    #[cfg(feature = "planted-bugs")]
    pub fn host_clock(&mut self, wall_ms: i64) {
        self.host_clock = wall_ms * 1000;
    }
    pub fn open_bytes(&mut self, bytes: u64) {
        self.open_bytes = bytes;
    }
    pub fn live(&self) -> &Arc<LiveFiles> {
        &self.live
    }
    /// Memory runs short: files leave the hot set, oldest event hour first. They are probed from now on.
    pub fn evict_to(&mut self, bytes: usize) {
        self.coverage.evict_to(bytes);
    }
    /// The open batch takes no more records until it is sealed.
    pub fn is_full(&self) -> bool {
        self.settings.roll.is_full(&self.open, self.open_bytes + self.open.bytes() as u64)
    }
    /// Nothing waits for the table.
    pub fn is_drained(&self) -> bool {
        self.open.is_empty() && self.in_flight.is_none()
    }
    pub fn wants(&self, ticket: Ticket) -> bool {
        self.load == Some(ticket) || self.in_flight.as_ref().is_some_and(|f| f.waits_for(ticket))
    }
    /// A commit waits for this answer, and not the placing or comparing of positions.
    pub fn is_committing_on(&self, ticket: Ticket) -> bool {
        self.in_flight.as_ref().is_some_and(|f| f.waits_for(ticket))
    }
    /// Number of the batch in flight, whose rows must be kept.
    pub fn batch_in_flight(&self) -> Option<BatchNumber> {
        self.in_flight.as_ref().and_then(InFlight::batch_number)
    }
    /// An assignment was answered, or there is nothing to answer.
    pub fn is_placed(&self) -> bool {
        self.due.is_none() && self.owned.values().all(|o| o.position.is_some())
    }

    /// What the instance waits for, for whoever looks at a stall.
    pub fn waits_for(&self) -> &'static str {
        match &self.in_flight {
            Some(flight) => flight.waiting(),
            None if self.load.is_some() => "loading the table",
            None => "records",
        }
    }

    // ---- events

    /// `now_ms`: the monotonic clock.
    pub fn handle(&mut self, now_ms: u64, event: Event) -> Vec<Effect> {
        let mut out = Vec::new();
        match event {
            Event::Assigned { partitions } => self.assigned(now_ms, partitions, &mut out),
            Event::Revoked { partitions, lost } => self.revoked(now_ms, partitions, lost, &mut out),
            Event::EndOfPartition { partition, epoch, offset } => self.end_of_partition(now_ms, &partition, epoch, offset),
            Event::LogChecked { partition, epoch, edges } => self.log_checked(&partition, epoch, edges, &mut out),
            Event::Loaded { ticket, load } if self.wants(ticket) => self.loaded(now_ms, ticket, load, &mut out),
            Event::Answered { ticket, answer } if self.wants(ticket) => self.answered(now_ms, answer, &mut out),
            Event::Covered { path, hour, ids } => self.covered(path, hour, &ids),
            Event::Close { deadline_ms } => self.closing(deadline_ms),
            Event::Flush => self.flush = true,
            Event::Tick => {}
            Event::Loaded { .. } | Event::Answered { .. } => {}
        }
        self.advance(now_ms, &mut out);
        out
    }

    /// Starts whatever is due. Called after every event; does nothing while something is under way.
    fn advance(&mut self, now_ms: u64, out: &mut Vec<Effect>) {
        self.mark_idle(now_ms);
        self.answer_overdue(now_ms, out);
        if self.in_flight.is_some() || self.ending == Ending::Closed {
            return;
        }
        let leaving = matches!(self.due, Some(Due::Revocation { .. })) || self.is_closing();
        if leaving || self.flush {
            match self.open.is_empty() {
                false => return self.seal(out),
                true if leaving => return self.leave(out),
                true => {}
            }
        }
        if self.load.is_some() {
            return;
        }
        let at_end = self.owned.values().all(|o| o.position.as_ref().is_some_and(|p| p.at_log_end));
        let due = self.settings.roll.due_ms(&self.open, at_end).is_some_and(|t| t <= now_ms);
        if self.needs_placing() {
            self.start_load(true, out);
        } else if !self.open.is_empty() && (due || self.is_full()) {
            self.seal(out);
        } else if self.anchor_is_due(now_ms) {
            self.start_anchor(out);
        } else if self.comparison_is_due(now_ms) {
            self.start_load(false, out);
        }
    }

    fn is_closing(&self) -> bool {
        matches!(self.ending, Ending::Closing { .. })
    }

    fn needs_placing(&self) -> bool {
        self.due.is_some() || self.owned.values().any(|o| o.position.is_none())
    }

    fn comparison_is_due(&self, now_ms: u64) -> bool {
        let wait = self.settings.roll.commit_interval_ms;
        !self.is_closing() && self.last_load_ms.is_none_or(|at| at + wait <= now_ms)
    }

    fn anchor_is_due(&self, now_ms: u64) -> bool {
        let wait = self.settings.roll.idle_commit_interval_ms / 2;
        !self.owned.is_empty() && self.needs_anchor_since_ms.is_some_and(|at| at + wait <= now_ms)
    }

    fn start_load(&mut self, with_witness: bool, out: &mut Vec<Effect>) {
        let ticket = self.ticket();
        self.load = Some(ticket);
        out.push(Effect::Load { ticket, with_witness });
    }

    // ---- names

    fn ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }
    fn epoch(&mut self) -> Epoch {
        self.next_epoch += 1;
        Epoch(self.next_epoch)
    }
    /// Counted from the process's nonce, in the shape of a random UUID.
    fn commit_id(&mut self) -> CommitId {
        self.next_commit += 1;
        let id = self.settings.nonce.wrapping_add(u128::from(self.next_commit));
        CommitId(id & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62)
    }
    fn new_open_batch(&mut self) -> Batch {
        self.open_bytes = 0;
        self.open_number = BatchNumber(self.next_batch);
        self.next_batch += 1;
        std::mem::replace(&mut self.open, Batch::starting_at(&self.coverage))
    }
}
