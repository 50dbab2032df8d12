//! The thread that polls the consumer. It alone changes the assignment, it stamps every event with the epoch under which
//! its partition is read, and it copies records into chunks.
//!
//! It must keep polling whatever the pipeline does: a poll is how the client sees a revoke, and the sign of life for
//! `max.poll.interval.ms`. So it never waits for the channel. When the pipeline doesn't keep up and the byte budget is
//! used up, it first only trickles: at most one record per `TRICKLE`, which leaves what librdkafka has fetched ahead where it
//! is. (A revoke doesn't wait behind those records: the library pauses its partitions first, and the queue drops what is
//! paused.) When that lasts, all partitions are paused; the library then drops what it has fetched ahead, and fetches it
//! again later.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::Waker;
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaErrorCode;

use super::assignment::{Assignment, Outcome, Rebalance};
use super::availability::Availability;
use super::chunks::{OpenChunks, Record};
use super::events::{Fetched, NativeConsumer, Polled, ProbeAnswer};
use super::mirror::Mirror;
use super::outbox::Outbox;
use super::pressure::{Change, Pressure};
use super::reading::OutOfRange;
use super::wake::Wake;
use super::{Command, mirror};
use crate::crash_point::{self, Point};
use crate::error::Stop;
use crate::ports::{RecordChunk, SourceEvent};
use crate::source::ffi::Fault;
use crate::source::library_log::{RateLimit, library_line};
use crate::source::trouble::classify;
use crate::types::*;

/// Longest wait for an event; commands and room in the channel end it early.
const IDLE_WAIT: Duration = Duration::from_millis(50);
/// While the budget is used up: one event per so long.
const TRICKLE: Duration = Duration::from_millis(50);
/// A burst ends after so many records, so that commands are seen.
const BURST_ROWS: usize = 8192;
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// Leaving the group takes a round trip; with the coordinator away it can't succeed.
const CLOSE_WITHIN: Duration = Duration::from_secs(10);
/// The last events wait so long for a pipeline that doesn't take them.
const HAND_OVER_WITHIN: Duration = Duration::from_secs(60);

pub(super) struct PollThread {
    consumer: Rc<NativeConsumer>,
    commands: Receiver<Command>,
    assignment: Assignment,
    chunks: OpenChunks,
    outbox: Outbox,
    pressure: Pressure,
    availability: Availability,
    mirror: Mirror,
    limit: RateLimit,
    wake: Arc<Wake>,
    waker: Waker,
    /// Slots by the client's handle; forgotten when the assignment changes.
    handles: HashMap<(usize, i32), usize>,
    last: Option<((usize, i32), usize)>,
    probe_answers: (Sender<ProbeAnswer>, Receiver<ProbeAnswer>),
    closing: Option<Instant>,
}

impl PollThread {
    pub fn new(consumer: NativeConsumer, commands: Receiver<Command>, outbox: Outbox, buffer_bytes_max: u64) -> Self {
        let wake = consumer.wake().clone();
        Self {
            consumer: Rc::new(consumer),
            commands,
            assignment: Assignment::default(),
            chunks: OpenChunks::default(),
            outbox,
            pressure: Pressure::new(buffer_bytes_max),
            availability: Availability::new(),
            mirror: Mirror::default(),
            limit: RateLimit::default(),
            waker: Waker::from(wake.clone()),
            wake,
            handles: HashMap::new(),
            last: None,
            probe_answers: channel(),
            closing: None,
        }
    }

    /// Until the consumer has left the group. Ends with `Closed`, also when nobody receives any more.
    pub fn run(&mut self) {
        self.wake.belongs_to_this_thread();
        while !self.is_done() {
            self.take_commands();
            self.outbox.flush(&self.waker);
            self.relieve();
            self.burst();
            self.mirror_next();
            self.probe();
            if self.outbox.is_abandoned() {
                self.close();
            }
        }
        self.outbox.retain_data(|_, _| false);
        self.outbox.push_control(SourceEvent::Closed);
        self.hand_over();
    }

    fn is_done(&self) -> bool {
        let Some(since) = self.closing else { return false };
        if self.consumer.is_closed() {
            return true;
        }
        let overdue = since.elapsed() >= CLOSE_WITHIN;
        if overdue {
            tracing::warn!(
                "the consumer didn't leave its group within {CLOSE_WITHIN:?}; its partitions are free when its session ends"
            );
        }
        overdue
    }

    fn hand_over(&mut self) {
        let since = Instant::now();
        while !self.outbox.is_empty() && !self.outbox.is_abandoned() && since.elapsed() < HAND_OVER_WITHIN {
            self.outbox.flush(&self.waker);
            if !self.outbox.is_empty() {
                std::thread::park_timeout(IDLE_WAIT);
            }
        }
    }

    // -------------------------------------------------------------------------------------------------------- Commands

