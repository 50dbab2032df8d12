//! What Gold must hold after the demo, from the producer's ledger alone.

use std::collections::BTreeSet;
use std::path::Path;

use crate::cli::produce::ledger;
use crate::error::Stop;
use crate::types::{EventHour, MessageId};

/// Late records are admitted in the demo: every trade has its row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Expectation {
    pub records: u64,
    /// Different (message_id, event hour): rows.
    pub trades: u64,
    /// Records whose trade another record carries too.
    pub duplicates: u64,
    /// Dead letters.
    pub malformed: u64,
}

impl Expectation {
    pub fn of_ledger(path: &Path) -> Result<Self, Stop> {
        let unreadable =
            |error: std::io::Error| Stop::internal(format!("the ledger {} can't be read: {error}", path.display()));
        let mut expectation = Self::default();
        let mut trades: BTreeSet<(MessageId, EventHour)> = BTreeSet::new();
        for entry in ledger::read(path).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            expectation.records += 1;
            if entry.row.is_none() {
                expectation.malformed += 1;
            } else if !trades.insert((MessageId::of(&entry.message_id), EventHour::of(entry.event_time))) {
                expectation.duplicates += 1;
            }
        }
        expectation.trades = trades.len() as u64;
        Ok(expectation)
    }
}

/// What the table itself says: counts of the lane and rows that a reader sees.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Gold {
    pub rows: u64,
    pub written: u64,
    pub duplicate: u64,
    pub late: u64,
    pub dead_lettered: u64,
    pub snapshots: u64,
    /// Path of the table's newest metadata, for engines that open it without a catalog.
    pub metadata_location: String,
    /// What `verify` found, one line each; empty when every promise holds.
    pub violations: Vec<String>,
}

impl Expectation {
    /// Every way in which the table differs; empty when it is right.
    pub fn differences(&self, gold: &Gold) -> Vec<String> {
        let mut differences = gold.violations.clone();
        for (what, expected, found) in [
            ("rows", self.trades, gold.rows),
            ("records written", self.trades, gold.written),
            ("duplicates", self.duplicates, gold.duplicate),
            ("late records left out", 0, gold.late),
            ("dead letters", self.malformed, gold.dead_lettered),
        ] {
            if expected != found {
                differences.push(format!("{what}: {expected} by the ledger, {found} in Gold"));
            }
        }
        differences
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_count_once_and_every_difference_is_told() {
        let line = |number: u64, id: &str, time: i64, row: &str| {
            format!(
                r#"{{"number":{number},"topic":"t","partition":0,"offset":{number},"timestamp_ms":0,"kind":"fresh","of":null,"message_id":"{id}","event_time":{time},"schema":"plain","schema_id":1,"aborted":false,"row":{row}}}"#
            )
        };
        let hour = 3_600_000_000;
        let file = tempfile::NamedTempFile::new().unwrap();
        let lines = [line(0, "a", 5, "{}"), line(1, "a", 6, "{}"), line(2, "a", hour, "{}"), line(3, "b", 5, "null")];
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        let expectation = Expectation::of_ledger(file.path()).unwrap();
        assert_eq!(expectation, Expectation { records: 4, trades: 2, duplicates: 1, malformed: 1 });
        let right = Gold { rows: 2, written: 2, duplicate: 1, dead_lettered: 1, ..Gold::default() };
        assert_eq!(expectation.differences(&right), Vec::<String>::new());
        let wrong = Gold { rows: 3, violations: vec!["range-gap".into()], ..right };
        assert_eq!(expectation.differences(&wrong), ["range-gap", "rows: 2 by the ledger, 3 in Gold"]);
    }
}
