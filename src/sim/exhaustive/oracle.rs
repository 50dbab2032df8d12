//! What must hold of every snapshot: a fold over the log and the history of main, which knows nothing of batches,
//! coverage or verdicts.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::event_time::LatePolicy;
use crate::core::table::{Lane, OwnChange};
use crate::sim::exhaustive::{Bounds, Key};
use crate::types::*;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Violation {
    #[error("{0:?} is twice in live files")]
    Twice(Key),
    #[error("{0:?} lies below the committed offsets, is in no live file, and nobody deleted it")]
    Lost(Key),
    #[error("{partition}: a range begins at {start} where the history ends at {expected:?}")]
    Chain { partition: TopicPartition, expected: Option<Offset>, start: Offset },
    #[error("{partition} is opened again")]
    OpenedAgain { partition: TopicPartition },
    #[error("{0:?} was written without an on-time record in the ranges of its commit")]
    Phantom(Key),
    #[error("{partition}: the lane says {lane:?}, the history {history:?} (offset, greatest event time)")]
    Lane { partition: TopicPartition, history: (Offset, Option<Micros>), lane: Option<(Offset, Option<Micros>)> },
    #[error("{what}: the summary counts {counted}, the log and the files have {found}")]
    Count { what: &'static str, counted: u64, found: u64 },
    #[error("an instance stopped although nothing can need an operator: {0}")]
    Stopped(String),
    #[error("an assertion of the core fell: {0}")]
    Panicked(String),
    #[error("from here the end can't be reached any more, whatever happens")]
    Stuck,
}

/// What is true of a snapshot, whatever it says itself.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Truth {
    /// Where the ranges of its history end.
    pub offsets: BTreeMap<TopicPartition, Offset>,
    /// Keys that its history consumed and that nobody else removed: they have to be live.
    pub owed: BTreeSet<Key>,
}

/// A snapshot of Sluice, on the one before.
pub struct Landed<'a> {
    pub own: Option<&'a OwnChange>,
    pub lane: &'a Lane,
    pub added: &'a [Key],
    pub live: &'a [Key],
}

impl Truth {
    /// Judges a snapshot that landed on this one.
    pub fn after(&self, bounds: &Bounds, landed: &Landed<'_>) -> Result<Truth, Violation> {
        let mut truth = self.clone();
        let mut on_time: BTreeSet<Key> = BTreeSet::new();
        match landed.own {
            Some(OwnChange::Reset(reset)) => {
                for (partition, range) in reset {
                    if truth.offsets.insert(partition.clone(), range.to).is_some() {
                        return Err(Violation::OpenedAgain { partition: partition.clone() });
                    }
                }
            }
            Some(OwnChange::Ranges { ranges, counts }) => {
                let mut consumed = 0;
                for (partition, range) in ranges {
                    let expected = truth.offsets.insert(partition.clone(), range.end);
                    if expected != Some(range.start) {
                        return Err(Violation::Chain { partition: partition.clone(), expected, start: range.start });
                    }
                    let log = &bounds.logs[partition.partition as usize];
                    for offset in range.start..range.end {
                        let Some(key) = log[offset as usize] else { continue };
                        consumed += 1;
                        if bounds.late == LatePolicy::Admit || !late(log, offset as usize) {
                            on_time.insert(key);
                        }
                    }
                }
                same("consumed", counts.consumed(), consumed)?;
                same("written", counts.written, landed.added.len() as u64)?;
            }
            None => {}
        }
        if let Some(key) = landed.added.iter().find(|key| !on_time.contains(key)) {
            return Err(Violation::Phantom(*key));
        }
        truth.owed.extend(on_time);
        truth.holds(bounds, landed.lane)?;
        truth.stands(landed.live)?;
        Ok(truth)
    }

    /// The rows of a head: each key once, and all that are owed.
    pub fn stands(&self, live: &[Key]) -> Result<(), Violation> {
        let mut seen = BTreeSet::new();
        match live.iter().find(|key| !seen.insert(**key)) {
            Some(twice) => Err(Violation::Twice(*twice)),
            None => self.owed.difference(&seen).next().map_or(Ok(()), |lost| Err(Violation::Lost(*lost))),
        }
    }

    fn holds(&self, bounds: &Bounds, lane: &Lane) -> Result<(), Violation> {
        let partitions: BTreeSet<&TopicPartition> = self.offsets.keys().chain(lane.partitions.keys()).collect();
        for partition in partitions {
            let offset = self.offsets.get(partition).copied().unwrap_or(-1);
            let log = &bounds.logs[partition.partition as usize];
            let times = log[..offset.max(0) as usize].iter().flatten().map(|key| key.0.bounds().0);
            let history = (offset, times.max());
            let said = lane.partitions.get(partition).map(|p| (p.next_offset, p.max_event_time));
            if said != Some(history) {
                return Err(Violation::Lane { partition: partition.clone(), history, lane: said });
            }
        }
        Ok(())
    }

    /// Every log is in the table.
    pub fn is_whole(&self, bounds: &Bounds) -> bool {
        self.offsets.len() == bounds.logs.len()
            && self.offsets.iter().all(|(tp, at)| *at == bounds.logs[tp.partition as usize].len() as Offset)
    }
}

/// Behind its own partition's greatest event time before it.
fn late(log: &[Option<Key>], offset: usize) -> bool {
    let hour = |key: &Option<Key>| key.map(|k| k.0);
    log[..offset].iter().filter_map(hour).max() > hour(&log[offset])
}

fn same(what: &'static str, counted: u64, found: u64) -> Result<(), Violation> {
    if counted == found { Ok(()) } else { Err(Violation::Count { what, counted, found }) }
}
