//! Which commit answers for which records: the ranges of every lane laid over the log, one pass for every stretch
//! between an opening or reset and the next.

use std::collections::BTreeMap;

use super::commits::Commits;
use super::{Kafka, LogEvent, LogState};
use crate::core::table::*;
use crate::core::verify::finding::{Check, Findings, Place};
use crate::core::verify::lineage::{LaneCommit, LaneHistory, Lineage, entry_of};
use crate::types::*;

/// The greatest event time before the place that the fold has reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Maximum {
    Known(Option<Micros>),
    /// The log begins behind the pass: nobody can say what was late.
    Unknown,
}

/// A range of one commit. Half-open.
#[derive(Clone, Copy, Debug)]
struct Claim {
    start: Offset,
    end: Offset,
    commit: usize,
    /// Greatest event time that the commit recorded at `end`.
    maximum: Option<Micros>,
}

/// One stretch of a partition that a lane read in order. A reset starts another one, over the same offsets or others.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub start: Offset,
    pub end: Offset,
    /// Contiguous from `start` to `end`; none in the stretch before the known history.
    claims: Vec<Claim>,
    begins_with: Maximum,
    maximum: Maximum,
    next: usize,
    topic_id: Option<TopicId>,
    cluster_id: Option<String>,
    /// Records of it may have been removed.
    compacted: bool,
}

/// What a record of the log is to the lane that read it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// Read before the history that is known: it explains rows and demands none.
    BeforeHistory,
    /// `late`: it was, or can have been, behind its partition's greatest event time by more than the delay.
    Claimed { commit: usize, late: bool },
}

impl Pass {
    fn at(start: Offset, begins_with: Maximum, source: &SourceIdentity, topic: &Topic) -> Self {
        let topic_id = source.topics.get(topic).copied();
        let cluster_id = source.cluster_id.clone();
        Self {
            start,
            end: start,
            claims: vec![],
            begins_with,
            maximum: begins_with,
            next: 0,
            topic_id,
            cluster_id,
            compacted: false,
        }
    }

    pub(super) fn rewind(&mut self) {
        self.maximum = self.begins_with;
        self.next = 0;
    }

    pub(super) fn commits(&self) -> impl Iterator<Item = usize> + '_ {
        self.claims.iter().map(|c| c.commit)
    }

    /// Takes the next record of the partition; none where the pass doesn't hold its offset. `counting`: this is the
    /// shard in which records are counted.
    pub(super) fn meet(
        &mut self,
        partition: usize,
        offset: Offset,
        event: &LogEvent<'_>,
        commits: &mut Commits,
        counting: bool,
    ) -> Option<Standing> {
        if offset < self.start || offset >= self.end {
            return None;
        }
        self.close_until(offset, partition, commits, counting);
        let Some(claim) = self.claims.get(self.next).copied() else { return Some(Standing::BeforeHistory) };
        assert!(claim.start <= offset && offset < claim.end, "claims are contiguous: {claim:?} at {offset}");
        let LogEvent::Decoded { event_time, .. } = event else {
            if counting {
                commits.malformed(claim.commit);
            }
            return Some(Standing::Claimed { commit: claim.commit, late: false });
        };
        let late = self.fold(*event_time, &claim, commits.delay(claim.commit));
        if counting {
            commits.decoded(claim.commit, late);
        }
        Some(Standing::Claimed { commit: claim.commit, late })
    }

    /// Takes an event time into the maximum: whether it was, or can have been, late.
    fn fold(&mut self, event_time: Micros, claim: &Claim, delay: Micros) -> bool {
        let Maximum::Known(before) = self.maximum else { return true };
        self.maximum = Maximum::Known(before.max(Some(event_time)));
        // Of a compacted log the record that made this one late may be gone: it was not beyond what the commit recorded.
        let before = if self.compacted { before.max(claim.maximum) } else { before };
        before.is_some_and(|maximum| event_time < maximum.saturating_sub(delay))
    }

    /// Ends the claims before `offset`: the maximum that each recorded is compared, and taken on.
    fn close_until(&mut self, offset: Offset, partition: usize, commits: &mut Commits, counting: bool) {
        while let Some(claim) = self.claims.get(self.next).filter(|claim| claim.end <= offset) {
            if let (Maximum::Known(folded), true) = (self.maximum, counting)
                && !(self.compacted && folded < claim.maximum)
            {
                commits.maximum(claim.commit, partition, claim.end, claim.maximum, folded);
            }
            self.maximum = Maximum::Known(claim.maximum);
            self.next += 1;
        }
    }

    pub(super) fn finish(&mut self, partition: usize, commits: &mut Commits, counting: bool) {
        self.close_until(self.end, partition, commits, counting);
    }

    /// Cuts off what the log no longer has; the commits concerned can't be judged by their counts.
    fn trim(&mut self, log_start: Offset, commits: &mut Commits) -> bool {
        if self.start >= log_start {
            return false;
        }
        for claim in self.claims.iter().filter(|claim| claim.start < log_start) {
            commits.incomplete(claim.commit);
        }
        self.claims.retain(|claim| claim.end > log_start);
        if let Some(first) = self.claims.first_mut() {
            first.start = first.start.max(log_start);
        }
        self.start = log_start;
        self.end = self.end.max(log_start);
        self.begins_with = Maximum::Unknown;
        self.rewind();
        true
    }
}

