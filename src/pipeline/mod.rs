//! The loop that runs one instance. It only dispatches: events go to the core, the core's effects are carried out beside
//! the loop and come back as events. Records are decoded and judged here, a bounded number at a turn.

mod carrying;
mod caught_up;
mod cover;
mod delivery;
mod effects;
#[cfg(test)]
mod fakes;
mod file_names;
mod health;
mod inbox;
mod intake;
mod lag;
mod letters;
mod partitions;
mod posting;
mod report;
mod rows;
mod shown;
mod spread;
mod standing;
mod status_page;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::core::event_time::LatePolicy;
use crate::core::instance::*;
use crate::crash_point::{self, Point};
use crate::decode::{EventTimeBounds, PlanSet, Plans};
use crate::error::Stop;
use crate::ports::*;
use crate::types::*;

use caught_up::{CaughtUp, Step};
use cover::Cover;
use effects::Done;
pub use effects::{Names, Ports};
use file_names::FileNames;
pub use health::Health;
use inbox::Inbox;
use report::Reporter;
pub use report::Telemetry;
use rows::{OpenRows, SealedRows};

/// Delivered bytes that wait for their verdict; above it the partitions pause.
const INBOX_MAX: usize = 16 << 20;
/// How long leaving the group may take after a typed stop.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

pub struct Options {
    pub names: Names,
    pub late: LatePolicy,
    pub bounds: EventTimeBounds,
    pub shutdown_timeout_ms: u64,
    pub stall_timeout_ms: u64,
    /// How often durations are looked at.
    pub tick_ms: u64,
    /// End when everything that was stable at the start is committed.
    pub until_caught_up: bool,
}

/// How a run ended.
pub enum End {
    Done,
    /// Commits whose outcome isn't known: the next start resolves them.
    Unknown(Vec<CommitId>),
}

/// A chunk that waited for its schemas.
type Resolved = (TopicPartition, Epoch, RecordChunk, Result<PlanSet, PortError>);

/// The rows of one batch and what happened to them.
struct Held {
    rows: Arc<SealedRows>,
    taken_out: BTreeMap<EventHour, BTreeSet<MessageId>>,
    gold_ingestion_timestamp: Micros,
    /// By the monotonic clock.
    sealed_ms: u64,
    names: Arc<FileNames>,
}

pub struct Pipeline {
    core: Instance,
    options: Options,
    ports: Ports,
    source: Arc<dyn Source>,
    plans: Arc<Plans>,
    inbox: Inbox,
    paused: bool,
    open_number: BatchNumber,
    open: OpenRows,
    held: BTreeMap<BatchNumber, Held>,
    /// What manifests will say of files that may still be committed, and since when they wait (milliseconds of the monotonic
    /// clock).
    written: BTreeMap<FilePath, (u64, WrittenFile)>,
    tasks: JoinSet<Done>,
    running: BTreeMap<Ticket, AbortHandle>,
    resolving: JoinSet<Resolved>,
    cover: Cover,
    caught_up: Option<CaughtUp>,
    reporter: Reporter,
    end: Option<Result<End, Stop>>,
}

impl Pipeline {
    pub fn new(
        settings: Settings,
        options: Options,
        ports: Ports,
        source: Arc<dyn Source>,
        plans: Arc<Plans>,
        telemetry: Telemetry,
    ) -> Self {
        let caught_up = options.until_caught_up.then(CaughtUp::default);
        let reporter = Reporter::new(telemetry, &options.names, options.late, ports.clone());
        Self {
            core: Instance::new(settings),
            cover: Cover::start(ports.clone(), reporter.telemetry.clone()),
            options,
            source,
            plans,
            inbox: Inbox::default(),
            paused: false,
            open_number: BatchNumber(0),
            open: OpenRows::default(),
            held: BTreeMap::new(),
            written: BTreeMap::new(),
            tasks: JoinSet::new(),
            running: BTreeMap::new(),
            resolving: JoinSet::new(),
            caught_up,
            reporter,
            end: None,
            ports,
        }
    }

    /// Runs until the group is left or a typed stop. `close`: finish, commit, leave.
    pub async fn run(
        mut self,
        mut events: mpsc::Receiver<SourceEvent>,
        mut close: tokio::sync::watch::Receiver<bool>,
    ) -> Result<End, Stop> {
        let mut tick = tokio::time::interval(Duration::from_millis(self.options.tick_ms));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut closing = false;
        loop {
            tokio::select! {
                biased;
                changed = close.changed(), if !closing => {
                    closing = true;
                    self.reporter.stopping();
                    crash_point::pass(Point::CloseTold);
                    if changed.is_ok() {
                        let deadline_ms = self.now() + self.options.shutdown_timeout_ms;
                        self.feed(Event::Close { deadline_ms });
                    }
                }
                _ = tick.tick() => self.tick(),
                Some(done) = self.tasks.join_next() => self.done(done),
                Some(covered) = self.cover.next() => self.feed(covered),
                Some(resolved) = self.resolving.join_next() => {
                    self.resolved(resolved.unwrap_or_else(|e| std::panic::resume_unwind(e.into_panic())));
                }
                event = events.recv(), if self.inbox.bytes() < 2 * INBOX_MAX => match event {
                    Some(event) => self.source_event(event),
                    None => self.end = self.end.take().or(Some(Err(Stop::internal("the Kafka client ended by itself")))),
                },
                () = std::future::ready(()), if self.can_judge() => self.judge_some(),
            }
            if let Some(end) = self.end.take() {
                self.tasks.abort_all();
                if end.is_err() {
                    leave(&*self.source, &mut events).await;
                }
                return end;
            }
        }
    }

