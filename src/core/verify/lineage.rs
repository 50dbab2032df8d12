//! The walk over one lineage, oldest snapshot first: every lane's chain of ranges, openings and resets, and the rows
//! that each snapshot says it added.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::finding::{Check, Findings, Place};
use super::history::{HistoryEnd, HistorySnapshot, Operation};
use super::lane_step::{self, Step};
use crate::core::table::*;
use crate::types::*;

/// What is known of a lane from the history.
#[derive(Clone, Debug, Default)]
pub struct LaneHistory {
    /// Where the history begins with the lane already under way: what lay before was expired.
    pub inherited: Option<Arc<SluiceKeys>>,
    /// Own commits, oldest first. Without the one that `inherited` stands for.
    pub commits: Vec<LaneCommit>,
    /// The newest snapshot that carries the lane, readably; none once the lane is retired.
    pub standing: Option<(SnapshotId, Arc<SluiceKeys>)>,
    pub retired: bool,
}

/// One own commit of a lane.
#[derive(Clone, Debug)]
pub struct LaneCommit {
    pub snapshot: SnapshotId,
    /// Position in the lineage, 0 = oldest known snapshot.
    pub position: usize,
    pub keys: Arc<SluiceKeys>,
    /// `watermark_delay` as it was, where the summary lets it be computed.
    pub delay: Option<Micros>,
}

impl LaneCommit {
    pub fn entry(&self, lane: &str) -> &LaneEntry {
        entry_of(&self.keys, lane)
    }
}

impl LaneHistory {
    pub fn lane<'a>(&'a self, name: &str) -> Option<&'a Lane> {
        self.standing.as_ref().map(|(_, keys)| &entry_of(keys, name).lane)
    }
}

pub(super) fn entry_of<'a>(keys: &'a SluiceKeys, lane: &str) -> &'a LaneEntry {
    match keys.lanes.get(lane) {
        Some(Ok(entry)) => entry,
        other => panic!("lane history refers to a readable entry of {lane:?}, found {other:?}"),
    }
}

/// What the walk found out, for the checks that come after it.
#[derive(Clone, Debug, Default)]
pub struct Lineage {
    pub lanes: BTreeMap<LaneName, LaneHistory>,
    pub snapshots: u64,
    pub ranges: u64,
    /// Newest snapshot that Sluice wrote.
    pub newest_sluice: Option<SnapshotId>,
    /// Position of the newest snapshot in which another engine took rows away or rewrote them.
    pub foreign_removal: Option<usize>,
    /// Rows that must be live (delete files aside); none where the history doesn't reach back to the first snapshot.
    pub rows_expected: Option<u64>,
    /// Rows that redrives and replays added.
    pub redriven: u64,
    /// Whether the history reaches back to the table's first snapshot.
    pub complete: bool,
}

impl Lineage {
    /// Delete files apply to live files and no summary of the history told of them.
    pub fn note_deletes(&mut self, findings: &mut Findings) {
        if self.foreign_removal.is_none() {
            self.foreign_removal = Some(self.snapshots as usize);
            let text = "delete files take rows away from live files, and no snapshot of the history says since when";
            findings.unprovable(Check::ForeignRemoval, Place::default(), text);
        }
    }
}

/// Judges the snapshots of one lineage. `history` is newest first, as the walk along `parent-snapshot-id` yields it.
pub fn judge_lineage(history: &[HistorySnapshot], end: HistoryEnd, findings: &mut Findings) -> Lineage {
    let mut walk = Walk::new(history.len(), end, findings);
    for (position, snapshot) in history.iter().rev().enumerate() {
        walk.snapshot(position, snapshot);
    }
    walk.lineage
}

enum LaneState {
    At { keys: Arc<SluiceKeys> },
    Unreadable,
}

struct Walk<'a> {
    lineage: Lineage,
    /// The lanes as the nearest Sluice snapshot before carries them.
    states: BTreeMap<LaneName, LaneState>,
    commit_ids: BTreeMap<CommitId, SnapshotId>,
    rows: i128,
    findings: &'a mut Findings,
}

impl<'a> Walk<'a> {
    fn new(snapshots: usize, end: HistoryEnd, findings: &'a mut Findings) -> Self {
        if let HistoryEnd::Expired(parent) = end {
            findings.unprovable(
                Check::HistoryExpired,
                Place { snapshot: Some(parent), ..Place::default() },
                format!("snapshot {parent} and those before it are expired: {snapshots} snapshots are left to judge"),
            );
        }
        if end == HistoryEnd::Erased {
            let text = format!("what was before the oldest snapshot is expired: {snapshots} snapshots are left to judge");
            findings.unprovable(Check::HistoryExpired, Place::default(), text);
        }
        let complete = end == HistoryEnd::Root;
        let lineage = Lineage { snapshots: snapshots as u64, complete, ..Lineage::default() };
        Self { lineage, states: BTreeMap::new(), commit_ids: BTreeMap::new(), rows: 0, findings }
    }

    fn snapshot(&mut self, position: usize, snapshot: &HistorySnapshot) {
        for (key, wrong) in &snapshot.unreadable {
            let place = Place { snapshot: Some(snapshot.view.id), ..Place::default() };
            self.findings.violation(Check::Counts, place, format!("summary key {key}: {wrong}"));
        }
        match &snapshot.view.sluice {
            Some(keys) => self.ours(position, snapshot, keys),
            None => self.foreign(position, snapshot),
        }
        self.rows += i128::from(snapshot.added_rows) - i128::from(snapshot.removed_rows);
        self.lineage.rows_expected = match u64::try_from(self.rows) {
            Ok(rows) if self.lineage.complete => Some(rows),
            _ => None,
        };
    }

