//! The live files: there, readable, with the rows that the manifest promises, each in the hour of its partition.

use super::duplicates::LiveKey;
use super::finding::{Check, Findings, Place, Weight};
use crate::types::*;

/// A data file as the manifest lists it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileFacts {
    pub path: FilePath,
    /// None for a file of another partition spec.
    pub hour: Option<EventHour>,
    /// `record_count` of the manifest.
    pub rows: u64,
    /// Whether delete files apply to it: fewer rows are live than there are.
    pub deletes: bool,
}

/// Sluice's own data files begin so.
const OWN_PREFIX: &str = "sluice-";

pub fn written_by_sluice(path: &str) -> bool {
    path.rsplit('/').next().unwrap_or(path).starts_with(OWN_PREFIX)
}

/// Why a live file gave no rows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FileLoss {
    Missing,
    Unreadable(String),
    /// A delete file or format that this build can't apply: what readers see is unknown.
    Unsupported(String),
}

pub fn judge_loss(facts: &FileFacts, loss: &FileLoss, findings: &mut Findings) {
    let place = Place { file: Some(facts.path.clone()), hour: facts.hour, ..Place::default() };
    match loss {
        FileLoss::Missing => {
            let text = format!("{} is live with {} rows and does not exist", facts.path, facts.rows);
            findings.violation(Check::FileMissing, place, text);
        }
        FileLoss::Unreadable(why) => findings.violation(Check::FileUnreadable, place, why.clone()),
        FileLoss::Unsupported(why) => findings.unprovable(Check::FileUnreadable, place, why.clone()),
    }
}

/// A live row as a reader sees it, delete files applied. None is a null.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LiveRow<'a> {
    pub message_id: Option<&'a str>,
    pub event_time: Option<Micros>,
    /// Days since 1970-01-01.
    pub exchange_date: Option<i32>,
    pub exchange_hour: Option<i32>,
}

impl<'a> LiveRow<'a> {
    /// What counts for deduplication; none for a row without id or time.
    pub fn key(&self) -> Option<LiveKey<'a>> {
        Some(LiveKey { message_id: self.message_id?, hour: EventHour::of(self.event_time?) })
    }
}

/// The rows of one file on their way past.
#[derive(Debug)]
pub struct LiveRows<'a> {
    facts: &'a FileFacts,
    live: u64,
    nulls: u64,
    elsewhere: u64,
    underived: u64,
}

impl<'a> LiveRows<'a> {
    pub fn of(facts: &'a FileFacts) -> Self {
        Self { facts, live: 0, nulls: 0, elsewhere: 0, underived: 0 }
    }

    pub fn row(&mut self, row: &LiveRow<'_>) {
        self.live += 1;
        let own = row.message_id.is_some_and(|id| !id.is_empty());
        let Some(time) = row.event_time.filter(|_| own) else {
            self.nulls += 1;
            return;
        };
        let hour = EventHour::of(time);
        self.elsewhere += u64::from(self.facts.hour.is_some_and(|h| h != hour));
        let derived = (Some(days(time)), Some(hour_of_day(time)));
        self.underived += u64::from((row.exchange_date, row.exchange_hour) != derived);
    }

    /// `physical`: rows in the file whatever delete files say, where it is known from its footer.
    pub fn end(self, physical: Option<u64>, findings: &mut Findings) -> u64 {
        let facts = self.facts;
        let place = || Place { file: Some(facts.path.clone()), hour: facts.hour, ..Place::default() };
        let stored = physical.or((!facts.deletes).then_some(self.live));
        if let Some(stored) = stored.filter(|stored| *stored != facts.rows) {
            let text = format!("{} holds {stored} rows, the manifest says {}", facts.path, facts.rows);
            findings.violation(Check::FileRows, place(), text);
        }
        if self.elsewhere > 0 {
            let text = format!("{} rows of {} lie outside the UTC hour of its partition", self.elsewhere, facts.path);
            findings.violation(Check::RowHour, place(), text);
        }
        // Other engines may leave a column empty or fill it by another clock: that breaks no promise of Sluice's.
        let weight = if written_by_sluice(&facts.path) { Weight::Violation } else { Weight::Unprovable };
        if self.underived > 0 {
            let text = format!(
                "{} rows of {} have another exchange_date or exchange_hour than their time gives",
                self.underived, facts.path
            );
            findings.add(weight, Check::DerivedColumns, place(), text);
        }
        if self.nulls > 0 {
            let text = format!("{} rows of {} have no message_id or no timestamp", self.nulls, facts.path);
            findings.add(weight, Check::NullKey, place(), text);
        }
        self.live
    }
}

/// Derived here once more, by division alone.
fn days(time: Micros) -> i32 {
    time.div_euclid(86_400_000_000) as i32
}

fn hour_of_day(time: Micros) -> i32 {
    (time.rem_euclid(86_400_000_000) / 3_600_000_000) as i32
}

/// The rows that are live, delete files aside, against the sum of the history.
pub fn judge_balance(expected: Option<u64>, files: &[FileFacts], foreign_removal: bool, findings: &mut Findings) {
    let listed: u64 = files.iter().map(|f| f.rows).sum();
    if let Some(expected) = expected.filter(|expected| *expected != listed) {
        let weight = if foreign_removal { Weight::Unprovable } else { Weight::Violation };
        let text = format!("the live files hold {listed} rows, the history added and removed {expected}");
        findings.add(weight, Check::RowBalance, Place::default(), text);
    }
}
