//! One form for all instances that behave alike, for whoever enumerates states. Tickets, epochs, batch numbers, commit ids
//! and the counts of the coverage grow with history and are only ever compared with each other; the clock is only ever
//! compared with what was read of it before. Renamed to the least names that keep those comparisons, two histories that
//! lead to the same place are one state.

use std::collections::BTreeMap;

use crate::core::breaker::Breaker;
use crate::core::instance::commit::InFlight;
use crate::core::instance::*;

/// A wait of the protocol that time ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Timer {
    /// The open batch is old enough to be sealed.
    Batch,
    /// A commit interval without a load has passed.
    Comparison,
    /// A foreign head, or a property that differs, has stood long enough.
    Anchor,
    /// The bound within which a rebalance or the end must be answered.
    Answer,
}

/// What the names of before are called now; a name that is missing here means nothing any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Renamed {
    pub tickets: BTreeMap<Ticket, Ticket>,
    pub epochs: BTreeMap<Epoch, Epoch>,
    pub batches: BTreeMap<BatchNumber, BatchNumber>,
}

impl Instance {
    const LOAD: Ticket = Ticket(1);
    const FLIGHT: Ticket = Ticket(2);
    /// One that no instance hands out: events that carry it are old.
    pub const OLD_EPOCH: Epoch = Epoch(0);

    /// Takes the least names, and `now_ms` for every time of which nothing but its distance from now counts: no timer is
    /// due afterwards, until [`make_due`](Self::make_due) says so. What no decision reads is cleared: how often a
    /// commit was sent, which commit the mirrored offsets will name, and, while the breaker passes everything, its window.
    pub fn canonicalize(&mut self, now_ms: u64) -> Renamed {
        self.settle_times(now_ms);
        self.clear_what_nothing_reads();
        self.open.since = self.coverage.recount(self.open.since);
        self.open.rests.sort();
        Renamed { tickets: self.rename_tickets(), epochs: self.rename_epochs(), batches: self.rename_batches() }
    }

    /// Every time that was noted is now: nothing is due.
    pub fn settle_times(&mut self, now_ms: u64) {
        let settle = |time: &mut Option<u64>| *time = time.map(|_| now_ms);
        settle(&mut self.last_load_ms);
        settle(&mut self.needs_anchor_since_ms);
        settle(&mut self.open.first_content_ms);
        settle(&mut self.open.first_progress_ms);
        for position in self.owned.values_mut().filter_map(|o| o.position.as_mut()) {
            position.last_record_ms = now_ms;
            // it only shortens the wait of a batch, and idleness is for whoever keeps the clock
            position.at_log_end = false;
        }
        match &mut self.due {
            Some(Due::Assignment { deadline_ms, .. } | Due::Revocation { deadline_ms, .. }) => *deadline_ms = now_ms + 1,
            None => {}
        }
        if let Ending::Closing { deadline_ms } = &mut self.ending {
            *deadline_ms = now_ms + 1;
        }
    }

    fn clear_what_nothing_reads(&mut self) {
        self.last_commit = None;
        if self.settings.breaker.rate_max >= 1.0 {
            self.breaker = Breaker::default();
        }
        let Some(flight) = &mut self.in_flight else { return };
        flight.posts = 0;
        if let commit::Work::Batch(work) = &mut flight.work {
            let batch = &mut work.sealed.batch;
            (batch.since, batch.first_content_ms, batch.first_progress_ms) = (0, None, None);
            batch.rests.sort();
        }
    }

    fn rename_tickets(&mut self) -> BTreeMap<Ticket, Ticket> {
        let mut tickets = BTreeMap::new();
        if let Some(load) = &mut self.load {
            tickets.insert(std::mem::replace(load, Self::LOAD), Self::LOAD);
        }
        if let Some(flight) = &mut self.in_flight {
            tickets.insert(std::mem::replace(&mut flight.ticket, Self::FLIGHT), Self::FLIGHT);
        }
        self.next_ticket = Self::FLIGHT.0;
        tickets
    }

    fn rename_epochs(&mut self) -> BTreeMap<Epoch, Epoch> {
        let mut epochs = BTreeMap::new();
        self.next_epoch = Self::OLD_EPOCH.0;
        for owned in self.owned.values_mut() {
            self.next_epoch += 1;
            epochs.insert(std::mem::replace(&mut owned.epoch, Epoch(self.next_epoch)), Epoch(self.next_epoch));
        }
        epochs
    }

    fn rename_batches(&mut self) -> BTreeMap<BatchNumber, BatchNumber> {
        let mut batches = BTreeMap::new();
        if let Some(InFlight { work: commit::Work::Batch(work), .. }) = &mut self.in_flight {
            batches.insert(std::mem::replace(&mut work.number, BatchNumber(0)), BatchNumber(0));
        }
        batches.insert(std::mem::replace(&mut self.open_number, BatchNumber(1)), BatchNumber(1));
        self.next_batch = 2;
        batches
    }

    /// Commits that may still be found in the table: all others mean nothing to this instance.
    pub fn unsettled_commits(&self) -> Vec<CommitId> {
        self.in_flight.as_ref().map(InFlight::unsettled_commits).unwrap_or_default()
    }

    /// Counts commit ids from the nonce again, passing over those that are unsettled. Only for a world in which every id
    /// that nobody looks for has lost its name.
    pub fn recount_commits(&mut self) {
        let unsettled = self.unsettled_commits();
        self.next_commit = 0;
        loop {
            let before = self.next_commit;
            if !unsettled.contains(&self.commit_id()) {
                self.next_commit = before;
                return;
            }
        }
    }

    /// Forgets what was read last. Only for a world in which main never loses a snapshot: there the walk finds the lane
    /// in the history itself.
    pub fn forget_memory(&mut self) {
        self.memory = None;
    }

    /// Asked to end, or ended.
    pub fn is_ending(&self) -> bool {
        self.ending != Ending::Running
    }

    /// The timers that something waits for. The answer's is one of trouble: the others end every wait in good order.
    pub fn timers(&self) -> Vec<Timer> {
        let idle = self.in_flight.is_none() && self.load.is_none() && self.ending != Ending::Closed;
        let mut timers = Vec::new();
        if idle && !self.open.is_empty() {
            timers.push(Timer::Batch);
        }
        if idle && self.last_load_ms.is_some() {
            timers.push(Timer::Comparison);
        }
        if idle && self.needs_anchor_since_ms.is_some() {
            timers.push(Timer::Anchor);
        }
        if self.due.is_some() || self.is_closing() {
            timers.push(Timer::Answer);
        }
        timers
    }

    /// Enough time has passed for this timer, and for no other.
    pub fn make_due(&mut self, timer: Timer, now_ms: u64) {
        let past = |time: &mut Option<u64>| *time = time.map(|_| 0);
        match timer {
            Timer::Batch => {
                past(&mut self.open.first_content_ms);
                past(&mut self.open.first_progress_ms);
            }
            Timer::Comparison => past(&mut self.last_load_ms),
            Timer::Anchor => past(&mut self.needs_anchor_since_ms),
            Timer::Answer => {
                match &mut self.due {
                    Some(Due::Assignment { deadline_ms, .. } | Due::Revocation { deadline_ms, .. }) => *deadline_ms = now_ms,
                    None => {}
                }
                if let Ending::Closing { deadline_ms } = &mut self.ending {
                    *deadline_ms = now_ms;
                }
            }
        }
    }
}
