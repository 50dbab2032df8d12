//! The judge of a history: an independent fold over the logs, at every snapshot. It shares nothing with the core, so that
//! an error of thought there isn't repeated here: it walks the committed ranges over the true logs, adds up what the lanes,
//! counts and live rows must be, and compares that with what the summaries say and the files hold.

mod files;
mod lane;
mod pass;
mod properties;
mod sets;
mod stated;
mod step;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hashbrown::HashMap;

use files::JudgedFiles;
use lane::LaneFold;
use sets::{KeySet, Keys};
use stated::{Fault, Summary};

pub use crate::core::invariant::Invariant;
use crate::sim::history::*;
use crate::types::*;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Violation {
    pub invariant: Invariant,
    /// The head at which it shows; none where nothing was ever committed.
    pub snapshot: Option<SnapshotId>,
    pub what: String,
}

/// What the history of one snapshot adds up to.
#[derive(Clone, Default)]
struct Fold {
    lanes: Arc<BTreeMap<String, Arc<LaneFold>>>,
    /// Keys that must have a row.
    owed: KeySet,
    /// Keys that have one.
    present: KeySet,
    live: Arc<BTreeSet<FilePath>>,
    /// The nearest snapshot of Sluice, itself included.
    nearest: Option<(SnapshotId, Arc<Summary>)>,
}

/// Judges a new head. Keeps what it folded of each snapshot, so that a history costs one step a snapshot. One that has
/// found a violation is done.
#[derive(Default)]
pub struct Oracle {
    keys: Keys,
    files: JudgedFiles,
    folds: HashMap<SnapshotId, Fold>,
}

impl Oracle {
    pub fn new() -> Self {
        Self::default()
    }

    /// `history.heads.last()` has just become the head: a commit, another engine's, or a roll-back.
    pub fn judge(&mut self, history: &History) -> Result<(), Violation> {
        let Some(head) = history.heads.last() else { return Ok(()) };
        if let Some(fold) = self.folds.get(head) {
            // A roll-back: what was folded stands, but its files may be gone.
            let present =
                self.files.present(history, &fold.live).and_then(|present| nothing_lost(&self.keys, fold, &present));
            return present.map_err(|fault| violation(Some(*head), fault));
        }
        for landed in self.unfolded(history, *head) {
            let fold = self.fold(history, landed).map_err(|fault| violation(Some(landed.id), fault))?;
            self.folds.insert(landed.id, fold);
        }
        Ok(())
    }

    /// Faults have healed and everything is quiet: lane `lane` has passed every stable record of the topics `ids` (by their
    /// ids as Kafka has them now).
    pub fn finished(&mut self, history: &History, lane: &str, ids: &BTreeMap<Topic, String>) -> Result<(), Violation> {
        let head = history.heads.last();
        let fold = head.and_then(|head| self.folds.get(head)).and_then(|fold| fold.lanes.get(lane));
        for (id, log) in history.logs.iter().filter(|(id, _)| ids.get(&id.topic) == Some(&id.topic_id)) {
            let partition = TopicPartition { topic: id.topic.clone(), partition: id.partition };
            let of_this_topic = |fold: &&Arc<LaneFold>| fold.source.id(&id.topic).is_none_or(|known| known == id.topic_id);
            let place = fold.filter(of_this_topic).and_then(|fold| fold.places.get(&partition));
            if place.map(|p| p.next) != Some(log.stable) {
                let what = format!("lane {lane} stands at {place:?} in {partition}, which is stable up to {}", log.stable);
                return Err(violation(head.copied(), (Invariant::Converges, what)));
            }
        }
        Ok(())
    }

    /// From the oldest to `head`: several where main was moved over snapshots that were never its head.
    fn unfolded<'a>(&self, history: &'a History, head: SnapshotId) -> Vec<&'a Landed> {
        let mut unfolded = Vec::new();
        let mut next = Some(head);
        while let Some(id) = next.filter(|id| !self.folds.contains_key(id)) {
            let landed = history.landed.get(&id).expect("a history knows every snapshot of main");
            unfolded.push(landed);
            next = landed.parent;
        }
        unfolded.reverse();
        unfolded
    }

    fn fold(&mut self, history: &History, landed: &Landed) -> Result<Fold, Fault> {
        let before = landed.parent.and_then(|parent| self.folds.get(&parent)).cloned().unwrap_or_default();
        let mut after = match &landed.by {
            By::Sluice => self.own_step(history, landed, &before)?,
            By::Foreign { deleted } => self.foreign_step(history, landed, before, deleted)?,
        };
        after.live = landed.live.clone();
        after.present = self.files.present(history, &landed.live)?;
        nothing_lost(&self.keys, &after, &after.present)?;
        Ok(after)
    }

    /// Another engine's append, compaction, delete, or copy of a snapshot of ours: no lane moves.
    fn foreign_step(
        &mut self,
        history: &History,
        landed: &Landed,
        before: Fold,
        deleted: &BTreeSet<Key>,
    ) -> Result<Fold, Fault> {
        let mut after = before;
        for key in deleted {
            after.owed.remove(self.keys.number(key.clone()));
        }
        let brought: Vec<&FilePath> = landed.live.difference(&after.live).collect();
        for path in brought {
            self.files.judge_foreign(history, &mut self.keys, path)?;
        }
        Ok(after)
    }
}

fn nothing_lost(keys: &Keys, fold: &Fold, present: &KeySet) -> Result<(), Fault> {
    match fold.owed.first_beyond(present) {
        None => Ok(()),
        Some(lost) => Err((Invariant::NothingLost, format!("{:?} is in no live file", keys.key(lost)))),
    }
}

fn violation(snapshot: Option<SnapshotId>, (invariant, what): Fault) -> Violation {
    Violation { invariant, snapshot, what }
}