    fn take_commands(&mut self) {
        while let Ok(command) = self.commands.try_recv() {
            self.obey(command);
        }
        if self.assignment.has_held() && !self.consumer.is_lost() {
            let outcome = self.assignment.release_held(self.consumer.protocol());
            self.carry_out(outcome);
        }
    }

    fn obey(&mut self, command: Command) {
        if self.closing.is_some() {
            return;
        }
        let outcome = match command {
            Command::Assign(answer) => self.assignment.assign(answer, self.consumer.protocol()),
            Command::Unassign => self.assignment.unassign(self.consumer.protocol()),
            Command::Reposition(places) => {
                self.assignment.reposition(places, self.consumer.protocol(), self.consumer.is_lost())
            }
            Command::Pause(partitions) => self.assignment.pause(&partitions),
            Command::Resume(partitions) => self.assignment.resume(&partitions),
            Command::Mirror(offsets, metadata) => return self.mirror.offer(offsets, metadata),
            Command::Close => return self.close(),
        };
        self.carry_out(outcome);
    }

    fn carry_out(&mut self, outcome: Outcome) {
        if outcome.steps.is_empty() && outcome.tell.is_empty() {
            return;
        }
        for step in &outcome.steps {
            tracing::debug!(?step, "consumer assignment");
            if let Err(fault) = self.consumer.carry_out(step) {
                self.outbox.push_control(SourceEvent::Fatal(Stop::internal(format!(
                    "the Kafka client refuses a change of the assignment ({step:?}): {fault}"
                ))));
            }
        }
        self.handles.clear();
        self.last = None;
        let assignment = &self.assignment;
        self.outbox.retain_data(|partition, epoch| assignment.is_current(partition, epoch));
        for event in outcome.tell {
            self.outbox.push_control(event);
        }
    }

    fn close(&mut self) {
        if self.closing.is_some() {
            return;
        }
        self.closing = Some(Instant::now());
        if let Some(commit) = self.mirror.last() {
            self.consumer.commit(&commit);
        }
        let outcome = self.assignment.close();
        if let Err(fault) = self.consumer.close() {
            tracing::warn!("the consumer can't leave its group in order: {fault}");
        }
        self.carry_out(outcome);
    }

    fn mirror_next(&mut self) {
        if let Some(commit) = self.mirror.next() {
            tracing::debug!(offsets = mirror::shown(&commit.0), metadata = commit.1, "mirroring group offsets");
            self.consumer.commit(&commit);
        }
    }

    // ---------------------------------------------------------------------------------------------------------- Events

    fn probe(&mut self) {
        while let Ok(answer) = self.probe_answers.1.try_recv() {
            let told = self.availability.on_probe(answer, Instant::now());
            self.tell(told);
        }
        if self.availability.probe_due(Instant::now()) {
            self.consumer.probe(PROBE_TIMEOUT, self.probe_answers.0.clone());
        }
    }

    fn relieve(&mut self) {
        let bytes = self.outbox.bytes();
        let outcome = match self.pressure.on_bytes(bytes, Instant::now()) {
            Some(Change::Pause) => self.assignment.set_backpressure(true),
            Some(Change::Resume) => self.assignment.set_backpressure(false),
            None => return,
        };
        tracing::debug!(bytes, steps = ?outcome.steps, "consumer backpressure");
        self.carry_out(outcome);
    }

    fn burst(&mut self) {
        if self.pressure.is_trickling() {
            std::thread::park_timeout(TRICKLE);
            self.poll(Duration::ZERO);
        } else if self.poll(IDLE_WAIT) {
            let mut rows = 1;
            while rows < BURST_ROWS && self.poll(Duration::ZERO) {
                rows += 1;
            }
        }
        self.seal_all();
    }

    /// Was there an event?
    fn poll(&mut self, timeout: Duration) -> bool {
        // Borrowed apart from `self`: a record lives in the consumer's memory while it is copied.
        let consumer = self.consumer.clone();
        match consumer.poll(timeout) {
            Polled::Nothing => return false,
            Polled::Fetched(fetched) => self.on_record(&fetched),
            Polled::EndOfPartition { partition, offset } => self.on_end(partition, offset),
            Polled::Rebalance(rebalance) => self.on_rebalance(rebalance),
            Polled::Committed(result) => self.on_committed(result),
            Polled::Fault { fault, place } => self.on_fault(fault, place),
            Polled::LogLine { level, facility, line } => library_line(&mut self.limit, level, &facility, &line),
            Polled::Other => {}
        }
        true
    }

    fn on_record(&mut self, fetched: &Fetched<'_>) {
        let Some(slot) = self.slot_of(fetched) else { return };
        let Some(epoch) = self.assignment.slot(slot).admit_record(fetched.offset()) else { return };
        let told = self.availability.on_read();
        self.tell(told);
        let record: Record<'_> = fetched.record();
        if let Some(full) = self.chunks.push(slot, record) {
            self.send_chunk(slot, epoch, full);
        }
    }

