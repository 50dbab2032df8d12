//! The one commit in flight, of whatever kind, from its seal to the answer of the table.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::core::batch::{Batch, LateRecord, Sealed, Survey};
use crate::core::instance::*;
use crate::core::planted::{Bug, planted};
use crate::core::table::*;
use crate::types::*;

/// An opening: where each partition that the lane doesn't know begins.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Opening {
    pub places: BTreeMap<TopicPartition, Offset>,
    /// Partitions of unknown topics whose log must be asked first.
    pub unasked: Vec<TopicPartition>,
    /// Kafka's ids when the log was asked: an opening of another topic by the same name starts over.
    pub identity: SourceIdentity,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Work {
    CreateTable,
    Opening(Opening),
    Anchor,
    Batch(Box<BatchWork>),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct BatchWork {
    pub number: BatchNumber,
    pub sealed: Sealed,
    /// Letters sent, rows written.
    pub prepared: bool,
    pub files: Vec<AddedFile>,
    /// Late for good: no live file held them when the batch was prepared.
    pub late: Vec<LateRecord>,
}

/// What was posted under a commit id and may be in the table. All are remembered: the one that is found is the truth.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Attempt {
    pub commit: CommitId,
    /// How often it was posted, requests that never left this process not counted.
    pub sent: u32,
    pub files: Vec<AddedFile>,
    pub counts: Counts,
    pub lanes: BTreeMap<LaneName, Lane>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Phase {
    Loading,
    /// Asking where logs begin.
    Asking,
    LookingUp {
        load: Box<Load>,
        survey: Survey,
    },
    /// Letters and rows, for the first time.
    Preparing,
    /// Rows of some hours again: the base stays, so that a slow rewrite doesn't lose every race.
    Rewriting {
        load: Box<Load>,
    },
    Posting {
        base: Arc<str>,
    },
    BackingOff,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct InFlight {
    pub work: Work,
    pub ticket: Ticket,
    pub phase: Phase,
    /// What was posted so far.
    pub attempts: Vec<Attempt>,
    /// Id of the content as it is; none until it is first posted and after it changed.
    pub commit: Option<CommitId>,
    pub posts: u32,
    /// The base on which the catalog rejected the request, how often, and with what.
    pub rejected: Option<(Arc<str>, u32, u16, String)>,
}

impl InFlight {
    pub fn batch(&self) -> Option<&Batch> {
        match &self.work {
            Work::Batch(work) => Some(&work.sealed.batch),
            _ => None,
        }
    }
    pub fn batch_number(&self) -> Option<BatchNumber> {
        match &self.work {
            Work::Batch(work) => Some(work.number),
            _ => None,
        }
    }
    pub fn waits_for(&self, ticket: Ticket) -> bool {
        self.ticket == ticket
    }
    pub fn waiting(&self) -> &'static str {
        match &self.phase {
            Phase::Loading => "loading the base of a commit",
            Phase::Asking => "asking where logs begin",
            Phase::LookingUp { .. } => "looking ids up in data files",
            Phase::Preparing => "sending dead letters and writing data files",
            Phase::Rewriting { .. } => "writing data files again",
            Phase::Posting { .. } => "posting a commit",
            Phase::BackingOff => "pausing after a conflict",
        }
    }
    /// The request just made was never sent: an id that was in no other one can't be in the table.
    fn take_back(&mut self) {
        for attempt in self.attempts.iter_mut().filter(|a| Some(a.commit) == self.commit) {
            attempt.sent -= 1;
        }
        self.attempts.retain(|a| a.sent > 0);
    }
    /// Files that any attempt has named.
    pub fn posted_files(&self) -> BTreeSet<FilePath> {
        self.attempts.iter().flat_map(|a| &a.files).map(|f| f.path.clone()).collect()
    }
    /// Commits that may have landed or may still land.
    pub fn unsettled_commits(&self) -> Vec<CommitId> {
        self.attempts.iter().map(|a| a.commit).collect()
    }
}

impl Instance {
    // ---- beginnings

    pub(super) fn begin(&mut self, work: Work, out: &mut Vec<Effect>) {
        assert!(self.in_flight.is_none(), "at most one commit is in flight");
        self.load = None;
        let ticket = self.ticket();
        let phase = match &work {
            Work::CreateTable => {
                out.push(Effect::CreateTable { ticket });
                Phase::Posting { base: "".into() }
            }
            Work::Opening(opening) if !opening.unasked.is_empty() => {
                let latest = self.settings.start == Start::Latest;
                out.push(Effect::LogEdges { ticket, partitions: opening.unasked.clone(), latest });
                Phase::Asking
            }
            Work::Opening(_) | Work::Anchor | Work::Batch(_) => {
                out.push(Effect::Load { ticket, with_witness: false });
                Phase::Loading
            }
        };
        self.in_flight =
            Some(InFlight { work, ticket, phase, attempts: Vec::new(), commit: None, posts: 0, rejected: None });
    }

    pub(super) fn seal(&mut self, out: &mut Vec<Effect>) {
        let number = self.open_number;
        let sealed = self.new_open_batch().seal(&self.coverage);
        self.begin(
            Work::Batch(Box::new(BatchWork { number, sealed, prepared: false, files: Vec::new(), late: Vec::new() })),
            out,
        );
    }

    pub(super) fn start_anchor(&mut self, out: &mut Vec<Effect>) {
        self.begin(Work::Anchor, out);
    }

    // ---- answers

    pub(super) fn answered(&mut self, now_ms: u64, answer: Answer, out: &mut Vec<Effect>) {
        let Some(mut flight) = self.in_flight.take() else { return };
        match (answer, std::mem::replace(&mut flight.phase, Phase::Loading)) {
            (Answer::Created, _) => {}
            (Answer::Edges(edges), Phase::Asking) => {
                if let Work::Opening(opening) = &mut flight.work {
                    opening.places.extend(edges);
                    opening.unasked.clear();
                }
                self.reload(flight, out);
            }
            (Answer::Found(found), Phase::LookingUp { load, mut survey }) => {
                survey.answered(found);
                self.looked_up(now_ms, flight, *load, survey, out);
            }
            (Answer::BaseMoved, Phase::LookingUp { .. }) => self.reload(flight, out),
            (Answer::Prepared(files), Phase::Preparing) => {
                if let Work::Batch(work) = &mut flight.work {
                    work.prepared = true;
                    if planted(Bug::SeenBeforeCommit) {
                        self.cover(&files);
                    }
                    work.files = files;
                }
                self.reload(flight, out);
            }
            (Answer::Prepared(files), Phase::Rewriting { load }) => {
                if let Work::Batch(work) = &mut flight.work {
                    work.files.extend(files);
                }
                self.post_batch(flight, &load, out);
            }
            (Answer::Posted(posted), Phase::Posting { base }) => self.posted(now_ms, flight, posted, base, out),
            (Answer::BackedOff, Phase::BackingOff) => self.reload(flight, out),
            (answer, phase) => panic!("{answer:?} answers a commit in phase {phase:?}"),
        }
    }

    fn reload(&mut self, mut flight: InFlight, out: &mut Vec<Effect>) {
        flight.ticket = self.ticket();
        flight.phase = Phase::Loading;
        out.push(Effect::Load { ticket: flight.ticket, with_witness: false });
        self.in_flight = Some(flight);
    }

    fn posted(&mut self, now_ms: u64, mut flight: InFlight, posted: Posted, base: Arc<str>, out: &mut Vec<Effect>) {
        match posted {
            Posted::Committed(snapshot) => {
                let commit = flight.commit.expect("a commit id was posted");
                let lanes = flight.attempts.iter().find(|a| a.commit == commit).map(|a| a.lanes.clone());
                self.memory = Some(Memory { head: snapshot, lanes: lanes.expect("what was posted is remembered") });
                self.needs_anchor_since_ms = None;
                return self.landed(now_ms, flight, commit, snapshot, out);
            }
            Posted::NotSent => flight.take_back(),
            Posted::Unsettled => out.push(Effect::Report(Report::Conflict { attempts: flight.posts })),
            Posted::Rejected { status, text } => {
                let times = flight.rejected.as_ref().filter(|r| r.0 == base).map_or(0, |r| r.1);
                flight.rejected = Some((base, times + 1, status, text));
            }
        }
        flight.ticket = self.ticket();
        flight.phase = Phase::BackingOff;
        out.push(Effect::BackOff { ticket: flight.ticket, attempt: flight.posts });
        self.in_flight = Some(flight);
    }

    // ---- ends

    /// A commit of ours is in the table.
    pub(super) fn landed(
        &mut self,
        now_ms: u64,
        flight: InFlight,
        commit: CommitId,
        snapshot: SnapshotId,
        out: &mut Vec<Effect>,
    ) {
        let attempts = flight.posts;
        let attempt = flight.attempts.into_iter().find(|a| a.commit == commit).expect("only own commits land");
        self.fences_in_a_row = 0;
        self.last_commit = Some(commit);
        let lane = attempt.lanes.get(&self.settings.lane).cloned();
        match flight.work {
            Work::Batch(work) => {
                self.cover(&attempt.files);
                let batch = work.sealed.batch;
                let letters = attempt.counts.dead_lettered - batch.tombstones;
                self.breaker.passed(now_ms, attempt.counts.consumed(), letters);
                let lane = lane.expect("a batch moves its lane");
                self.mirror(&lane, Some(commit), out);
                out.push(Effect::Report(Report::Committed(Box::new(Committed {
                    commit,
                    snapshot,
                    attempts,
                    ranges: batch.ranges(),
                    counts: attempt.counts,
                    late_admitted: batch.late_admitted,
                    files: attempt.files,
                    lane,
                    batch: work.number,
                    late: work.late,
                }))));
                out.push(Effect::Forget(work.number));
            }
            Work::Opening(opening) => {
                let partitions = opening.places;
                out.push(Effect::Report(Report::Opened { partitions, commit, snapshot }));
            }
            Work::Anchor => out.push(Effect::Report(Report::Anchored { snapshot })),
            Work::CreateTable => {}
        }
    }

    fn cover(&mut self, files: &[AddedFile]) {
        for file in files {
            self.coverage.cover(file.path.clone(), file.hour, &file.ids);
        }
        self.coverage.evict_to(self.settings.hot_bytes_max);
    }
}
