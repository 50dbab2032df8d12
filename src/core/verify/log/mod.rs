//! `--deep`: the Kafka log read again, every record decoded afresh and compared with Gold.
//!
//! A fold of its own decides what must be there. It knows nothing of coverage, batches or probes: a record below the
//! table's offset whose (message_id, event hour) is not in Gold must be late or dead-lettered by the counts of its own
//! commit, a row must equal one of its records, and a row of Sluice's without any record is one too many. Which records
//! of a commit were late and which were duplicates of late ones isn't told apart.
//!
//! Use: [`LogAudit::new`], then for every shard `begin`, all `gold` rows, all records of every [`ReadRange`] in offset
//! order followed by `range_end`, `end_shard`; at last `end`.

mod commits;
mod passes;

use std::collections::BTreeMap;

use commits::Commits;
use passes::{Pass, Standing};

use super::files::written_by_sluice;
use super::finding::{Check, Findings, Place, Weight};
use super::key::{HourKey, Key, RowPrint, Shard, fingerprint};
use super::lineage::Lineage;
use crate::types::*;

/// Memory of the audit for one row of Gold, slack of the tree included.
pub const BYTES_PER_ROW: u64 = 160;

/// What Kafka says of a partition now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogState {
    pub start: Offset,
    /// Last stable offset.
    pub stable_end: Offset,
    /// None where the broker knows none.
    pub topic_id: Option<TopicId>,
    /// Records may have been removed from the middle of the log.
    pub compacted: bool,
}

/// The Kafka that is read. Partitions that don't exist any more are absent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Kafka {
    pub cluster_id: Option<String>,
    pub partitions: BTreeMap<TopicPartition, LogState>,
}

/// A half-open range of the log to be read once per shard, under read_committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReadRange {
    pub partition: TopicPartition,
    pub start: Offset,
    pub end: Offset,
}

/// One record of the log, decoded as the service would.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogEvent<'a> {
    Decoded { message_id: &'a str, event_time: Micros, print: RowPrint },
    Malformed,
}

/// One live row of Gold, delete files applied. Rows without id or time are left out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GoldRow<'a> {
    pub message_id: &'a str,
    pub event_time: Micros,
    pub print: RowPrint,
}

#[derive(Clone, Debug)]
struct GoldEntry {
    print: RowPrint,
    file: u32,
    matched: bool,
    equal: bool,
}

/// Where a record is that has no row.
#[derive(Clone, Copy, Debug)]
struct Absence {
    partition: usize,
    offset: Offset,
    commit: usize,
    late: bool,
}

/// The differing columns of the record that comes nearest to a row.
#[derive(Clone, Debug)]
struct Mismatch {
    partition: usize,
    offset: Offset,
    columns: Vec<&'static str>,
}

struct Partition {
    partition: TopicPartition,
    range: ReadRange,
    passes: Vec<Pass>,
    ended: bool,
}

pub struct LogAudit {
    partitions: Vec<Partition>,
    commits: Commits,
    shard: Shard,
    files: Vec<FilePath>,
    gold: BTreeMap<HourKey, GoldEntry>,
    mismatches: BTreeMap<HourKey, Mismatch>,
    absent: BTreeMap<HourKey, Vec<Absence>>,
    /// Absent records from before the known history.
    absent_before: u64,
    records: u64,
    /// Position of the newest snapshot in which another engine took rows away.
    foreign_removal: Option<usize>,
    /// Why the record of a row may be out of sight although nothing is wrong.
    excuse: Option<&'static str>,
    /// Whether every lane that ever wrote is known.
    complete: bool,
}