    fn foreign(&mut self, position: usize, snapshot: &HistorySnapshot) {
        let HistorySnapshot { operation, added_rows, removed_rows, added_deletes, .. } = snapshot;
        let kept = match operation {
            _ if *added_deletes > 0 => false,
            Operation::Append => true,
            Operation::Replace => added_rows == removed_rows,
            Operation::Overwrite | Operation::Delete => false,
        };
        if !kept {
            self.lineage.foreign_removal = Some(position);
            self.findings.unprovable(
                Check::ForeignRemoval,
                Place { snapshot: Some(snapshot.view.id), ..Place::default() },
                format!(
                    "another engine's {operation:?} added {added_rows} and removed {removed_rows} rows of data files, \
                     and added {added_deletes} delete files"
                ),
            );
        }
    }

    fn ours(&mut self, position: usize, snapshot: &HistorySnapshot, keys: &Arc<SluiceKeys>) {
        let id = snapshot.view.id;
        let place = Place { snapshot: Some(id), ..Place::default() };
        // A nil id stands for a head that can't be read: that is said lane by lane.
        let first = self.commit_ids.insert(keys.commit_id, id).filter(|_| keys.commit_id != CommitId(0));
        if let Some(first) = first {
            let text = format!("commit {} is in snapshot {first} already", keys.commit_id);
            self.findings.violation(Check::CommitTwice, place, text);
        }
        let mut states = BTreeMap::new();
        for (name, entry) in &keys.lanes {
            match entry {
                Ok(entry) => {
                    self.carried(position, snapshot, keys, name, entry);
                    states.insert(name.clone(), LaneState::At { keys: keys.clone() });
                }
                Err(wrong) => {
                    let place = Place { lane: Some(name.clone()), snapshot: Some(id), ..Place::default() };
                    self.findings.violation(Check::LaneUnreadable, place, wrong.clone());
                    states.insert(name.clone(), LaneState::Unreadable);
                }
            }
        }
        self.ended(id, keys);
        self.rows_of_ours(snapshot, keys);
        self.states = states;
        self.lineage.newest_sluice = Some(id);
    }

    /// One lane in one Sluice snapshot.
    fn carried(
        &mut self,
        position: usize,
        snapshot: &HistorySnapshot,
        keys: &Arc<SluiceKeys>,
        name: &LaneName,
        entry: &LaneEntry,
    ) {
        let first = self.lineage.newest_sluice.is_none();
        let history = self.lineage.lanes.entry(name.clone()).or_default();
        history.standing = Some((snapshot.view.id, keys.clone()));
        let before = match self.states.get(name) {
            Some(LaneState::At { keys }) => Some(&entry_of(keys, name).lane),
            None if self.lineage.complete || !first => None,
            // The chain was broken by keys that can't be read, or by expiry: it is taken up where it is found.
            Some(LaneState::Unreadable) | None => {
                *history = LaneHistory { inherited: Some(keys.clone()), ..history.clone() };
                history.commits.clear();
                return;
            }
        };
        history.retired = false;
        let stated = snapshot.stated.get(name).copied().unwrap_or_default();
        let step = Step { name, snapshot: snapshot.view.id, before, entry, stated };
        step.judge(self.findings);
        if let Some(own) = &entry.own {
            let delay = lane_step::delay(&entry.lane, stated);
            history.commits.push(LaneCommit { snapshot: snapshot.view.id, position, keys: keys.clone(), delay });
            if let OwnChange::Ranges { ranges, .. } = own {
                self.lineage.ranges += ranges.len() as u64;
            }
        }
    }

    /// Lanes that the snapshot before carried and this one doesn't.
    fn ended(&mut self, id: SnapshotId, keys: &SluiceKeys) {
        let carried: BTreeSet<&LaneName> = keys.lanes.keys().collect();
        for name in keys.retired.iter().filter(|name| carried.contains(name)) {
            let place = Place { lane: Some(name.clone()), snapshot: Some(id), ..Place::default() };
            self.findings.violation(Check::LaneRetired, place, "the snapshot that retires the lane still carries it");
        }
        for (name, state) in self.states.iter().filter(|(name, _)| !carried.contains(name)) {
            let history = self.lineage.lanes.entry(name.clone()).or_default();
            history.standing = None;
            history.retired = keys.retired.contains(name);
            if !history.retired && matches!(state, LaneState::At { .. }) {
                let place = Place { lane: Some(name.clone()), snapshot: Some(id), ..Place::default() };
                let text = "the lane is in the Sluice snapshot before, is not carried on, and is not retired";
                self.findings.violation(Check::LaneDropped, place, text);
            }
        }
    }

    /// Rows that the snapshot added against what its own lanes say they wrote.
    fn rows_of_ours(&mut self, snapshot: &HistorySnapshot, keys: &SluiceKeys) {
        let own = keys.lanes.values().filter_map(|entry| match entry.as_ref().ok()?.own.as_ref()? {
            OwnChange::Ranges { counts, .. } => Some(counts.written),
            OwnChange::Reset(_) => None,
        });
        let redriven: u64 = snapshot.stated.values().filter_map(|s| s.redriven).sum();
        let written = own.sum::<u64>() + redriven;
        self.lineage.redriven += redriven;
        let HistorySnapshot { operation, added_rows, removed_rows, .. } = snapshot;
        let fits = match operation {
            Operation::Append => *added_rows == written && *removed_rows == 0,
            Operation::Replace => added_rows == removed_rows && written == 0,
            Operation::Overwrite | Operation::Delete => false,
        };
        if !fits {
            self.findings.violation(
                Check::RowsAdded,
                Place { snapshot: Some(snapshot.view.id), ..Place::default() },
                format!("{operation:?} added {added_rows} and removed {removed_rows} rows, its lanes wrote {written}"),
            );
        }
    }
}
