//! For every promise, histories that break it and are otherwise like those that hold.

use super::story::*;
use crate::core::event_time::LatePolicy::{self, *};
use crate::sim::history::*;
use crate::sim::oracle::{Invariant, Invariant::*, Violation};
use crate::types::*;

const T0: (&str, i32) = ("t", 0);
const T1: (&str, i32) = ("t", 1);

/// Lanes `g` and `h` of topic `t`; `g` has committed `a` (10) and `b` (20) of partition 0, where `c` (30), a malformed
/// record and a copy of `a` follow.
fn begun(late: LatePolicy) -> (Story, [Serial; 4]) {
    let mut s = Story::new(late);
    let [a, b, c] = [("a", 10), ("b", 20), ("c", 30)].map(|(id, time)| s.trade(T0, id, time));
    let bad = s.malformed(T0);
    s.trade(T0, "a", 10);
    s.open("g", &[(T0, 0), (T1, 0)]);
    s.open("h", &[(T0, 2)]);
    s.commit().batch("g", &[(T0, 0, 2, 20)], [2, 0, 0, 0]).add("f1", &[a, b]).land().unwrap();
    s.history.letters.insert(bad);
    (s, [a, b, c, bad])
}

fn broken<T: std::fmt::Debug>(judged: Result<T, Violation>) -> Invariant {
    judged.expect_err("a violation").invariant
}