impl LogAudit {
    /// `delay`: `watermark_delay` for commits whose summary doesn't tell it.
    pub fn new(lineage: &Lineage, kafka: &Kafka, delay: Micros, findings: &mut Findings) -> Self {
        let plan = passes::plan(lineage, kafka, delay, findings);
        let excuse = match () {
            () if lineage.redriven > 0 => Some("rows were redriven from repaired letters or replayed"),
            () if plan.compacted => Some("records may have been compacted away"),
            () if plan.incomplete => Some("the log doesn't reach back far enough"),
            () => None,
        };
        let partitions = plan.passes.into_iter().map(|(partition, passes)| {
            let start = passes.iter().map(|p| p.start).min().unwrap_or(0);
            let end = passes.iter().map(|p| p.end).max().unwrap_or(0);
            let range = ReadRange { partition: partition.clone(), start, end };
            Partition { partition, range, passes, ended: false }
        });
        Self {
            partitions: partitions.collect(),
            commits: plan.commits,
            shard: Shard::WHOLE,
            files: Vec::new(),
            gold: BTreeMap::new(),
            mismatches: BTreeMap::new(),
            absent: BTreeMap::new(),
            absent_before: 0,
            records: 0,
            foreign_removal: lineage.foreign_removal,
            excuse,
            complete: lineage.complete,
        }
    }

    /// What to read, the same for every shard; the index is the one that `record` and `range_end` take.
    pub fn reads(&self) -> Vec<ReadRange> {
        self.partitions.iter().map(|p| p.range.clone()).collect()
    }

    /// Upper bound of the keys that may be held: for [`Shard::split`] with [`BYTES_PER_ROW`].
    pub fn keys_max(&self, live_rows: u64) -> u64 {
        let offsets = self.partitions.iter().map(|p| (p.range.end - p.range.start).max(0) as u64).sum();
        live_rows.max(offsets)
    }

    pub fn begin(&mut self, shard: Shard) {
        self.shard = shard;
        self.files.clear();
        for partition in &mut self.partitions {
            partition.ended = false;
            partition.passes.iter_mut().for_each(Pass::rewind);
        }
    }

    pub fn gold(&mut self, file: &FilePath, row: &GoldRow<'_>) {
        if !self.shard.holds(fingerprint(row.message_id)) {
            return;
        }
        if self.files.last() != Some(file) {
            self.files.push(file.clone());
        }
        let file = u32::try_from(self.files.len() - 1).expect("fewer than 4 billion files");
        let key = (Key::of(row.message_id), EventHour::of(row.event_time));
        // A second row of one key is the duplicate scan's finding.
        self.gold.entry(key).or_insert(GoldEntry { print: row.print, file, matched: false, equal: false });
    }

    /// A record of range `index`, in offset order. Offsets outside the range are passed over.
    pub fn record(&mut self, index: usize, offset: Offset, event: &LogEvent<'_>) {
        let first = self.shard.first();
        self.records += u64::from(first);
        let mut key = None;
        for at in 0..self.partitions[index].passes.len() {
            let commits = &mut self.commits;
            let Some(standing) = self.partitions[index].passes[at].meet(index, offset, event, commits, first) else {
                continue;
            };
            if let LogEvent::Decoded { message_id, event_time, print } = event {
                if !self.shard.holds(fingerprint(message_id)) {
                    continue;
                }
                let key = key.get_or_insert_with(|| (Key::of(message_id), EventHour::of(*event_time)));
                self.compare(index, offset, key, print, standing);
            }
        }
    }

    fn compare(&mut self, partition: usize, offset: Offset, key: &HourKey, print: &RowPrint, standing: Standing) {
        match (self.gold.get_mut(key), standing) {
            (Some(row), _) => {
                row.matched = true;
                if row.equal {
                    return;
                }
                row.equal = row.print == *print;
                if row.equal {
                    self.mismatches.remove(key);
                    return;
                }
                let columns = row.print.differences(print);
                let nearest = self.mismatches.get(key).is_none_or(|m| columns.len() < m.columns.len());
                if nearest {
                    self.mismatches.insert(key.clone(), Mismatch { partition, offset, columns });
                }
            }
            (None, Standing::BeforeHistory) => self.absent_before += 1,
            (None, Standing::Claimed { commit, late }) => {
                self.commits.absent(commit, late);
                // A late one needs no row; it is kept only where it shows that the key was once there.
                if !late || self.foreign_removal.is_some() {
                    let absences = self.absent.entry(key.clone()).or_default();
                    if absences.len() < 16 {
                        absences.push(Absence { partition, offset, commit, late });
                    }
                }
            }
        }
    }

    /// Every record of range `index` was given: `record` was called up to its end.
    pub fn range_end(&mut self, index: usize) {
        let first = self.shard.first();
        let partition = &mut self.partitions[index];
        partition.ended = true;
        for pass in &mut partition.passes {
            pass.finish(index, &mut self.commits, first);
        }
    }

