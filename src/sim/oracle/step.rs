//! A snapshot of Sluice: its lanes, its rows, its files.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Invariant::*;
use super::lane::{self, Carried, LaneFold, Step};
use super::pass::Pass;
use super::stated::{self, *};
use super::{Fold, Oracle, files, properties};
use crate::sim::history::*;
use crate::types::*;

impl Oracle {
    pub(super) fn own_step(&mut self, history: &History, landed: &Landed, before: &Fold) -> Result<Fold, Fault> {
        let named = landed.summary.get("sluice.snapshot-id");
        if named.and_then(|id| id.parse().ok()) != Some(landed.id.0) {
            return Err((NamesItself, format!("sluice.snapshot-id is {named:?}")));
        }
        files::only_added(landed, &before.live)?;
        let mut after = before.clone();
        let mut keys = std::mem::take(&mut self.keys);
        let mut pass = Pass::new(&mut keys, &mut after.owed);
        let judged = self.judge_lanes(history, landed, before, &mut pass).and_then(|(lanes, counts)| {
            let written = self.files.judge_added(history, &mut pass, &landed.added, &before.present)?;
            match written == counts.written {
                true => Ok(lanes),
                false => Err((CountsBalance, format!("{} rows are counted as written, {written} are", counts.written))),
            }
        });
        self.keys = keys;
        after.lanes = Arc::new(judged?);
        after.nearest = Some((landed.id, landed.summary.clone()));
        Ok(after)
    }

    /// All lanes behind the snapshot, and what its own commits count.
    fn judge_lanes(
        &self,
        history: &History,
        landed: &Landed,
        before: &Fold,
        pass: &mut Pass<'_>,
    ) -> Result<(BTreeMap<String, Arc<LaneFold>>, Tally), Fault> {
        let retired = stated::retired(&landed.summary)?;
        let expired = is_expired(history, landed, before);
        let mut lanes = BTreeMap::new();
        let mut counted = Tally::default();
        for name in stated::lanes(&landed.summary) {
            if retired.contains(name) {
                return Err((OtherLanesKept, format!("lane {name} is retired, and still carried")));
            }
            let own = stated::own(&landed.summary, name)?;
            let is_own = own.is_some();
            let fold = match own {
                None => carry(landed, before, name, expired)?,
                Some(own) => {
                    let stated = stated::lane(&landed.summary, name)?;
                    if let Own::Ranges(_, counts) = &own {
                        counted = counted.plus(counts);
                    }
                    Arc::new(self.step(history, before, name, (own, &stated), expired, pass)?)
                }
            };
            properties::judge(history, landed, name, is_own)?;
            lanes.insert(name.to_string(), fold);
        }
        let gone = before.lanes.iter().filter(|(name, _)| !lanes.contains_key(*name) && !retired.contains(*name));
        for (name, fold) in gone {
            let stopped = expired || history.spoilt.contains(name) || properties::knows_more(history, name, fold);
            if !stopped {
                return Err((OtherLanesKept, format!("lane {name} is not carried any more")));
            }
        }
        Ok((lanes, counted))
    }

    fn step(
        &self,
        history: &History,
        before: &Fold,
        name: &str,
        (own, stated): (Own, &Stated),
        expired: bool,
        pass: &mut Pass<'_>,
    ) -> Result<LaneFold, Fault> {
        let nothing = LaneFold::default();
        let known = before.lanes.get(name);
        let unreadable = expired || history.spoilt.contains(name);
        let step = Step { history, before: known.map_or(&nothing, |lane| lane), stated, expired, unreadable };
        match own {
            Own::Ranges(ranges, counts) => step.ranges(&ranges, &counts, pass),
            Own::Reset(resets) => {
                let folds = || self.folds.values().filter_map(|fold| fold.lanes.get(name));
                step.reset(&resets, |is_it: &dyn Fn(&LaneFold) -> bool| folds().any(|lane| is_it(lane)))
            }
        }
    }
}

fn carry(landed: &Landed, before: &Fold, name: &str, expired: bool) -> Result<Arc<LaneFold>, Fault> {
    let Some((fold, (_, told))) = before.lanes.get(name).zip(before.nearest.as_ref()) else {
        return Err((LaneIsItsHistory, format!("lane {name} begins here without an opening on record")));
    };
    match lane::carried(name, fold, told, &landed.summary, expired)? {
        Carried::Unchanged => Ok(fold.clone()),
        Carried::WithoutWatermark => Ok(Arc::new(LaneFold { watermark: None, ..LaneFold::clone(fold) })),
    }
}

/// Whether the walk from the snapshot's parent to the nearest one of Sluice meets a snapshot that is gone.
fn is_expired(history: &History, landed: &Landed, before: &Fold) -> bool {
    let Some((nearest, _)) = &before.nearest else { return false };
    let parents = std::iter::successors(landed.parent, |id| history.landed.get(id)?.parent);
    let walked = parents.take_while(|id| id != nearest).chain([*nearest]);
    walked.into_iter().any(|id: SnapshotId| history.expired.contains(&id))
}
