//! One commit's passage over the logs: what its ranges hold, by the truth.

use hashbrown::HashMap;

use super::Invariant::*;
use super::sets::{KeyNumber, KeySet, Keys};
use super::stated::{Fault, Tally};
use crate::core::event_time::LatePolicy;
use crate::sim::history::*;
use crate::types::*;

/// What a row must be that was made of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    pub key: KeyNumber,
    pub time: Micros,
}

pub(super) struct Pass<'a> {
    pub keys: &'a mut Keys,
    /// Keys that must be in the table from now on.
    pub owed: &'a mut KeySet,
    /// Records of which this commit may have made rows.
    pub origins: HashMap<Serial, Origin>,
    pub consumed: u64,
    pub malformed: u64,
    pub late: u64,
    /// Late records whose letter is acknowledged.
    pub late_letters: u64,
}

impl<'a> Pass<'a> {
    pub fn new(keys: &'a mut Keys, owed: &'a mut KeySet) -> Self {
        Self { keys, owed, origins: HashMap::new(), consumed: 0, malformed: 0, late: 0, late_letters: 0 }
    }

    /// Over one range, raising the partition's greatest event time. Says how many records it delivered.
    pub fn walk(
        &mut self,
        history: &History,
        partition: &TopicPartition,
        topic_id: Option<&str>,
        (start, end): (Offset, Offset),
        max: &mut Option<Micros>,
    ) -> Result<u64, Fault> {
        let log = find_log(history, partition, topic_id)?;
        let taken = log.truncated.last_key_value().map_or(0, |(last, _)| last + 1);
        if start < 0 || end > log.stable.max(taken) {
            let what = format!("the range [{start}, {end}) of {partition} is beyond what is stable, {}", log.stable);
            return Err((RangesContiguous, what));
        }
        self.origins.reserve((end - start) as usize);
        let mut records = 0;
        for offset in start..end {
            if let Some(Entry::Record(record)) = log.at(offset) {
                records += 1;
                self.pass(history, record, max)
                    .map_err(|(broken, what)| (broken, format!("{partition} at {offset}: {what}")))?;
            }
        }
        self.consumed += records;
        Ok(records)
    }

    fn pass(&mut self, history: &History, record: &Record, max: &mut Option<Micros>) -> Result<(), Fault> {
        let RecordKind::Trade { id, time } = &record.kind else {
            self.malformed += 1;
            return match history.letters.contains(&record.serial) {
                true => Ok(()),
                false => {
                    Err((LettersBeforeCommit, "a malformed record was passed before its letter was acknowledged".into()))
                }
            };
        };
        let late = max.is_some_and(|max| *time < max.saturating_sub(history.rules.watermark_delay));
        *max = (*max).max(Some(*time));
        if late && history.rules.late != LatePolicy::Admit {
            self.late += 1;
            self.late_letters += u64::from(history.letters.contains(&record.serial));
        } else {
            let key = self.keys.number((EventHour::of(*time), id.clone()));
            self.owed.insert(key);
            self.origins.insert(record.serial, Origin { key, time: *time });
        }
        Ok(())
    }

    /// A late record whose key was there already is a duplicate, so late ones are only bounded.
    pub fn judge_counts(&self, history: &History, counts: &Tally) -> Result<(), Fault> {
        let sums = counts.balances() && counts.redriven == 0;
        if !sums || counts.consumed != self.consumed || counts.dead_lettered != self.malformed || counts.late > self.late {
            let found = format!("{} records, {} malformed, {} late", self.consumed, self.malformed, self.late);
            return Err((CountsBalance, format!("{counts:?}: the ranges hold {found}")));
        }
        if history.rules.late == LatePolicy::DeadLetter && counts.late > self.late_letters {
            let what =
                format!("{} records count as late, {} letters of such are acknowledged", counts.late, self.late_letters);
            return Err((LettersBeforeCommit, what));
        }
        Ok(())
    }
}

/// Where a broker told no id, the log that has always been the only one of its name.
fn find_log<'a>(
    history: &'a History,
    partition: &TopicPartition,
    topic_id: Option<&str>,
) -> Result<&'a PartitionLog, Fault> {
    let TopicPartition { topic, partition: number } = partition;
    if let Some(id) = topic_id {
        let id = LogId { topic: topic.clone(), topic_id: id.to_string(), partition: *number };
        return history.logs.get(&id).ok_or_else(|| (RangesContiguous, format!("there is no log {id:?}")));
    }
    let mut named = history.logs.iter().filter(|(id, _)| id.topic == *topic && id.partition == *number);
    match (named.next(), named.next()) {
        (Some((_, log)), None) => Ok(log),
        _ => Err((LaneIsItsHistory, format!("the lane doesn't say which topic {topic} is its own"))),
    }
}