/// The third batch, honest but for `bend`.
fn third(bend: impl FnOnce(Commit<'_>, [Serial; 4]) -> Commit<'_>) -> Result<SnapshotId, Violation> {
    let (mut s, records) = begun(Admit);
    let commit = s.commit().batch("g", &[(T0, 2, 5, 30)], [1, 1, 0, 1]);
    bend(commit, records).land()
}

fn bent(key: &str, value: Option<&str>) -> Invariant {
    broken(third(|commit, [.., c, _]| commit.add("f2", &[c]).bend(key, value)))
}

#[test]
fn the_third_batch_unbent_breaks_nothing() {
    third(|commit, [.., c, _]| commit.add("f2", &[c])).unwrap();
    third(|commit, [.., c, _]| commit.add("f2", &[c]).bend("sluice.version", Some("1"))).unwrap();
}

#[test]
fn a_key_twice_in_a_commit_or_on_top_of_a_live_row() {
    assert_eq!(broken(third(|commit, [.., c, _]| commit.add("f2", &[c]).add("f3", &[c]))), EachKeyOnce);
    let (mut s, _) = begun(Admit);
    let (c, a) = (s.row_of(Serial(3)), s.row_of(Serial(5)));
    let twice = s.commit().batch("g", &[(T0, 2, 5, 30)], [2, 0, 0, 1]).add_rows("f2", vec![c, a]);
    assert_eq!(broken(twice.land()), EachKeyOnce);
    let (mut s, [.., c, _]) = begun(Admit);
    s.foreign().add("x", vec![Row { id: "c".into(), time: 30, from: None }]).land().unwrap();
    assert_eq!(broken(s.commit().batch("g", &[(T0, 2, 3, 30)], [1, 0, 0, 0]).add("f2", &[c]).land()), EachKeyOnce);
}

#[test]
fn a_record_passed_without_a_row() {
    let (mut s, _) = begun(Admit);
    assert_eq!(broken(s.commit().batch("g", &[(T0, 2, 5, 30)], [0, 2, 0, 1]).land()), NothingLost);
    let (mut s, _) = begun(Admit);
    assert_eq!(broken(s.foreign().remove("f1").land()), NothingLost);
    // Deleted and sent again: a duplicate of what is gone.
    let (mut s, [_, b, c, _]) = begun(Admit);
    let kept = vec![s.row_of(b)];
    s.foreign().remove("f1").add("x", kept).delete("a", 10).land().unwrap();
    let judged = s.commit().batch("g", &[(T0, 2, 5, 30)], [1, 1, 0, 1]).add("f2", &[c]).land();
    assert_eq!(broken(judged), NothingLost);
}

#[test]
fn an_on_time_record_taken_for_late() {
    // The copy of `a` and `d` are late, `e` is not, by one microsecond.
    for (counts, broke) in [([1, 1, 2, 1], NothingLost), ([1, 0, 3, 1], CountsBalance)] {
        let (mut s, [.., c, _]) = begun(Drop);
        s.trade(T0, "d", 24);
        s.trade(T0, "e", 25);
        assert_eq!(broken(s.commit().batch("g", &[(T0, 2, 7, 30)], counts).add("f2", &[c]).land()), broke);
    }
}

#[test]
fn a_row_of_no_record_of_the_ranges() {
    let values = [("d", 30, Some(3)), ("c", 31, Some(3)), ("c", 30, Some(99)), ("c", 30, None)];
    for (id, time, from) in values {
        let row = Row { id: id.into(), time, from: from.map(Serial) };
        assert_eq!(broken(third(|commit, _| commit.add_rows("f2", vec![row]))), NothingInvented);
    }
    let (mut s, [.., c, _]) = begun(Admit);
    assert_eq!(broken(s.commit().add("f2", &[c]).land()), NothingInvented, "an anchor has no rows");
    let (mut s, [.., c, _]) = begun(Admit);
    let row = s.row_of(c);
    assert_eq!(broken(s.foreign().add("x", vec![row]).land()), NothingInvented, "no commit wrote it yet");
}

#[test]
fn a_row_of_a_late_record() {
    let (mut s, [.., c, _]) = begun(Drop);
    let late = s.trade(T0, "d", 10);
    let judged = s.commit().batch("g", &[(T0, 2, 6, 30)], [2, 1, 0, 1]).add("f2", &[c, late]).land();
    assert_eq!(broken(judged), NothingInvented);
}

#[test]
fn a_gap_an_overlap_and_a_range_of_what_was_never_opened() {
    for range in [(T0, 1, 5, 30), (T0, 3, 5, 30), (T0, 2, 2, 20), (T0, 2, 9, 30), (("u", 0), 0, 1, 10)] {
        let (mut s, _) = begun(Admit);
        assert_eq!(broken(s.commit().batch("g", &[range], [0, 0, 0, 0]).land()), RangesContiguous, "{range:?}");
    }
}

#[test]
fn a_reset_from_elsewhere() {
    for from in [None, Some(1), Some(3)] {
        let (mut s, _) = begun(Admit);
        assert_eq!(broken(s.commit().reset("g", &[(T0, from, 0)]).land()), RangesContiguous, "{from:?}");
    }
}

#[test]
fn a_recreated_topic_read_on_or_reset_in_part() {
    for reset in [false, true] {
        let (mut s, _) = begun(Admit);
        for id in ["a", "b", "c"] {
            s.trade_in(T0, "T-new", id, 30);
        }
        let commit = s.commit();
        let mut commit = match reset {
            true => commit.reset("g", &[(T0, Some(2), 0)]),
            false => commit.batch("g", &[(T0, 2, 3, 30)], [0, 1, 0, 0]),
        };
        commit.lanes.get_mut("g").unwrap().ids.insert("t", "T-new".into());
        assert_eq!(broken(commit.land()), RangesContiguous);
    }
}

#[test]
fn offsets_idle_flags_or_a_property_that_are_not_the_historys() {
    assert_eq!(bent("sluice.offsets.g", Some(r#"{"t":{"0":6,"1":0}}"#)), LaneIsItsHistory);
    assert_eq!(bent("sluice.offsets.g", Some(r#"{"t":{"0":5}}"#)), LaneIsItsHistory);
    assert_eq!(bent("sluice.offsets.g", None), LaneIsItsHistory);
    assert_eq!(bent("sluice.source.g", Some("[]")), LaneIsItsHistory);
    let property = third(|commit, [.., c, _]| commit.add("f2", &[c]).bend_property("g", None));
    assert_eq!(broken(property), LaneIsItsHistory);
    let (mut s, _) = begun(Admit);
    s.commit().batch("g", &[], [0; 4]).idle("g", &[T0]).land().unwrap();
    assert_eq!(broken(s.commit().batch("g", &[], [0; 4]).idle("g", &[]).land()), LaneIsItsHistory, "no record woke it");
    let (mut s, [.., c, _]) = begun(Admit);
    s.open("i", &[(T0, 2)]);
    let retired = s.commit().retire("i").batch("g", &[(T0, 2, 3, 30)], [1, 0, 0, 0]).add("f2", &[c]);
    retired.land().unwrap();
    let mut back = s.commit();
    let lane = back.lanes["g"].clone();
    back.lanes.insert("i", lane);
    assert_eq!(broken(back.land()), LaneIsItsHistory, "it was retired");
}

#[test]
fn maxima_that_are_not_the_logs() {
    for max in [0, 20, 31] {
        let (mut s, [.., c, _]) = begun(Admit);
        let judged = s.commit().batch("g", &[(T0, 2, 5, max)], [1, 1, 0, 1]).add("f2", &[c]).land();
        assert_eq!(broken(judged), MaximaAreTheLogs, "{max}");
    }
    // Kept over a reset back.
    let (mut s, _) = begun(Admit);
    let times = r#"{"t":{"0":20,"1":null},"idle":{}}"#;
    let judged = s.commit().reset("g", &[(T0, Some(2), 0)]).bend("sluice.event-time.g", Some(times)).land();
    assert_eq!(broken(judged), MaximaAreTheLogs);
}

#[test]
fn counts_that_are_not_the_records_and_the_rows() {
    for counts in [[1, 2, 0, 1], [1, 1, 0, 0], [1, 2, 0, 0], [0, 2, 0, 1], [1, 0, 1, 1]] {
        let (mut s, [.., c, _]) = begun(Admit);
        let judged = s.commit().batch("g", &[(T0, 2, 5, 30)], counts).add("f2", &[c]).land();
        assert_eq!(broken(judged), CountsBalance, "{counts:?}");
    }
    let sum = r#"{"consumed":3,"written":1,"duplicate":1,"late":1,"dead_lettered":1}"#;
    let negative = r#"{"consumed":3,"written":1,"duplicate":2,"late":-1,"dead_lettered":1}"#;
    for counts in [Some(sum), Some(negative), None] {
        assert_eq!(bent("sluice.counts.g", counts), CountsBalance, "{counts:?}");
    }
}

#[test]
fn totals_that_do_not_add_up() {
    let totals = r#"{"consumed":3,"written":1,"duplicate":1,"late":0,"dead_lettered":1,"redriven":0}"#;
    assert_eq!(bent("sluice.totals.g", Some(totals)), TotalsAddUp);
    assert_eq!(bent("sluice.totals.g", None), TotalsAddUp);
    let (mut s, _) = begun(Admit);
    let redriven = r#"{"consumed":0,"written":0,"duplicate":0,"late":0,"dead_lettered":0,"redriven":1}"#;
    let judged = s.commit().reset("i", &[(T0, None, 0)]).bend("sluice.totals.i", Some(redriven)).land();
    assert_eq!(broken(judged), TotalsAddUp);
}

#[test]
fn a_watermark_that_is_not_the_partitions() {
    for watermark in [None, Some("1970-01-01T00:00:00.000030Z"), Some("1970-01-01T00:00:00.000024Z"), Some("now")] {
        assert_eq!(bent("sluice.watermark.g", watermark), WatermarkIsTheLanes, "{watermark:?}");
    }
    let (mut s, _) = begun(Admit);
    let judged = s.commit().batch("g", &[], [0; 4]).idle("g", &[T0]).bend("sluice.watermark.g", None).land();
    assert_eq!(broken(judged), WatermarkIsTheLanes, "with every partition idle it stays");
    let (mut s, _) = begun(Admit);
    let judged = s.commit().reset("g", &[(("u", 0), None, 0)]).bend("sluice.watermark.g", None).land();
    assert_eq!(broken(judged), WatermarkIsTheLanes, "an opening takes none away");
    let (mut s, _) = begun(Admit);
    let before = "1970-01-01T00:00:00.000015Z";
    let judged = s.commit().reset("g", &[(T0, Some(2), 0)]).bend("sluice.watermark.g", Some(before)).land();
    assert_eq!(broken(judged), WatermarkIsTheLanes, "a reset that clears every maximum leaves none");
}

#[test]
fn a_commit_before_its_letters() {
    let (mut s, [.., c, bad]) = begun(Admit);
    s.history.letters.remove(&bad);
    let judged = s.commit().batch("g", &[(T0, 2, 5, 30)], [1, 1, 0, 1]).add("f2", &[c]).land();
    assert_eq!(broken(judged), LettersBeforeCommit);
    let (mut s, [.., c, _]) = begun(DeadLetter);
    s.trade(T0, "d", 10);
    let judged = s.commit().batch("g", &[(T0, 2, 6, 30)], [1, 1, 1, 1]).add("f2", &[c]).land();
    assert_eq!(broken(judged), LettersBeforeCommit, "late ones have letters too");
}

#[test]
fn another_lane_moved_lost_or_left_behind() {
    assert_eq!(bent("sluice.offsets.h", Some(r#"{"t":{"0":3}}"#)), OtherLanesKept);
    assert_eq!(bent("sluice.event-time.h", Some(r#"{"t":{"0":3},"idle":{}}"#)), OtherLanesKept);
    assert_eq!(bent("sluice.watermark.h", Some("1970-01-01T00:00:00Z")), OtherLanesKept);
    assert_eq!(bent("sluice.retired", Some(r#"["h"]"#)), OtherLanesKept);
    assert_eq!(broken(third(|commit, [.., c, _]| commit.add("f2", &[c]).without("h"))), OtherLanesKept);
    let stale = third(|commit, [.., c, _]| commit.add("f2", &[c]).bend_property("h", None));
    assert_eq!(broken(stale), OtherLanesKept, "only its own lane's property moved");
}

#[test]
fn files_that_are_gone_changed_or_taken_away() {
    let (mut s, _) = begun(Admit);
    s.history.files.remove("f1");
    assert_eq!(broken(s.commit().land()), FilesThere);
    let (mut s, [a, ..]) = begun(Admit);
    let rows = vec![s.row_of(a)];
    s.history.files.insert("f1".into(), rows.into());
    assert_eq!(broken(s.foreign().land()), FilesThere);
    let (mut s, _) = begun(Admit);
    let head = s.head().unwrap();
    s.commit().land().unwrap();
    s.history.files.remove("f1");
    assert_eq!(broken(s.roll_back(head)), FilesThere);
    assert_eq!(broken(third(|commit, [.., c, _]| commit.add("f2", &[c]).take_away("f1"))), FilesThere);
    // Another engine's delete undone: the lists were built on an older base.
    let (mut s, [_, b, ..]) = begun(Admit);
    let kept = vec![s.row_of(b)];
    s.foreign().remove("f1").add("x", kept).delete("a", 10).land().unwrap();
    let rows = [1, 2].map(|serial| s.row_of(Serial(serial))).to_vec();
    assert_eq!(broken(s.commit().add_rows("f1", rows).land()), NothingInvented);
}

#[test]
fn a_snapshot_that_names_another_id_or_none() {
    assert_eq!(bent("sluice.snapshot-id", Some("1")), NamesItself);
    assert_eq!(bent("sluice.snapshot-id", None), NamesItself);
}

#[test]
fn a_lane_that_stays_behind_its_log() {
    let (mut s, [.., c, _]) = begun(Admit);
    assert_eq!(broken(s.finished("g", &["t"])), Converges);
    s.commit().batch("g", &[(T0, 2, 5, 30)], [1, 1, 0, 1]).add("f2", &[c]).land().unwrap();
    s.finished("g", &["t"]).unwrap();
    assert_eq!(broken(s.finished("h", &["t"])), Converges);
    assert_eq!(broken(s.finished("i", &["t"])), Converges);
    s.log("t", "T", 1).stable = 1;
    assert_eq!(broken(s.finished("g", &["t"])), Converges);
}

#[test]
fn every_promise_has_a_name_of_its_own() {
    let names: std::collections::BTreeSet<_> = Invariant::ALL.iter().map(|i| i.name()).collect();
    assert_eq!(names.len(), Invariant::ALL.len());
}
