//! One thing broken at a time, in many worlds.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::world::{self, LANE, Record, World};
use super::{judge, violations};
use crate::core::table::{OffsetRange, OwnChange};
use crate::core::verify::{Check, Weight};
use crate::types::*;

/// Breaks every world in one way, and wants one of the given checks to say so. `false` = the world offers no place.
fn finds(checks: &[Check], breaking: impl Fn(&mut World, &mut SmallRng) -> bool) {
    let mut broken = 0;
    for seed in 0..400 {
        let mut world = world::world(seed, 4 + (seed as usize % 12));
        let mut rng = SmallRng::seed_from_u64(seed);
        if !breaking(&mut world, &mut rng) {
            continue;
        }
        broken += 1;
        let findings = judge(&world);
        let found = checks.iter().any(|check| findings.of(Weight::Violation, *check) > 0);
        assert!(found, "seed {seed}: {checks:?} not among {:?}", violations(&findings));
    }
    assert!(broken >= 20, "only {broken} worlds could be broken this way");
}

fn a_batch(world: &World, rng: &mut SmallRng) -> Option<(usize, Counts)> {
    world.batches().choose(rng).copied()
}

fn edit_range(world: &mut World, rng: &mut SmallRng, change: impl Fn(&mut i64, &mut i64)) -> bool {
    let Some((at, _)) = a_batch(world, rng) else { return false };
    world.edit_lane(at, |entry| {
        let Some(OwnChange::Ranges { ranges, .. }) = &mut entry.own else { return };
        let range = ranges.values_mut().next().unwrap();
        change(&mut range.start, &mut range.end);
    });
    true
}

#[test]
fn a_gap_between_ranges() {
    finds(&[Check::RangeGap, Check::RangeInvalid], |world, rng| edit_range(world, rng, |start, _| *start += 1));
}

#[test]
fn an_overlap_of_ranges() {
    finds(&[Check::RangeOverlap], |world, rng| edit_range(world, rng, |start, _| *start -= 1));
}

#[test]
fn a_range_that_ends_elsewhere_than_the_offsets() {
    finds(&[Check::Offsets], |world, rng| edit_range(world, rng, |_, end| *end += 1));
}

#[test]
fn an_offset_that_moved_without_a_range() {
    finds(&[Check::Offsets], |world, rng| {
        let Some((at, _)) = a_batch(world, rng) else { return false };
        world.edit_lane(at, |entry| entry.lane.partitions.values_mut().last().unwrap().next_offset += 7);
        true
    });
}

#[test]
fn a_partition_that_is_lost_from_the_offsets() {
    finds(&[Check::Offsets], |world, rng| {
        let Some((at, _)) = a_batch(world, rng) else { return false };
        world.edit_lane(at, |entry| drop(entry.lane.partitions.pop_last()));
        true
    });
}

#[test]
fn a_reset_that_starts_from_another_place() {
    finds(&[Check::ResetFrom], |world, _| {
        for at in 1..world.history.len() {
            let mut changed = false;
            if world.history[at].view.sluice.is_some() {
                world.edit_lane(at, |entry| {
                    if let Some(OwnChange::Reset(resets)) = &mut entry.own {
                        let reset = resets.values_mut().next().unwrap();
                        changed = reset.from.is_some();
                        reset.from = reset.from.map(|from| from + 1);
                    }
                });
            }
            if changed {
                return true;
            }
        }
        false
    });
}

#[test]
fn a_lane_without_an_opening() {
    finds(&[Check::LaneUnopened], |world, _| {
        let at = world.history.iter().position(|s| s.view.sluice.is_some()).unwrap();
        world.edit_lane(at, |entry| entry.own = None);
        true
    });
}

#[test]
fn a_lane_that_is_dropped_in_silence() {
    finds(&[Check::LaneDropped], |world, rng| {
        let Some((at, _)) = a_batch(world, rng) else { return false };
        world.edit(at, |keys| drop(keys.lanes.remove(LANE)));
        true
    });
}

