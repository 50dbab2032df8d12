//! Carrying out the core's effects: those that take time beside the loop, the others at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::core::batch::{LateRecord, Lookup};
use crate::core::instance::*;
use crate::core::plan::SnapshotPlan;
use crate::core::planted::{Bug, planted};
use crate::core::table::{OwnChange, TableView};
use crate::crash_point::{self, Point};
use crate::error::Stop;
use crate::pipeline::effects::{Done, Ports, mirror_metadata};
use crate::pipeline::report::Telemetry;
use crate::pipeline::rows::SealedRows;
use crate::pipeline::{End, Pipeline};
use crate::ports::*;
use crate::telemetry::metrics::CommitPhase;
use crate::types::*;

/// Files that wait longer for their commit are looked for before it is posted.
const FILES_OLD_MS: u64 = 3_600_000;

impl Pipeline {
    pub(super) fn spawn(&mut self, ticket: Ticket, task: impl Future<Output = Done> + Send + 'static) {
        let handle = self.tasks.spawn(task);
        self.running.insert(ticket, handle);
    }

    pub(super) fn carry_out(&mut self, effect: Effect) {
        let ports = self.ports.clone();
        match effect {
            Effect::Load { ticket, with_witness } => self.load(ticket, with_witness),
            Effect::CreateTable { ticket } => self.spawn(ticket, async move {
                crash_point::pass(Point::CreateAsked);
                let created = ports.until_up(|| ports.table.create()).await;
                crash_point::pass(Point::CreateAnswered);
                settle(created, |()| answer(ticket, Answer::Created))
            }),
            Effect::LogEdges { ticket, partitions, latest } => self.spawn(ticket, async move {
                let edges = ports.log_edges(partitions, latest).await;
                crash_point::pass(Point::OpeningPlaced);
                settle(edges, |edges| answer(ticket, Answer::Edges(edges)))
            }),
            Effect::Probe { ticket, batch, lookups } => self.probe(ticket, batch, lookups),
            Effect::Prepare { ticket, batch, taken_out, late } => self.prepare(ticket, batch, taken_out, late),
            Effect::Rewrite { ticket, batch, taken_out } => self.rewrite(ticket, batch, taken_out),
            Effect::Post { ticket, base, plan, files } => self.post(ticket, base, plan, files),
            Effect::BackOff { ticket, attempt } => {
                let telemetry = self.reporter.telemetry.clone();
                self.spawn(ticket, async move {
                    crash_point::pass(Point::PostBackingOff);
                    telemetry.timed(CommitPhase::BackOff, &*ports.clock, ports.back_off(attempt)).await;
                    Done::Event(answer(ticket, Answer::BackedOff))
                });
            }
            Effect::Assign(partitions) => {
                crash_point::pass(Point::AssignmentAnswering);
                self.source.assign(starts(partitions));
                crash_point::pass(Point::AssignmentAnswered);
            }
            Effect::Unassign(partitions) => {
                crash_point::pass(Point::RevokeFlushed);
                self.source.unassign(partitions.into_iter().collect());
                crash_point::pass(Point::RevokeAnswered);
            }
            Effect::Reposition(partitions) => {
                crash_point::pass(Point::RepositionAsked);
                self.source.reposition(starts(partitions));
                crash_point::pass(Point::RepositionSent);
            }
            Effect::Mirror { offsets, table, commit } => {
                crash_point::pass(Point::MirrorAsked);
                self.source.mirror_group_offsets(offsets, mirror_metadata(table, commit));
            }
            Effect::Cover(files) => self.cover.want(files),
            Effect::Forget(batch) => self.forget(batch),
            Effect::Report(report) => {
                #[cfg(feature = "planted-bugs")]
                self.carry_out_too_late_or_too_early(&report);
                let held = match &report {
                    Report::Committed(committed) => self.held.get(&committed.batch),
                    Report::Flood { batch, .. } => self.held.get(batch),
                    _ => None,
                };
                self.reporter.report(report, held);
                self.sweep_now_and_then();
            }
            Effect::Stop(stop) => self.end = self.end.take().or(Some(Err(self.reporter.told(stop)))),
            Effect::Leave { unknown } => self.leave(unknown),
        }
    }

    fn leave(&mut self, unknown: Vec<CommitId>) {
        if unknown.is_empty() {
            crash_point::pass(Point::GroupLeaving);
        }
        self.source.close();
        if !unknown.is_empty() {
            self.end = Some(Ok(End::Unknown(unknown)));
        } else if !self.held.is_empty() {
            tracing::warn!("the time to stop was up before the last commit: the next start reads its records again");
        }
    }

