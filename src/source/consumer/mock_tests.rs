//! Against librdkafka's in-process cluster. What it can't show (transactions, topic ids, a real group) is in
//! tests/source_kafka.rs.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};

use super::*;

type Mock = MockCluster<'static, DefaultProducerContext>;

const TOPIC: &str = "trades";

fn cluster(partitions: i32) -> Mock {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic(TOPIC, partitions, 1).unwrap();
    mock
}

fn produce(mock: &Mock, partition: i32, values: impl IntoIterator<Item = Vec<u8>>) {
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", mock.bootstrap_servers()).create().unwrap();
    for value in values {
        let record = BaseRecord::<[u8], [u8]>::to(TOPIC).partition(partition).payload(&value);
        producer.send(record).map_err(|(e, _)| e).unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();
}

fn start(mock: &Mock, buffer_bytes_max: u64) -> (KafkaSource, mpsc::Receiver<SourceEvent>) {
    let connection = Connection { bootstrap_servers: mock.bootstrap_servers(), ..Connection::default() };
    let config = SourceConfig { connection, group_id: "g".into(), buffer_bytes_max };
    KafkaSource::start(config, &[TOPIC.into()]).unwrap()
}

async fn next(events: &mut mpsc::Receiver<SourceEvent>) -> SourceEvent {
    let event = tokio::time::timeout(Duration::from_secs(30), events.recv()).await.expect("an event within 30 s");
    event.expect("the source is not closed")
}

/// Waits for the assignment and answers it: all from offset 0 under epoch 1.
async fn assign_all(source: &KafkaSource, events: &mut mpsc::Receiver<SourceEvent>) -> Vec<TopicPartition> {
    loop {
        if let SourceEvent::Assigned { partitions } = next(events).await
            && !partitions.is_empty()
        {
            source.assign(partitions.iter().map(|p| (p.clone(), Epoch(1), StartAt::Offset(0))).collect());
            return partitions;
        }
    }
}

/// Values of one partition up to its log end.
async fn read_to_end(events: &mut mpsc::Receiver<SourceEvent>, epoch: u64) -> (Vec<(i64, Vec<u8>)>, i64) {
    let mut read = Vec::new();
    loop {
        match next(events).await {
            SourceEvent::Records { epoch: e, chunk, .. } if e == Epoch(epoch) => {
                read.extend(
                    (0..chunk.frames.len()).map(|i| (chunk.frames[i].offset, chunk.value(i).unwrap_or_default().to_vec())),
                );
            }
            SourceEvent::EndOfPartition { epoch: e, offset, .. } if e == Epoch(epoch) => return (read, offset),
            _ => {}
        }
    }
}

fn values(count: usize, bytes: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| i.to_string().into_bytes().into_iter().cycle().take(bytes).collect()).collect()
}

