//! Histories that keep every promise, one for each thing that can happen.

use super::story::*;
use crate::core::event_time::LatePolicy::*;
use crate::sim::history::*;
use crate::types::*;

const T0: (&str, i32) = ("t", 0);
const T1: (&str, i32) = ("t", 1);
const U0: (&str, i32) = ("u", 0);
const HOUR: Micros = 3_600_000_000;

#[test]
fn duplicates_letters_and_offsets_without_a_record() {
    let mut s = Story::new(Admit);
    let a = s.trade(T0, "a", 10);
    s.silent(T0, Entry::Control);
    s.silent(T0, Entry::Aborted);
    let bad = s.malformed(T0);
    s.trade(T1, "a", 12);
    s.silent(T1, Entry::Hole);
    let again = s.trade(T1, "a", HOUR + 2);
    s.silent(T1, Entry::Control);
    s.open("g", &[(T0, 0), (T1, 0)]);
    s.history.letters.insert(bad);
    let ranges = [(T0, 0, 4, 10), (T1, 0, 1, 12)];
    s.commit().batch("g", &ranges, [1, 1, 0, 1]).add("f1", &[a]).land().unwrap();
    // The same id in another hour is another key.
    s.commit().batch("g", &[(T1, 1, 3, HOUR + 2)], [1, 0, 0, 0]).add("f2", &[again]).land().unwrap();
    assert!(s.finished("g", &["t"]).is_err());
    s.commit().batch("g", &[(T1, 3, 4, HOUR + 2)], [0; 4]).land().unwrap();
    s.finished("g", &["t"]).unwrap();
}

#[test]
fn late_records_are_rows_under_admit_only() {
    for policy in [Admit, Drop, DeadLetter] {
        let mut s = Story::new(policy);
        let records = [s.trade(T0, "a", 100), s.trade(T0, "b", 10), s.trade(T0, "c", 95)];
        s.open("g", &[(T0, 0)]);
        s.history.letters.insert(records[1]);
        let (counts, rows) = match policy {
            Admit => ([3, 0, 0, 0], &records[..]),
            _ => ([2, 0, 1, 0], &[records[0], records[2]][..]),
        };
        s.commit().batch("g", &[(T0, 0, 3, 100)], counts).add("f", rows).land().unwrap();
    }
}

#[test]
fn an_on_time_copy_behind_a_late_one_is_the_row() {
    let mut s = Story::new(Drop);
    let (z, _late, on_time) = (s.trade(T0, "z", 100), s.trade(T0, "a", 10), s.trade(T1, "a", 10));
    s.trade(T0, "a", 10);
    s.open("g", &[(T0, 0), (T1, 0)]);
    let ranges = [(T0, 0, 3, 100), (T1, 0, 1, 10)];
    s.commit().batch("g", &ranges, [2, 1, 1, 0]).add("f", &[z, on_time]).land().unwrap();
}

#[test]
fn a_reset_back_adds_what_was_late_and_nothing_twice() {
    let mut s = Story::new(Drop);
    let records = [s.trade(T0, "a", 100), s.trade(T0, "b", 10), s.trade(T0, "c", 99)];
    s.open("g", &[(T0, 0)]);
    s.commit().batch("g", &[(T0, 0, 3, 100)], [2, 0, 1, 0]).add("f1", &[records[0], records[2]]).land().unwrap();
    s.commit().reset("g", &[(T0, Some(3), 1)]).land().unwrap();
    s.commit().batch("g", &[(T0, 1, 3, 99)], [1, 1, 0, 0]).add("f2", &[records[1]]).land().unwrap();
}

#[test]
fn records_that_an_opening_or_a_reset_passes_over_are_not_owed() {
    let mut s = Story::new(Admit);
    let records = ["a", "b", "c", "d"].map(|id| s.trade(T0, id, 10));
    s.open("g", &[(T0, 1)]);
    s.commit().batch("g", &[(T0, 1, 2, 10)], [1, 0, 0, 0]).add("f1", &[records[1]]).land().unwrap();
    s.commit().reset("g", &[(T0, Some(2), 3)]).land().unwrap();
    s.commit().batch("g", &[(T0, 3, 4, 10)], [1, 0, 0, 0]).add("f2", &[records[3]]).land().unwrap();
    s.finished("g", &["t"]).unwrap();
}

