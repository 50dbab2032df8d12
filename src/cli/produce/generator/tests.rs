use std::collections::{BTreeMap, BTreeSet};

use super::*;

const MINUTE: Micros = 60_000_000;

fn spec() -> Spec {
    Spec {
        seed: 42,
        topics: vec![TopicLayout { name: "a".into(), partitions: 3 }, TopicLayout { name: "b".into(), partitions: 2 }],
        start: 1_767_225_600_000_000,
        step_nanos: 2_000_000,
        duplicates: 0.02,
        late: 0.01,
        malformed: 0.01,
        unknown_schema_ids: false,
        out_of_order: 2_000_000,
        straggler: 20 * MINUTE,
    }
}

fn generated(spec: Spec, count: u64) -> Vec<GeneratedRecord> {
    let generator = Generator::new(spec);
    (0..count).map(|number| generator.record(number)).collect()
}

#[test]
fn a_record_is_a_function_of_seed_and_number() {
    let forwards = generated(spec(), 2_000);
    let again = Generator::new(spec());
    for record in forwards.iter().rev() {
        assert_eq!(&again.record(record.number), record);
    }
    let other = generated(Spec { seed: 43, ..spec() }, 2_000);
    assert!(forwards.iter().zip(&other).all(|(a, b)| a.trade.message_id != b.trade.message_id));
}

#[test]
fn shares_are_those_that_were_asked_for() {
    let records = generated(spec(), 100_000);
    let share = |kind: fn(&Kind) -> bool| records.iter().filter(|r| kind(&r.kind)).count() as f64 / 100_000.0;
    for (found, asked) in [
        (share(|k| matches!(k, Kind::Duplicate)), 0.02),
        (share(|k| matches!(k, Kind::Late)), 0.01),
        (share(|k| matches!(k, Kind::Malformed(_))), 0.01),
        (share(|k| matches!(k, Kind::Fresh)), 0.96),
    ] {
        assert!((found - asked).abs() < 0.002, "{found} instead of {asked}");
    }
}

#[test]
fn without_shares_every_record_is_a_trade_of_its_own() {
    let records = generated(Spec { duplicates: 0.0, late: 0.0, malformed: 0.0, ..spec() }, 20_000);
    assert!(records.iter().all(|r| r.kind == Kind::Fresh && r.of.is_none()));
    let ids: BTreeSet<_> = records.iter().map(|r| &r.trade.message_id).collect();
    assert_eq!(ids.len(), records.len());
}

#[test]
fn a_duplicate_carries_the_trade_of_an_earlier_record_to_each_kind_of_place() {
    let records = generated(spec(), 100_000);
    let mut places: BTreeMap<&str, u32> = BTreeMap::new();
    let mut versions: BTreeMap<bool, u32> = BTreeMap::new();
    for record in records.iter().filter(|r| r.kind == Kind::Duplicate) {
        let of = record.of.expect("a duplicate has an original");
        assert!(of < record.number);
        let original = &records[of as usize];
        assert!(matches!(original.kind, Kind::Fresh | Kind::Late) && original.of.is_none(), "{original:?}");
        assert_eq!(original.trade, record.trade);
        let place = match (original.topic == record.topic, original.partition == record.partition) {
            (true, true) => "same partition",
            (true, false) => "other partition",
            (false, _) => "other topic",
        };
        *places.entry(place).or_default() += 1;
        *versions.entry(original.version == record.version).or_default() += 1;
    }
    assert!(places.len() == 3 && places.values().all(|count| *count > 400), "{places:?}");
    assert!(versions.len() == 2 && versions.values().all(|count| *count > 300), "{versions:?}");
    assert!(records.iter().any(|r| r.kind == Kind::Duplicate && records[r.of.unwrap() as usize].kind == Kind::Late));
}

#[test]
fn a_late_record_is_days_behind_and_a_late_copy_comes_before_its_on_time_trade() {
    let records = generated(spec(), 200_000);
    let mut greatest: BTreeMap<(usize, i32), Micros> = BTreeMap::new();
    let mut copies = 0;
    for record in &records {
        let place = (record.topic, record.partition);
        let before = greatest.get(&place).copied();
        let late = before.is_some_and(|before| record.trade.timestamp < before - 5 * MINUTE);
        if record.number > 1_000 {
            match record.kind {
                Kind::Late => assert!(late, "{record:?} against {before:?}"),
                Kind::Fresh => assert!(!late, "{record:?} against {before:?}"),
                Kind::Duplicate | Kind::Malformed(_) => {}
            }
        }
        if let (Kind::Late, Some(of)) = (record.kind, record.of) {
            copies += 1;
            assert!(of > record.number);
            if let Some(to_come) = records.get(of as usize) {
                assert_eq!((to_come.kind, &to_come.trade), (Kind::Fresh, &record.trade));
            }
        }
        if !matches!(record.kind, Kind::Malformed(_)) {
            let time = before.map_or(record.trade.timestamp, |before| before.max(record.trade.timestamp));
            greatest.insert(place, time);
        }
    }
    assert!(copies > 50, "{copies}");
}

#[test]
fn event_times_are_out_of_order_by_no_more_than_was_asked_for() {
    let quiet = Spec { duplicates: 0.0, late: 0.0, malformed: 0.0, ..spec() };
    let records = generated(quiet, 10_000);
    let behind = |r: &GeneratedRecord| r.timestamp_ms * 1_000 - r.trade.timestamp;
    assert!(records.iter().all(|r| (-1_000..=2_000_000).contains(&behind(r))));
    assert!(records.iter().any(|r| behind(r) > 1_500_000));
}

#[test]
fn every_way_to_be_malformed_comes_up_and_unknown_schema_ids_only_when_asked_for() {
    let kinds = |unknown_schema_ids| {
        let records = generated(Spec { malformed: 0.5, unknown_schema_ids, ..spec() }, 5_000);
        records
            .iter()
            .filter_map(|r| if let Kind::Malformed(kind) = r.kind { Some(kind) } else { None })
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(kinds(true).len(), Malformed::ALL.len());
    assert_eq!(kinds(false).len(), Malformed::ALL.len() - 1);
    assert!(!kinds(false).contains(&Malformed::UnknownSchemaId));
}

#[test]
fn one_topic_with_one_partition_has_duplicates_in_place_and_no_late_copies() {
    let topics = vec![TopicLayout { name: "only".into(), partitions: 1 }];
    let records = generated(Spec { topics, duplicates: 0.2, late: 0.2, ..spec() }, 5_000);
    assert!(records.iter().all(|r| (r.topic, r.partition) == (0, 0)));
    assert!(records.iter().any(|r| r.kind == Kind::Duplicate));
    assert!(records.iter().filter(|r| r.kind == Kind::Late).all(|r| r.of.is_none()));
}