    // ---- the table

    /// A phase of a commit where one waits for it; positions are placed and compared on loads of their own.
    fn load(&mut self, ticket: Ticket, with_witness: bool) {
        let (ports, telemetry, names) = (self.ports.clone(), self.reporter.telemetry.clone(), self.options.names.clone());
        let for_commit = self.core.is_committing_on(ticket);
        let answered = self.core.batch_in_flight().map_or(Point::LoadAnswered, |_| Point::BaseLoaded);
        self.spawn(ticket, async move {
            let load = ports.load(&names, with_witness);
            let loaded = match for_commit {
                true => telemetry.timed(CommitPhase::Load, &*ports.clock, load).await,
                false => load.await,
            };
            crash_point::pass(answered);
            settle(loaded, |load| Event::Loaded { ticket, load })
        });
    }

    fn probe(&mut self, ticket: Ticket, batch: BatchNumber, lookups: Vec<Lookup>) {
        let rows = self.rows_of(batch);
        self.reporter.probed(&lookups);
        let (ports, telemetry) = (self.ports.clone(), self.reporter.telemetry.clone());
        self.spawn(ticket, async move {
            crash_point::pass(Point::ProbeAsked);
            let probe = ports.probe(&rows, lookups, &telemetry.metrics.dedup);
            let probed = telemetry.timed(CommitPhase::Probe, &*ports.clock, probe).await;
            crash_point::pass(Point::ProbeAnswered);
            match probed {
                Ok(Some(found)) => Done::Event(answer(ticket, Answer::Found(found))),
                Ok(None) => Done::Event(answer(ticket, Answer::BaseMoved)),
                Err(stop) => Done::Stop(stop),
            }
        });
    }

    fn post(&mut self, ticket: Ticket, base: Arc<TableView>, plan: Box<SnapshotPlan>, files: Vec<FilePath>) {
        let now = self.now();
        let old = files.iter().any(|path| now - self.written[path].0 > FILES_OLD_MS);
        let files: Vec<WrittenFile> = files.iter().map(|path| self.written[path].1.clone()).collect();
        let (ports, telemetry) = (self.ports.clone(), self.reporter.telemetry.clone());
        let (begun, answered) = posting_points(&plan);
        self.spawn(ticket, async move {
            if old && let Err(stop) = ports.still_there(&files).await {
                return Done::Stop(stop);
            }
            crash_point::pass(begun);
            let outcome = telemetry.timed(CommitPhase::Post, &*ports.clock, ports.post(&base, &plan, &files)).await;
            crash_point::pass(answered);
            match &outcome {
                Outcome::NotSent(why) => ports.health.down(&Down { dependency: "catalog", reason: why.clone() }),
                Outcome::Committed(_) | Outcome::Conflict(_) => ports.health.up("catalog"),
                Outcome::Unknown(_) | Outcome::Rejected { .. } => {}
            }
            telemetry.posted(plan.commit_id, &outcome, &files);
            Done::Event(answer(ticket, Answer::Posted(posted(outcome))))
        });
    }

    // ---- rows on their way

    pub(super) fn rows_of(&self, batch: BatchNumber) -> Arc<SealedRows> {
        self.held.get(&batch).unwrap_or_else(|| panic!("the rows of {batch:?} are held")).rows.clone()
    }

    /// Letters first, acknowledged; then the rows, durable.
    pub(super) fn prepare(
        &mut self,
        ticket: Ticket,
        batch: BatchNumber,
        taken_out: BTreeMap<EventHour, BTreeSet<MessageId>>,
        late: Vec<LateRecord>,
    ) {
        let held = self.held.get_mut(&batch).unwrap_or_else(|| panic!("the rows of {batch:?} are held"));
        held.taken_out = taken_out;
        let (rows, taken_out, at) = (held.rows.clone(), held.taken_out.clone(), held.gold_ingestion_timestamp);
        let names = held.names.clone();
        let letters = match planted(Bug::DeadLetterAfterCommit) {
            false => letters(&rows, &late),
            true => Vec::new(),
        };
        let (ports, telemetry) = (self.ports.clone(), self.reporter.telemetry.clone());
        self.spawn(ticket, async move {
            if let Err(stop) = send(&ports, &telemetry, &letters).await {
                return Done::Stop(stop);
            }
            let hours: Vec<EventHour> = rows.hours.keys().copied().collect();
            if hours.is_empty() {
                return Done::Event(answer(ticket, Answer::Prepared(Vec::new())));
            }
            let write = ports.write(&rows, hours, &taken_out, at, &names);
            written(ticket, telemetry.timed(CommitPhase::Files, &*ports.clock, write).await)
        });
    }

