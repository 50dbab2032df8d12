//! What the log says of every commit, against the counts that the commit recorded.

use crate::core::table::LaneName;
use crate::core::verify::finding::{Check, Findings, Place, Weight};
use crate::types::*;

/// One own commit of one lane and what was met in its ranges.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub lane: LaneName,
    pub snapshot: SnapshotId,
    pub position: usize,
    pub counts: Counts,
    pub delay: Micros,
    records: u64,
    malformed: u64,
    late: u64,
    absent: u64,
    /// Those of them that can't have been late.
    absent_on_time: u64,
    /// Not all of its records can be read any more.
    incomplete: bool,
    /// Part of it is in a compacted topic.
    compacted: bool,
}

/// A recorded event-time maximum that the log contradicts.
#[derive(Clone, Copy, Debug)]
struct Maximum {
    commit: usize,
    partition: usize,
    end: Offset,
    recorded: Option<Micros>,
    folded: Option<Micros>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Commits {
    tallies: Vec<Tally>,
    maxima: Vec<Maximum>,
}

impl Commits {
    pub(super) fn add(
        &mut self,
        lane: LaneName,
        snapshot: SnapshotId,
        position: usize,
        counts: Counts,
        delay: Micros,
    ) -> usize {
        self.tallies.push(Tally {
            lane,
            snapshot,
            position,
            counts,
            delay,
            records: 0,
            malformed: 0,
            late: 0,
            absent: 0,
            absent_on_time: 0,
            incomplete: false,
            compacted: false,
        });
        self.tallies.len() - 1
    }

    pub(super) fn delay(&self, commit: usize) -> Micros {
        self.tallies[commit].delay
    }
    pub(super) fn snapshot(&self, commit: usize) -> SnapshotId {
        self.tallies[commit].snapshot
    }
    pub(super) fn lane(&self, commit: usize) -> LaneName {
        self.tallies[commit].lane.clone()
    }
    pub(super) fn position(&self, commit: usize) -> usize {
        self.tallies[commit].position
    }
    /// Records that were dead-lettered then and decode now: the schema became known, or the decoder learned it.
    pub(super) fn dead_surplus(&self, commit: usize) -> u64 {
        let tally = &self.tallies[commit];
        tally.counts.dead_lettered.saturating_sub(tally.malformed)
    }

    pub(super) fn incomplete(&mut self, commit: usize) {
        self.tallies[commit].incomplete = true;
    }
    pub(super) fn compacted(&mut self, commit: usize) {
        self.tallies[commit].compacted = true;
    }
    pub(super) fn malformed(&mut self, commit: usize) {
        self.tallies[commit].records += 1;
        self.tallies[commit].malformed += 1;
    }
    /// `late`: the record may have been late.
    pub(super) fn decoded(&mut self, commit: usize, late: bool) {
        self.tallies[commit].records += 1;
        self.tallies[commit].late += u64::from(late);
    }
    pub(super) fn absent(&mut self, commit: usize, late: bool) {
        self.tallies[commit].absent += 1;
        self.tallies[commit].absent_on_time += u64::from(!late);
    }

    pub(super) fn maximum(
        &mut self,
        commit: usize,
        partition: usize,
        end: Offset,
        recorded: Option<Micros>,
        folded: Option<Micros>,
    ) {
        if recorded != folded {
            self.maxima.push(Maximum { commit, partition, end, recorded, folded });
        }
    }

    pub(super) fn judge(&self, partitions: &[TopicPartition], foreign_removal: bool, findings: &mut Findings) {
        for (commit, tally) in self.tallies.iter().enumerate().filter(|(_, tally)| !tally.incomplete) {
            self.judge_tally(commit, tally, foreign_removal, findings);
        }
        for wrong in self.maxima.iter().filter(|wrong| !self.tallies[wrong.commit].incomplete) {
            let tally = &self.tallies[wrong.commit];
            let weight = if self.dead_surplus(wrong.commit) > 0 { Weight::Unprovable } else { Weight::Violation };
            let partition = &partitions[wrong.partition];
            let place = Place { partition: Some(partition.clone()), offset: Some(wrong.end), ..tally.place() };
            let text = format!(
                "greatest event time of {partition} before offset {} is recorded as {:?}, the log makes it {:?}",
                wrong.end, wrong.recorded, wrong.folded
            );
            findings.add(weight, Check::EventTime, place, text);
        }
    }

    fn judge_tally(&self, commit: usize, tally: &Tally, foreign_removal: bool, findings: &mut Findings) {
        let Tally { counts, records, malformed, late, absent, absent_on_time, .. } = *tally;
        let consumed = counts.consumed();
        // The records that would explain a count that is too great may have been compacted away.
        let too_few = if tally.compacted && records < consumed { Weight::Unprovable } else { Weight::Violation };
        if records != consumed {
            let text = format!("its ranges hold {records} records, it counted {consumed} as consumed");
            findings.add(too_few, Check::Verdict, tally.place(), text);
        }
        if malformed > counts.dead_lettered {
            let text =
                format!("{malformed} records of its ranges can't be decoded, it dead-lettered {}", counts.dead_lettered);
            findings.violation(Check::Verdict, tally.place(), text);
        }
        let surplus = self.dead_surplus(commit);
        if surplus > 0 && records == consumed {
            let text = format!("{surplus} of its {} dead letters decode now", counts.dead_lettered);
            findings.unprovable(Check::Verdict, tally.place(), text);
        }
        if counts.late > late {
            let text = format!("it counted {} records as late, {late} can have been", counts.late);
            findings.add(too_few, Check::Verdict, tally.place(), text);
        }
        if absent > counts.late + surplus || absent_on_time > surplus {
            let weight = if foreign_removal { Weight::Unprovable } else { Weight::Violation };
            let text = format!(
                "{absent} of its records have no row in Gold, {absent_on_time} of them on time; {} counted late and {surplus} \
                 dead-lettered ones don't explain that: a record counted as written or duplicate is nowhere",
                counts.late
            );
            findings.add(weight, Check::Verdict, tally.place(), text);
        }
    }
}

impl Tally {
    fn place(&self) -> Place {
        Place { lane: Some(self.lane.clone()), snapshot: Some(self.snapshot), ..Place::default() }
    }
}