fn numbered(values: Vec<Vec<u8>>) -> Vec<(i64, Vec<u8>)> {
    values.into_iter().enumerate().map(|(i, value)| (i as i64, value)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn records_arrive_in_order_and_the_log_end_after_them() {
    let mock = cluster(1);
    produce(&mock, 0, values(10_000, 20));
    let (source, mut events) = start(&mock, 16 << 20);
    assign_all(&source, &mut events).await;
    let (read, end) = read_to_end(&mut events, 1).await;
    assert_eq!(read, numbered(values(10_000, 20)));
    assert_eq!(end, 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn key_value_timestamp_and_headers_arrive_as_they_were_sent() {
    let mock = cluster(1);
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", mock.bootstrap_servers()).create().unwrap();
    let headers = OwnedHeaders::new()
        .insert(Header { key: "a", value: Some("1") })
        .insert(Header { key: "a", value: None::<&str> })
        .insert(Header { key: "b", value: Some("") });
    let full = BaseRecord::to(TOPIC).partition(0).key("k").payload("v").timestamp(1_700_000_000_123).headers(headers);
    producer.send(full).map_err(|(e, _)| e).unwrap();
    producer.send(BaseRecord::<str, str>::to(TOPIC).partition(0).key("tombstone")).map_err(|(e, _)| e).unwrap();
    producer.send(BaseRecord::<str, str>::to(TOPIC).partition(0).payload("")).map_err(|(e, _)| e).unwrap();
    producer.flush(Duration::from_secs(10)).unwrap();

    let (source, mut events) = start(&mock, 16 << 20);
    assign_all(&source, &mut events).await;
    let mut chunks = Vec::new();
    loop {
        match next(&mut events).await {
            SourceEvent::Records { chunk, .. } => chunks.push(chunk),
            SourceEvent::EndOfPartition { .. } => break,
            _ => {}
        }
    }
    type Seen = (Option<Vec<u8>>, Option<Vec<u8>>, Vec<crate::ports::Header>);
    let seen: Vec<Seen> = chunks
        .iter()
        .flat_map(|c| {
            (0..c.frames.len()).map(|i| (c.key(i).map(Vec::from), c.value(i).map(Vec::from), c.headers(i).to_vec()))
        })
        .collect();
    let headers = vec![("a".into(), Some(b"1".to_vec())), ("a".into(), None), ("b".into(), Some(Vec::new()))];
    assert_eq!(seen[0], (Some(b"k".to_vec()), Some(b"v".to_vec()), headers));
    assert_eq!(seen[1], (Some(b"tombstone".to_vec()), None, vec![]));
    assert_eq!(seen[2], (None, Some(vec![]), vec![]));
    assert_eq!(chunks[0].frames[0].timestamp_ms, Some(1_700_000_000_123));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reposition_reads_again_under_its_own_epoch() {
    let mock = cluster(1);
    produce(&mock, 0, values(1000, 20));
    let (source, mut events) = start(&mock, 16 << 20);
    let partitions = assign_all(&source, &mut events).await;
    read_to_end(&mut events, 1).await;
    source.reposition(vec![(partitions[0].clone(), Epoch(2), StartAt::Offset(400))]);
    let (read, end) = read_to_end(&mut events, 2).await;
    assert_eq!(read, numbered(values(1000, 20))[400..]);
    assert_eq!(end, 1000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_partition_is_silent_until_it_is_repositioned() {
    let mock = cluster(1);
    produce(&mock, 0, values(10, 20));
    let (source, mut events) = start(&mock, 16 << 20);
    let parked = loop {
        if let SourceEvent::Assigned { partitions } = next(&mut events).await
            && !partitions.is_empty()
        {
            break partitions;
        }
    };
    source.assign(vec![(parked[0].clone(), Epoch(0), StartAt::Parked)]);
    produce(&mock, 0, values(10, 20));
    source.reposition(vec![(parked[0].clone(), Epoch(1), StartAt::Offset(5))]);
    let first = loop {
        match next(&mut events).await {
            SourceEvent::Records { epoch, chunk, .. } => break (epoch, chunk.frames[0].offset),
            SourceEvent::EndOfPartition { epoch, .. } => assert_eq!(epoch, Epoch(1), "nothing of the parked epoch"),
            _ => {}
        }
    };
    assert_eq!(first, (Epoch(1), 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_pipeline_bounds_memory_and_loses_nothing() {
    let mock = cluster(1);
    produce(&mock, 0, values(4000, 1000));
    let budget = 200_000;
    let (source, mut events) = start(&mock, budget);
    assign_all(&source, &mut events).await;
    let mut read = Vec::new();
    let mut most = 0;
    loop {
        // First a jam long enough for a pause, then a crawl.
        tokio::time::sleep(Duration::from_millis(if read.is_empty() { 4000 } else { 5 })).await;
        most = most.max(source.buffered_bytes());
        match next(&mut events).await {
            SourceEvent::Records { chunk, .. } => {
                read.extend((0..chunk.frames.len()).map(|i| (chunk.frames[i].offset, chunk.value(i).unwrap().to_vec())));
            }
            SourceEvent::EndOfPartition { .. } => break,
            _ => {}
        }
    }
    assert_eq!(read, numbered(values(4000, 1000)));
    // One burst can overshoot, by a chunk per partition and the growth of its buffer.
    assert!(most >= budget / 2 && most < budget + (12 << 20), "{most}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_gone_is_told_and_so_is_its_return() {
    let mock = cluster(1);
    let (source, mut events) = start(&mock, 16 << 20);
    assign_all(&source, &mut events).await;
    mock.broker_down(1).unwrap();
    loop {
        if let SourceEvent::Down(down) = next(&mut events).await {
            assert_eq!(down.dependency, "kafka");
            break;
        }
    }
    mock.broker_up(1).unwrap();
    while !matches!(next(&mut events).await, SourceEvent::Up) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn close_ends_with_closed_also_while_an_assignment_waits_for_its_answer() {
    let mock = cluster(2);
    let (source, mut events) = start(&mock, 16 << 20);
    while !matches!(next(&mut events).await, SourceEvent::Assigned { .. }) {}
    source.close();
    while !matches!(next(&mut events).await, SourceEvent::Closed) {}
    let end = tokio::time::timeout(Duration::from_secs(10), events.recv()).await.expect("the thread ends");
    assert!(end.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_pipeline_ends_the_poll_thread() {
    let mock = cluster(1);
    produce(&mock, 0, values(1000, 1000));
    let (source, mut events) = start(&mock, 1000);
    assign_all(&source, &mut events).await;
    while !matches!(next(&mut events).await, SourceEvent::Records { .. }) {}
    let alive = Arc::downgrade(&source.buffered);
    drop(events);
    drop(source);
    let ended = async {
        while alive.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.expect("the poll thread ends by itself");
}

#[test]
fn topics_that_cannot_be_are_refused() {
    let config = || SourceConfig {
        connection: Connection { bootstrap_servers: "127.0.0.1:1".into(), ..Connection::default() },
        group_id: "g".into(),
        buffer_bytes_max: 1,
    };
    let long = "x".repeat(250);
    for topics in [&[][..], &["^trades.*"], &["a b"], &[""], &["."], &["a", "a"], &["nul\0"], &[&long]] {
        let topics: Vec<Topic> = topics.iter().map(|name| Topic::from(*name)).collect();
        let stop = KafkaSource::start(config(), &topics).err().unwrap_or_else(|| panic!("{topics:?}"));
        assert_eq!(stop.exit, Exit::Usage);
    }
}