    fn now(&self) -> u64 {
        self.ports.clock.monotonic_ms()
    }

    fn tick(&mut self) {
        self.core.open_bytes(self.open.bytes());
        self.feed(Event::Tick);
        self.pause_or_resume();
        let in_flight = self.held.values().map(|held| held.rows.bytes()).sum();
        if let Some(hot_bytes) = self.reporter.beat(&self.core, self.open.bytes(), self.inbox.bytes() as u64, in_flight) {
            self.core.evict_to(hot_bytes);
        }
        self.check_stall();
        self.check_caught_up();
    }

    /// A stage that makes no progress although everything answers is ours to end: a restart reads the table again.
    fn check_stall(&mut self) {
        let stalled_ms = self.reporter.stalled_ms(&self.core);
        let waits = self.core.waits_for();
        let slow = stalled_ms > self.options.stall_timeout_ms / 2;
        self.reporter.stalled(slow.then(|| format!("{waits} since {} s", stalled_ms / 1000)));
        if stalled_ms > self.options.stall_timeout_ms {
            let what = format!("no progress for {} s with every dependency answering: {waits}", stalled_ms / 1000);
            self.end =
                Some(Err(Stop::gave_up(what, "start again; nothing is lost. If it comes back, report it with the log")));
        }
    }

    fn check_caught_up(&mut self) {
        let Some(caught_up) = &mut self.caught_up else { return };
        match caught_up.next(&self.core, self.reporter.lane(), &self.ports, &self.options.names) {
            Step::Wait => {}
            Step::Flush => self.feed(Event::Flush),
            Step::Close => {
                crash_point::pass(Point::CloseTold);
                let deadline_ms = self.now() + self.options.shutdown_timeout_ms;
                self.feed(Event::Close { deadline_ms });
            }
            Step::Stop(stop) => self.end = Some(Err(stop)),
        }
    }

    // ---- the core

    fn feed(&mut self, event: Event) {
        let effects = self.core.handle(self.now(), event);
        self.follow_open_batch();
        for effect in effects {
            self.carry_out(effect);
        }
        let unwanted: Vec<Ticket> = self.running.keys().filter(|t| !self.core.wants(**t)).copied().collect();
        for ticket in unwanted {
            self.running.remove(&ticket).expect("just listed").abort();
        }
    }

    /// The core began another batch: the rows so far belong to the one before.
    fn follow_open_batch(&mut self) {
        let (number, _) = self.core.open_batch();
        if number != self.open_number {
            let rows = std::mem::take(&mut self.open).seal();
            let gold_ingestion_timestamp = self.ports.clock.wall_ms() * 1000;
            let sealed_ms = self.now();
            let names = Arc::new(FileNames::of_batch(self.ports.random.u128()));
            let taken_out = BTreeMap::new();
            let held = Held { rows: Arc::new(rows), taken_out, gold_ingestion_timestamp, sealed_ms, names };
            self.held.insert(self.open_number, held);
            crash_point::pass(Point::BatchSealed);
            self.open_number = number;
            self.core.open_bytes(0);
        }
    }

    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Event(event)) => self.feed(event),
            Ok(Done::Written(files, event)) => {
                let now = self.now();
                self.written.extend(files.into_iter().map(|f| (f.path.clone(), (now, f))));
                self.feed(event);
            }
            Ok(Done::Stop(stop)) => self.end = Some(Err(stop)),
            Err(error) if error.is_cancelled() => {}
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

/// Leaves the group after a typed stop, so that the command that resolves it need not wait for the session to end.
async fn leave(source: &dyn Source, events: &mut mpsc::Receiver<SourceEvent>) {
    source.close();
    let closed = async {
        while let Some(event) = events.recv().await {
            match event {
                SourceEvent::Revoked { partitions, .. } => source.unassign(partitions),
                SourceEvent::Closed => return,
                _ => {}
            }
        }
    };
    if tokio::time::timeout(LEAVE_WITHIN, closed).await.is_err() {
        tracing::warn!("the group was not left in time: it keeps this member until its session ends");
    }
}
