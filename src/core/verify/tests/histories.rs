//! Histories written by hand: what can't be proven any more is said so, and isn't called a violation.

use std::collections::BTreeMap;

use super::world::{self, LANE, Record, World};
use super::{judge, violations};
use crate::core::table::{LaneName, OwnChange};
use crate::core::verify::*;
use crate::types::*;

/// A world without resets: batches only.
fn plain(seed: u64) -> World {
    let mut world = world::world(seed, 0);
    for _ in 0..6 {
        world.batch();
    }
    world
}

fn expire(world: &mut World, count: usize) {
    world.history.drain(..count);
    world.end = HistoryEnd::Expired(world.history[0].view.parent.unwrap());
}

#[test]
fn expired_history_is_unprovable_and_what_is_left_is_still_judged() {
    for seed in 0..40 {
        let mut world = world::world(seed, 12);
        expire(&mut world, 5);
        let findings = judge(&world);
        assert_eq!(violations(&findings), vec![], "seed {seed}");
        assert_eq!(findings.of(Weight::Unprovable, Check::HistoryExpired), 1);
        let Some((at, _)) = world.batches().pop().filter(|(at, _)| *at > 2) else { continue };
        world.edit_lane(at, |entry| {
            let Some(OwnChange::Ranges { ranges, .. }) = &mut entry.own else { unreachable!() };
            ranges.values_mut().next().unwrap().start -= 1;
        });
        assert!(judge(&world).of(Weight::Violation, Check::RangeOverlap) > 0, "seed {seed}");
    }
}

#[test]
fn a_trimmed_log_excuses_what_it_no_longer_holds_and_nothing_behind_it() {
    for seed in 0..40 {
        let mut world = plain(seed);
        for (tp, log) in &mut world.kafka.partitions {
            log.start += 25;
            if let Some(records) = world.log.get_mut(tp) {
                *records = records.split_off(&log.start);
            }
        }
        let findings = judge(&world);
        assert_eq!(violations(&findings), vec![], "seed {seed}");
        assert!(findings.of(Weight::Unprovable, Check::LogTrimmed) > 0, "seed {seed}");
    }
}

/// Every record but the greatest offset of a partition may go, the one that made others late as well.
fn compact(world: &mut World, seed: u64) {
    for (n, records) in world.log.values_mut().enumerate() {
        let last = records.last_key_value().map(|(offset, _)| *offset);
        let goes = |offset: &i64| (offset.wrapping_mul(0x9e37).wrapping_add(seed as i64 + n as i64)) % 3 == 0;
        records.retain(|offset, _| Some(*offset) == last || !goes(offset));
    }
}

#[test]
fn what_compaction_removed_is_unprovable_and_what_it_left_is_still_judged() {
    let (mut violated, mut unprovable, mut lost) = (0, 0, 0);
    for seed in 0..60 {
        let mut world = world::world(seed, 12);
        compact(&mut world, seed);
        violated += u64::from(!violations(&judge(&world)).is_empty());
        world.kafka.partitions.values_mut().for_each(|log| log.compacted = true);
        let findings = judge(&world);
        assert_eq!(violations(&findings), vec![], "seed {seed}");
        unprovable += u64::from(findings.of(Weight::Unprovable, Check::Verdict) > 0);
        lost += u64::from(lose_the_newest_row(&mut world) && judge(&world).of(Weight::Violation, Check::RowMissing) > 0);
    }
    assert_eq!(violated, unprovable, "what is a violation where the log isn't compacted is unprovable where it is");
    assert!(unprovable > 40, "something of a commit was removed {unprovable} times");
    assert!(lost > 10, "a row that is missing for a record that is there was found {lost} times");
}

/// The row of a record that nothing can have made late: the greatest event time of its partition, read and still there.
fn lose_the_newest_row(world: &mut World) -> bool {
    let Ok(property) = &world.properties[LANE] else { return false };
    let newest = property.lane.partitions.iter().find_map(|(tp, progress)| {
        world.log[tp].range(..progress.next_offset).find_map(|(_, record)| match record {
            Record::Good { id, time, .. } if Some(*time) == progress.max_event_time => Some((id.clone(), *time)),
            _ => None,
        })
    });
    let Some((id, time)) = newest else { return false };
    let rows = world.files.iter_mut().filter_map(|file| file.rows.as_mut());
    rows.fold(false, |lost, rows| {
        let before = rows.len();
        rows.retain(|row| (&row.id, row.time) != (&id, time));
        lost || rows.len() < before
    })
}

