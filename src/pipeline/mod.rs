//! The loop that runs one instance. It only dispatches: events go to the core, the core's effects are carried out beside
//! the loop and come back as events. Records are decoded and judged here, a bounded number at a turn.

mod caught_up;
mod cover;
mod effects;
mod health;
mod inbox;
mod intake;
mod lag;
mod report;
mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};

use crate::core::event_time::LatePolicy;
use crate::core::instance::*;
use crate::decode::{EventTimeBounds, PlanSet, Plans, schema_ids};
use crate::error::Stop;
use crate::ports::*;
use crate::types::*;

use caught_up::{CaughtUp, Step};
use cover::Cover;
use effects::{Done, mirror_metadata};
pub use effects::{Names, Ports};
pub use health::Health;
use inbox::{Delivered, Inbox};
use intake::{JUDGED_AT_ONCE, Rules, take_in};
use report::Reporter;
pub use report::Telemetry;
use rows::{OpenRows, SealedRows};

/// How often durations are looked at.
const TICK: Duration = Duration::from_millis(50);
/// Delivered bytes that wait for their verdict; above it the partitions pause.
const INBOX_MAX: usize = 16 << 20;
/// Files that wait longer for their commit are looked for before it is posted.
const FILES_OLD: Duration = Duration::from_secs(3_600);
/// How long leaving the group may take after a typed stop.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);
/// Chunks judged before other events get their turn.
const CHUNKS_A_TURN: usize = 8;

pub struct Options {
    pub names: Names,
    pub late: LatePolicy,
    pub bounds: EventTimeBounds,
    pub shutdown_timeout_ms: u64,
    pub stall_timeout_ms: u64,
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
    /// What manifests will say of files that may still be committed, and since when they wait.
    written: BTreeMap<FilePath, (Instant, WrittenFile)>,
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
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut closing = false;
        loop {
            tokio::select! {
                biased;
                changed = close.changed(), if !closing => {
                    closing = true;
                    self.reporter.stopping();
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
                let deadline_ms = self.now() + self.options.shutdown_timeout_ms;
                self.feed(Event::Close { deadline_ms });
            }
            Step::Stop(stop) => self.end = Some(Err(stop)),
        }
    }

    // ---- the source

