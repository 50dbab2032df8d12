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
    /// Ids in memory: every record is looked up there when it is judged.
    Hot,
    /// The id cache had the ids of the file.
    Sled,
    /// Footer and bloom filters of the file said no.
    Bloom,
    /// The bloom filters couldn't say no: the file's message_id column was read.
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
            lookups: r.counters("sluice_dedup_lookups_total", "Lookups of one id, each once under the tier that answered it: hot (ids in memory, one lookup a record when it \
                 is judged); at the commit one lookup an id and data file that is not in memory: sled (the id cache), bloom \
                 (the file's bloom filters said no), column (the file's message_id column was read).", &["tier"]),
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
