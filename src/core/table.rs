//! What the core sees of a loaded table: snapshots with Sluice's keys already parsed, lanes, live files. Plain values,
//! read by the sink from metadata and manifests, made up by tests and by the simulator.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::core::planted::{Bug, planted};
use crate::types::*;

/// Greatest `sluice.format` that this build understands.
pub const FORMAT: u32 = 1;

/// Name of one group's progress in a table: the `G` of `sluice.offsets.G`.
pub type LaneName = Arc<str>;

/// One partition of a lane: what is committed up to here. Offset and event time are one value, read from and written to
/// one snapshot.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Progress {
    /// First offset not yet processed.
    pub next_offset: Offset,
    /// Greatest event time before `next_offset`; none without a record.
    pub max_event_time: Option<Micros>,
    /// Silent at the log end for `idle_timeout`: left out of the watermark.
    pub idle: bool,
    pub leader_epoch: Option<i32>,
}

impl Progress {
    pub fn opened_at(next_offset: Offset) -> Self {
        Self { next_offset, max_event_time: None, idle: false, leader_epoch: None }
    }

    /// What the comparison with the table compares: the idle flag and the leader epoch are no progress of records.
    pub fn place(&self) -> Place {
        Place { next_offset: self.next_offset, max_event_time: self.max_event_time }
    }
}

/// A position in a partition together with the greatest event time before it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Place {
    pub next_offset: Offset,
    pub max_event_time: Option<Micros>,
}

/// Which Kafka the offsets belong to: `sluice.source.G` without the leader epochs.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct SourceIdentity {
    pub cluster_id: Option<String>,
    pub topics: BTreeMap<Topic, TopicId>,
}

/// One group's progress in the table, as one snapshot (or the property) has it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Lane {
    pub partitions: BTreeMap<TopicPartition, Progress>,
    pub totals: Totals,
    pub source: SourceIdentity,
    /// `sluice.watermark.G`: event time that no partition with input is behind. The property has none.
    pub watermark: Option<Micros>,
}

/// `sluice.totals.G`: counts summed since the lane was opened, and rows written by redrive and replay.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Totals {
    pub counts: Counts,
    pub redriven: u64,
}

impl Lane {
    pub fn topics(&self) -> BTreeSet<Topic> {
        self.partitions.keys().map(|tp| tp.topic.clone()).collect()
    }

    /// Where a partition stands. One that isn't here has to be opened first: it is never 0 by default.
    pub fn progress(&self, partition: &TopicPartition) -> Option<Progress> {
        let by_default = planted(Bug::MissingPartitionIsZero) && !self.partitions.is_empty();
        self.partitions.get(partition).cloned().or(by_default.then(|| Progress::opened_at(0)))
    }

    /// The watermark that the partitions give: the least of their greatest event times, idle ones and those without a
    /// record left out, less the delay. With every partition idle it stays where it was.
    pub fn advanced_watermark(&self, delay: Micros) -> Option<Micros> {
        let awake = self.partitions.values().filter(|p| !p.idle).filter_map(|p| p.max_event_time).min();
        awake.map(|t| t - delay).or(self.watermark)
    }
}

/// `sluice.ranges.G`: half-open.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OffsetRange {
    pub start: Offset,
    pub end: Offset,
}

/// `sluice.reset.G`: `from` is none where the partition was opened.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ResetRange {
    pub from: Option<Offset>,
    pub to: Offset,
}

/// What makes a snapshot a lane's own: the others only carry it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum OwnChange {
    /// A batch. Only partitions with progress; empty when only an idle flag changed.
    Ranges { ranges: BTreeMap<TopicPartition, OffsetRange>, counts: Counts },
    /// An opening or an operator's reset: the legitimate breaks in the chain of ranges.
    Reset(BTreeMap<TopicPartition, ResetRange>),
}

/// One lane's keys in one snapshot's summary. `Err` says what could not be parsed, or the greater format.
pub type LaneKeys = Result<LaneEntry, String>;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LaneEntry {
    pub lane: Lane,
    /// None where the snapshot only carries the lane.
    pub own: Option<OwnChange>,
}

/// Whether a summary with `sluice.snapshot-id` = `named` is the snapshot's own.
pub fn names_itself(id: SnapshotId, named: Option<SnapshotId>) -> bool {
    named == Some(id) || planted(Bug::CopiedSummaryBelieved) && named.is_some()
}

/// The `sluice.*` keys of a snapshot that Sluice wrote and that names itself. A summary that names another id, or none,
/// is somebody's copy: the reader of the table leaves `SnapshotView::sluice` empty for it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SluiceKeys {
    pub commit_id: CommitId,
    pub lanes: BTreeMap<LaneName, LaneKeys>,
    pub retired: BTreeSet<LaneName>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct SnapshotView {
    pub id: SnapshotId,
    pub parent: Option<SnapshotId>,
    pub timestamp_ms: i64,
    pub sluice: Option<Arc<SluiceKeys>>,
}

