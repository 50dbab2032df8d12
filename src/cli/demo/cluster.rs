//! A Kafka cluster in this process: librdkafka's mock brokers.

use rdkafka::error::KafkaError;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

/// What the mock keeps of a partition, in bytes: the oldest batches go when there is more. A reader that is further behind
/// finds its records gone, so whoever writes must wait for whoever reads.
pub const RETAINED_BYTES: u64 = 5 << 20;

/// Serves on ports of the loopback address until it is dropped. It does groups and rebalances; it has no admin calls, and
/// it shows aborted records.
pub struct Cluster(MockCluster<'static, DefaultProducerContext>);

impl Cluster {
    /// One broker with these topics: name and partitions.
    pub fn start(topics: &[(&str, i32)]) -> Result<Self, KafkaError> {
        let cluster = MockCluster::new(1)?;
        for (topic, partitions) in topics {
            cluster.create_topic(topic, *partitions, 1)?;
        }
        Ok(Self(cluster))
    }

    pub fn bootstrap_servers(&self) -> String {
        self.0.bootstrap_servers()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::time::{Duration, Instant};

    use rdkafka::consumer::{BaseConsumer, Consumer};
    use rdkafka::message::Message;
    use rdkafka::{ClientConfig, Offset, TopicPartitionList};

    use super::*;
    use crate::cli::demo::registry::Registry;
    use crate::cli::produce::generator::{Generator, Spec};
    use crate::cli::produce::ledger::{self, Ledger};
    use crate::cli::produce::registry::RegistryClient;
    use crate::cli::produce::sender::Sender;
    use crate::cli::produce::topics;
    use crate::config::{GroupProtocol, Kafka, Properties, SchemaRegistry, Start};

    const TOPICS: [&str; 2] = ["silver.binance.trades", "silver.kraken.trades"];

    fn kafka(bootstrap_servers: String, topics: &[&str]) -> Kafka {
        Kafka {
            bootstrap_servers,
            topics: topics.iter().map(|topic| (*topic).into()).collect(),
            group_id: "sluice-gold".into(),
            start: Start::Earliest,
            start_is_written: false,
            group_protocol: GroupProtocol::Classic,
            properties: Properties::default(),
        }
    }

    type Read = BTreeMap<(String, i32, i64), (Option<Vec<u8>>, Option<i64>)>;

    /// Everything in these partitions, by place: value and timestamp.
    fn read(bootstrap_servers: &str, partitions: &[(&str, i32)], count: usize) -> Read {
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", bootstrap_servers).set("group.id", "reader").create().unwrap();
        let mut list = TopicPartitionList::new();
        for (topic, partition) in partitions {
            list.add_partition_offset(topic, *partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let mut found = Read::new();
        let since = Instant::now();
        while found.len() < count {
            assert!(since.elapsed() < Duration::from_secs(60), "{} of {count} read", found.len());
            if let Some(message) = consumer.poll(Duration::from_millis(200)) {
                let message = message.unwrap();
                let place = (message.topic().to_owned(), message.partition(), message.offset());
                found.insert(place, (message.payload().map(<[u8]>::to_vec), message.timestamp().to_millis()));
            }
        }
        found
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_the_ledger_says_is_what_stands_in_the_topics() {
        let cluster = Cluster::start(&[(TOPICS[0], 3), (TOPICS[1], 2)]).unwrap();
        let registry = Registry::start().await.unwrap();
        let kafka = kafka(cluster.bootstrap_servers(), &TOPICS);
        let topics = topics::layout(&kafka, None).await.unwrap();
        assert_eq!(topics.iter().map(|topic| topic.partitions).collect::<Vec<_>>(), [3, 2]);
        let url = registry.url().parse().unwrap();
        let settings = SchemaRegistry { url, username: None, password: None, bearer_token: None, ca_file: None };
        let ids = RegistryClient::new(&settings).unwrap().register(TOPICS[0]).await.unwrap();
        let spec = Spec {
            seed: 3,
            topics,
            start: 1_767_225_600_000_000,
            step_nanos: 1_000_000,
            duplicates: 0.05,
            late: 0.05,
            malformed: 0.2,
            unknown_schema_ids: true,
            out_of_order: 1_000_000,
            straggler: 1_200_000_000,
        };
        let generator = Generator::new(spec);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let (ledger, lines) = Ledger::create(&path, TOPICS.map(str::to_owned).to_vec(), false).unwrap();
        let mut sender = Sender::new(&kafka, generator.clone(), vec![ids; 2], Some(lines), None).unwrap();
        for number in 0..3_000 {
            sender.send(number).unwrap();
        }
        sender.flush().unwrap();
        assert_eq!(sender.acknowledged(), 3_000);
        drop(sender);
        assert_eq!(ledger.close().unwrap(), 3_000);

        let partitions = [(TOPICS[0], 0), (TOPICS[0], 1), (TOPICS[0], 2), (TOPICS[1], 0), (TOPICS[1], 1)];
        let found = read(&kafka.bootstrap_servers, &partitions, 3_000);
        let mut numbers = BTreeSet::new();
        let mut expected = Vec::new();
        for entry in ledger::read(&path).unwrap().map(Result::unwrap) {
            let (value, timestamp) = &found[&(entry.topic.clone(), entry.partition, entry.offset)];
            let record = generator.record(entry.number);
            let has_value = crate::cli::produce::encode::encode(&record, ids, &mut expected);
            assert_eq!(value.as_deref(), has_value.then_some(expected.as_slice()), "{entry:?}");
            assert_eq!(*timestamp, Some(entry.timestamp_ms));
            assert!(numbers.insert(entry.number));
        }
        assert_eq!(numbers.len(), 3_000);
        assert!(found.values().any(|(value, _)| value.is_none()) && found.values().any(|(value, _)| value == &Some(vec![])));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn aborted_transactions_are_in_the_log_and_marked_in_the_ledger() {
        let cluster = Cluster::start(&[(TOPICS[0], 1)]).unwrap();
        let kafka = kafka(cluster.bootstrap_servers(), &TOPICS[..1]);
        let topics = topics::layout(&kafka, None).await.unwrap();
        let spec = Spec {
            seed: 3,
            topics,
            start: 0,
            step_nanos: 1_000,
            duplicates: 0.0,
            late: 0.0,
            malformed: 0.0,
            unknown_schema_ids: false,
            out_of_order: 0,
            straggler: 0,
        };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let ids = crate::cli::produce::encode::SchemaIds { plain: 1, silver: 2, lean: 3 };
        let (ledger, lines) = Ledger::create(&path, vec![TOPICS[0].into()], true).unwrap();
        let work = tokio::task::spawn_blocking(move || {
            let mut sender = Sender::new(&kafka, Generator::new(spec), vec![ids], Some(lines), Some("t")).unwrap();
            for (transaction, abort) in [(0, false), (1, true), (2, false)] {
                sender.begin().unwrap();
                for number in transaction * 10..transaction * 10 + 10 {
                    sender.send(number).unwrap();
                }
                sender.end(abort).unwrap();
            }
        });
        work.await.unwrap();
        assert_eq!(ledger.close().unwrap(), 30);
        let aborted: Vec<u64> = ledger::read(&path)
            .unwrap()
            .map(Result::unwrap)
            .filter(|entry| entry.aborted)
            .map(|entry| entry.number)
            .collect();
        assert_eq!(aborted, (10..20).collect::<Vec<_>>());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_missing_topic_and_a_missing_cluster_are_told_apart() {
        let cluster = Cluster::start(&[(TOPICS[0], 1)]).unwrap();
        let mut one = kafka(cluster.bootstrap_servers(), &TOPICS[..1]);
        let wrong = topics::layout(&one, Some(4)).await.unwrap_err();
        assert!(wrong.what.contains("has 1 partitions, not 4") && wrong.exit.code() == 2, "{wrong}");
        one.bootstrap_servers = "127.0.0.1:1".into();
        let silent = topics::layout(&one, None).await.unwrap_err();
        assert_eq!(silent.exit.code(), 5, "{silent}");
    }
}
