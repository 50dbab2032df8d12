//! A batch: what was read of each partition since the last one, judged in order, and everything that its verdicts rest
//! on. It commits whole or falls whole.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::coverage::Coverage;
use crate::core::identity::EpochIdentity;
use crate::core::ids::IdSet;
use crate::core::planted::{Bug, planted};
use crate::core::table::*;
use crate::types::*;

/// What a batch holds of one partition: `[start.next_offset, end.next_offset)`, with the greatest event times at both.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Span {
    pub start: Place,
    pub end: Place,
    pub leader_epoch: Option<i32>,
    /// Asked of Kafka when the epoch began under which these records were read.
    pub identity: EpochIdentity,
}

/// A duplicate verdict, and the file that it rests on; none where it rests on a pending id of the batch before. On every
/// base it has to stand again.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Rest {
    pub hour: EventHour,
    pub id: MessageId,
    pub file: Option<FilePath>,
}

impl Rest {
    /// Without being looked up: the file is live on the base.
    fn stands_on(&self, live: &LiveFiles) -> bool {
        match &self.file {
            Some(file) => live.is_seen(file) || planted(Bug::DuplicatesNotLookedUpAgain),
            None => planted(Bug::VerdictOnPendingKept),
        }
    }
}

/// A late record that no policy writes, found in no covered file: a duplicate if an uncovered file holds it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LateRecord {
    pub hour: EventHour,
    pub id: MessageId,
    pub partition: TopicPartition,
    pub offset: Offset,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Batch {
    pub spans: BTreeMap<TopicPartition, Span>,
    /// Ids that will be written, by event hour.
    pub pending: BTreeMap<EventHour, IdSet>,
    pub rests: Vec<Rest>,
    pub late: Vec<LateRecord>,
    pub counts: Counts,
    /// Dead letters that the breaker doesn't count.
    pub tombstones: u64,
    /// Written although late (policy `admit`), by topic: in no count.
    pub late_admitted: u64,
    /// Partitions whose idle flag changed.
    pub idle: BTreeMap<TopicPartition, bool>,
    /// The coverage count before the first record: a file that entered later was not there for all of them.
    pub since: u64,
    /// When the first record that is written or dead-lettered came, and the first progress of any kind.
    pub first_content_ms: Option<u64>,
    pub first_progress_ms: Option<u64>,
}

impl Batch {
    pub fn starting_at(coverage: &Coverage) -> Self {
        Self { since: coverage.count(), ..Self::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.spans.is_empty() && self.idle.is_empty()
    }

    /// Will be written. A late record that isn't written never counts: a copy behind it may be on time.
    pub fn is_pending(&self, hour: EventHour, id: MessageId) -> bool {
        let late = || planted(Bug::LateEntersPending) && self.late.iter().any(|l| (l.hour, l.id) == (hour, id));
        self.pending.get(&hour).is_some_and(|ids| ids.contains(id)) || late()
    }

    pub fn pending_rows(&self) -> usize {
        self.pending.values().map(|ids| ids.len()).sum()
    }

    /// What the batch passes: partitions with progress only.
    pub fn ranges(&self) -> BTreeMap<TopicPartition, OffsetRange> {
        let moved = self.spans.iter().filter(|(_, span)| span.end.next_offset > span.start.next_offset);
        let range = |span: &Span| OffsetRange { start: span.start.next_offset, end: span.end.next_offset };
        moved.map(|(partition, span)| (partition.clone(), range(span))).collect()
    }

    /// Rough bytes that the verdicts hold, rows not counted.
    pub fn bytes(&self) -> usize {
        self.pending_rows() * 24 + self.rests.len() * std::mem::size_of::<Rest>() + self.late.len() * 64
    }

    /// Ends the batch: from here its content can only shrink, and `checked` no longer follows evictions.
    pub fn seal(self, coverage: &Coverage) -> Sealed {
        let hours: BTreeSet<EventHour> = self
            .pending
            .keys()
            .copied()
            .chain(self.rests.iter().map(|r| r.hour))
            .chain(self.late.iter().map(|l| l.hour))
            .collect();
        let checked = hours.into_iter().map(|hour| (hour, coverage.checked(hour, self.since).cloned().collect())).collect();
        Sealed { batch: self, checked }
    }
}

/// A batch on its way into the table.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Sealed {
    pub batch: Batch,
    /// Per hour, the data files that every record of that hour was tested against.
    pub checked: BTreeMap<EventHour, BTreeSet<FilePath>>,
}

/// Ids to be looked for in one file.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Lookup {
    pub hour: EventHour,
    pub file: LiveFile,
    pub ids: Vec<MessageId>,
}

/// What is known of where ids are on one base: from memory at once, the rest to be looked up in files.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Survey {
    /// Found so far: a file that is live on the base and holds the id in that hour.
    pub found: BTreeMap<(EventHour, MessageId), FilePath>,
    pub lookups: Vec<Lookup>,
}

impl Sealed {
    fn was_checked(&self, hour: EventHour, path: &FilePath, coverage: &Coverage) -> bool {
        if planted(Bug::CoveragePerInstance) {
            return coverage.is_covered(path, hour);
        }
        self.checked.get(&hour).is_some_and(|paths| paths.contains(path))
    }