    fn source_event(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Records { partition, epoch, chunk } => {
                self.reporter.fetched(&partition, &chunk);
                self.inbox.push(partition, epoch, Delivered::Records(chunk));
            }
            SourceEvent::EndOfPartition { partition, epoch, offset } => {
                self.reporter.end_of_partition(&partition, offset);
                self.inbox.push(partition, epoch, Delivered::EndOfPartition(offset));
            }
            SourceEvent::OutOfRange { partition, epoch, reason } => {
                tracing::warn!(%partition, reason, "Kafka has no record at the position");
                self.check_log(partition, epoch);
            }
            SourceEvent::Assigned { partitions } => {
                self.reporter.assigned(&partitions);
                self.feed(Event::Assigned { partitions: partitions.into_iter().collect() });
            }
            SourceEvent::Revoked { partitions, lost } => {
                self.reporter.revoked(&partitions, lost);
                for partition in &partitions {
                    self.inbox.forget(partition);
                }
                self.feed(Event::Revoked { partitions: partitions.into_iter().collect(), lost });
            }
            SourceEvent::Down(down) => self.ports.health.down(&down),
            SourceEvent::Up => self.ports.health.up("kafka"),
            SourceEvent::Fatal(stop) => self.end = Some(Err(stop)),
            SourceEvent::Closed => self.end = self.end.take().or(Some(Ok(End::Done))),
        }
    }

    fn pause_or_resume(&mut self) {
        let full = self.inbox.bytes() >= INBOX_MAX;
        let partitions = || self.core.owned().keys().cloned().collect();
        if full && !self.paused {
            self.source.pause(partitions());
            self.paused = true;
        } else if self.paused && self.inbox.bytes() < INBOX_MAX / 4 {
            self.source.resume(partitions());
            self.paused = false;
        }
        self.reporter.paused(if self.paused { self.core.owned().len() } else { 0 });
    }

    fn check_log(&mut self, partition: TopicPartition, epoch: Epoch) {
        let Some(position) = self.core.owned().get(&partition).and_then(|o| o.position.as_ref()) else { return };
        let (ports, at) = (self.ports.clone(), position.place.next_offset);
        self.tasks.spawn(async move {
            match ports.check_log(partition.clone(), at).await {
                Ok(edges) => Done::Event(Event::LogChecked { partition, epoch, edges }),
                Err(stop) => Done::Stop(stop),
            }
        });
    }

    // ---- records

    fn can_judge(&self) -> bool {
        self.inbox.has_ready() && !self.core.is_full()
    }

    fn judge_some(&mut self) {
        for _ in 0..CHUNKS_A_TURN {
            self.core.open_bytes(self.open.bytes());
            if self.core.is_full() {
                self.feed(Event::Tick);
                return;
            }
            let Some((partition, epoch, delivered)) = self.inbox.pop() else { return };
            match delivered {
                Delivered::EndOfPartition(offset) => self.feed(Event::EndOfPartition { partition, epoch, offset }),
                Delivered::Records(chunk) => self.judge_chunk(partition, epoch, chunk),
            }
        }
    }

    fn judge_chunk(&mut self, partition: TopicPartition, epoch: Epoch, chunk: RecordChunk) {
        let current = self.core.owned().get(&partition).is_some_and(|o| o.epoch == epoch && o.position.is_some());
        if !current {
            return;
        }
        let ids = schema_ids(&chunk);
        let plans = self.plans.clone();
        let mut resolve = Box::pin(async move { plans.resolve(&ids).await });
        match resolve.as_mut().now_or_never() {
            Some(Ok(plans)) => self.judge_with(partition, epoch, chunk, &plans),
            Some(Err(error)) => self.wait_for_schema(partition, epoch, chunk, error),
            None => {
                self.inbox.block(&partition);
                self.resolving.spawn(async move {
                    let plans = resolve.await;
                    (partition, epoch, chunk, plans)
                });
            }
        }
    }

    fn judge_with(&mut self, partition: TopicPartition, epoch: Epoch, chunk: RecordChunk, plans: &PlanSet) {
        let rules = Rules {
            bounds: self.options.bounds,
            late: self.options.late,
            wall_ms: self.ports.clock.wall_ms(),
            now_ms: self.now(),
        };
        let mut from = 0;
        while from < chunk.frames.len() {
            let to = chunk.frames.len().min(from + JUDGED_AT_ONCE);
            if !take_in(&mut self.core, &mut self.open, plans, rules, &partition, epoch, &chunk, from..to) {
                return;
            }
            self.reporter.judged(to - from);
            from = to;
        }
    }

    fn resolved(&mut self, (partition, epoch, chunk, plans): Resolved) {
        self.inbox.unblock(&partition);
        match plans {
            Ok(plans) => {
                self.ports.health.up("schema registry");
                self.judge_with(partition, epoch, chunk, &plans);
            }
            Err(error) => self.wait_for_schema(partition, epoch, chunk, error),
        }
    }

    /// The registry doesn't answer: the partition waits, all others go on.
    fn wait_for_schema(&mut self, partition: TopicPartition, epoch: Epoch, chunk: RecordChunk, error: PortError) {
        match error {
            PortError::Stop(stop) => self.end = Some(Err(stop)),
            PortError::Down(down) => {
                self.ports.health.down(&down);
                self.inbox.block(&partition);
                let (plans, ids) = (self.plans.clone(), schema_ids(&chunk));
                self.resolving.spawn(async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    let resolved = plans.resolve(&ids).await;
                    (partition, epoch, chunk, resolved)
                });
            }
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
            let held = Held { rows: Arc::new(rows), taken_out: BTreeMap::new(), gold_ingestion_timestamp };
            self.held.insert(self.open_number, held);
            self.open_number = number;
            self.core.open_bytes(0);
        }
    }

    fn done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done::Event(event)) => self.feed(event),
            Ok(Done::Written(files, event)) => {
                let now = Instant::now();
                self.written.extend(files.into_iter().map(|f| (f.path.clone(), (now, f))));
                self.feed(event);
            }
            Ok(Done::Stop(stop)) => self.end = Some(Err(stop)),
            Err(error) if error.is_cancelled() => {}
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn spawn(&mut self, ticket: Ticket, task: impl Future<Output = Done> + Send + 'static) {
        let handle = self.tasks.spawn(task);
        self.running.insert(ticket, handle);
    }

    fn carry_out(&mut self, effect: Effect) {
        let ports = self.ports.clone();
        match effect {
            Effect::Load { ticket, with_witness } => {
                let names = self.options.names.clone();
                self.spawn(ticket, async move {
                    settle(ports.load(&names, with_witness).await, |load| Event::Loaded { ticket, load })
                });
            }
            Effect::CreateTable { ticket } => self.spawn(ticket, async move {
                let created = ports.until_up(|| ports.table.create()).await;
                settle(created, |()| answer(ticket, Answer::Created))
            }),
            Effect::LogEdges { ticket, partitions, latest } => self.spawn(ticket, async move {
                settle(ports.log_edges(partitions, latest).await, |edges| answer(ticket, Answer::Edges(edges)))
            }),
            Effect::Probe { ticket, batch, lookups } => {
                let rows = self.rows_of(batch);
                self.reporter.probed(&lookups);
                self.spawn(ticket, async move {
                    match ports.probe(&rows, lookups).await {
                        Ok(Some(found)) => Done::Event(answer(ticket, Answer::Found(found))),
                        Ok(None) => Done::Event(answer(ticket, Answer::BaseMoved)),
                        Err(stop) => Done::Stop(stop),
                    }
                });
            }
            Effect::Prepare { ticket, batch, taken_out, late } => self.prepare(ticket, batch, taken_out, late),
            Effect::Rewrite { ticket, batch, taken_out } => self.rewrite(ticket, batch, taken_out),
            Effect::Post { ticket, base, plan, files } => {
                let old = files.iter().any(|path| self.written[path].0.elapsed() > FILES_OLD);
                let files: Vec<WrittenFile> = files.iter().map(|path| self.written[path].1.clone()).collect();
                let reporter = self.reporter.posting(&plan);
                self.spawn(ticket, async move {
                    if old && let Err(stop) = ports.still_there(&files).await {
                        return Done::Stop(stop);
                    }
                    let outcome = ports.post(&base, &plan, &files).await;
                    reporter.posted(&outcome, &files);
                    Done::Event(answer(ticket, Answer::Posted(posted(outcome))))
                });
            }
            Effect::BackOff { ticket, attempt } => self.spawn(ticket, async move {
                ports.back_off(attempt).await;
                Done::Event(answer(ticket, Answer::BackedOff))
            }),
            Effect::Assign(partitions) => self.source.assign(starts(partitions)),
            Effect::Unassign(partitions) => self.source.unassign(partitions.into_iter().collect()),
            Effect::Reposition(partitions) => self.source.reposition(starts(partitions)),
            Effect::Mirror { offsets, table, commit } => {
                self.source.mirror_group_offsets(offsets, mirror_metadata(table, commit));
            }
            Effect::Cover(files) => self.cover.want(files),
            Effect::Forget(batch) => self.forget(batch),
            Effect::Report(report) => {
                let held = match &report {
                    Report::Committed(committed) => self.held.get(&committed.batch),
                    _ => None,
                };
                self.reporter.report(report, held.map(|h| (&*h.rows, &h.taken_out)));
                self.sweep_now_and_then();
            }
            Effect::Stop(stop) => self.end = self.end.take().or(Some(Err(stop))),
            Effect::Leave { unknown } if unknown.is_empty() => self.source.close(),
            Effect::Leave { unknown } => {
                self.source.close();
                self.end = Some(Ok(End::Unknown(unknown)));
            }
        }
    }

    // ---- rows on their way

    fn rows_of(&self, batch: BatchNumber) -> Arc<SealedRows> {
        self.held.get(&batch).unwrap_or_else(|| panic!("the rows of {batch:?} are held")).rows.clone()
    }

    /// Letters first, acknowledged; then the rows, durable.
    fn prepare(
        &mut self,
        ticket: Ticket,
        batch: BatchNumber,
        taken_out: BTreeMap<EventHour, BTreeSet<MessageId>>,
        late: Vec<crate::core::batch::LateRecord>,
    ) {
        let held = self.held.get_mut(&batch).unwrap_or_else(|| panic!("the rows of {batch:?} are held"));
        held.taken_out = taken_out;
        let (rows, taken_out, at) = (held.rows.clone(), held.taken_out.clone(), held.gold_ingestion_timestamp);
        let late = late.iter().filter_map(|l| rows.late.get(&(l.partition.clone(), l.offset)));
        let letters: Vec<Letter> = rows.letters.iter().chain(late).cloned().collect();
        let (ports, telemetry) = (self.ports.clone(), self.reporter.telemetry.clone());
        self.spawn(ticket, async move {
            if !letters.is_empty() {
                if let Err(stop) = ports.until_up(|| ports.letters.send(&letters)).await {
                    return Done::Stop(stop);
                }
                telemetry.letters_sent(&letters);
            }
            let hours = rows.hours.keys().copied().collect();
            written(ticket, ports.write(&rows, hours, &taken_out, at).await)
        });
    }

    fn rewrite(&mut self, ticket: Ticket, batch: BatchNumber, taken_out: BTreeMap<EventHour, BTreeSet<MessageId>>) {
        let held = self.held.get_mut(&batch).unwrap_or_else(|| panic!("the rows of {batch:?} are held"));
        let hours: Vec<EventHour> = taken_out.keys().copied().collect();
        for (hour, ids) in taken_out {
            held.taken_out.entry(hour).or_default().extend(ids);
        }
        let (rows, taken_out, at) = (held.rows.clone(), held.taken_out.clone(), held.gold_ingestion_timestamp);
        let ports = self.ports.clone();
        self.spawn(ticket, async move { written(ticket, ports.write(&rows, hours, &taken_out, at).await) });
    }

    /// The store forgets files that are neither live nor on their way.
    fn sweep_now_and_then(&mut self) {
        if !self.reporter.sweep_is_due() {
            return;
        }
        let (live, written) = (self.core.live().clone(), self.written.keys().cloned().collect::<BTreeSet<_>>());
        let store = self.ports.store.clone();
        tokio::task::spawn_blocking(move || store.sweep(&|path| live.contains(path) || written.contains(path)));
    }

    fn forget(&mut self, batch: BatchNumber) {
        self.held.remove(&batch);
        if self.held.is_empty() && self.core.batch_in_flight().is_none() {
            self.written.clear();
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

fn answer(ticket: Ticket, answer: Answer) -> Event {
    Event::Answered { ticket, answer }
}

fn settle<T>(result: Result<T, Stop>, event: impl FnOnce(T) -> Event) -> Done {
    match result {
        Ok(value) => Done::Event(event(value)),
        Err(stop) => Done::Stop(stop),
    }
}

fn written(ticket: Ticket, result: Result<(Vec<WrittenFile>, Vec<AddedFile>), Stop>) -> Done {
    match result {
        Ok((files, added)) => Done::Written(files, answer(ticket, Answer::Prepared(added))),
        Err(stop) => Done::Stop(stop),
    }
}

fn posted(outcome: Outcome) -> Posted {
    match outcome {
        Outcome::Committed(snapshot) => Posted::Committed(snapshot),
        Outcome::Rejected { status, text } => Posted::Rejected { status, text },
        Outcome::NotSent(_) | Outcome::Conflict(_) | Outcome::Unknown(_) => Posted::Unsettled,
    }
}

fn starts(partitions: Vec<(TopicPartition, Epoch, Option<Offset>)>) -> Vec<(TopicPartition, Epoch, StartAt)> {
    partitions.into_iter().map(|(tp, epoch, at)| (tp, epoch, at.map_or(StartAt::Parked, StartAt::Offset))).collect()
}
