//! What must hold of every table, judged from the logs and from nothing that the core said.

use std::collections::{BTreeMap, BTreeSet};

use super::world::{Key, World};
use crate::types::*;

#[derive(Debug, PartialEq, Eq)]
pub enum Violation {
    /// A key is twice in live files.
    Twice(Key),
    /// A range doesn't begin where the one before it ended.
    Chain { partition: TopicPartition, expected: Option<Offset>, start: Offset },
    /// A key below the committed offset is in no live file, and nobody deleted it.
    Lost(Key),
    /// What is written in the lane isn't what its history adds up to.
    Lane { partition: TopicPartition, history: Offset, lane: Offset },
    /// Everything is quiet, and the table isn't at the end of the log.
    Unfinished { partition: TopicPartition, end: Offset, lane: Option<Offset> },
}

/// Every rule, on the table as it is now.
pub fn judge(world: &World) -> Result<(), Violation> {
    let Some(head) = world.head else { return Ok(()) };
    let mut seen: BTreeSet<Key> = BTreeSet::new();
    for key in world.ghosts[&head].live.iter().flat_map(|path| &world.files[path]) {
        if !seen.insert(*key) {
            return Err(Violation::Twice(*key));
        }
    }
    let mut offsets: BTreeMap<TopicPartition, Offset> = BTreeMap::new();
    let mut owed: BTreeSet<Key> = BTreeSet::new();
    for id in world.ancestry().into_iter().rev() {
        let ghost = &world.ghosts[&id];
        offsets.extend(ghost.opened.iter().map(|(tp, at)| (tp.clone(), *at)));
        for (partition, range) in &ghost.ranges {
            let expected = offsets.insert(partition.clone(), range.end);
            if expected != Some(range.start) {
                return Err(Violation::Chain { partition: partition.clone(), expected, start: range.start });
            }
            let log = &world.logs[partition];
            owed.extend((range.start..range.end).filter_map(|o| log[o as usize]));
        }
        owed.retain(|key| !ghost.deleted.contains(key));
    }
    if let Some(lost) = owed.difference(&seen).next() {
        return Err(Violation::Lost(*lost));
    }
    if let Some(Ok(property)) = world.properties.get(super::world::LANE)
        && world.head == Some(property.snapshot)
    {
        for (partition, history) in &offsets {
            let lane = property.lane.partitions[partition].next_offset;
            if lane != *history {
                return Err(Violation::Lane { partition: partition.clone(), history: *history, lane });
            }
        }
    }
    Ok(())
}

/// Faults have ended and nothing is under way: the whole log is in the table.
pub fn finished(world: &World) -> Result<(), Violation> {
    judge(world)?;
    let mut offsets: BTreeMap<TopicPartition, Offset> = BTreeMap::new();
    for id in world.ancestry().into_iter().rev() {
        let ghost = &world.ghosts[&id];
        offsets.extend(ghost.opened.iter().map(|(tp, at)| (tp.clone(), *at)));
        offsets.extend(ghost.ranges.iter().map(|(tp, r)| (tp.clone(), r.end)));
    }
    for (partition, log) in &world.logs {
        let (end, lane) = (log.len() as Offset, offsets.get(partition).copied());
        if lane != Some(end) {
            return Err(Violation::Unfinished { partition: partition.clone(), end, lane });
        }
    }
    Ok(())
}