#[test]
fn a_reset_to_a_recreated_topic_begins_on_its_log() {
    let mut s = Story::new(Drop);
    let a = s.trade(T0, "a", 100);
    let new = s.trade_in(T0, "T-new", "b", 10);
    s.open("g", &[(T0, 0)]);
    s.commit().batch("g", &[(T0, 0, 1, 100)], [1, 0, 0, 0]).add("f1", &[a]).land().unwrap();
    let mut reset = s.commit().reset("g", &[(T0, Some(1), 0)]);
    reset.lanes.get_mut("g").unwrap().ids.insert("t", "T-new".into());
    reset.land().unwrap();
    s.commit().batch("g", &[(T0, 0, 1, 10)], [1, 0, 0, 0]).add("f2", &[new]).land().unwrap();
    let ids = [("t".into(), "T-new".to_string())].into();
    s.oracle.finished(&s.history, "g", &ids).unwrap();
    assert!(s.finished("g", &["t"]).is_err(), "it does not stand in the old one");
}

#[test]
fn a_reset_forward_in_a_recreated_topic_keeps_no_event_time() {
    let mut s = Story::new(Drop);
    let a = s.trade(T0, "a", 100);
    s.open("g", &[(T0, 0)]);
    s.commit().batch("g", &[(T0, 0, 1, 100)], [1, 0, 0, 0]).add("f1", &[a]).land().unwrap();
    let mut reset = s.commit().reset("g", &[(T0, Some(1), 1)]);
    reset.lanes.get_mut("g").unwrap().ids.insert("t", "T-new".into());
    let times = r#"{"t":{"0":null},"idle":{}}"#;
    reset.bend("sluice.event-time.g", Some(times)).bend("sluice.watermark.g", None).land().unwrap();
}

#[test]
fn a_topic_whose_id_the_broker_does_not_tell() {
    let mut s = Story::new(Admit);
    let a = s.trade(T0, "a", 10);
    let mut opening = s.commit().reset("g", &[(T0, None, 0)]);
    opening.lanes.get_mut("g").unwrap().ids.clear();
    opening.land().unwrap();
    s.commit().batch("g", &[(T0, 0, 1, 10)], [1, 0, 0, 0]).add("f", &[a]).land().unwrap();
    s.finished("g", &["t"]).unwrap();
}

#[test]
fn a_roll_back_is_a_rewind_of_all_that_is_owed() {
    let mut s = Story::new(Admit);
    let (a, b) = (s.trade(T0, "a", 10), s.trade(T0, "b", 20));
    s.open("g", &[(T0, 0)]);
    let first = s.commit().batch("g", &[(T0, 0, 1, 10)], [1, 0, 0, 0]).add("f1", &[a]).land().unwrap();
    s.commit().batch("g", &[(T0, 1, 2, 20)], [1, 0, 0, 0]).add("f2", &[b]).land().unwrap();
    s.roll_back(first).unwrap();
    assert!(s.finished("g", &["t"]).is_err());
    s.commit().batch("g", &[(T0, 1, 2, 20)], [1, 0, 0, 0]).add("f3", &[b]).land().unwrap();
    s.finished("g", &["t"]).unwrap();
}

#[test]
fn rows_of_another_engine_count_as_seen_and_its_pairs_are_its_own() {
    let mut s = Story::new(Admit);
    let [_, b] = ["a", "b"].map(|id| s.trade(T0, id, 10));
    let theirs = |id: &str| Row { id: id.into(), time: 10, from: None };
    s.foreign().add("x1", vec![theirs("a"), theirs("a")]).land().unwrap();
    s.open("g", &[(T0, 0)]);
    s.commit().batch("g", &[(T0, 0, 2, 10)], [1, 1, 0, 0]).add("f1", &[b]).land().unwrap();
    s.foreign().add("x2", vec![theirs("b")]).land().unwrap();
}

#[test]
fn a_compaction_keeps_rows_and_a_delete_lets_them_come_back() {
    let mut s = Story::new(Admit);
    let (a, b, again) = (s.trade(T0, "a", 10), s.trade(T0, "b", 20), s.trade(T0, "a", 10));
    s.open("g", &[(T0, 0)]);
    s.commit().batch("g", &[(T0, 0, 2, 20)], [2, 0, 0, 0]).add("f1", &[a, b]).land().unwrap();
    let rows = vec![s.row_of(b), s.row_of(a)];
    s.foreign().remove("f1").add("x1", rows).land().unwrap();
    let rows = vec![s.row_of(b)];
    s.foreign().remove("x1").add("x2", rows).delete("a", 10).land().unwrap();
    s.commit().batch("g", &[(T0, 2, 3, 20)], [1, 0, 0, 0]).add("f2", &[again]).land().unwrap();
}