#[test]
fn a_commit_that_landed_twice() {
    finds(&[Check::CommitTwice], |world, _| {
        let ids: Vec<_> = (0..world.history.len()).filter(|at| world.history[*at].view.sluice.is_some()).collect();
        let [first, .., last] = ids[..] else { return false };
        let id = world.history[first].view.sluice.as_ref().unwrap().commit_id;
        world.edit(last, |keys| keys.commit_id = id);
        true
    });
}

#[test]
fn totals_that_are_not_the_sum() {
    finds(&[Check::Totals], |world, rng| {
        let Some((at, _)) = a_batch(world, rng) else { return false };
        world.edit_lane(at, |entry| entry.lane.totals.counts.duplicate += 1);
        true
    });
}

#[test]
fn consumed_that_is_not_the_sum_of_its_verdicts() {
    finds(&[Check::Counts], |world, rng| {
        let Some((at, _)) = a_batch(world, rng) else { return false };
        *world.history[at].stated.get_mut(LANE).unwrap().consumed.as_mut().unwrap() += 1;
        true
    });
}

#[test]
fn more_records_than_the_ranges_have_room_for() {
    finds(&[Check::Counts], |world, rng| {
        let Some((at, _)) = a_batch(world, rng) else { return false };
        shift_counts(world, at, |counts| counts.duplicate += 1000);
        true
    });
}

/// Changes the counts of a batch and everything that follows from them, so that only the log can tell.
fn shift_counts(world: &mut World, at: usize, change: impl Fn(&mut Counts) + Copy) {
    let mut consumed = 0;
    world.edit_lane(at, |entry| {
        let Some(OwnChange::Ranges { counts, .. }) = &mut entry.own else { return };
        change(counts);
        consumed = counts.consumed();
    });
    world.history[at].stated.get_mut(LANE).unwrap().consumed = Some(consumed);
    world.shift_totals(at, change);
}

#[test]
fn a_record_that_was_never_judged() {
    finds(&[Check::Verdict], |world, rng| {
        let Some((at, counts)) = a_batch(world, rng) else { return false };
        if counts.duplicate == 0 {
            return false;
        }
        shift_counts(world, at, |counts| counts.duplicate -= 1);
        true
    });
}

#[test]
fn a_verdict_without_a_record() {
    finds(&[Check::Verdict, Check::Counts], |world, rng| {
        let Some((at, _)) = a_batch(world, rng) else { return false };
        shift_counts(world, at, |counts| counts.duplicate += 1);
        true
    });
}

#[test]
fn a_record_counted_late_that_was_not() {
    finds(&[Check::Verdict], |world, _| {
        let more_than_can_be = |(at, counts): &(usize, Counts)| {
            let keys = world.history[*at].view.sluice.clone().unwrap();
            let Some(OwnChange::Ranges { ranges, .. }) = &keys.lanes[LANE].as_ref().unwrap().own else { unreachable!() };
            let late: u64 = ranges.iter().map(|(tp, range)| late_at_most(world, tp, range)).sum();
            late < counts.late + counts.duplicate
        };
        let Some((at, Counts { duplicate, .. })) =
            world.batches().into_iter().filter(|(_, c)| c.duplicate > 0).find(more_than_can_be)
        else {
            return false;
        };
        shift_counts(world, at, |counts| {
            counts.late += duplicate;
            counts.duplicate -= duplicate;
        });
        true
    });
}

/// How many records of a range are behind something that came before them in the log, at all.
fn late_at_most(world: &World, tp: &TopicPartition, range: &OffsetRange) -> u64 {
    let mut maximum = i64::MIN;
    let mut late = 0;
    for (offset, record) in world.log[tp].range(..range.end) {
        if let Record::Good { time, .. } = record {
            late += u64::from(*offset >= range.start && *time < maximum);
            maximum = maximum.max(*time);
        }
    }
    late
}

#[test]
fn an_id_called_duplicate_that_is_nowhere() {
    finds(&[Check::Verdict], |world, rng| lose_a_row(world, rng, |counts| counts.duplicate += 1));
    finds(&[Check::RowMissing], lose_an_on_time_row);
}