    fn slot_of(&mut self, fetched: &Fetched<'_>) -> Option<usize> {
        let handle = fetched.handle();
        if let Some((last, slot)) = self.last
            && last == handle
        {
            return Some(slot);
        }
        let slot = match self.handles.get(&handle) {
            Some(slot) => *slot,
            None => {
                let slot = self.assignment.slot_of(&fetched.partition())?;
                self.handles.insert(handle, slot);
                slot
            }
        };
        self.last = Some((handle, slot));
        Some(slot)
    }

    fn on_end(&mut self, partition: TopicPartition, offset: Offset) {
        let Some(slot) = self.assignment.slot_of(&partition) else { return };
        let Some(epoch) = self.assignment.slot(slot).admit_end(offset) else { return };
        let told = self.availability.on_read();
        self.tell(told);
        if let Some(chunk) = self.chunks.seal(slot) {
            self.send_chunk(slot, epoch, chunk);
        }
        self.outbox.push_data(SourceEvent::EndOfPartition { partition, epoch, offset });
    }

    fn on_rebalance(&mut self, rebalance: Rebalance) {
        self.seal_all();
        tracing::debug!(?rebalance, "group rebalance");
        let told = self.availability.on_rebalance();
        self.tell(told);
        let outcome = if self.closing.is_some() {
            self.outbox.retain_data(|_, _| false);
            Outcome { steps: vec![super::assignment::Step::Clear], tell: Vec::new() }
        } else {
            self.assignment.on_rebalance(rebalance, self.consumer.protocol())
        };
        self.carry_out(outcome);
    }

    fn on_committed(&mut self, result: Result<(), Fault>) {
        self.mirror.answered();
        match result {
            Ok(()) => {
                crash_point::pass(Point::MirrorAcknowledged);
                tracing::debug!("group offsets mirrored");
            }
            // An empty list, or all offsets as they were.
            Err(fault) if fault.code.is(RDKafkaErrorCode::NoOffset) => {}
            Err(fault) => {
                if let Some(held_back) = self.limit.pass("mirror", Instant::now()) {
                    tracing::warn!(held_back, "group offsets not mirrored (the table's are not affected): {fault}");
                }
            }
        }
    }

    fn on_fault(&mut self, fault: Fault, place: Option<(TopicPartition, Offset)>) {
        if let (Some((partition, offset)), true) = (&place, fault.code.is(RDKafkaErrorCode::AutoOffsetReset)) {
            return self.on_out_of_range(partition.clone(), *offset, fault);
        }
        let told = self.availability.on_trouble(classify(&fault), Instant::now());
        self.tell(told);
        let key =
            format!("{} {}", fault.code.0, place.as_ref().map(|(partition, _)| partition.to_string()).unwrap_or_default());
        if let Some(held_back) = self.limit.pass(&key, Instant::now()) {
            let partition = place.map(|(partition, _)| partition.to_string());
            tracing::warn!(partition, code = fault.code.0, held_back, "kafka: {fault}");
        }
    }

    fn on_out_of_range(&mut self, partition: TopicPartition, offset: Offset, fault: Fault) {
        let Some(slot) = self.assignment.slot_of(&partition) else { return };
        match self.assignment.slot(slot).out_of_range(offset) {
            OutOfRange::Nothing => {}
            OutOfRange::Real(epoch) => {
                if let Some(chunk) = self.chunks.seal(slot) {
                    self.send_chunk(slot, epoch, chunk);
                }
                let reason = format!("offset {offset}: {fault}");
                self.outbox.push_data(SourceEvent::OutOfRange { partition, epoch, reason });
            }
            OutOfRange::Stale => {
                self.seal_all();
                tracing::debug!(%partition, offset, "fetch ended by an earlier position: started again");
                let outcome = self.assignment.restart(slot, self.consumer.protocol());
                self.carry_out(outcome);
            }
        }
    }

    fn tell(&mut self, event: Option<SourceEvent>) {
        if let Some(event) = event {
            self.outbox.push_control(event);
        }
    }

    fn seal_all(&mut self) {
        for (slot, chunk) in self.chunks.seal_all() {
            // Records are admitted only while the partition is read, and the assignment changes only between bursts.
            let reading = self.assignment.slot(slot).reading;
            let epoch = reading.expect("an open chunk belongs to a partition that is read").epoch;
            self.send_chunk(slot, epoch, chunk);
        }
    }

    fn send_chunk(&mut self, slot: usize, epoch: Epoch, chunk: RecordChunk) {
        let partition = self.assignment.slot(slot).partition.clone();
        self.outbox.push_data(SourceEvent::Records { partition, epoch, chunk });
    }
}
