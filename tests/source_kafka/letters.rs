use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset as ListedOffset, TopicPartitionList};
use sluice::ports::{DeadLetters, Letter, PortError, Stage};
use sluice::source::dead_letters::KafkaDeadLetters;
use sluice::types::*;

use crate::harness::*;

pub fn letter(offset: Offset, value: Vec<u8>) -> Letter {
    Letter {
        partition: tp("silver", 0),
        offset,
        timestamp_ms: Some(1_700_000_000_000),
        key: None,
        value: Some(value),
        headers: Vec::new(),
        stage: Stage::Validate,
        reason: "future",
        message: "timestamp 1 h ahead".into(),
        schema_id: None,
    }
}

/// (offset of the letter's record, length of its value, header of a value that was left out)
fn read(topic: &str, count: usize) -> Vec<(i64, Option<usize>, Option<String>)> {
    let consumer: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", broker()).set("group.id", unique("g")).create().unwrap();
    let mut start = TopicPartitionList::new();
    start.add_partition_offset(topic, 0, ListedOffset::Beginning).unwrap();
    consumer.assign(&start).unwrap();
    let mut letters: Vec<_> = (0..count)
        .map(|_| {
            let message = consumer.poll(Duration::from_secs(20)).expect("a letter").unwrap();
            let header = |name: &str| {
                let found = message.headers().unwrap().iter().find(|h| h.key == name);
                found.map(|h| String::from_utf8(h.value.unwrap().to_vec()).unwrap())
            };
            let offset = header("__connect.errors.offset").unwrap().parse().unwrap();
            (offset, message.payload().map(<[u8]>::len), header("sluice.value-omitted"))
        })
        .collect();
    letters.sort();
    letters
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_with_a_small_limit_gets_small_letters_whole_and_large_ones_without_value() {
    let topic = unique("dlq");
    create(&topic, 1, &[("max.message.bytes", "20000")]).await;
    let letters = KafkaDeadLetters::new(&connection(), topic.as_str().into(), "g").unwrap();
    // Together far above the limit, so the first batch is refused; only one is too large by itself.
    let mut all: Vec<_> = (0..60).map(|offset| letter(offset, vec![7; 1000])).collect();
    all.push(letter(60, vec![7; 50_000]));
    letters.send(&all).await.unwrap();
    let read = read(&topic, 61);
    assert!(read[..60].iter().enumerate().all(|(i, got)| *got == (i as i64, Some(1000), None)), "{read:?}");
    assert_eq!(read[60], (60, None, Some("50000".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_at_the_brokers_own_limit_keeps_its_value() {
    let topic = topic("dlq", 1).await;
    let letters = KafkaDeadLetters::new(&connection(), topic.as_str().into(), "g").unwrap();
    letters.send(&[letter(1, vec![7; 1_047_000])]).await.unwrap();
    assert_eq!(read(&topic, 1), [(1, Some(1_047_000), None)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_waited_for_and_not_made() {
    let topic = unique("no-dlq");
    let fast = with(&[("message.timeout.ms", "3000")]);
    let letters = KafkaDeadLetters::new(&fast, topic.as_str().into(), "g").unwrap();
    let failed = letters.send(&[letter(1, vec![1])]).await.unwrap_err();
    let PortError::Down(down) = failed else { panic!("{failed:?}") };
    assert_eq!(down.dependency, "dead-letter topic");
    create(&topic, 1, &[]).await;
    let sent = async { while letters.send(&[letter(1, vec![1])]).await.is_err() {} };
    tokio::time::timeout(WAIT, sent).await.expect("sent once the topic is there");
}
