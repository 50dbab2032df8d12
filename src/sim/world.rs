//! Everything around the instances, in one value behind one lock: it is never held across a wait, so that the order of
//! events is the order in which virtual time wakes the tasks, the same for the same seed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::error::{Exit, Stop};
use crate::ports::{FileIds, Known};
use crate::sim::chance::Chance;
use crate::sim::group::{Group, MemberId};
use crate::sim::history::{History, Serial};
use crate::sim::kafka::Kafka;
use crate::sim::lake::Lake;
use crate::sim::oracle::{Invariant, Oracle, Violation};
use crate::sim::scenario::{Dependency, Rates, Scenario};
use crate::sim::trace::Trace;
use crate::types::*;

/// What is counted over a history.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// Calls through ports and deliveries of the consumer.
    pub steps: u64,
    /// Calls that went wrong, and actions of the script.
    pub faults: u64,
    pub crashes: u64,
    /// Requests to commit whose outcome wasn't told.
    pub ambiguous: u64,
    pub snapshots: u64,
    pub stops: u64,
    pub simulated_ms: u64,
}

impl Stats {
    pub fn add(&mut self, other: &Stats) {
        self.steps += other.steps;
        self.faults += other.faults;
        self.crashes += other.crashes;
        self.ambiguous += other.ambiguous;
        self.snapshots += other.snapshots;
        self.stops += other.stops;
        self.simulated_ms += other.simulated_ms;
    }
}

/// What outlives a process: its place in the deployment and its state directory.
#[derive(Default)]
pub struct Slot {
    pub lane: usize,
    pub incarnation: u64,
    /// Incremented incarnations are others: what an older one does has no effect any more.
    pub alive: bool,
    pub started_ms: u64,
    pub frozen_until_ms: u64,
    pub skew_ms: i64,
    pub known: Option<Known>,
    /// The id cache, oldest entry first.
    pub ids: Vec<(u128, FilePath, FileIds)>,
    pub older: Option<(Option<Known>, usize)>,
    /// Held back by the operator.
    pub held_back: bool,
    /// Requests to commit sent before the first moment land so many milliseconds later.
    pub held_posts: Option<(u64, u64)>,
    pub kill: Arc<Notify>,
    pub terminate: Arc<Notify>,
    pub changed: Arc<Notify>,
}

pub struct World {
    pub scenario: Arc<Scenario>,
    pub began: Instant,
    pub kafka: Kafka,
    pub lake: Lake,
    pub groups: Vec<Group>,
    pub slots: Vec<Slot>,
    /// Records whose letter is acknowledged.
    pub letters: BTreeSet<Serial>,
    /// Topics in the configuration.
    pub configured: BTreeSet<usize>,
    pub outages: BTreeMap<Dependency, u64>,
    /// Partitions that lost records to a truncation: nobody writes to them before the operator has looked.
    pub truncated: BTreeSet<TopicPartition>,
    /// The operator does one thing after the other.
    pub operator: Arc<tokio::sync::Mutex<()>>,
    /// Stops that wait for the operator, by lane.
    pub stops: Vec<(usize, Stop)>,
    /// Somebody took something away from table, log or state: a typed stop may follow.
    pub taken_away: bool,
    /// `dead_letter.rate_max`, until the operator lets a flood pass.
    pub breaker_rate_max: f64,
    /// Topics that each lane was opened for, and since when the group's offsets say so.
    pub mirrored_since_ms: BTreeMap<(usize, Topic), u64>,
    /// Offsets that a commit of each lane has reached.
    pub reached: BTreeSet<(usize, TopicPartition, Offset)>,
    pub healed: bool,
    pub chance: Chance,
    pub oracle: Oracle,
    pub violation: Option<Violation>,
    pub trace: Trace,
    pub stats: Stats,
    pub next_member: MemberId,
}

impl World {
    pub fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    pub fn rates(&self) -> Rates {
        if self.healed { Rates::default() } else { self.scenario.rates }
    }

    pub fn is_down(&self, dependency: Dependency) -> bool {
        !self.healed && self.outages.get(&dependency).is_some_and(|until| *until > self.now_ms())
    }

    /// Whether anybody gave a reason for a typed stop.
    pub fn may_stop(&self, exit: Exit) -> bool {
        self.taken_away || (exit == Exit::Data && self.scenario.breaker_rate_max < 1.0)
    }

    pub fn topic(&self, topic: usize) -> Topic {
        self.scenario.topics[topic].name.clone()
    }