#[test]
fn rows_that_another_engine_deleted_are_unprovable() {
    for seed in 0..40 {
        let mut world = plain(seed);
        let Some(file) = world.files.pop() else { continue };
        let mut delete = world.history.last().unwrap().clone();
        delete.view.parent = Some(delete.view.id);
        delete.view.id = SnapshotId(9000);
        delete.view.sluice = None;
        (delete.operation, delete.added_rows, delete.removed_rows) = (Operation::Delete, 0, file.facts.rows);
        delete.stated = BTreeMap::new();
        world.history.push(delete);
        let findings = judge(&world);
        assert_eq!(violations(&findings), vec![], "seed {seed}");
        assert_eq!(findings.of(Weight::Unprovable, Check::ForeignRemoval), 1);
    }
}

#[test]
fn a_pair_in_files_that_sluice_did_not_write_is_unprovable() {
    let mut world = plain(3);
    let row = world::Row { id: "theirs".into(), time: 0, payload: 0, date: 0, hour: 0 };
    for name in ["part-1", "part-2"] {
        let facts = FileFacts { path: name.into(), hour: Some(EventHour(0)), rows: 1, deletes: false };
        world.files.push(world::File { facts, rows: Some(vec![row.clone()]) });
    }
    world.history[0].added_rows += 2;
    let findings = judge(&world);
    assert_eq!(findings.of(Weight::Unprovable, Check::Duplicate), 1);
    assert_eq!(findings.of(Weight::Violation, Check::Duplicate), 0);
    let file = world.files.last_mut().unwrap();
    file.facts.path = "sluice-2".into();
    assert_eq!(judge(&world).of(Weight::Violation, Check::Duplicate), 1);
}

#[test]
fn an_id_sent_again_under_another_hour_is_listed_and_no_duplicate() {
    let mut world = plain(4);
    let tp = world.log.keys().next().unwrap().clone();
    let (again, _) = world
        .log
        .get(&tp)
        .unwrap()
        .values()
        .find_map(|r| match r {
            Record::Good { id, time, .. } => Some((id.clone(), *time)),
            Record::Bad => None,
        })
        .unwrap();
    let facts = FileFacts { path: "part-9".into(), hour: Some(EventHour(0)), rows: 1, deletes: false };
    let row = world::Row { id: again.clone(), time: 5, payload: 0, date: 0, hour: 0 };
    world.files.push(world::File { facts, rows: Some(vec![row]) });
    world.history[0].added_rows += 1;
    let findings = judge(&world);
    assert_eq!(findings.of(Weight::Violation, Check::Duplicate), 0);
    let listed = findings.listed().iter().any(|f| f.check == Check::ResentElsewhere && f.text.contains(&again));
    assert!(listed, "{:?}", findings.listed());
}

#[test]
fn a_rolled_back_table_says_so_by_property_and_tag() {
    let mut world = plain(5);
    // Main goes back by two snapshots; property and tag stay, as after another engine's roll-back.
    world.history.truncate(world.history.len() - 2);
    let findings = {
        let mut findings = Findings::default();
        let history: Vec<_> = world.history.iter().rev().cloned().collect();
        let lineage = judge_lineage(&history, world.end, &mut findings);
        let head = HeadState { properties: &world.properties, tag: world.tag };
        judge_head(&history, world.end, &lineage, head, &mut findings);
        findings
    };
    assert_eq!(violations(&findings), vec![]);
    assert_eq!(findings.of(Weight::Unprovable, Check::Property), 1);
    assert_eq!(findings.of(Weight::Unprovable, Check::Tag), 1);
}

#[test]
fn a_property_with_a_topic_that_the_history_does_not_know_is_a_violation() {
    let mut world = world::world(1, 0);
    world.open(&["silver.b"]);
    world.history.pop();
    assert!(judge(&world).of(Weight::Violation, Check::Property) > 0);
}

