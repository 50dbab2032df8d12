//! The duplicate scan over all live rows, in two passes that stay small: the first finds fingerprints that occur more
//! than once (8 bytes an id, split in shards), the second looks at those ids alone, as exact strings.

use std::collections::BTreeMap;

use super::files::written_by_sluice;
use super::finding::{Check, Findings, Place, Weight};
use super::key::{Key, Shard, fingerprint};
use crate::types::*;

/// What a live row counts as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LiveKey<'a> {
    pub message_id: &'a str,
    pub hour: EventHour,
}

/// Memory of the first pass for one row, the slack of a growing vector included.
pub const BYTES_PER_ROW: u64 = 16;

/// First pass: which ids may occur more than once. Each shard is a pass of its own over all rows.
#[derive(Clone, Debug, Default)]
pub struct SuspectScan {
    seen: Vec<u64>,
    suspects: Vec<u64>,
}

impl SuspectScan {
    pub fn row(&mut self, shard: Shard, key: &LiveKey<'_>) {
        let print = fingerprint(key.message_id);
        if shard.holds(print) {
            self.seen.push(print);
        }
    }

    /// Between two shards.
    pub fn end_shard(&mut self) {
        self.seen.sort_unstable();
        let again = self.seen.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]);
        self.suspects.extend(again);
        self.suspects.dedup();
        self.seen.clear();
    }

    /// The second pass, over all rows once more; none where nothing is suspect.
    pub fn into_exact(mut self) -> Option<ExactScan> {
        self.suspects.sort_unstable();
        (!self.suspects.is_empty()).then(|| ExactScan { suspects: self.suspects, found: BTreeMap::new() })
    }
}

/// Second pass: the suspects, exactly.
#[derive(Clone, Debug)]
pub struct ExactScan {
    /// Ascending.
    suspects: Vec<u64>,
    found: BTreeMap<Key, BTreeMap<EventHour, Vec<FilePath>>>,
}

impl ExactScan {
    pub fn row(&mut self, file: &FilePath, key: &LiveKey<'_>) {
        if self.suspects.binary_search(&fingerprint(key.message_id)).is_ok() {
            let hours = self.found.entry(Key::of(key.message_id)).or_default();
            hours.entry(key.hour).or_default().push(file.clone());
        }
    }

    pub fn end(self, findings: &mut Findings) {
        for (id, hours) in self.found {
            for (hour, files) in hours.iter().filter(|(_, files)| files.len() > 1) {
                judge_pair(&id, *hour, files, findings);
            }
            if hours.len() > 1 {
                let listed: Vec<String> = hours.keys().map(ToString::to_string).collect();
                let place = Place { message_id: Some(id.to_string()), ..Place::default() };
                let text = format!("{id} was sent again under another hour: {}", listed.join(", "));
                findings.unprovable(Check::ResentElsewhere, place, text);
            }
        }
    }
}

fn judge_pair(id: &Key, hour: EventHour, files: &[FilePath], findings: &mut Findings) {
    let own = files.iter().any(|file| written_by_sluice(file));
    let weight = if own { Weight::Violation } else { Weight::Unprovable };
    let mut distinct: Vec<&str> = files.iter().map(|f| &**f).collect();
    distinct.dedup();
    let text = format!("{id} is in {hour} {} times, in {}", files.len(), distinct.join(" and "));
    let place =
        Place { message_id: Some(id.to_string()), hour: Some(hour), file: files.first().cloned(), ..Place::default() };
    findings.add(weight, Check::Duplicate, place, text);
}