    /// The topics that a lane's instances are configured with, in the order of the configuration.
    pub fn topics_of(&self, lane: usize) -> Vec<Topic> {
        let of_lane = self.scenario.lanes[lane].topics.iter().filter(|t| self.configured.contains(t));
        of_lane.map(|t| self.topic(*t)).collect()
    }

    pub fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now_ms();
        self.trace.note(now, what);
    }

    // ---- what happens to processes

    pub fn kill(&mut self, slot: usize) {
        let this = &mut self.slots[slot];
        if !this.alive {
            return;
        }
        this.alive = false;
        this.frozen_until_ms = 0;
        this.kill.notify_one();
        self.stats.crashes += 1;
        let rates = self.rates();
        if self.chance.happens(rates.cache_suffix_lost) {
            let ids = &mut self.slots[slot].ids;
            let keep = self.chance.between(0, ids.len() as u64) as usize;
            ids.truncate(keep);
        }
        self.note(|| format!("slot {slot} is killed"));
    }

    // ---- the verdict

    /// A table's head changed: the oracle looks at it.
    pub fn judge(&mut self) {
        self.stats.snapshots += 1;
        self.note_reached();
        self.with_oracle(|oracle, history| oracle.judge(history));
    }

    fn note_reached(&mut self) {
        let Some(table) = &self.lake.table else { return };
        let keys = table.head.and_then(|head| table.snapshots.get(&head)).and_then(|s| s.sluice.as_deref());
        for (lane, plan) in self.scenario.lanes.iter().enumerate() {
            let Some(Ok(entry)) = keys.and_then(|keys| keys.lanes.get(plan.name.as_str())) else { continue };
            self.reached.extend(entry.lane.partitions.iter().map(|(tp, p)| (lane, tp.clone(), p.next_offset)));
        }
    }

    /// Everything is quiet. False while it isn't at the end.
    pub fn is_finished(&mut self) -> bool {
        let lanes: Vec<usize> = (0..self.scenario.lanes.len()).collect();
        lanes.into_iter().all(|lane| self.lacks(lane).is_none())
    }

    /// What the table lacks of a lane's topics.
    pub fn lacks(&mut self, lane: usize) -> Option<Violation> {
        let (name, topics) = (self.scenario.lanes[lane].name.clone(), self.topics_of(lane));
        let ids = topics.into_iter().map(|t| (t.clone(), self.kafka.topics[&t].id.to_string())).collect();
        let (history, oracle) = self.lend();
        let lacks = oracle.finished(&history, &name, &ids).err();
        self.give_back(history);
        lacks
    }

    pub fn violates(&mut self, invariant: Invariant, what: String) {
        self.note(|| format!("VIOLATION {invariant:?}: {what}"));
        let snapshot = self.lake.table.as_ref().and_then(|t| t.head);
        self.violation.get_or_insert(Violation { invariant, snapshot, what });
    }

    fn with_oracle(&mut self, ask: impl FnOnce(&mut Oracle, &History) -> Result<(), Violation>) {
        let (history, oracle) = self.lend();
        let judged = ask(oracle, &history);
        self.give_back(history);
        if let Err(violation) = judged {
            self.note(|| format!("VIOLATION {violation:?}"));
            self.violation.get_or_insert(violation);
        }
    }

    /// The world's own books, moved into the form that the oracle reads.
    fn lend(&mut self) -> (History, &mut Oracle) {
        let properties = self.lake.table.as_ref().map(|t| t.properties.clone()).unwrap_or_default();
        let history = History {
            rules: self.scenario.rules,
            logs: std::mem::take(&mut self.kafka.logs),
            files: std::mem::take(&mut self.lake.files),
            landed: std::mem::take(&mut self.lake.landed),
            heads: std::mem::take(&mut self.lake.heads),
            letters: std::mem::take(&mut self.letters),
            properties: properties.into_iter().collect(),
            expired: std::mem::take(&mut self.lake.expired),
            spoilt: BTreeSet::new(),
        };
        (history, &mut self.oracle)
    }

    fn give_back(&mut self, history: History) {
        let History { logs, files, landed, heads, letters, expired, .. } = history;
        self.kafka.logs = logs;
        (self.lake.files, self.lake.landed, self.lake.heads, self.lake.expired) = (files, landed, heads, expired);
        self.letters = letters;
    }
}

#[derive(Clone)]
pub struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub fn new(world: World) -> Self {
        Self(Arc::new(Mutex::new(world)))
    }

    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
