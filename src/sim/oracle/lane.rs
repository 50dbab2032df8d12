//! One lane from one Sluice snapshot to the next: what its history adds up to, against what the summary says.

use std::collections::BTreeMap;

use super::Invariant::*;
use super::pass::Pass;
use super::stated::*;
use crate::sim::history::*;
use crate::types::*;

/// A lane as the history of a snapshot adds it up.
#[derive(Clone, Default, Debug)]
pub(super) struct LaneFold {
    pub places: BTreeMap<TopicPartition, Place>,
    pub totals: Tally,
    pub source: Source,
    pub watermark: Option<Micros>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Place {
    pub next: Offset,
    pub max: Option<Micros>,
    pub idle: bool,
}

/// A snapshot that is the lane's own.
pub(super) struct Step<'a> {
    pub history: &'a History,
    pub before: &'a LaneFold,
    pub stated: &'a Stated,
    /// Snapshots between this one and the lane's last are gone: it was read from its property, which has no watermark.
    pub expired: bool,
    /// Nobody could read the lane on the base: an operator may have opened it anew.
    pub unreadable: bool,
}

impl Step<'_> {
    /// A batch: walks its ranges.
    pub fn ranges(&self, ranges: &Ranges, counts: &Tally, pass: &mut Pass<'_>) -> Result<LaneFold, Fault> {
        self.same_source(self.before, |_| false)?;
        let mut after = self.before.clone();
        let mut with_records = Vec::new();
        for (partition, (start, end)) in ranges {
            let place = after.places.get_mut(partition);
            let place = place.ok_or_else(|| (RangesContiguous, format!("{partition} was never opened")))?;
            if *start != place.next || end <= start {
                let what = format!("the range of {partition} is [{start}, {end}), its history ends at {}", place.next);
                return Err((RangesContiguous, what));
            }
            let id = self.stated.source.id(&partition.topic);
            let records = pass.walk(self.history, partition, id, (*start, *end), &mut place.max)?;
            place.next = *end;
            if records > 0 {
                with_records.push(partition);
            }
        }
        pass.judge_counts(self.history, counts)?;
        after.totals = after.totals.plus(counts);
        // A flag rises in any batch of the lane, it falls only with a record of its partition.
        for (partition, place) in &mut after.places {
            place.idle = match (place.idle, self.stated.idle.contains(partition)) {
                (true, false) => !with_records.contains(&partition),
                (_, now) => now,
            };
        }
        self.compare(after, Watermark::Computed)
    }

    /// An opening or an operator's reset.
    pub fn reset(&self, resets: &Resets, recall: impl Fn(&dyn Fn(&LaneFold) -> bool) -> bool) -> Result<LaneFold, Fault> {
        let nothing = LaneFold::default();
        let before = if self.opened_anew(resets) { &nothing } else { self.before };
        self.same_source(before, |partition| resets.contains_key(partition))?;
        let mut after = before.clone();
        for (partition, (from, to)) in resets {
            let stood = before.places.get(partition).copied();
            if *from != stood.map(|p| p.next) || *to < 0 {
                let what = format!("a reset of {partition} from {from:?} to {to}, its history ends at {stood:?}");
                return Err((RangesContiguous, what));
            }
            let kept = stood.filter(|p| *to >= p.next && !self.replaced(before, &partition.topic));
            let mut place = Place { next: *to, max: kept.and_then(|p| p.max), idle: false };
            if stood.is_none() {
                // Opened again from the property, which had it of an older snapshot.
                let said = self.said(partition);
                let known = said != place && recall(&|lane| lane.places.get(partition) == Some(&said));
                place = if known { said } else { place };
            }
            after.places.insert(partition.clone(), place);
        }
        if before.places.is_empty() && recall(&|lane| lane.totals == self.stated.totals) {
            after.totals = self.stated.totals;
        }
        let opening = resets.values().all(|(from, _)| from.is_none());
        self.compare(after, if opening { Watermark::ComputedOrKept } else { Watermark::Computed })
    }

    /// A lane that can't be read is opened as if there had been none, at the places that the operator names.
    fn opened_anew(&self, resets: &Resets) -> bool {
        let kept = |partition| self.stated.offsets.contains_key(partition) && !resets.contains_key(partition);
        self.unreadable && resets.values().all(|(from, _)| from.is_none()) && !self.before.places.keys().all(kept)
    }

    fn said(&self, partition: &TopicPartition) -> Place {
        Place {
            next: self.stated.offsets.get(partition).copied().unwrap_or(-1),
            max: self.stated.times.get(partition).copied().flatten(),
            idle: self.stated.idle.contains(partition),
        }
    }

    fn replaced(&self, before: &LaneFold, topic: &str) -> bool {
        let differ = |was: Option<&str>, is: Option<&str>| was.zip(is).is_some_and(|(was, is)| was != is);
        let (was, is) = (&before.source, &self.stated.source);
        differ(was.cluster.as_deref(), is.cluster.as_deref()) || differ(was.id(topic), is.id(topic))
    }

    /// Ids change only by a reset that names every partition concerned, else old offsets go on in another log.
    fn same_source(&self, before: &LaneFold, named: impl Fn(&TopicPartition) -> bool) -> Result<(), Fault> {
        let (was, is) = (&before.source, &self.stated.source);
        let cluster = was.cluster.is_some() && was.cluster != is.cluster;
        let other = |topic: &str| was.id(topic).is_some() && was.id(topic) != is.id(topic);
        let partitions = before.places.keys().chain(self.stated.offsets.keys());
        let mut unnamed = partitions.filter(|p| (cluster || other(&p.topic)) && !named(p));
        match unnamed.next() {
            None => Ok(()),
            Some(partition) => {
                let what = format!("{partition} goes on in another log without a reset: the source was {was:?}, is {is:?}");
                Err((RangesContiguous, what))
            }
        }
    }

    /// What must be, against what is said.
    fn compare(&self, mut after: LaneFold, rule: Watermark) -> Result<LaneFold, Fault> {
        let Self { stated, .. } = self;
        let partitions = after.places.keys().chain(stated.offsets.keys()).chain(stated.times.keys()).chain(&stated.idle);
        for partition in partitions {
            let Some(place) = after.places.get(partition).copied() else {
                return Err((LaneIsItsHistory, format!("{partition} is in the lane, and nothing opened it")));
            };
            let said = self.said(partition);
            if !stated.times.contains_key(partition) || said.max != place.max {
                let what =
                    format!("the greatest event time of {partition} is {:?}, the log makes it {:?}", said.max, place.max);
                return Err((MaximaAreTheLogs, what));
            }
            if said != place {
                return Err((LaneIsItsHistory, format!("{partition} stands at {said:?}, its history makes it {place:?}")));
            }
        }
        if stated.totals != after.totals {
            let what = format!("totals are {:?}, the snapshot before and the counts make {:?}", stated.totals, after.totals);
            return Err((TotalsAddUp, what));
        }
        let computed = self.watermark(&after);
        let opening = rule == Watermark::ComputedOrKept;
        let kept = opening && stated.watermark == self.before.watermark;
        let unread = self.expired && stated.watermark.is_none() && (opening || least_awake(&after).is_none());
        if stated.watermark != computed && !kept && !unread {
            let what = format!("the watermark is {:?}, the partitions make it {computed:?}", stated.watermark);
            return Err((WatermarkIsTheLanes, what));
        }
        after.watermark = stated.watermark;
        after.source = stated.source.clone();
        Ok(after)
    }

    fn watermark(&self, after: &LaneFold) -> Option<Micros> {
        let begun = after.places.values().any(|p| p.max.is_some());
        let delayed = least_awake(after).map(|least| least - self.history.rules.watermark_delay);
        delayed.or(self.before.watermark.filter(|_| begun))
    }
}