/// Takes a row out of its file, its manifest and its commit's counts, with another verdict in its place.
fn lose_a_row(world: &mut World, rng: &mut SmallRng, verdict: impl Fn(&mut Counts) + Copy) -> bool {
    let batches = world.batches();
    let candidates: Vec<_> = batches.iter().filter(|(_, c)| c.written > 0).collect();
    let Some((at, _)) = candidates.choose(rng).copied().copied() else { return false };
    let Some(lost) = row_of_batch(world, at) else { return false };
    let file = &mut world.files[lost.0];
    file.rows.as_mut().unwrap().remove(lost.1);
    file.facts.rows -= 1;
    world.history[at].added_rows -= 1;
    shift_counts(world, at, |counts| {
        counts.written -= 1;
        verdict(counts);
    });
    true
}

/// A row that the batch wrote: (file, row). The first batch that read the id in a world without resets wrote it.
fn row_of_batch(world: &World, at: usize) -> Option<(usize, usize)> {
    let keys = world.history[at].view.sluice.as_ref()?;
    let Some(OwnChange::Ranges { ranges, .. }) = &keys.lanes[LANE].as_ref().ok()?.own else { return None };
    let ids: Vec<&String> = ranges
        .iter()
        .flat_map(|(tp, r)| world.log[tp].range(r.start..r.end))
        .filter_map(|(_, record)| match record {
            Record::Good { id, .. } => Some(id),
            Record::Bad => None,
        })
        .collect();
    world.files.iter().enumerate().find_map(|(f, file)| {
        let ours = crate::core::verify::files::written_by_sluice(&file.facts.path);
        let rows = file.rows.as_ref().filter(|_| ours)?;
        rows.iter().position(|row| ids.contains(&&row.id)).map(|r| (f, r))
    })
}

fn lose_an_on_time_row(world: &mut World, rng: &mut SmallRng) -> bool {
    let before = world.files.clone();
    if !lose_a_row(world, rng, |counts| counts.duplicate += 1) {
        return false;
    }
    // The id must have come on time in some partition: ahead of everything before it there.
    let lost = before
        .iter()
        .flat_map(|f| f.rows.iter().flatten())
        .find(|row| !world.files.iter().any(|f| f.rows.iter().flatten().any(|r| r == *row)))
        .unwrap();
    let committed = world.properties[LANE].as_ref().unwrap().lane.partitions.clone();
    let was_reset = world.history.iter().filter_map(|s| s.view.sluice.as_ref()).any(|keys| {
        matches!(&keys.lanes[LANE].as_ref().unwrap().own, Some(OwnChange::Reset(r)) if r.values().any(|r| r.from.is_some()))
    });
    // Where a reset moved over it, another reading may be the one that counts.
    !was_reset
        && committed.iter().any(|(tp, progress)| {
            let mut maximum = i64::MIN;
            world.log[tp].range(..progress.next_offset).any(|(_, record)| match record {
                Record::Good { id, time, .. } => {
                    maximum = maximum.max(*time);
                    *id == lost.id && *time == lost.time && *time == maximum
                }
                Record::Bad => false,
            })
        })
}

#[test]
fn a_row_that_is_missing_from_its_file() {
    finds(&[Check::FileRows], |world, rng| {
        let Some(file) = world.files.iter_mut().filter(|f| f.facts.rows > 1).collect::<Vec<_>>().pop() else { return false };
        let rows = file.rows.as_mut().unwrap();
        rows.remove(rng.random_range(0..rows.len()));
        true
    });
}

#[test]
fn a_row_that_is_missing_from_file_and_manifest() {
    finds(&[Check::RowBalance], |world, _| {
        let Some(file) = world.files.last_mut() else { return false };
        file.rows.as_mut().unwrap().pop();
        file.facts.rows -= 1;
        true
    });
}

#[test]
fn rows_that_the_commit_says_it_wrote_and_did_not_add() {
    finds(&[Check::RowsAdded], |world, rng| {
        let Some((at, _)) = a_batch(world, rng) else { return false };
        world.history[at].added_rows += 1;
        true
    });
}

#[test]
fn a_file_that_is_gone() {
    finds(&[Check::FileMissing], |world, rng| {
        let Some(at) = (!world.files.is_empty()).then(|| rng.random_range(0..world.files.len())) else { return false };
        world.files[at].rows = None;
        true
    });
}

