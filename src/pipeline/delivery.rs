//! What the consumer delivers: events of the group go to the core, records are decoded and judged in turn.

use std::time::Duration;

use futures::FutureExt;

use crate::core::instance::*;
use crate::core::planted::{Bug, planted};
use crate::crash_point::{self, Point};
use crate::decode::{PlanSet, schema_ids};
use crate::pipeline::effects::Done;
use crate::pipeline::inbox::Delivered;
use crate::pipeline::intake::{JUDGED_AT_ONCE, Rules, take_in};
use crate::pipeline::{End, INBOX_MAX, Pipeline, Resolved};
use crate::ports::*;
use crate::types::*;

/// Chunks judged before other events get their turn.
const CHUNKS_A_TURN: usize = 8;

impl Pipeline {
    pub(super) fn source_event(&mut self, event: SourceEvent) {
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
                crash_point::pass(Point::RevokeTold);
                self.reporter.revoked(&partitions, lost);
                for partition in &partitions {
                    self.inbox.forget(partition);
                }
                self.feed(Event::Revoked { partitions: partitions.into_iter().collect(), lost });
            }
            SourceEvent::Down(down) => self.ports.health.down(&down),
            SourceEvent::Up => self.ports.health.up("kafka"),
            SourceEvent::Fatal(stop) => self.end = Some(Err(stop)),
            SourceEvent::Closed => {
                crash_point::pass(Point::GroupLeft);
                self.end = self.end.take().or(Some(Ok(End::Done)));
            }
        }
    }

    pub(super) fn pause_or_resume(&mut self) {
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

    pub(super) fn check_log(&mut self, partition: TopicPartition, epoch: Epoch) {
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

    pub(super) fn can_judge(&self) -> bool {
        self.inbox.has_ready() && !self.core.is_full()
    }

    pub(super) fn judge_some(&mut self) {
        for _ in 0..CHUNKS_A_TURN {
            self.core.open_bytes(self.open.bytes());
            if self.core.is_full() {
                self.feed(Event::Tick);
                return;
            }
            let Some((partition, epoch, delivered)) = self.inbox.pop() else { return };
            match delivered {
                Delivered::EndOfPartition(offset) => self.end_of_partition(partition, epoch, offset),
                Delivered::Records(chunk) => self.judge_chunk(partition, epoch, chunk),
            }
        }
    }

    /// The event's own offset counts: any that is asked for now may lie behind records that weren't delivered yet.
    fn end_of_partition(&mut self, partition: TopicPartition, epoch: Epoch, offset: Offset) {
        if !planted(Bug::LogEndIsPosition) {
            return self.feed(Event::EndOfPartition { partition, epoch, offset });
        }
        let ports = self.ports.clone();
        self.tasks.spawn(async move {
            match ports.log_edges(vec![partition.clone()], true).await {
                Ok(ends) => Done::Event(Event::EndOfPartition { offset: ends[&partition], partition, epoch }),
                Err(stop) => Done::Stop(stop),
            }
        });
    }

    fn is_current(&self, partition: &TopicPartition, epoch: Epoch) -> bool {
        self.core.owned().get(partition).is_some_and(|o| o.epoch == epoch && o.position.is_some())
    }

    pub(super) fn judge_chunk(&mut self, partition: TopicPartition, epoch: Epoch, chunk: RecordChunk) {
        if !self.is_current(&partition, epoch) {
            return;
        }
        let ids = schema_ids(&chunk);
        let plans = self.plans.clone();
        let mut resolve = Box::pin(async move { plans.resolve(&ids).await });
        match resolve.as_mut().now_or_never() {
            Some(Ok(plans)) => self.judge_with(partition, epoch, chunk, &plans),
            Some(Err(error)) => self.wait_for_schema(partition, epoch, chunk, error),
            None => {
                self.inbox.block(&partition, epoch);
                self.resolving.spawn(async move {
                    let plans = resolve.await;
                    (partition, epoch, chunk, plans)
                });
            }
        }
    }

    pub(super) fn judge_with(&mut self, partition: TopicPartition, epoch: Epoch, chunk: RecordChunk, plans: &PlanSet) {
        let rules = Rules {
            bounds: self.options.bounds,
            late: self.options.late,
            wall_ms: self.ports.clock.wall_ms(),
            now_ms: self.now(),
        };
        #[cfg(feature = "planted-bugs")]
        self.core.host_clock(rules.wall_ms);
        let mut from = 0;
        while from < chunk.frames.len() {
            let to = chunk.frames.len().min(from + JUDGED_AT_ONCE);
            let range = from..to;
            crash_point::pass(Point::RecordsJudging);
            let looked_up = take_in(&mut self.core, &mut self.open, plans, rules, &partition, epoch, &chunk, range);
            let Some(looked_up) = looked_up else { return };
            crash_point::pass(Point::RecordsJudged);
            self.reporter.looked_up(looked_up);
            from = to;
        }
    }

    pub(super) fn resolved(&mut self, (partition, epoch, chunk, plans): Resolved) {
        self.inbox.unblock(&partition, epoch);
        match plans {
            // another chunk of the partition may be the one that waits now
            _ if !self.is_current(&partition, epoch) => {}
            Ok(plans) => {
                self.ports.health.up("schema registry");
                self.judge_with(partition, epoch, chunk, &plans);
            }
            Err(error) => self.wait_for_schema(partition, epoch, chunk, error),
        }
    }

    /// The registry doesn't answer: the partition waits, all others go on.
    pub(super) fn wait_for_schema(&mut self, partition: TopicPartition, epoch: Epoch, chunk: RecordChunk, error: PortError) {
        match error {
            PortError::Stop(stop) => self.end = Some(Err(stop)),
            PortError::Down(down) => {
                self.ports.health.down(&down);
                self.inbox.block(&partition, epoch);
                let (plans, ids) = (self.plans.clone(), schema_ids(&chunk));
                self.resolving.spawn(async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    let resolved = plans.resolve(&ids).await;
                    (partition, epoch, chunk, resolved)
                });
            }
        }
    }
}
