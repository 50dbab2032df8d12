//! A broker, topics of one's own, producers, and a reader that answers the group as the pipeline would.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use sluice::ports::{Source, SourceEvent, StartAt};
use sluice::source::admin::KafkaAdmin;
use sluice::source::consumer::{KafkaSource, SourceConfig};
use sluice::source::settings::Connection;
use sluice::types::*;
use tokio::sync::mpsc::Receiver;

use crate::stack;

pub const WAIT: Duration = Duration::from_secs(60);

/// Where everybody may do everything.
pub fn broker() -> String {
    stack::shared().bootstrap_servers.clone()
}

pub fn connection() -> Connection {
    Connection { bootstrap_servers: broker(), properties: BTreeMap::new() }
}

pub fn with(properties: &[(&str, &str)]) -> Connection {
    let properties = properties.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Connection { bootstrap_servers: broker(), properties }
}

/// A name that no other test and no earlier run has.
pub fn unique(name: &str) -> String {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    format!("{name}-{started}-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

pub fn native() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", broker()).create().unwrap()
}

pub async fn create(topic: &str, partitions: i32, config: &[(&str, &str)]) {
    let mut new = NewTopic::new(topic, partitions, TopicReplication::Fixed(1));
    for (key, value) in config {
        new = new.set(key, value);
    }
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    for result in native().create_topics([&new], &options).await.unwrap() {
        result.unwrap();
    }
}

pub async fn topic(name: &str, partitions: i32) -> String {
    let topic = unique(name);
    create(&topic, partitions, &[]).await;
    topic
}

pub fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

pub type Producing = ThreadedProducer<DefaultProducerContext>;

pub fn producer(properties: &[(&str, &str)]) -> Producing {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker()).set("enable.idempotence", "true");
    for (key, value) in properties {
        config.set(*key, *value);
    }
    config.create().unwrap()
}

/// What record `offset` of a partition holds, when every offset is a record of `fill`.
pub fn value_at(partition: i32, offset: Offset) -> Vec<u8> {
    format!("{partition}:{offset}").into_bytes()
}

/// Appends the records `range` of the partition, each with the value of its offset.
pub fn fill(producer: &Producing, topic: &str, partition: i32, range: std::ops::Range<i64>) {
    for offset in range {
        send(producer, topic, partition, &value_at(partition, offset));
    }
    producer.flush(WAIT).unwrap();
}

pub fn send(producer: &Producing, topic: &str, partition: i32, value: &[u8]) {
    loop {
        match producer.send(BaseRecord::<[u8], [u8]>::to(topic).partition(partition).payload(value)) {
            Ok(()) => return,
            Err((e, _)) if e.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err((e, _)) => panic!("{e}"),
        }
    }
}

pub fn transactional(id: &str) -> Producing {
    let producer = producer(&[("transactional.id", id)]);
    producer.init_transactions(WAIT).unwrap();
    producer
}

pub fn admin(group: &str) -> KafkaAdmin {
    KafkaAdmin::new(&connection(), group).unwrap()
}

pub fn start(connection: Connection, group: &str, topic: &str) -> (KafkaSource, Receiver<SourceEvent>) {
    start_all(connection, group, &[topic])
}

pub fn start_all(connection: Connection, group: &str, topics: &[&str]) -> (KafkaSource, Receiver<SourceEvent>) {
    let config = SourceConfig { connection, group_id: group.into(), buffer_bytes_max: 16 << 20 };
    let topics: Vec<Topic> = topics.iter().map(|name| Topic::from(*name)).collect();
    KafkaSource::start(config, &topics).unwrap()
}

pub async fn next(events: &mut Receiver<SourceEvent>) -> SourceEvent {
    tokio::time::timeout(WAIT, events.recv()).await.expect("an event in time").expect("the source is open")
}

/// The next event that `pick` picks.
pub async fn find<T>(events: &mut Receiver<SourceEvent>, mut pick: impl FnMut(SourceEvent) -> Option<T>) -> T {
    loop {
        if let Some(found) = pick(next(events).await) {
            return found;
        }
    }
}

/// The next assignment of at least one partition.
pub async fn assigned(events: &mut Receiver<SourceEvent>) -> Vec<TopicPartition> {
    find(events, |event| match event {
        SourceEvent::Assigned { partitions } if !partitions.is_empty() => Some(partitions),
        SourceEvent::Fatal(stop) => panic!("{stop}"),
        _ => None,
    })
    .await
}

/// Waits for the assignment of one partition and reads it from there under epoch 1.
pub async fn read_from(source: &KafkaSource, events: &mut Receiver<SourceEvent>, start: Offset) -> TopicPartition {
    let partitions = assigned(events).await;
    assert_eq!(partitions.len(), 1);
    source.assign(vec![(partitions[0].clone(), Epoch(1), StartAt::Offset(start))]);
    partitions[0].clone()
}

pub type Read = Vec<(Offset, Vec<u8>)>;

/// Records up to the next log end, and its offset.
pub async fn to_end(events: &mut Receiver<SourceEvent>, wanted: Epoch) -> (Read, Offset) {
    let mut read = Vec::new();
    loop {
        match next(events).await {
            SourceEvent::Records { epoch, chunk, .. } if epoch == wanted => {
                let values = (0..chunk.frames.len()).map(|i| (chunk.frames[i].offset, chunk.value(i).unwrap().to_vec()));
                read.extend(values);
            }
            SourceEvent::EndOfPartition { epoch, offset, .. } if epoch == wanted => return (read, offset),
            SourceEvent::Fatal(stop) => panic!("{stop}"),
            SourceEvent::OutOfRange { reason, .. } => panic!("{reason}"),
            _ => {}
        }
    }
}

pub async fn close(source: KafkaSource, events: &mut Receiver<SourceEvent>) {
    source.close();
    find(events, |event| matches!(event, SourceEvent::Closed).then_some(())).await;
}
