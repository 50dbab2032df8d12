//! Against librdkafka's in-process cluster.

use std::collections::BTreeMap;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{Offset as ListedOffset, TopicPartitionList};

use super::*;
use crate::ports::Stage;

const DLQ: &str = "dlq";

type Mock = MockCluster<'static, DefaultProducerContext>;

fn cluster(properties: &[(&str, &str)]) -> (Mock, KafkaDeadLetters) {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic(DLQ, 1, 1).unwrap();
    let properties = properties.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    let connection = Connection { bootstrap_servers: mock.bootstrap_servers(), properties };
    let letters = KafkaDeadLetters::new(&connection, DLQ.into(), "sluice-gold").unwrap();
    (mock, letters)
}

fn letter(offset: Offset, value: Option<Vec<u8>>) -> Letter {
    Letter {
        partition: TopicPartition::new("silver", 3),
        offset,
        timestamp_ms: Some(1_700_000_000_000 + offset),
        key: Some(b"key".to_vec()),
        value,
        headers: vec![("own".into(), Some(b"kept".to_vec())), ("none".into(), None)],
        stage: Stage::Decode,
        reason: "truncated",
        message: "3 bytes are missing".into(),
        schema_id: Some(42),
    }
}

#[derive(Debug, PartialEq)]
struct Seen {
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: Option<i64>,
    headers: BTreeMap<String, Option<String>>,
}

fn read_all(mock: &Mock, count: usize) -> Vec<Seen> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", mock.bootstrap_servers()).set("group.id", "reader").create().unwrap();
    let mut from_start = TopicPartitionList::new();
    from_start.add_partition_offset(DLQ, 0, ListedOffset::Beginning).unwrap();
    consumer.assign(&from_start).unwrap();
    let read = |_| {
        let message = consumer.poll(Duration::from_secs(20)).expect("a letter").unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let headers = message.headers().unwrap().iter().map(|h| (h.key.to_owned(), h.value.map(text))).collect();
        Seen {
            key: message.key().map(Vec::from),
            value: message.payload().map(Vec::from),
            timestamp: message.timestamp().to_millis(),
            headers,
        }
    };
    (0..count).map(read).collect()
}

fn headers(offset: Offset) -> BTreeMap<String, Option<String>> {
    let text = |value: &str| Some(value.to_owned());
    BTreeMap::from([
        ("own".into(), text("kept")),
        ("none".into(), None),
        ("__connect.errors.topic".into(), text("silver")),
        ("__connect.errors.partition".into(), text("3")),
        ("__connect.errors.offset".into(), Some(offset.to_string())),
        ("__connect.errors.connector.name".into(), text("sluice-gold")),
        ("__connect.errors.stage".into(), text("DECODE")),
        ("__connect.errors.class.name".into(), text("sluice.truncated")),
        ("__connect.errors.exception.message".into(), text("3 bytes are missing")),
        ("sluice.reason".into(), text("truncated")),
        ("sluice.schema-id".into(), text("42")),
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_keeps_the_record_and_says_why_it_fell_out() {
    let (mock, dead_letters) = cluster(&[]);
    let values = [Some(b"\0\0\0\0\x2a".to_vec()), None, Some(Vec::new())];
    let letters: Vec<_> = values.iter().enumerate().map(|(i, value)| letter(i as i64, value.clone())).collect();
    dead_letters.send(&letters).await.unwrap();
    for (seen, (offset, value)) in read_all(&mock, 3).into_iter().zip((0..).zip(values)) {
        let key = Some(b"key".to_vec());
        assert_eq!(seen, Seen { key, value, timestamp: Some(1_700_000_000_000 + offset), headers: headers(offset) });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_is_too_large_goes_without_its_value_and_says_so() {
    let (mock, dead_letters) = cluster(&[("message.max.bytes", "10000")]);
    dead_letters.send(&[letter(1, Some(vec![7; 20_000])), letter(2, Some(vec![7; 100]))]).await.unwrap();
    let mut seen = read_all(&mock, 2);
    seen.sort_by_key(|letter| letter.timestamp);
    assert_eq!(seen[0].value, None);
    assert_eq!(seen[0].headers["sluice.value-omitted"].as_deref(), Some("20000"));
    assert_eq!(seen[0].headers["__connect.errors.offset"].as_deref(), Some("1"));
    assert_eq!(seen[1].value, Some(vec![7; 100]));
    assert!(!seen[1].headers.contains_key("sluice.value-omitted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_broker_refuses_as_too_large_is_tried_alone_then_without_its_value() {
    let (mock, dead_letters) = cluster(&[]);
    let too_large = RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
    mock.request_errors(RDKafkaApiKey::Produce, &[too_large]);
    dead_letters.send(&[letter(1, Some(vec![7; 100])), letter(2, Some(vec![8; 100]))]).await.unwrap();
    let seen = read_all(&mock, 2);
    assert!(seen.iter().all(|letter| letter.value.as_ref().is_some_and(|value| value.len() == 100)), "each fits alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_is_waited_for_by_the_caller() {
    let (mock, dead_letters) = cluster(&[("message.timeout.ms", "1500")]);
    mock.broker_down(1).unwrap();
    let failed = dead_letters.send(&[letter(1, None)]).await.unwrap_err();
    let PortError::Down(down) = failed else { panic!("{failed:?}") };
    assert_eq!(down.dependency, "dead-letter topic");
    mock.broker_up(1).unwrap();
    let sent = async { while dead_letters.send(&[letter(1, None)]).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(30), sent).await.expect("sent once the broker is back");
    assert!(!read_all(&mock, 1).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn no_letters_are_sent_at_once() {
    let (_mock, dead_letters) = cluster(&[]);
    dead_letters.send(&[]).await.unwrap();
}