pub(super) struct Plan {
    pub passes: BTreeMap<TopicPartition, Vec<Pass>>,
    pub commits: Commits,
    /// Whether rows may stem from records that can't be read any more.
    pub incomplete: bool,
    /// Whether part of what was read is compacted.
    pub compacted: bool,
}

pub(super) fn plan(lineage: &Lineage, kafka: &Kafka, delay: Micros, findings: &mut Findings) -> Plan {
    let mut plan = Plan { passes: BTreeMap::new(), commits: Commits::default(), incomplete: false, compacted: false };
    for (name, history) in &lineage.lanes {
        let passes = lane_passes(name, history, delay, &mut plan.commits);
        for (tp, passes) in passes {
            let kept = keep_readable(&tp, passes, kafka, &mut plan, findings);
            if !kept.is_empty() {
                plan.passes.entry(tp).or_default().extend(kept);
            }
        }
        judge_standing(name, history, kafka, findings);
    }
    plan
}

/// All stretches of one lane, oldest first.
fn lane_passes(
    name: &LaneName,
    history: &LaneHistory,
    delay: Micros,
    commits: &mut Commits,
) -> BTreeMap<TopicPartition, Vec<Pass>> {
    let mut passes: BTreeMap<TopicPartition, Vec<Pass>> = BTreeMap::new();
    if let Some(keys) = &history.inherited {
        let lane = &entry_of(keys, name).lane;
        for (tp, progress) in &lane.partitions {
            let mut before = Pass::at(0, Maximum::Unknown, &lane.source, &tp.topic);
            before.end = progress.next_offset;
            let known = Maximum::Known(progress.max_event_time);
            let now = Pass::at(progress.next_offset, known, &lane.source, &tp.topic);
            passes.insert(tp.clone(), vec![before, now]);
        }
    }
    let mut delay = delay_at_first(history).unwrap_or(delay);
    for commit in &history.commits {
        delay = commit.delay.unwrap_or(delay);
        add_commit(name, commit, delay, &mut passes, commits);
    }
    passes
}

fn delay_at_first(history: &LaneHistory) -> Option<Micros> {
    history.commits.iter().find_map(|c| c.delay)
}

fn add_commit(
    name: &LaneName,
    commit: &LaneCommit,
    delay: Micros,
    passes: &mut BTreeMap<TopicPartition, Vec<Pass>>,
    commits: &mut Commits,
) {
    let LaneEntry { lane, own } = commit.entry(name);
    let maximum = |tp: &TopicPartition| lane.partitions.get(tp).and_then(|p| p.max_event_time);
    match own.as_ref().expect("the history lists own commits") {
        OwnChange::Reset(resets) => {
            for (tp, reset) in resets {
                let pass = Pass::at(reset.to, Maximum::Known(maximum(tp)), &lane.source, &tp.topic);
                passes.entry(tp.clone()).or_default().push(pass);
            }
        }
        OwnChange::Ranges { ranges, counts } => {
            let index = commits.add(name.clone(), commit.snapshot, commit.position, *counts, delay);
            for (tp, range) in ranges.iter().filter(|(_, range)| range.end > range.start) {
                let of_partition = passes.entry(tp.clone()).or_default();
                // A gap or overlap is the lineage's finding; here the range stands for itself.
                if of_partition.last().is_none_or(|pass| pass.end != range.start) {
                    of_partition.push(Pass::at(range.start, Maximum::Unknown, &lane.source, &tp.topic));
                }
                let pass = of_partition.last_mut().expect("one was just made where there was none");
                pass.end = range.end;
                pass.claims.push(Claim { start: range.start, end: range.end, commit: index, maximum: maximum(tp) });
                pass.topic_id = lane.source.topics.get(&tp.topic).copied().or(pass.topic_id);
                pass.cluster_id = lane.source.cluster_id.clone().or(pass.cluster_id.take());
            }
        }
    }
}

