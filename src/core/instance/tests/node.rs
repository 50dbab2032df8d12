//! One instance in the world, and what is on its way to and from it.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{Key, LANE};
use crate::core::breaker::BreakerRules;
use crate::core::event_time::{EventTimeRules, LatePolicy};
use crate::core::instance::*;
use crate::core::roll::RollRules;
use crate::error::Stop;
use crate::types::*;

/// One instance and what it has asked for.
pub struct Node {
    pub core: Instance,
    pub incarnation: u64,
    pub assigned: BTreeSet<TopicPartition>,
    /// Where its consumer reads: epoch and next offset.
    pub reading: BTreeMap<TopicPartition, (Epoch, Offset)>,
    /// Effects that were asked for and not yet carried out.
    pub asked: Vec<Effect>,
    /// Events on their way to it.
    pub coming: Vec<Event>,
    pub rows: BTreeMap<BatchNumber, Vec<Key>>,
    pub taken_out: BTreeMap<BatchNumber, BTreeSet<Key>>,
    pub stopped: Option<Stop>,
}

pub fn settings(nonce: u128, topics: &[&str], late: LatePolicy) -> Settings {
    Settings {
        lane: LANE.into(),
        topics: topics.iter().map(|t| Topic::from(*t)).collect(),
        start: Start::Earliest,
        event_time: EventTimeRules { watermark_delay: 0, late, idle_timeout_ms: 1_000_000 },
        roll: RollRules {
            commit_interval_ms: 1_000,
            idle_commit_interval_ms: 5_000,
            batch_rows_max: 1_000,
            batch_bytes_max: u64::MAX,
        },
        breaker: BreakerRules { rate_max: 1.0, rate_min: 1 },
        answer_within_ms: 30_000,
        hot_bytes_max: 1 << 20,
        nonce: nonce << 32,
    }
}

impl Node {
    pub fn new(settings: Settings, incarnation: u64) -> Self {
        Self {
            core: Instance::new(settings),
            incarnation,
            assigned: BTreeSet::new(),
            reading: BTreeMap::new(),
            asked: Vec::new(),
            coming: Vec::new(),
            rows: BTreeMap::new(),
            taken_out: BTreeMap::new(),
            stopped: None,
        }
    }

    pub fn hours(&self, batch: BatchNumber) -> BTreeSet<EventHour> {
        self.rows.get(&batch).into_iter().flatten().map(|k| k.0).collect()
    }
}
