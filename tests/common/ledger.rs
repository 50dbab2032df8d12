//! What was produced, and where the broker put it.

use std::collections::BTreeMap;

use super::trade::Draft;

pub type Partition = (String, i32);

#[derive(Clone, Copy, Debug)]
pub enum What {
    Trade(Draft),
    /// A record that must become a dead letter; its kind by name.
    Malformed(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub offset: i64,
    pub what: What,
}

/// Records that a committed reader sees, by partition.
#[derive(Default)]
pub struct Ledger {
    entries: BTreeMap<Partition, Vec<Entry>>,
}

impl Ledger {
    pub fn add(&mut self, partition: Partition, entry: Entry) {
        self.entries.entry(partition).or_default().push(entry);
    }

    /// In log order.
    pub fn partitions(&mut self) -> &BTreeMap<Partition, Vec<Entry>> {
        for entries in self.entries.values_mut() {
            entries.sort_by_key(|e| e.offset);
            let unique = entries.windows(2).all(|w| w[0].offset < w[1].offset);
            assert!(unique, "the ledger has an offset twice");
        }
        &self.entries
    }
}