#[test]
fn a_row_that_is_there_twice() {
    finds(&[Check::Duplicate], |world, rng| {
        let own: Vec<_> = (0..world.files.len())
            .filter(|at| crate::core::verify::files::written_by_sluice(&world.files[*at].facts.path))
            .collect();
        let Some(at) = own.choose(rng).copied() else { return false };
        let row = world.files[at].rows.as_ref().unwrap()[0].clone();
        let mut other = world.files[at].clone();
        other.facts.path = "s3://lake/data/sluice-again.parquet".into();
        other.facts.rows = 1;
        other.rows = Some(vec![row]);
        world.files.push(other);
        true
    });
}

fn edit_own_row(world: &mut World, change: impl Fn(&mut world::Row)) -> bool {
    let own = |f: &&mut world::File| crate::core::verify::files::written_by_sluice(&f.facts.path);
    let Some(file) = world.files.iter_mut().find(own) else { return false };
    change(&mut file.rows.as_mut().unwrap()[0]);
    true
}

#[test]
fn a_value_that_no_record_has() {
    finds(&[Check::RowValue], |world, _| edit_own_row(world, |row| row.payload = row.payload.wrapping_add(1 << 40)));
}

#[test]
fn a_row_that_no_record_explains() {
    finds(&[Check::RowExtra], |world, _| edit_own_row(world, |row| row.id.push('x')));
}

#[test]
fn a_row_in_the_wrong_hour() {
    finds(&[Check::RowHour], |world, _| edit_own_row(world, |row| row.time += 3_600_000_000));
}

#[test]
fn a_date_or_hour_that_is_derived_wrong() {
    finds(&[Check::DerivedColumns], |world, _| edit_own_row(world, |row| row.hour = (row.hour + 1) % 24));
    finds(&[Check::DerivedColumns], |world, _| edit_own_row(world, |row| row.date -= 1));
}

#[test]
fn an_event_time_that_moved_on_its_own() {
    finds(&[Check::EventTime], |world, rng| {
        let Some((at, _)) = a_batch(world, rng) else { return false };
        world.edit_lane(at, |entry| {
            let progress = entry.lane.partitions.values_mut().next().unwrap();
            progress.max_event_time = Some(progress.max_event_time.unwrap_or(0) + 1);
        });
        true
    });
}

#[test]
fn a_watermark_ahead_of_a_partition() {
    finds(&[Check::EventTime], |world, rng| {
        let Some((at, _)) = a_batch(world, rng) else { return false };
        let Some(watermark) = world.history[at].stated.get_mut(LANE).unwrap().watermark.as_mut() else { return false };
        *watermark += 1000 * world::DELAY;
        true
    });
}

#[test]
fn a_topic_id_that_changed_without_a_reset() {
    finds(&[Check::SourceIdentity], |world, rng| {
        let Some((at, _)) = a_batch(world, rng) else { return false };
        world.edit_lane(at, |entry| {
            entry.lane.source.topics.insert("silver.a".into(), TopicId([9; 16]));
        });
        true
    });
}

#[test]
fn a_property_that_says_something_else() {
    finds(&[Check::Property], |world, _| {
        let property = world.properties.get_mut(LANE).unwrap().as_mut().unwrap();
        property.lane.partitions.values_mut().next().unwrap().next_offset += 1;
        true
    });
}

#[test]
fn a_log_that_ends_before_the_tables_offset() {
    finds(&[Check::LogShorter], |world, _| {
        let property = world.properties[LANE].as_ref().unwrap();
        let Some((tp, progress)) =
            property.lane.partitions.iter().find(|(tp, p)| p.next_offset > world.kafka.partitions[*tp].start)
        else {
            return false;
        };
        world.kafka.partitions.get_mut(tp).unwrap().stable_end = progress.next_offset - 1;
        true
    });
}

#[test]
fn a_topic_that_is_another_one_now() {
    finds(&[Check::SourceIdentity], |world, _| {
        for (tp, log) in &mut world.kafka.partitions {
            if &*tp.topic == "silver.a" {
                log.topic_id = Some(TopicId([42; 16]));
            }
        }
        true
    });
}
