//! `offsets delete`: the end of a lane. Pure: from the table as it is loaded to the snapshot without files that says so, or
//! to a refusal. The rows stay.

use std::collections::BTreeSet;

use crate::core::lane::{self, LaneStop, Reading};
use crate::core::plan::SnapshotPlan;
use crate::core::table::*;
use crate::error::Stop;
use crate::types::CommitId;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("group {lane} has {} members: {}", members.len(), members.join(", "))]
    GroupHasMembers { lane: LaneName, members: Vec<String> },
    #[error("the table has no lane {lane}")]
    NoSuchLane { lane: LaneName },
    /// Perhaps a later version's: not ours to end.
    #[error("{0}")]
    Unreadable(LaneStop),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        let remedy = match &refusal {
            Refusal::GroupHasMembers { .. } => "stop every instance of the group and wait for its session to end",
            Refusal::NoSuchLane { .. } => "`sluice table describe` lists the lanes of the table",
            Refusal::Unreadable(_) => "run the version of Sluice that wrote it, or a newer one",
        };
        Stop::refused(format!("retirement refused: {refusal}"), remedy)
    }
}

/// Plans the end of `lane`, also of one that is stopped. `members`: client ids of its group.
pub fn plan(table: &TableView, lane: &LaneName, members: &[String], commit_id: CommitId) -> Result<SnapshotPlan, Refusal> {
    if !members.is_empty() {
        return Err(Refusal::GroupHasMembers { lane: lane.clone(), members: members.to_vec() });
    }
    if !lane::names(table).contains(lane) {
        return Err(Refusal::NoSuchLane { lane: lane.clone() });
    }
    if let Reading::Stop(stop @ LaneStop::Unreadable { .. }) = lane::read(table, lane, None, None) {
        return Err(Refusal::Unreadable(stop));
    }
    let mut lanes = lane::read_all(table, None).readable;
    lanes.remove(lane);
    Ok(SnapshotPlan { commit_id, lanes, own: None, retired: BTreeSet::from([lane.clone()]) })
}

#[cfg(test)]
#[path = "retire_tests.rs"]
mod tests;