/// Leaves the stretches that this Kafka still has, and says which it doesn't.
fn keep_readable(
    tp: &TopicPartition,
    passes: Vec<Pass>,
    kafka: &Kafka,
    plan: &mut Plan,
    findings: &mut Findings,
) -> Vec<Pass> {
    let log = kafka.partitions.get(tp);
    let mut kept = Vec::new();
    for mut pass in passes.into_iter().filter(|pass| pass.end > pass.start) {
        let place = Place { partition: Some(tp.clone()), offset: Some(pass.start), ..Place::default() };
        let range = format!("[{}, {}) of {tp}", pass.start, pass.end);
        let Some(log) = log.filter(|log| is_same_source(&pass, log, kafka)) else {
            pass.commits().for_each(|commit| plan.commits.incomplete(commit));
            plan.incomplete = true;
            let text = format!("{range} was read from a topic or cluster that is no longer there");
            findings.unprovable(Check::LogTrimmed, place, text);
            continue;
        };
        if log.compacted {
            pass.commits().for_each(|commit| plan.commits.compacted(commit));
            pass.compacted = true;
            plan.compacted = true;
        }
        let claimed = !pass.claims.is_empty();
        if pass.trim(log.start, &mut plan.commits) {
            plan.incomplete = true;
            if claimed {
                let text = format!("{range}: the log begins at {} now, what was before can't be compared", log.start);
                findings.unprovable(Check::LogTrimmed, place, text);
            }
        }
        if pass.end > log.stable_end {
            pass.commits().for_each(|commit| plan.commits.incomplete(commit));
        }
        if pass.end > pass.start {
            kept.push(pass);
        }
    }
    kept
}

fn is_same_source(pass: &Pass, log: &LogState, kafka: &Kafka) -> bool {
    let other_topic = pass.topic_id.zip(log.topic_id).is_some_and(|(a, b)| a != b);
    let other_cluster = pass.cluster_id.as_ref().zip(kafka.cluster_id.as_ref()).is_some_and(|(a, b)| a != b);
    !other_topic && !other_cluster
}

/// The lane as it stands, against Kafka as it is: identity, and a log that reaches its offsets.
fn judge_standing(name: &LaneName, history: &LaneHistory, kafka: &Kafka, findings: &mut Findings) {
    let Some(lane) = history.lane(name) else { return };
    let place = Place { lane: Some(name.clone()), ..Place::default() };
    if let Some((was, is)) = lane.source.cluster_id.as_ref().zip(kafka.cluster_id.as_ref()).filter(|(was, is)| was != is) {
        let text = format!("the lane belongs to cluster {was}, this is {is}");
        findings.violation(Check::SourceIdentity, place, text);
        return;
    }
    for (tp, progress) in &lane.partitions {
        let place = Place { partition: Some(tp.clone()), offset: Some(progress.next_offset), ..place.clone() };
        let Some(log) = kafka.partitions.get(tp) else {
            findings.violation(Check::SourceIdentity, place, format!("{tp} of the lane is not in this Kafka"));
            continue;
        };
        let recorded = lane.source.topics.get(&tp.topic).copied();
        if let Some((was, is)) = recorded.zip(log.topic_id).filter(|(was, is)| was != is) {
            let text = format!("the lane belongs to topic {} with id {was}, it has {is} now", tp.topic);
            findings.violation(Check::SourceIdentity, place, text);
        } else if log.stable_end < progress.next_offset {
            let text = format!("the log of {tp} ends at {}, the table's offset is {}", log.stable_end, progress.next_offset);
            findings.violation(Check::LogShorter, place, text);
        }
    }
}
