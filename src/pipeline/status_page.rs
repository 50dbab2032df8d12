//! The status and the gauges, built anew every second from the instance and from what the reporter knows.

use crate::core::instance::*;
use crate::core::table::Lane;
use crate::pipeline::partitions::{Own, partition_status};
use crate::pipeline::report::{Progressing, Reporter};
use crate::state::memory::{Part, Pressure, pressure, release_freed};
use crate::telemetry::status::{Assignment, MemoryStatus, PartitionStatus};

/// How often the status is built anew.
const STATUS_EVERY_MS: u64 = 1_000;
/// Commits between two sweeps of the store.
const SWEEP_EVERY: u64 = 50;

impl Reporter {
    /// Called at every tick. Returns how many bytes the hot set may keep where memory runs short.
    pub fn beat(&mut self, core: &Instance, open_bytes: u64, inbox_bytes: u64, in_flight_bytes: u64) -> Option<usize> {
        let now_ms = self.ports.clock.monotonic_ms();
        self.telemetry.board.beat(now_ms);
        let account = &self.telemetry.account;
        account.set(Part::HotIds, core.coverage().bytes() as u64);
        account.set(Part::OpenBatch, open_bytes);
        account.set(Part::InFlight, in_flight_bytes);
        account.set(Part::KafkaBuffers, inbox_bytes);
        if self.last_status_ms != 0 && now_ms < self.last_status_ms + STATUS_EVERY_MS {
            return None;
        }
        self.last_status_ms = now_ms;
        self.publish(core);
        let held = self.telemetry.account.parts();
        let short = pressure(&held, (self.telemetry.resident)(), &self.telemetry.budget) >= Pressure::EvictHot;
        short.then(|| {
            release_freed();
            (held.get(Part::HotIds) / 4 * 3) as usize
        })
    }

    /// Every so many commits, files that the table no longer lists leave the store.
    pub fn sweep_is_due(&mut self) -> bool {
        let due = self.commits >= self.swept_at + SWEEP_EVERY;
        if due {
            self.swept_at = self.commits;
        }
        due
    }

    fn publish(&mut self, core: &Instance) {
        let metrics = &self.telemetry.metrics;
        let coverage = core.coverage();
        metrics.dedup.hot(coverage.ids() as u64, coverage.bytes() as u64);
        let parts = self.telemetry.account.parts();
        for (part, bytes) in parts.iter() {
            metrics.memory(part.name(), bytes);
        }
        metrics.partitions.owned(&core.owned().keys().cloned().collect());
        self.status.memory = MemoryStatus {
            memory_max: self.telemetry.budget.memory_max,
            resident: (self.telemetry.resident)(),
            parts: parts.iter().map(|(part, bytes)| (part.name(), bytes)).collect(),
        };
        self.status.dependencies = self.ports.health.status();
        self.status.assignment = match (core.owned().is_empty(), self.assignment) {
            (false, _) => Assignment::Assigned,
            (true, Assignment::Waiting) => Assignment::Waiting,
            (true, _) => Assignment::StandingBy,
        };
        self.status.partitions = self.partitions(core);
        self.telemetry.board.publish(self.status.clone());
    }

    /// Every partition of the lane and of its topics, whoever owns it.
    fn partitions(&mut self, core: &Instance) -> Vec<PartitionStatus> {
        let lane = self.lane.as_ref();
        let topics = self.names.topics.iter().cloned().chain(lane.into_iter().flat_map(Lane::topics)).collect();
        let kafka = self.standing.of(topics, core.owned().keys().cloned().collect());
        let wall_ms = self.ports.clock.wall_ms();
        let mut all = kafka.partitions.clone();
        all.extend(core.owned().keys().cloned());
        all.extend(lane.into_iter().flat_map(|l| l.partitions.keys().cloned()));
        let mut partitions = Vec::with_capacity(all.len());
        for partition in &all {
            let table = lane.and_then(|l| l.partitions.get(partition));
            let stable = kafka.edges.get(partition).map(|e| e.stable);
            let own = core.owned().get(partition).map(|owned| Own {
                client_id: &self.names.client_id,
                paused: self.paused || owned.position.is_none(),
                idle: owned.position.as_ref().is_some_and(|p| p.idle),
                oldest_ms: table.and_then(|t| self.timestamps.oldest_ms(partition, t.next_offset, stable, wall_ms)),
            });
            let status = partition_status(partition, &kafka, table, own, wall_ms);
            if let (Some(_), Some(_), Some(records)) = (own, table, status.lag_records) {
                self.telemetry.metrics.partitions.lag(partition, records, status.lag_seconds.unwrap_or(0.0));
            }
            partitions.push(status);
        }
        partitions
    }

    /// How long nothing moved although there is something to do and every dependency answers, in milliseconds.
    pub fn stalled_ms(&mut self, core: &Instance) -> u64 {
        let now_ms = self.ports.clock.monotonic_ms();
        let consumed = core.open_batch().1.counts.consumed();
        let commit = self.status.last_commit.as_ref().and_then(|c| c.commit_id.parse().ok());
        let mark = (consumed, commit);
        if mark != self.progress.mark || (core.is_drained() && core.is_placed()) || self.ports.health.any_down() {
            self.progress = Progressing { since_ms: now_ms, mark };
        }
        now_ms - self.progress.since_ms
    }

    pub fn stalled(&mut self, why: Option<String>) {
        self.status.stalled = why;
    }
}