/// How the watermark comes about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Watermark {
    Computed,
    /// An opening moves no partition: it may leave it as it was read.
    ComputedOrKept,
}

fn least_awake(lane: &LaneFold) -> Option<Micros> {
    lane.places.values().filter(|p| !p.idle).filter_map(|p| p.max).min()
}

/// A lane that the snapshot only carries must be as the Sluice snapshot before told it.
pub(super) fn carried(
    lane: &str,
    before: &LaneFold,
    told: &Summary,
    tells: &Summary,
    expired: bool,
) -> Result<Carried, Fault> {
    let faults = CARRIED.iter().filter(|(prefix, _)| !same_json(told, tells, &format!("{prefix}{lane}")));
    let mut faults = faults.map(|(prefix, _)| *prefix);
    if let Some(prefix) = faults.next() {
        let key = format!("{prefix}{lane}");
        let what =
            format!("{key} is {:?}, was {:?}, and the snapshot isn't the lane's own", tells.get(&key), told.get(&key));
        return Err((OtherLanesKept, what));
    }
    match watermark(tells, lane)? {
        same if same == before.watermark => Ok(Carried::Unchanged),
        None if expired => Ok(Carried::WithoutWatermark),
        other => {
            let what =
                format!("the watermark of lane {lane} went from {:?} to {other:?} in another's commit", before.watermark);
            Err((OtherLanesKept, what))
        }
    }
}

pub(super) enum Carried {
    Unchanged,
    /// Read from its property, which has none.
    WithoutWatermark,
}

fn same_json(a: &Summary, b: &Summary, key: &str) -> bool {
    let (a, b) = (a.get(key), b.get(key));
    let parse = |text: &String| serde_json::from_str::<serde_json::Value>(text).ok();
    a == b || a.zip(b).is_some_and(|(a, b)| parse(a).is_some() && parse(a) == parse(b))
}
