//! The oracle: a fold over what was produced, by the promises alone.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::ledger::{Entry, Ledger, Partition, What};
use super::trade::{Draft, MINUTE};

/// `event_time.late`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Late {
    Admit,
    DeadLetter,
    Drop,
}

/// Late by the default `watermark_delay`.
const DELAY: i64 = 5 * MINUTE;

/// What the table must hold once every record of the ledger is below its offsets.
pub struct Expectation {
    /// By message_id and event hour: the drafts of which one must be the row.
    pub rows: HashMap<(String, i64), Vec<Draft>>,
    pub consumed: u64,
    /// Malformed records, by place and kind.
    pub malformed: BTreeMap<(Partition, i64), &'static str>,
    /// Late records under `dead-letter`: letters that must be there, and those that must be unless the record was judged a
    /// duplicate first.
    pub late_letters: BTreeSet<(Partition, i64)>,
    pub late_or_duplicate: BTreeSet<(Partition, i64)>,
}

impl Expectation {
    /// `starts`: where a partition was opened, when not at its first record.
    pub fn of(ledger: &mut Ledger, late: Late, starts: &BTreeMap<Partition, i64>) -> Self {
        let mut this = Self {
            rows: HashMap::new(),
            consumed: 0,
            malformed: BTreeMap::new(),
            late_letters: BTreeSet::new(),
            late_or_duplicate: BTreeSet::new(),
        };
        let mut late_records = Vec::new();
        for (partition, entries) in ledger.partitions() {
            let start = starts.get(partition).copied().unwrap_or(0);
            this.fold(partition, entries.iter().filter(|e| e.offset >= start), &mut late_records);
        }
        if late == Late::Admit {
            for (_, _, draft) in late_records {
                this.admit(draft);
            }
            return this;
        }
        for (partition, offset, draft) in late_records.iter().filter(|_| late == Late::DeadLetter) {
            let known = this.rows.contains_key(&(draft.id.to_string(), draft.hour()));
            let letters = if known { &mut this.late_or_duplicate } else { &mut this.late_letters };
            letters.insert((partition.clone(), *offset));
        }
        this
    }

    fn fold<'a>(
        &mut self,
        partition: &Partition,
        entries: impl Iterator<Item = &'a Entry>,
        late_records: &mut Vec<(Partition, i64, Draft)>,
    ) {
        let mut greatest = i64::MIN;
        for entry in entries {
            self.consumed += 1;
            match entry.what {
                What::Malformed(kind) => {
                    self.malformed.insert((partition.clone(), entry.offset), kind);
                }
                What::Trade(draft) => {
                    if greatest != i64::MIN && draft.time < greatest - DELAY {
                        late_records.push((partition.clone(), entry.offset, draft));
                    } else {
                        self.admit(draft);
                    }
                    greatest = greatest.max(draft.time);
                }
            }
        }
    }

    fn admit(&mut self, draft: Draft) {
        self.rows.entry((draft.id.to_string(), draft.hour())).or_default().push(draft);
    }
}