/// The table property `sluice.state.G`.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LaneProperty {
    pub lane: Lane,
    pub commit_id: CommitId,
    /// The snapshot it was written with.
    pub snapshot: SnapshotId,
}

/// A data file listed by the head, delete files ignored.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LiveFile {
    pub path: FilePath,
    /// None for a file of another partition spec: it is looked at for every hour.
    pub hour: Option<EventHour>,
    pub rows: u64,
    pub bytes: u64,
}

/// The live data files of one head, by path.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct LiveFiles {
    files: BTreeMap<FilePath, LiveFile>,
    by_hour: BTreeMap<Option<EventHour>, BTreeSet<FilePath>>,
}

impl FromIterator<LiveFile> for LiveFiles {
    fn from_iter<I: IntoIterator<Item = LiveFile>>(files: I) -> Self {
        let mut live = Self::default();
        for file in files {
            live.by_hour.entry(file.hour).or_default().insert(file.path.clone());
            live.files.insert(file.path.clone(), file);
        }
        live
    }
}

impl LiveFiles {
    pub fn contains(&self, path: &str) -> bool {
        self.files.contains_key(path)
    }
    /// Do the ids of this file count as seen? While it is live, and no longer.
    pub fn is_seen(&self, path: &str) -> bool {
        self.contains(path) || planted(Bug::SeenBeforeCommit)
    }
    pub fn get(&self, path: &str) -> Option<&LiveFile> {
        self.files.get(path)
    }
    pub fn iter(&self) -> impl Iterator<Item = &LiveFile> {
        self.files.values()
    }
    pub fn len(&self) -> usize {
        self.files.len()
    }
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }
    /// The files in which an id of this hour can be: those of the hour, and those of a foreign spec. Ordered by path.
    pub fn of_hour(&self, hour: EventHour) -> impl Iterator<Item = &LiveFile> {
        [Some(hour), None]
            .into_iter()
            .filter_map(|key| self.by_hour.get(&key))
            .flatten()
            .map(|path| self.files.get(path).expect("by_hour names files of the set"))
    }
    /// Hours that hold files, newest first.
    pub fn hours_newest_first(&self) -> impl Iterator<Item = EventHour> {
        self.by_hour.keys().rev().filter_map(|h| *h)
    }
}

/// One load of the table: the base that a commit is built on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TableView {
    pub uuid: u128,
    /// Identifies this very state of the table; whoever loaded it can find the full metadata under it.
    pub metadata_location: Arc<str>,
    pub head: Option<SnapshotId>,
    /// Where the tag `sluice` is.
    pub tag: Option<SnapshotId>,
    pub snapshots: BTreeMap<SnapshotId, SnapshotView>,
    /// `sluice.state.*`; `Err` where one could not be parsed or has a greater format.
    pub properties: BTreeMap<LaneName, Result<LaneProperty, String>>,
    pub live: Arc<LiveFiles>,
}

/// A walk along `parent-snapshot-id`: the snapshots, and how it ended.
pub struct Ancestry<'a> {
    table: &'a TableView,
    next: Option<SnapshotId>,
}

impl<'a> Iterator for Ancestry<'a> {
    type Item = Result<&'a SnapshotView, SnapshotId>;
    /// `Err` is a parent that the table no longer has (expired); the walk ends there. It ends without one at the root.
    fn next(&mut self) -> Option<Self::Item> {
        let id = self.next.take()?;
        match self.table.snapshots.get(&id) {
            Some(snapshot) => {
                self.next = snapshot.parent;
                Some(Ok(snapshot))
            }
            None => Some(Err(id)),
        }
    }
}

impl TableView {
    /// From the head of main back to the root or to an expired parent.
    pub fn ancestry(&self) -> Ancestry<'_> {
        Ancestry { table: self, next: self.head }
    }

    /// The newest snapshot of main's history that Sluice wrote.
    pub fn nearest_sluice(&self) -> Option<(SnapshotId, &SluiceKeys)> {
        self.ancestry().filter_map(Result::ok).find_map(|s| Some((s.id, s.sluice.as_deref()?)))
    }

    /// The snapshot of main's history that carries this commit id and names itself.
    pub fn find_commit(&self, ids: &[CommitId]) -> Option<(CommitId, SnapshotId)> {
        let depth = if planted(Bug::CommitIdInHeadOnly) { 1 } else { usize::MAX };
        self.ancestry().take(depth).filter_map(Result::ok).find_map(|s| {
            let keys = s.sluice.as_ref()?;
            ids.contains(&keys.commit_id).then_some((keys.commit_id, s.id))
        })
    }
}
