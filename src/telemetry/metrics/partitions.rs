//! Partitions of this process: which it has, and how far behind it is in each.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prometheus::{GaugeVec, IntCounter, IntGauge, IntGaugeVec};

use super::registry::Registered;
use super::signed;
use crate::types::TopicPartition;

pub struct Partitions {
    lag_records: IntGaugeVec,
    lag_seconds: GaugeVec,
    assigned: IntGauge,
    paused: IntGauge,
    rebalances: IntCounter,
    /// Partitions whose lag is exported.
    exported: Mutex<BTreeSet<TopicPartition>>,
}

impl Partitions {
    pub(super) fn new(r: &Registered) -> Partitions {
        Partitions {
            lag_records: r.gauges(
                "sluice_lag_records",
                "Last stable offset less the table's offset, exported by the partition's owner.",
                &["topic", "partition"],
            ),
            lag_seconds: r.float_gauges(
                "sluice_lag_seconds",
                "Seconds since the broker timestamp of the first record that is not in the table, 0 when drained; until that \
                 record is delivered, since the lag was first seen.",
                &["topic", "partition"],
            ),
            assigned: r.gauge("sluice_assigned_partitions", "Partitions that the group assigned to this process."),
            paused: r.gauge("sluice_paused_partitions", "Assigned partitions that are not read from at the moment."),
            rebalances: r.counter("sluice_rebalances_total", "Assignments and revocations."),
            exported: Mutex::default(),
        }
    }

    /// Lag of a partition that this process owns.
    pub fn lag(&self, at: &TopicPartition, records: u64, seconds: f64) {
        let partition = at.partition.to_string();
        let labels = [at.topic.as_ref(), partition.as_str()];
        let mut exported = self.exported();
        self.lag_records.with_label_values(&labels).set(signed(records));
        self.lag_seconds.with_label_values(&labels).set(seconds);
        exported.insert(at.clone());
    }

    /// The partitions that this process owns now: the lag of all others is no longer exported.
    pub fn owned(&self, partitions: &BTreeSet<TopicPartition>) {
        self.assigned.set(signed(partitions.len() as u64));
        self.exported().retain(|at| {
            let owned = partitions.contains(at);
            if !owned {
                let partition = at.partition.to_string();
                let labels = [at.topic.as_ref(), partition.as_str()];
                // An error says that it is gone already, as wanted.
                let _ = self.lag_records.remove_label_values(&labels);
                let _ = self.lag_seconds.remove_label_values(&labels);
            }
            owned
        });
    }

    pub fn paused(&self, partitions: u64) {
        self.paused.set(signed(partitions));
    }

    pub fn rebalanced(&self) {
        self.rebalances.inc();
    }

    fn exported(&self) -> MutexGuard<'_, BTreeSet<TopicPartition>> {
        self.exported.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
