//! What the one producer is told to post: a snapshot, or a roll-back. Every Sluice snapshot of any kind carries all lanes of
//! its base.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::planted::{Bug, planted};
use crate::core::table::{Lane, LaneName, LaneProperty, OwnChange};
use crate::types::{CommitId, SnapshotId};

/// A snapshot to be made on a base. The producer chooses the snapshot id and timestamp, moves the tag `sluice` and
/// rewrites the property of every lane in `lanes`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SnapshotPlan {
    pub commit_id: CommitId,
    /// Every lane that the snapshot carries, as it will stand afterwards.
    pub lanes: BTreeMap<LaneName, Lane>,
    /// The lane whose own commit this is, and what it changes; none for an anchor and a retirement.
    pub own: Option<(LaneName, OwnChange)>,
    /// Lanes that end here: their property is removed.
    pub retired: BTreeSet<LaneName>,
}

/// Main goes back in its own history, and nothing else moves: no snapshot is made, and the tag stays where it is, so that
/// whatever was on its way to the head of before is refused.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RollBackPlan {
    pub target: SnapshotId,
    /// Lanes as they are read at the target, each with the Sluice snapshot that it was read from. Properties of other lanes
    /// are left as they are.
    pub properties: BTreeMap<LaneName, LaneProperty>,
}

impl SnapshotPlan {
    /// The lanes whose property is rewritten: all that the snapshot carries, so that each names the newest one.
    pub fn properties(&self) -> impl Iterator<Item = (&LaneName, &Lane)> {
        let own = self.own.as_ref().map(|(name, _)| name);
        let left_out = move |name: &LaneName| planted(Bug::OnlyOwnPropertyMoved) && own.is_some_and(|own| own != name);
        self.lanes.iter().filter(move |(name, _)| !left_out(name))
    }
}

/// A reference of the table.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reference {
    Main,
    /// The tag `sluice`.
    Tag,
}

/// What a commit requires to be where its base had it, or absent if it was absent there. A roll-back brings main back to
/// where it was, not the tag: what was held on its way is refused by the tag.
pub fn required_references() -> &'static [Reference] {
    if planted(Bug::TagNotRequired) { &[Reference::Main] } else { &[Reference::Main, Reference::Tag] }
}