#[test]
fn a_copy_of_a_summary_counts_for_nothing() {
    let mut s = Story::new(Admit);
    let (a, b) = (s.trade(T0, "a", 10), s.trade(T0, "b", 20));
    s.open("g", &[(T0, 0)]);
    let first = s.commit().batch("g", &[(T0, 0, 1, 10)], [1, 0, 0, 0]).add("f1", &[a]).land().unwrap();
    let second = s.commit().batch("g", &[(T0, 1, 2, 20)], [1, 0, 0, 0]).add("f2", &[b]).land().unwrap();
    s.roll_back(first).unwrap();
    s.foreign().copy_of(second).land().unwrap();
    s.commit().batch("g", &[(T0, 1, 2, 20)], [1, 0, 0, 0]).add("f3", &[b]).land().unwrap();
}

#[test]
fn two_lanes_of_one_topic_and_the_retirement_of_one() {
    let mut s = Story::new(Admit);
    let a = s.trade(T0, "a", 10);
    s.open("g", &[(T0, 0)]);
    s.open("h.i", &[(T0, 0)]);
    s.commit().batch("g", &[(T0, 0, 1, 10)], [1, 0, 0, 0]).add("f1", &[a]).land().unwrap();
    s.commit().batch("h.i", &[(T0, 0, 1, 10)], [0, 1, 0, 0]).land().unwrap();
    s.commit().land().unwrap();
    s.commit().retire("h.i").land().unwrap();
    s.finished("g", &["t"]).unwrap();
    assert!(s.finished("h.i", &["t"]).is_err());
}

#[test]
fn a_lane_that_can_not_be_read_is_not_carried_and_opened_anew() {
    let mut s = Story::new(Admit);
    let a = s.trade(T0, "a", 10);
    s.open("g", &[(T0, 0)]);
    s.open("h", &[(T0, 0), (T1, 0)]);
    s.commit().batch("h", &[(T0, 0, 1, 10)], [1, 0, 0, 0]).add("f1", &[a]).land().unwrap();
    s.history.properties.insert("sluice.state.h".into(), "?".into());
    s.history.spoilt.insert("h".into());
    s.commit().without("h").batch("g", &[(T0, 0, 1, 10)], [0, 1, 0, 0]).land().unwrap();
    s.open("h", &[(T0, 0), (T1, 0)]);
    s.commit().batch("h", &[(T0, 0, 1, 10)], [0, 1, 0, 0]).land().unwrap();
}

#[test]
fn a_lane_rolled_back_to_before_a_topic_joined_is_not_carried() {
    let mut s = Story::new(Admit);
    s.open("g", &[(T0, 0)]);
    s.open("h", &[(T0, 0)]);
    let before = s.head().unwrap();
    s.open("h", &[(U0, 0)]);
    s.roll_back(before).unwrap();
    s.commit().without("h").land().unwrap();
}

#[test]
fn over_an_expired_history_the_property_stands_without_a_watermark() {
    let mut s = Story::new(Admit);
    let (a, b) = (s.trade(T0, "a", 10), s.trade(T0, "b", 20));
    s.open("g", &[(T0, 0)]);
    s.open("h", &[(T0, 0)]);
    s.commit().batch("h", &[(T0, 0, 1, 10)], [1, 0, 0, 0]).add("f1", &[a]).land().unwrap();
    s.foreign().land().unwrap();
    s.history.expired = s.history.landed.keys().copied().filter(|id| Some(*id) != s.head()).collect();
    let mut anchor = s.commit();
    anchor.lanes.get_mut("h").unwrap().forget_watermark();
    anchor.land().unwrap();
    s.commit().batch("h", &[(T0, 1, 2, 20)], [1, 0, 0, 0]).add("f2", &[b]).land().unwrap();
}

#[test]
fn over_an_expired_history_an_opening_has_no_watermark_to_keep() {
    let mut s = Story::new(Admit);
    let a = s.trade(T0, "a", 10);
    s.open("g", &[(T0, 0)]);
    s.commit().batch("g", &[(T0, 0, 1, 10)], [1, 0, 0, 0]).add("f1", &[a]).land().unwrap();
    s.foreign().land().unwrap();
    s.history.expired = s.history.landed.keys().copied().filter(|id| Some(*id) != s.head()).collect();
    s.commit().reset("g", &[(U0, None, 0)]).bend("sluice.watermark.g", None).land().unwrap();
}