    /// Rests that don't stand on `live` by themselves: their file is gone, or they had none.
    fn shaken<'a>(&'a self, live: &'a LiveFiles) -> impl Iterator<Item = &'a Rest> {
        self.batch.rests.iter().filter(|r| !r.stands_on(live)).filter(|r| {
            // its own first copy is still to be written
            !self.batch.is_pending(r.hour, r.id)
        })
    }

    /// Step 3 of a commit on a base: duplicates whose ground is gone are looked up in every live file of their hour. What
    /// is covered is answered here.
    pub fn survey_duplicates(&self, live: &LiveFiles, coverage: &Coverage) -> Survey {
        let mut survey = Survey::default();
        let mut anywhere: BTreeMap<EventHour, BTreeSet<MessageId>> = BTreeMap::new();
        for rest in self.shaken(live) {
            anywhere.entry(rest.hour).or_default().insert(rest.id);
        }
        for (hour, ids) in &anywhere {
            survey.look(*hour, ids.iter().copied(), live, coverage, |_| false);
        }
        survey
    }

    /// Step 4: pending ids, and late ones that nobody writes, are looked up in those files that were not `checked`.
    pub fn survey_pending(&self, survey: &mut Survey, live: &LiveFiles, coverage: &Coverage) {
        let mut late: BTreeMap<EventHour, BTreeSet<MessageId>> = BTreeMap::new();
        for record in &self.batch.late {
            late.entry(record.hour).or_default().insert(record.id);
        }
        for (hour, ids) in late {
            survey.look(hour, ids.into_iter(), live, coverage, |path| self.was_checked(hour, path, coverage));
        }
        for (hour, ids) in self.batch.pending.iter().filter(|(_, ids)| !ids.is_empty()) {
            let checked = |path: &FilePath| self.was_checked(*hour, path, coverage);
            if live.of_hour(*hour).any(|file| !checked(&file.path)) {
                survey.look(*hour, ids.sorted().into_iter(), live, coverage, checked);
            }
        }
    }

    /// Which rests have no ground on the base, everything having been looked up?
    pub fn fallen<'a>(&'a self, live: &'a LiveFiles, survey: &'a Survey) -> impl Iterator<Item = &'a Rest> {
        self.shaken(live).filter(|r| !survey.found.contains_key(&(r.hour, r.id)))
    }

    /// Takes in what a base answered, no rest having fallen: duplicates stand on the files found, pending ids that were
    /// found leave the batch and join the duplicates, every live file of the batch's hours counts as checked.
    pub fn settle(&mut self, live: &LiveFiles, survey: &Survey) -> Settled {
        for rest in &mut self.batch.rests {
            if let Some(file) = survey.found.get(&(rest.hour, rest.id)) {
                rest.file = Some(file.clone());
            }
        }
        let mut settled = Settled::default();
        for record in std::mem::take(&mut self.batch.late) {
            match survey.found.get(&(record.hour, record.id)) {
                Some(file) => {
                    self.batch.counts.late -= 1;
                    self.batch.counts.duplicate += 1;
                    self.batch.rests.push(Rest { hour: record.hour, id: record.id, file: Some(file.clone()) });
                }
                None => settled.late.push(record),
            }
        }
        for ((hour, id), file) in &survey.found {
            if self.batch.pending.get_mut(hour).is_some_and(|ids| ids.remove(*id)) {
                if !planted(Bug::ProbeHitKept) {
                    self.batch.rests.push(Rest { hour: *hour, id: *id, file: Some(file.clone()) });
                }
                self.batch.counts.written -= 1;
                self.batch.counts.duplicate += 1;
                settled.taken_out.entry(*hour).or_default().insert(*id);
            }
        }
        for (hour, checked) in &mut self.checked {
            checked.extend(live.of_hour(*hour).map(|f| f.path.clone()));
        }
        settled
    }
}

/// What a base changed in a batch.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settled {
    /// Rows that are already in the table, by hour: they must not be written again.
    pub taken_out: BTreeMap<EventHour, BTreeSet<MessageId>>,
    /// Late records that no file holds: late for good.
    pub late: Vec<LateRecord>,
}

impl Survey {
    fn look(
        &mut self,
        hour: EventHour,
        ids: impl Iterator<Item = MessageId>,
        live: &LiveFiles,
        coverage: &Coverage,
        skip: impl Fn(&FilePath) -> bool,
    ) {
        let mut open: Vec<MessageId> = Vec::new();
        for id in ids {
            match coverage.lookup_in(hour, id, |path, _| live.contains(path) && !skip(path)) {
                Some(holder) => drop(self.found.insert((hour, id), holder.path.clone())),
                None => open.push(id),
            }
        }
        let unseen = live.of_hour(hour).filter(|f| !skip(&f.path) && !coverage.is_covered(&f.path, hour));
        if !open.is_empty() {
            self.lookups.extend(unseen.map(|file| Lookup { hour, file: file.clone(), ids: open.clone() }));
        }
    }

    /// Takes in the answers of the files. The first file that holds an id is its ground.
    pub fn answered(&mut self, answers: impl IntoIterator<Item = (EventHour, FilePath, Vec<MessageId>)>) {
        for (hour, path, hits) in answers {
            for id in hits {
                self.found.entry((hour, id)).or_insert_with(|| path.clone());
            }
        }
        self.lookups.clear();
    }
}
