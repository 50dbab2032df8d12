//! One lane from one Sluice snapshot to the next: offsets, counts, totals, event times, identity.

use std::collections::BTreeMap;

use super::finding::{Check, Findings, Place};
use super::history::Stated;
use crate::core::table::*;
use crate::types::*;

pub(super) struct Step<'a> {
    pub name: &'a LaneName,
    pub snapshot: SnapshotId,
    /// The lane in the nearest Sluice snapshot before; none where that one doesn't carry it.
    pub before: Option<&'a Lane>,
    pub entry: &'a LaneEntry,
    pub stated: Stated,
}

/// What a snapshot does to one partition.
enum Touch {
    Range,
    Reset(ResetRange),
    None,
}

/// `watermark_delay` as it was when the snapshot was made: what the watermark is behind the least maximum.
pub(super) fn delay(lane: &Lane, stated: Stated) -> Option<Micros> {
    Some(least_maximum(lane)? - stated.watermark?)
}

fn least_maximum(lane: &Lane) -> Option<Micros> {
    lane.partitions.values().filter(|p| !p.idle).filter_map(|p| p.max_event_time).min()
}

impl Step<'_> {
    pub(super) fn judge(&self, findings: &mut Findings) {
        if self.before.is_none() && !matches!(self.entry.own, Some(OwnChange::Reset(_))) {
            let text = "the lane begins here without an opening on record";
            findings.violation(Check::LaneUnopened, self.place(), text);
            return;
        }
        let expected = self.expected_offsets(findings);
        self.judge_offsets(&expected, findings);
        self.judge_counts(findings);
        self.judge_totals(findings);
        for (partition, now) in &self.entry.lane.partitions {
            self.judge_event_time(partition, now, findings);
        }
        self.judge_watermark(findings);
        self.judge_source(findings);
    }

    fn place(&self) -> Place {
        Place { lane: Some(self.name.clone()), snapshot: Some(self.snapshot), ..Place::default() }
    }

    fn at(&self, partition: &TopicPartition, offset: Offset) -> Place {
        Place { partition: Some(partition.clone()), offset: Some(offset), ..self.place() }
    }

    fn stood(&self, partition: &TopicPartition) -> Option<Offset> {
        self.before?.partitions.get(partition).map(|p| p.next_offset)
    }

    fn touch(&self, partition: &TopicPartition) -> Touch {
        match &self.entry.own {
            Some(OwnChange::Ranges { ranges, .. }) if ranges.contains_key(partition) => Touch::Range,
            Some(OwnChange::Reset(resets)) => resets.get(partition).map_or(Touch::None, |r| Touch::Reset(*r)),
            _ => Touch::None,
        }
    }

    /// Where every partition must stand after the own change, judging on the way where the change begins.
    fn expected_offsets(&self, findings: &mut Findings) -> BTreeMap<TopicPartition, Offset> {
        let stood = self.before.into_iter().flat_map(|lane| &lane.partitions);
        let mut expected: BTreeMap<_, _> = stood.map(|(tp, p)| (tp.clone(), p.next_offset)).collect();
        match &self.entry.own {
            None => {}
            Some(OwnChange::Ranges { ranges, .. }) => {
                for (tp, range) in ranges {
                    self.judge_range(tp, *range, findings);
                    expected.insert(tp.clone(), range.end);
                }
            }
            Some(OwnChange::Reset(resets)) => {
                for (tp, reset) in resets {
                    if reset.from != self.stood(tp) {
                        let text =
                            format!("reset from {:?} to {}, the lane stood at {:?}", reset.from, reset.to, self.stood(tp));
                        findings.violation(Check::ResetFrom, self.at(tp, reset.to), text);
                    }
                    expected.insert(tp.clone(), reset.to);
                }
            }
        }
        expected
    }

    fn judge_range(&self, tp: &TopicPartition, range: OffsetRange, findings: &mut Findings) {
        let OffsetRange { start, end } = range;
        let (check, text) = match self.stood(tp) {
            _ if end <= start => (Check::RangeInvalid, format!("range [{start}, {end}) holds nothing")),
            None => (Check::RangeInvalid, format!("range [{start}, {end}) of a partition that was never opened")),
            Some(stood) if stood < start => {
                (Check::RangeGap, format!("range [{start}, {end}) leaves out [{stood}, {start}) of {tp}"))
            }
            Some(stood) if stood > start => {
                (Check::RangeOverlap, format!("range [{start}, {end}) repeats [{start}, {}) of {tp}", stood.min(end)))
            }
            Some(_) => return,
        };
        findings.violation(check, self.at(tp, start), text);
    }

    fn judge_offsets(&self, expected: &BTreeMap<TopicPartition, Offset>, findings: &mut Findings) {
        let found = &self.entry.lane.partitions;
        for (tp, expected) in expected {
            let found = found.get(tp).map(|p| p.next_offset);
            if found != Some(*expected) {
                let found = found.map_or("nothing".into(), |o| o.to_string());
                let text = format!("offsets say {found} for {tp}, the snapshot before and the change make it {expected}");
                findings.violation(Check::Offsets, self.at(tp, *expected), text);
            }
        }
        for (tp, progress) in found.iter().filter(|(tp, _)| !expected.contains_key(tp)) {
            let text = format!("offsets name {tp} at {}, which nothing opened", progress.next_offset);
            findings.violation(Check::Offsets, self.at(tp, progress.next_offset), text);
        }
    }

    fn judge_counts(&self, findings: &mut Findings) {
        let Some(OwnChange::Ranges { ranges, counts }) = &self.entry.own else { return };
        if let Some(consumed) = self.stated.consumed.filter(|c| *c != counts.consumed()) {
            let text = format!("consumed is {consumed}, its verdicts sum up to {}: {counts:?}", counts.consumed());
            findings.violation(Check::Counts, self.place(), text);
        }
        let width: i128 = ranges.values().map(|r| i128::from(r.end) - i128::from(r.start)).sum();
        if i128::from(counts.consumed()) > width {
            let text = format!("consumed {} records out of ranges that hold {width} offsets", counts.consumed());
            findings.violation(Check::Counts, self.place(), text);
        }
    }

    fn judge_totals(&self, findings: &mut Findings) {
        let before = self.before.map(|lane| lane.totals).unwrap_or_default();
        let counts = match &self.entry.own {
            Some(OwnChange::Ranges { counts, .. }) => *counts,
            _ => Counts::default(),
        };
        let redriven = before.redriven + self.stated.redriven.unwrap_or(0);
        let expected = Totals { counts: before.counts + counts, redriven };
        if self.entry.lane.totals != expected {
            let text =
                format!("totals are {:?}, the snapshot before and the counts make {expected:?}", self.entry.lane.totals);
            findings.violation(Check::Totals, self.place(), text);
        }
    }

    fn judge_event_time(&self, tp: &TopicPartition, now: &Progress, findings: &mut Findings) {
        let before = self.before.and_then(|lane| lane.partitions.get(tp));
        let (was, idle) = before.map_or((None, false), |p| (p.max_event_time, p.idle));
        let commits = matches!(self.entry.own, Some(OwnChange::Ranges { .. }));
        let (fits, idle_fits) = match self.touch(tp) {
            Touch::Range => (now.max_event_time >= was, true),
            Touch::Reset(ResetRange { from: Some(from), to }) if to >= from => {
                (now.max_event_time == was || now.max_event_time.is_none(), true)
            }
            Touch::Reset(_) => (now.max_event_time.is_none(), true),
            // A flag rises in any batch of the lane, it falls only with a record of its partition.
            Touch::None => (now.max_event_time == was, now.idle == idle || (commits && now.idle)),
        };
        if !fits {
            let text = format!("greatest event time of {tp} went from {was:?} to {:?}", now.max_event_time);
            findings.violation(Check::EventTime, self.at(tp, now.next_offset), text);
        }
        if !idle_fits {
            let text = format!("idle flag of {tp} went from {idle} to {} without a record of it", now.idle);
            findings.violation(Check::EventTime, self.at(tp, now.next_offset), text);
        }
    }

    fn judge_watermark(&self, findings: &mut Findings) {
        let Some(least) = least_maximum(&self.entry.lane) else {
            // With every partition idle or without a record it stays, or is gone after a reset.
            let was = self.before.and_then(|lane| lane.watermark);
            if let Some(watermark) = self.stated.watermark.filter(|w| Some(*w) != was) {
                let text = format!("the watermark went from {was:?} to {watermark} with no partition to move it");
                findings.violation(Check::EventTime, self.place(), text);
            }
            return;
        };
        match self.stated.watermark {
            Some(watermark) if watermark > least => {
                let text = format!("the watermark {watermark} is ahead of a partition that stands at {least}");
                findings.violation(Check::EventTime, self.place(), text);
            }
            None if matches!(self.entry.own, Some(OwnChange::Ranges { .. })) => {
                let text = format!("there is no watermark, though a partition stands at {least}");
                findings.violation(Check::EventTime, self.place(), text);
            }
            _ => {}
        }
    }

    /// Ids change only by a reset that names every partition concerned, else old offsets are blessed for a new topic.
    fn judge_source(&self, findings: &mut Findings) {
        let Some(before) = self.before.map(|lane| &lane.source) else { return };
        let now = &self.entry.lane.source;
        let named = |topic: Option<&Topic>| {
            let concerned = self.entry.lane.partitions.keys().filter(|tp| topic.is_none_or(|t| *t == tp.topic));
            let resets = match &self.entry.own {
                Some(OwnChange::Reset(resets)) => Some(resets),
                _ => None,
            };
            resets.is_some_and(|resets| concerned.clone().all(|tp| resets.contains_key(tp)))
        };
        if let Some(was) = before.cluster_id.as_ref().filter(|was| now.cluster_id.as_ref() != Some(was))
            && !(now.cluster_id.is_some() && named(None))
        {
            let text = format!("cluster id went from {was:?} to {:?} without a reset of all topics", now.cluster_id);
            findings.violation(Check::SourceIdentity, self.place(), text);
        }
        for (topic, was) in before.topics.iter().filter(|(topic, was)| now.topics.get(*topic) != Some(was)) {
            let is = now.topics.get(topic);
            if is.is_none() || !named(Some(topic)) {
                let text = format!("id of topic {topic} went from {was} to {is:?} without a reset of all its partitions");
                findings.violation(Check::SourceIdentity, self.place(), text);
            }
        }
    }
}
