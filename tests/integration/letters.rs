//! Malformed records cost their own row only, and each is acknowledged as a letter.

use std::collections::BTreeMap;

use crate::common::*;

/// A schema that lacks what a trade must have.
const ALIEN: &str =
    r#"{"type":"record","name":"Heartbeat","fields":[{"name":"beat","type":"int"},{"name":"of","type":"int"}]}"#;

#[test]
fn each_kind_of_malformed_record_becomes_one_letter_and_its_neighbours_are_written() {
    let mut world = World::new("malformed", &[("binance", 2)]);
    world.config = world.config.clone().set("dead_letter.rate_max", 1.0);
    let topic = world.topic("binance");
    let alien = world.registry.register(&format!("{topic}-alien"), ALIEN);
    let producer = world.producer();
    let mut sent = BTreeMap::new();
    for (i, record) in malformed::all(&world.registry, 1_000_000, alien).into_iter().enumerate() {
        let n = i as u64 * 10;
        for neighbour in 0..10 {
            producer.trade(&topic, (i % 2) as i32, Draft::new(n + neighbour, T0 + i as i64));
        }
        sent.insert(record.key.clone().expect("a key"), (record.value.clone(), record.timestamp_ms));
        producer.send(&topic, (i % 2) as i32, record);
    }
    producer.trade(&topic, 0, Draft::new(100_000, T0));
    producer.trade(&topic, 1, Draft::new(100_001, T0));
    producer.settle();
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    world.check();
    the_letters_carry_the_record_and_the_reason(&world, &sent);
}

type Sent = BTreeMap<Vec<u8>, (Option<Vec<u8>>, i64)>;

fn the_letters_carry_the_record_and_the_reason(world: &World, sent: &Sent) {
    let expected = world.expected(Late::Admit);
    let letters = world.kafka.letters(&world.letters);
    assert_eq!(letters.len(), expected.malformed.len(), "one letter a record where nothing was killed");
    for letter in letters {
        let kind = expected.malformed[&letter.place()];
        let (value, timestamp_ms) = &sent[letter.key.as_ref().expect("the key is kept")];
        assert_eq!(&letter.value, value, "{kind}: the value is unchanged");
        assert_eq!(letter.timestamp_ms, *timestamp_ms, "{kind}: the timestamp is unchanged");
        assert_eq!(letter.header("__connect.errors.connector.name"), world.group, "{kind}");
        for name in
            ["__connect.errors.stage", "__connect.errors.class.name", "__connect.errors.exception.message", "sluice.reason"]
        {
            assert!(!letter.header(name).is_empty(), "{kind}: header {name} is empty");
        }
        let stage = letter.header("__connect.errors.stage");
        assert!(["DECODE", "VALIDATE"].contains(&stage.as_str()), "{kind}: stage {stage}");
        if letter.headers.contains_key("origin") {
            assert_eq!(letter.header("origin"), "test", "{kind}: the record's own headers are kept");
        }
        let framed = value.as_ref().is_some_and(|v| v.len() > 5 && v[0] == 0);
        if framed {
            let id = u32::from_be_bytes(value.as_ref().unwrap()[1..5].try_into().unwrap());
            assert_eq!(letter.header("sluice.schema-id"), id.to_string(), "{kind}");
        }
    }
}

#[test]
fn a_flood_of_malformed_records_stops_with_six_before_a_letter_is_sent_and_nothing_is_passed() {
    let world = World::new("flood", &[("binance", 1)]);
    let topic = world.topic("binance");
    let producer = world.producer();
    for n in 0..1_000 {
        producer.send(
            &topic,
            0,
            Record {
                what: What::Malformed("garbage"),
                value: Some(b"not avro at all".to_vec()),
                ..Record::trade(&world.registry, Draft::new(n, T0))
            },
        );
    }
    producer.settle();
    let mut sluice = world.start(1);
    let text = sluice.wait_stop(6);
    assert!(text.contains("dead_letter.rate_max"), "the stop names the setting: {text}");
    let first = format!(". The first is {topic}:0 at offset 0: ");
    assert!(text.contains(": magic ") && text.contains(&first), "the stop says what no letter can: {text}");
    assert_eq!(world.kafka.letters(&world.letters).len(), 0, "no letter was sent");
    let lane = world.metadata().lane(&world.group).expect("the lane was opened");
    assert_eq!(lane.offsets[&(topic.clone(), 0)], 0, "nothing was passed");
    // What an operator does who has looked at them.
    let mut world = world;
    world.config = world.config.clone().set("dead_letter.rate_max", 1.0);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    world.check();
}

#[test]
fn a_missing_letter_topic_is_a_usage_error_before_anything_is_touched() {
    let mut world = World::new("no-letters", &[("binance", 1)]);
    world.config = world.config.clone().set("dead_letter.topic", "nobody-made-this-topic");
    let mut sluice = world.start(1);
    let text = sluice.wait_stop(2);
    assert!(text.contains("nobody-made-this-topic"), "the stop names the topic: {text}");
}
