//! The harness itself: an oracle that can't fail proves nothing.

use std::collections::BTreeMap;

use apache_avro::types::Value;

use crate::common::gold::{Row, compare, read, read_live};
use crate::common::ledger::Ledger;
use crate::common::*;

fn row(draft: Draft) -> Row {
    let trade = draft.trade();
    let hours = draft.hour();
    Row {
        trade,
        gold_ingestion_timestamp: 5,
        exchange_date: hours.div_euclid(24) as i32,
        exchange_hour: hours.rem_euclid(24) as i32,
    }
}

fn ledger_of(drafts: &[(i32, Draft)]) -> Ledger {
    let mut ledger = Ledger::default();
    for (offset, (partition, draft)) in drafts.iter().enumerate() {
        ledger.add(("t".to_owned(), *partition), Entry { offset: offset as i64, what: What::Trade(*draft) });
    }
    ledger
}

#[test]
fn the_comparison_finds_a_missing_a_doubled_a_changed_and_a_foreign_row() {
    let drafts: Vec<_> = (0..10).map(|n| Draft::new(n, T0 + n as i64 * MINUTE)).collect();
    let of = |d: &Draft| (0, *d);
    let mut ledger = ledger_of(&drafts.iter().map(of).collect::<Vec<_>>());
    let expected = Expectation::of(&mut ledger, Late::Admit, &BTreeMap::new());
    let good: Vec<Row> = drafts.iter().map(|d| row(*d)).collect();
    compare("test", &expected, &good, 0, 10);
    let mut changed = good.clone();
    changed[4].trade.price += 1;
    let mut shifted = good.clone();
    shifted[4].exchange_hour += 1;
    let mut stale = good.clone();
    stale[4].gold_ingestion_timestamp = 11;
    for (what, rows) in [
        ("missing", good[1..].to_vec()),
        ("twice", [&good[..], &good[..1]].concat()),
        ("other values", changed),
        ("wrong partition", shifted),
        ("gold_ingestion_timestamp", stale),
        ("a row that nothing calls for", [&good[..], &[row(Draft::new(77, T0))]].concat()),
    ] {
        let failed = std::panic::catch_unwind(|| compare("test", &expected, &rows, 0, 10)).expect_err(what);
        let text = failed.downcast_ref::<String>().expect("a message");
        assert!(text.contains(what), "{what}: {text}");
    }
}

#[test]
fn the_oracle_tells_late_from_on_time_by_each_partitions_own_past() {
    let (early, now) = (T0, T0 + 2 * HOUR);
    let records = [
        (0, Draft::new(1, now)),
        (0, Draft::new(2, now - 5 * MINUTE)), // on time: not below the maximum less the delay
        (0, Draft::new(3, now - 5 * MINUTE - 1)), // late
        (0, Draft::new(4, early)),            // late, and on time in the other partition
        (1, Draft::new(4, early)),
    ];
    let fold = |late| {
        let expected = Expectation::of(&mut ledger_of(&records), late, &BTreeMap::new());
        let mut ids: Vec<_> = expected.rows.values().map(|d| d[0].payload).collect();
        ids.sort();
        (ids, expected.late_letters.len(), expected.late_or_duplicate.len())
    };
    assert_eq!(fold(Late::Admit), (vec![1, 2, 3, 4], 0, 0));
    assert_eq!(fold(Late::Drop), (vec![1, 2, 4], 0, 0));
    assert_eq!(fold(Late::DeadLetter), (vec![1, 2, 4], 1, 1));
}