#[test]
fn a_retired_lane_ends_and_its_property_must_be_gone() {
    let mut world = plain(6);
    let mut retire = world.history.last().unwrap().clone();
    retire.view.parent = Some(retire.view.id);
    retire.view.id = SnapshotId(9000);
    (retire.added_rows, retire.stated) = (0, BTreeMap::new());
    world.history.push(retire);
    let at = world.history.len() - 1;
    world.edit(at, |keys| {
        keys.commit_id = CommitId(77);
        keys.lanes.remove(LANE);
        keys.retired.insert(LaneName::from(LANE));
    });
    world.tag = Some(SnapshotId(9000));
    assert_eq!(judge(&world).of(Weight::Violation, Check::LaneRetired), 1);
    world.properties.remove(LANE);
    assert_eq!(violations(&judge(&world)), vec![]);
}

#[test]
fn a_property_alone_stands_for_a_lane_whose_snapshots_are_expired() {
    let mut world = plain(7);
    let newest = world.history.last().unwrap().view.id;
    let mut foreign = world.history.last().unwrap().clone();
    foreign.view.parent = Some(newest);
    foreign.view.id = SnapshotId(9000);
    foreign.view.sluice = None;
    world.history = vec![foreign];
    world.end = HistoryEnd::Expired(newest);
    let head = |world: &World| {
        let mut findings = Findings::default();
        let lineage = judge_lineage(&world.history, world.end, &mut findings);
        let head = HeadState { properties: &world.properties, tag: world.tag };
        judge_head(&world.history, world.end, &lineage, head, &mut findings);
        findings
    };
    assert_eq!(violations(&head(&world)), vec![]);
    // Another parent than the property's snapshot: rolled back and then maintained, or maintained without us.
    world.end = HistoryEnd::Expired(SnapshotId(5));
    assert!(head(&world).of(Weight::Violation, Check::Property) > 0);
}

#[test]
fn letters_that_decode_now_excuse_as_many_missing_rows_and_no_more() {
    let mut world = plain(8);
    // Heal one broken record in the log: it was dead-lettered then and can be decoded now.
    let (at, _) = world.batches().into_iter().find(|(_, c)| c.dead_lettered > 0).unwrap();
    let keys = world.history[at].view.sluice.clone().unwrap();
    let Some(OwnChange::Ranges { ranges, .. }) = &keys.lanes[LANE].as_ref().unwrap().own else { unreachable!() };
    let healed = ranges.iter().any(|(tp, range)| {
        let bad = world.log.get_mut(tp).unwrap().range_mut(range.start..range.end).find(|(_, r)| matches!(r, Record::Bad));
        bad.map(|(_, record)| *record = Record::Good { id: "healed".into(), time: 1_767_225_600_000_000, payload: 1 })
            .is_some()
    });
    assert!(healed);
    let findings = judge(&world);
    assert_eq!(violations(&findings), vec![]);
    assert!(findings.of(Weight::Unprovable, Check::Verdict) > 0);
}

#[test]
fn a_range_that_was_not_read_to_its_end_proves_nothing() {
    let world = plain(9);
    let mut findings = Findings::default();
    let history: Vec<_> = world.history.iter().rev().cloned().collect();
    let lineage = judge_lineage(&history, world.end, &mut findings);
    let mut audit = LogAudit::new(&lineage, &world.kafka, world::DELAY, &mut findings);
    audit.begin(Shard::WHOLE);
    audit.end_shard(&mut findings);
    audit.end(&mut findings);
    assert_eq!(violations(&findings), vec![]);
    assert!(findings.of(Weight::Unprovable, Check::LogUnread) > 0);
}

#[test]
fn raw_summary_keys_are_taken_by_lane_names_that_hold_dots() {
    let view = world::world(1, 0).history.pop().unwrap().view;
    let summary: BTreeMap<String, String> = [
        ("added-records", "12"),
        ("sluice.counts.a.b", r#"{"consumed":5,"written":5}"#),
        ("sluice.watermark.a.b", "2026-01-01T00:00:00.000001Z"),
        ("sluice.redrive.c", r#"{"kind":"redrive","written":3}"#),
        ("sluice.counts.broken", "{"),
    ]
    .map(|(k, v)| (k.to_string(), v.to_string()))
    .into();
    let snapshot = HistorySnapshot::from_summary(view, Operation::Append, &summary);
    assert_eq!((snapshot.added_rows, snapshot.removed_rows), (12, 0));
    let stated = Stated { consumed: Some(5), watermark: Some(1_767_225_600_000_001), redriven: None };
    assert_eq!(snapshot.stated["a.b"], stated);
    assert_eq!(snapshot.stated["c"].redriven, Some(3));
    assert_eq!(snapshot.unreadable.len(), 1);
}