    pub fn end_shard(&mut self, findings: &mut Findings) {
        for index in 0..self.partitions.len() {
            if !self.partitions[index].ended {
                self.unread(index, findings);
            }
        }
        self.judge_absent(findings);
        self.judge_gold(findings);
        self.gold.clear();
        self.mismatches.clear();
        self.absent.clear();
    }

    fn unread(&mut self, index: usize, findings: &mut Findings) {
        let Partition { range, passes, .. } = &self.partitions[index];
        for commit in passes.iter().flat_map(Pass::commits) {
            self.commits.incomplete(commit);
        }
        self.excuse.get_or_insert("part of the log could not be read");
        if self.shard.first() {
            let place = Place { partition: Some(range.partition.clone()), ..Place::default() };
            let text = format!("[{}, {}) of {} was not read to its end", range.start, range.end, range.partition);
            findings.unprovable(Check::LogUnread, place, text);
        }
    }

    fn judge_absent(&self, findings: &mut Findings) {
        for ((id, hour), absences) in &self.absent {
            let Some(on_time) = absences.iter().find(|a| !a.late) else { continue };
            let partition = &self.partitions[on_time.partition].partition;
            let place = Place {
                partition: Some(partition.clone()),
                offset: Some(on_time.offset),
                snapshot: Some(self.commits.snapshot(on_time.commit)),
                lane: Some(self.commits.lane(on_time.commit)),
                message_id: Some(id.to_string()),
                hour: Some(*hour),
                file: None,
            };
            let what = format!("{id} of {partition} offset {} has no row in {hour}", on_time.offset);
            let removed =
                self.foreign_removal.is_some_and(|at| absences.iter().any(|a| self.commits.position(a.commit) < at));
            if removed {
                findings.unprovable(Check::RowMissing, place, format!("{what}; another engine has removed rows since"));
            } else if self.commits.dead_surplus(on_time.commit) > 0 {
                findings.unprovable(
                    Check::RowMissing,
                    place,
                    format!("{what}; its commit dead-lettered records that decode now"),
                );
            } else {
                findings.violation(Check::RowMissing, place, format!("{what} and was neither late nor a dead letter"));
            }
        }
    }

    fn judge_gold(&self, findings: &mut Findings) {
        let wrong = self.gold.iter().filter(|(_, row)| !(row.matched && row.equal));
        let wrong = wrong.filter(|(_, row)| written_by_sluice(&self.files[row.file as usize]));
        // The record that a row stems from may be one that nobody can read any more.
        let weight = if self.excuse.is_some() { Weight::Unprovable } else { Weight::Violation };
        let excuse = self.excuse.map(|e| format!(" ({e})")).unwrap_or_default();
        for (key, row) in wrong {
            let (id, hour) = key;
            let file = &self.files[row.file as usize];
            let place =
                Place { message_id: Some(id.to_string()), hour: Some(*hour), file: Some(file.clone()), ..Place::default() };
            let Some(mismatch) = self.mismatches.get(key) else {
                let weight = if self.complete { weight } else { Weight::Unprovable };
                let text = format!("{id} of {hour}, in {file}, is in no record of the ranges that were read{excuse}");
                findings.add(weight, Check::RowExtra, place, text);
                continue;
            };
            let partition = &self.partitions[mismatch.partition].partition;
            let columns = mismatch.columns.join(", ");
            let text = format!("{id} of {hour} differs from {partition} offset {} in {columns}{excuse}", mismatch.offset);
            let place = Place { partition: Some(partition.clone()), offset: Some(mismatch.offset), ..place };
            findings.add(weight, Check::RowValue, place, text);
        }
    }

    /// Judges the counts of every commit. Returns how many records were read.
    pub fn end(self, findings: &mut Findings) -> u64 {
        let partitions: Vec<_> = self.partitions.iter().map(|p| p.partition.clone()).collect();
        self.commits.judge(&partitions, self.foreign_removal.is_some(), findings);
        if self.absent_before > 0 {
            let text = format!("{} records from before the known history have no row", self.absent_before);
            findings.unprovable(Check::RowMissing, Place::default(), text);
        }
        self.records
    }
}