#[test]
fn over_an_expired_history_an_operator_opens_the_lane_as_its_property_had_it() {
    let mut s = Story::new(Drop);
    let records = [s.trade(T0, "a", 100), s.trade(T0, "b", 100), s.trade(T0, "c", 10)];
    s.open("g", &[(T0, 0)]);
    let first = s.commit().batch("g", &[(T0, 0, 1, 100)], [1, 0, 0, 0]).add("f1", &records[..1]).land().unwrap();
    s.commit().batch("g", &[(T0, 1, 2, 100)], [1, 0, 0, 0]).add("f2", &records[1..2]).land().unwrap();
    s.roll_back(first).unwrap();
    s.foreign().land().unwrap();
    s.history.expired.insert(first);
    let mut again = s.commit();
    again.drop_lane("g");
    again = again.reset("g", &[(T0, None, 2)]);
    // As it stood at the end of the second batch, totals and all.
    let times = r#"{"t":{"0":100},"idle":{}}"#;
    let totals = r#"{"consumed":2,"written":2,"duplicate":0,"late":0,"dead_lettered":0,"redriven":0}"#;
    let watermark = "1970-01-01T00:00:00.000095Z";
    again
        .bend("sluice.event-time.g", Some(times))
        .bend("sluice.totals.g", Some(totals))
        .bend("sluice.watermark.g", Some(watermark))
        .land()
        .unwrap();
}

#[test]
fn idle_partitions_hold_no_watermark_back() {
    let mut s = Story::new(Admit);
    let (a, b, c) = (s.trade(T0, "a", 10), s.trade(T1, "b", 50), s.trade(T0, "c", 60));
    s.open("g", &[(T0, 0), (T1, 0)]);
    s.commit().batch("g", &[(T0, 0, 1, 10), (T1, 0, 1, 50)], [2, 0, 0, 0]).add("f1", &[a, b]).land().unwrap();
    s.commit().batch("g", &[], [0; 4]).idle("g", &[T0]).land().unwrap();
    s.commit().batch("g", &[], [0; 4]).idle("g", &[T0, T1]).land().unwrap();
    s.commit().batch("g", &[(T0, 1, 2, 60)], [1, 0, 0, 0]).idle("g", &[T1]).add("f2", &[c]).land().unwrap();
}

#[test]
fn a_table_that_is_created_again_begins_anew() {
    let mut s = Story::new(Admit);
    let a = s.trade(T0, "a", 10);
    for (table, path) in [(1, "f1"), (2, "f2")] {
        s.table = table;
        s.history.properties.clear();
        s.open("g", &[(T0, 0)]);
        s.commit().batch("g", &[(T0, 0, 1, 10)], [1, 0, 0, 0]).add(path, &[a]).land().unwrap();
    }
}

#[test]
fn a_batch_over_records_that_an_unclean_election_took_away() {
    let mut s = Story::new(Admit);
    let (a, b) = (s.trade(T0, "a", 10), s.trade(T0, "b", 20));
    s.open("g", &[(T0, 0)]);
    let rows = [s.row_of(a), s.row_of(b)].to_vec();
    let log = s.log("t", "T", 0);
    let taken = log.entries.pop().unwrap();
    log.truncated.insert(1, taken);
    log.stable = 1;
    s.commit().batch("g", &[(T0, 0, 2, 20)], [2, 0, 0, 0]).add_rows("f", rows).land().unwrap();
}

#[test]
fn a_snapshot_that_was_never_the_head_itself_is_folded_with_the_one_behind_it() {
    let mut s = Story::new(Admit);
    let (a, b) = (s.trade(T0, "a", 10), s.trade(T0, "b", 20));
    s.open("g", &[(T0, 0)]);
    s.commit().batch("g", &[(T0, 0, 1, 10)], [1, 0, 0, 0]).add("f1", &[a]).land().unwrap();
    let head = s.commit().batch("g", &[(T0, 1, 2, 20)], [1, 0, 0, 0]).add("f2", &[b]).land().unwrap();
    s.history.heads = vec![head];
    s.oracle = crate::sim::oracle::Oracle::new();
    s.oracle.judge(&s.history).unwrap();
    s.finished("g", &["t"]).unwrap();
}
