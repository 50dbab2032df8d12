//! The numbers under `/metrics` (INTERFACE: Metrics), by what they count. Methods take plain values.

mod commits;
mod dedup;
mod partitions;
mod records;
mod registry;

use prometheus::{IntCounterVec, IntGaugeVec, Registry, TextEncoder};

pub use commits::{CommitOutcome, CommitPhase, Commits};
pub use dedup::{Dedup, LoadSource, LookupTier};
pub use partitions::Partitions;
pub use records::{LateAction, Latency, Records, TopicCounts};
use registry::Registered;

/// All metrics of the process. One value per process, shared by reference.
pub struct Metrics {
    pub records: Records,
    pub partitions: Partitions,
    pub commits: Commits,
    pub dedup: Dedup,
    memory: IntGaugeVec,
    registry_requests: IntCounterVec,
    registry: Registry,
}

/// `sluice_registry_requests_total{outcome}`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RegistryOutcome {
    Known,
    NotFound,
    Failed,
}

impl RegistryOutcome {
    const ALL: [Self; 3] = [Self::Known, Self::NotFound, Self::Failed];

    fn label(self) -> &'static str {
        match self {
            Self::Known => "known",
            Self::NotFound => "not_found",
            Self::Failed => "failed",
        }
    }
}

impl Metrics {
    /// Registers everything, with the process's own figures; counters whose labels are known begin at 0.
    pub fn new(version: &str) -> Metrics {
        let r = Registered::new();
        let metrics = Metrics {
            records: Records::new(&r),
            partitions: Partitions::new(&r),
            commits: Commits::new(&r),
            dedup: Dedup::new(&r),
            memory: r.gauges("sluice_memory_bytes", "Memory by the part that holds it.", &["part"]),
            registry_requests: r.counters(
                "sluice_registry_requests_total",
                "Requests to the schema registry by outcome.",
                &["outcome"],
            ),
            registry: r.done(version),
        };
        for o in RegistryOutcome::ALL {
            metrics.registry_requests.with_label_values(&[o.label()]);
        }
        metrics
    }

    /// `part`: a stable short name (`state::memory::Part::name`).
    pub fn memory(&self, part: &'static str, bytes: u64) {
        self.memory.with_label_values(&[part]).set(signed(bytes));
    }

    pub fn registry_request(&self, outcome: RegistryOutcome) {
        self.registry_requests.with_label_values(&[outcome.label()]).inc();
    }

    /// The text format of Prometheus, version 0.0.4.
    pub fn exposition(&self) -> String {
        let families = self.registry.gather();
        TextEncoder::new().encode_to_string(&families).expect("every family has a name and series of one type")
    }
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