    pub(super) fn rewrite(
        &mut self,
        ticket: Ticket,
        batch: BatchNumber,
        taken_out: BTreeMap<EventHour, BTreeSet<MessageId>>,
    ) {
        let held = self.held.get_mut(&batch).unwrap_or_else(|| panic!("the rows of {batch:?} are held"));
        let hours: Vec<EventHour> = taken_out.keys().copied().collect();
        for (hour, ids) in taken_out {
            held.taken_out.entry(hour).or_default().extend(ids);
        }
        let (rows, taken_out, at) = (held.rows.clone(), held.taken_out.clone(), held.gold_ingestion_timestamp);
        let (ports, telemetry, names) = (self.ports.clone(), self.reporter.telemetry.clone(), held.names.clone());
        self.spawn(ticket, async move {
            crash_point::pass(Point::RewriteBegun);
            let write = ports.write(&rows, hours, &taken_out, at, &names);
            let files = telemetry.timed(CommitPhase::Files, &*ports.clock, write).await;
            crash_point::pass(Point::RewriteDone);
            written(ticket, files)
        });
    }

    /// For the bugs that mistake the order of things: letters behind the commit, files gone before it is settled.
    #[cfg(feature = "planted-bugs")]
    fn carry_out_too_late_or_too_early(&mut self, report: &Report) {
        let (ports, telemetry) = (self.ports.clone(), self.reporter.telemetry.clone());
        match report {
            Report::Committed(committed) if planted(Bug::DeadLetterAfterCommit) => {
                let held = self.held.get(&committed.batch);
                let letters = held.map(|held| letters(&held.rows, &committed.late)).unwrap_or_default();
                self.tasks.spawn(async move { settle(send(&ports, &telemetry, &letters).await, |()| Event::Tick) });
            }
            Report::Discarded { files, .. } if planted(Bug::DiscardedFilesDeleted) => {
                let files = files.clone();
                self.tasks.spawn(async move {
                    for path in &files {
                        if let Err(stop) = ports.until_up(|| ports.files.delete(path)).await {
                            return Done::Stop(stop);
                        }
                    }
                    Done::Event(Event::Tick)
                });
            }
            _ => {}
        }
    }

    /// The store forgets files that are neither live nor on their way.
    pub(super) fn sweep_now_and_then(&mut self) {
        if !self.reporter.sweep_is_due() {
            return;
        }
        let (live, written) = (self.core.live().clone(), self.written.keys().cloned().collect::<BTreeSet<_>>());
        let store = self.ports.store.clone();
        let keep = Box::new(move |path: &str| live.contains(path) || written.contains(path));
        tokio::spawn(async move { store.sweep(keep).await });
    }

    pub(super) fn forget(&mut self, batch: BatchNumber) {
        self.held.remove(&batch);
        if self.held.is_empty() && self.core.batch_in_flight().is_none() {
            self.written.clear();
        }
    }
}

/// Letters of a batch: its malformed records, and these late ones where the policy makes letters of them.
fn letters(rows: &SealedRows, late: &[LateRecord]) -> Vec<Letter> {
    let late = late.iter().filter_map(|l| rows.late.get(&(l.partition.clone(), l.offset)));
    rows.letters.iter().chain(late).cloned().collect()
}

/// Returns when all are acknowledged.
async fn send(ports: &Ports, telemetry: &Telemetry, letters: &[Letter]) -> Result<(), Stop> {
    if !letters.is_empty() {
        crash_point::pass(Point::LettersSending);
        let sent = ports.until_up(|| ports.letters.send(letters));
        telemetry.timed(CommitPhase::Letters, &*ports.clock, sent).await?;
        crash_point::pass(Point::LettersAcknowledged);
        telemetry.letters_sent(letters);
    }
    Ok(())
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
        Outcome::NotSent(_) => Posted::NotSent,
        Outcome::Conflict(_) | Outcome::Unknown(_) => Posted::Unsettled,
    }
}

/// An opening is a post of its own name: it comes once in the life of a lane.
fn posting_points(plan: &SnapshotPlan) -> (Point, Point) {
    match plan.own {
        Some((_, OwnChange::Reset(_))) => (Point::OpeningPosting, Point::OpeningPosted),
        _ => (Point::PostBegun, Point::PostAnswered),
    }
}

fn starts(partitions: Vec<(TopicPartition, Epoch, Option<Offset>)>) -> Vec<(TopicPartition, Epoch, StartAt)> {
    partitions.into_iter().map(|(tp, epoch, at)| (tp, epoch, at.map_or(StartAt::Parked, StartAt::Offset))).collect()
}
