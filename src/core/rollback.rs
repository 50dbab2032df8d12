//! `table rollback`: main goes back, and with it the place of every lane. Pure: from the table as it is loaded to the one
//! commit that does it, or to a refusal with its reason.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::lane::{self, LaneStop, Lanes};
use crate::core::plan::RollBackPlan;
use crate::core::table::*;
use crate::error::Stop;
use crate::types::*;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RollBack {
    pub plan: RollBackPlan,
    /// Lanes that can be read neither now nor at the target: their properties stay, and their groups stay stopped.
    pub stopped: BTreeMap<LaneName, LaneStop>,
    /// Lanes that ended between the target and now, and are there again.
    pub revived: BTreeSet<LaneName>,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("group {lane} has {} members: {}", members.len(), members.join(", "))]
    GroupHasMembers { lane: LaneName, members: Vec<String> },
    #[error("snapshot {target} is the table's head")]
    IsTheHead { target: SnapshotId },
    #[error("snapshot {target} is not in the history of main")]
    NotInHistory { target: SnapshotId },
    #[error("snapshot {target} is from before lane {lane} was opened")]
    BeforeLane { target: SnapshotId, lane: LaneName },
    #[error("snapshot {target} is from before topics {} joined lane {lane}", names(topics))]
    BeforeTopics { target: SnapshotId, lane: LaneName, topics: BTreeSet<Topic> },
    #[error("where lane {lane} stood at snapshot {target} can't be known: {stop}")]
    LaneUnreadable { target: SnapshotId, lane: LaneName, stop: LaneStop },
}

fn names(topics: &BTreeSet<Topic>) -> String {
    topics.iter().map(|t| &**t).collect::<Vec<_>>().join(", ")
}

impl Refusal {
    fn remedy(&self) -> String {
        match self {
            Self::GroupHasMembers { .. } => "stop every instance of the group and wait for its session to end".into(),
            Self::IsTheHead { .. } => "there is nothing to roll back".into(),
            Self::NotInHistory { .. } => {
                "name a snapshot that main has come from: `sluice table snapshots` lists them".into()
            }
            Self::BeforeLane { lane, .. } => format!(
                "name a snapshot behind the opening of {lane}; or, if that group is given up, retire its lane first: `sluice \
                 offsets delete`"
            ),
            Self::BeforeTopics { .. } => {
                "name a snapshot behind the opening of these topics; to read them again, `sluice offsets reset --topic T \
                 --to-earliest`: a replay adds nothing twice"
                    .into()
            }
            Self::LaneUnreadable { .. } => "name a younger snapshot".into(),
        }
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::refused(format!("roll-back refused: {refusal}"), refusal.remedy())
    }
}

/// Plans the way back of main to `target`. `members`: client ids of each lane's group, as far as Kafka knows them.
pub fn plan(table: &TableView, target: SnapshotId, members: &BTreeMap<LaneName, Vec<String>>) -> Result<RollBack, Refusal> {
    check_target(table, target)?;
    let there = TableView { head: Some(target), ..table.clone() };
    let now = lane::read_all(table, None);
    let then = lane::read_all(&there, None);
    let moved = now.readable.keys().chain(then.readable.keys());
    if let Some((lane, members)) = moved.filter_map(|l| members.get_key_value(l)).find(|(_, m)| !m.is_empty()) {
        return Err(Refusal::GroupHasMembers { lane: lane.clone(), members: members.clone() });
    }
    check_openings(target, &now, &then)?;
    let known: BTreeSet<&LaneName> = lane::names(table);
    Ok(RollBack {
        plan: RollBackPlan { target, properties: properties(&there, &then) },
        revived: then.readable.keys().filter(|name| !known.contains(name)).cloned().collect(),
        stopped: then.stopped,
    })
}

fn check_target(table: &TableView, target: SnapshotId) -> Result<(), Refusal> {
    if table.head == Some(target) {
        return Err(Refusal::IsTheHead { target });
    }
    let in_history = table.ancestry().filter_map(Result::ok).any(|s| s.id == target);
    in_history.then_some(()).ok_or(Refusal::NotInHistory { target })
}

/// What is known now and not at the target would be opened anew by `start`, which may skip what the table then lacks.
fn check_openings(target: SnapshotId, now: &Lanes, then: &Lanes) -> Result<(), Refusal> {
    for (name, lane) in &now.readable {
        let Some(at_target) = then.readable.get(name) else {
            return Err(lost(target, name, then.stopped.get(name)));
        };
        let topics: BTreeSet<Topic> = lane.topics().difference(&at_target.topics()).cloned().collect();
        if !topics.is_empty() {
            return Err(Refusal::BeforeTopics { target, lane: name.clone(), topics });
        }
    }
    // One that can't be read now is stopped, and must not become a new lane by losing its last trace.
    let vanished = now.stopped.keys().find(|name| !then.readable.contains_key(*name) && !then.stopped.contains_key(*name));
    match vanished {
        Some(name) => Err(Refusal::BeforeLane { target, lane: name.clone() }),
        None => Ok(()),
    }
}

fn lost(target: SnapshotId, lane: &LaneName, at_target: Option<&LaneStop>) -> Refusal {
    let lane = lane.clone();
    match at_target {
        None | Some(LaneStop::RolledBackBeforeLane { .. }) => Refusal::BeforeLane { target, lane },
        Some(LaneStop::PropertyKnowsMoreTopics { topics, .. }) => {
            Refusal::BeforeTopics { target, lane, topics: topics.clone() }
        }
        Some(stop @ (LaneStop::HistoryMissing { .. } | LaneStop::Unreadable { .. })) => {
            Refusal::LaneUnreadable { target, lane, stop: stop.clone() }
        }
    }
}

/// A lane that is read from its property over an expired history keeps that property: its snapshot is the missing one.
fn properties(there: &TableView, then: &Lanes) -> BTreeMap<LaneName, LaneProperty> {
    let Some((snapshot, keys)) = there.nearest_sluice() else { return BTreeMap::new() };
    let read = then.readable.iter().filter(|(name, _)| keys.lanes.contains_key(*name));
    read.map(|(name, lane)| (name.clone(), LaneProperty { lane: lane.clone(), commit_id: keys.commit_id, snapshot }))
        .collect()
}

#[cfg(test)]
#[path = "rollback_tests.rs"]
mod tests;
