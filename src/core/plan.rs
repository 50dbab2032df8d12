//! What the one snapshot producer is told to write. Every Sluice snapshot of any kind carries all lanes of its base.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::table::{Lane, LaneName, OwnChange};
use crate::types::CommitId;

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
