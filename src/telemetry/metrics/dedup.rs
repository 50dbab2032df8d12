//! Deduplication: what is held in memory, and what answered the lookups.

use prometheus::{IntCounterVec, IntGauge};

use super::registry::Registered;
use super::signed;

pub struct Dedup {
    ids: IntGauge,
    bytes: IntGauge,
    lookups: IntCounterVec,
    loads: IntCounterVec,
}

/// `sluice_dedup_lookups_total{tier}`: what answered a lookup.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LookupTier {
    Hot,
    Sled,
    Bloom,
    Column,
}

impl LookupTier {
    const ALL: [Self; 4] = [Self::Hot, Self::Sled, Self::Bloom, Self::Column];

    fn label(self) -> &'static str {
        match self {
            Self::Hot => "hot",
            Self::Sled => "sled",
            Self::Bloom => "bloom",
            Self::Column => "column",
        }
    }
}

/// `sluice_dedup_loads_total{source}`: where the ids of a data file came from when it was covered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoadSource {
    Sled,
    Column,
}

impl LoadSource {
    const ALL: [Self; 2] = [Self::Sled, Self::Column];

    fn label(self) -> &'static str {
        match self {
            Self::Sled => "sled",
            Self::Column => "column",
        }
    }
}

impl Dedup {
    pub(super) fn new(r: &Registered) -> Dedup {
        let dedup = Dedup {
            ids: r.gauge("sluice_dedup_ids", "Ids of covered data files held in memory."),
            bytes: r.gauge("sluice_dedup_bytes", "Memory held by the ids of covered data files."),
            lookups: r.counters("sluice_dedup_lookups_total", "Lookups of ids by what answered them.", &["tier"]),
            loads: r.counters("sluice_dedup_loads_total", "Data files whose ids were loaded, by where from.", &["source"]),
        };
        for t in LookupTier::ALL {
            dedup.lookups.with_label_values(&[t.label()]);
        }
        for s in LoadSource::ALL {
            dedup.loads.with_label_values(&[s.label()]);
        }
        dedup
    }

    /// What the hot set holds now.
    pub fn hot(&self, ids: u64, bytes: u64) {
        self.ids.set(signed(ids));
        self.bytes.set(signed(bytes));
    }

    pub fn lookups(&self, tier: LookupTier, lookups: u64) {
        self.lookups.with_label_values(&[tier.label()]).inc_by(lookups);
    }

    /// One data file was covered.
    pub fn file_loaded(&self, source: LoadSource) {
        self.loads.with_label_values(&[source.label()]).inc();
    }
}