#[test]
fn every_writers_body_reads_back_as_the_trade_by_apache_avro() {
    for n in 0..500 {
        for writer in Writer::ALL {
            let draft = Draft { writer, ..Draft::new(n, T0) };
            let mut body = &draft.body()[..];
            let value = apache_avro::from_avro_datum(writer.schema(), &mut body, None).unwrap();
            assert!(body.is_empty(), "{writer:?} {n}");
            let Value::Record(fields) = value else { panic!("a record") };
            let fields: BTreeMap<_, _> = fields.into_iter().collect();
            let trade = draft.trade();
            assert_eq!(fields["message_id"], Value::String(trade.message_id));
            assert_eq!(fields["timestamp"], Value::TimestampMicros(trade.timestamp));
            let Value::Decimal(price) = &fields["price"] else { panic!("a decimal") };
            assert_eq!(unscaled(&Vec::try_from(price).unwrap()), trade.price);
            if writer != Writer::Minimal {
                let Value::Array(conditions) = &fields["trade_conditions"] else { panic!("an array") };
                assert_eq!(conditions.len(), trade.trade_conditions.len());
            }
        }
    }
}

fn unscaled(bytes: &[u8]) -> i128 {
    let start = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
    bytes.iter().fold(start, |sum, b| (sum << 8) | i128::from(*b))
}

#[test]
fn the_ledger_holds_what_a_committed_reader_sees_and_nothing_else() {
    let world = World::new("harness-ledger", &[("binance", 2)]);
    let topic = world.topic("binance");
    let transactions = world.transactions("one");
    transactions.begin();
    transactions.trade(&topic, 0, Draft::new(1, T0));
    transactions.abort();
    transactions.begin();
    transactions.trade(&topic, 0, Draft::new(2, T0));
    transactions.commit();
    let producer = world.producer();
    producer.trade(&topic, 0, Draft::new(3, T0));
    producer.settle();
    let mut ledger = world.ledger.lock().unwrap();
    let offsets: Vec<_> = ledger.partitions()[&(topic.clone(), 0)].iter().map(|e| e.offset).collect();
    assert_eq!(offsets, [2, 4], "behind an aborted record and its marker, and behind the next marker");
    drop(ledger);
    // Record, marker, record, marker, record.
    assert_eq!(world.kafka.log(&topic, 0), (0, 5));
    world.kafka.delete_records(&topic, 0, 3);
    assert_eq!(world.kafka.log(&topic, 0), (3, 5));
}

#[test]
fn the_reader_of_the_heads_files_sees_what_another_engine_sees() {
    let world = World::new("harness-reader", &[("binance", 1)]);
    let producer = world.producer();
    let mut sluice = world.start(1);
    for n in 0..200 {
        producer.trade(&world.topic("binance"), 0, Draft::new(n, T0 + n as i64 * MINUTE));
        if n % 100 == 99 {
            producer.settle();
            world.drain(&mut [&mut sluice]);
        }
    }
    sluice.terminate();
    let by_id = |mut rows: Vec<Row>| {
        rows.sort_by(|a, b| a.trade.message_id.cmp(&b.trade.message_id));
        rows
    };
    let other = by_id(read(&world.engine, "pyiceberg", &world.dir));
    assert_eq!(by_id(read_live(&world.metadata())), other);
    assert_eq!(other.len(), 200);
}

#[test]
fn group_offsets_of_an_empty_group_can_be_moved_and_deleted() {
    let world = World::new("harness-group", &[("binance", 1)]);
    let partition = (world.topic("binance"), 0);
    world.kafka.move_group_offsets(&world.group, [(partition.clone(), 42)]);
    let moved = world.kafka.group_offsets(&world.group, std::slice::from_ref(&partition));
    assert_eq!(moved[&partition].offset, 42);
    world.kafka.delete_group(&world.group);
    assert!(world.kafka.group_offsets(&world.group, &[partition]).is_empty());
}

#[test]
fn a_stopped_part_answers_again_after_its_restart() {
    let stack = stack::Stack::start("harness");
    let world = World::on(&stack, "harness-restart", &[("binance", 1)]);
    let topic = world.topic("binance");
    let producer = world.producer();
    producer.trade(&topic, 0, Draft::new(1, T0));
    producer.settle();
    stack.stop("kafka");
    stack.restart("kafka");
    producer.trade(&topic, 0, Draft::new(2, T0));
    producer.settle();
    assert_eq!(world.kafka.log(&topic, 0), (0, 2));
}
