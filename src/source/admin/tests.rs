//! Against librdkafka's in-process cluster, which has partitions, offsets and group offsets, and nothing else.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::bindings::rd_kafka_resp_err_t as RDKafkaRespErr;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaApiKey;
use rdkafka::{Offset as ListedOffset, TopicPartitionList};

use super::*;

const TOPIC: &str = "trades";

type Mock = MockCluster<'static, DefaultProducerContext>;

fn cluster() -> (Mock, KafkaAdmin) {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic(TOPIC, 3, 1).unwrap();
    let connection = Connection { bootstrap_servers: mock.bootstrap_servers(), ..Connection::default() };
    let admin = KafkaAdmin::new(&connection, "g").unwrap();
    (mock, admin)
}

fn tp(partition: i32) -> TopicPartition {
    TopicPartition::new(TOPIC, partition)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mock_is_known_by_its_cluster_id_and_has_no_topic_ids() {
    let (_mock, admin) = cluster();
    let identity = admin.identity(&[TOPIC.into()]).await.unwrap();
    assert!(identity.cluster_id.unwrap().starts_with(MOCK_CLUSTER));
    assert!(identity.topics.is_empty());
    assert!(admin.group_members().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_listed_in_order() {
    let (_mock, admin) = cluster();
    let found = admin.partitions(&[TOPIC.into()]).await.unwrap();
    assert_eq!(found[TOPIC], [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_ends_and_group_offsets_are_those_of_the_cluster() {
    let (mock, admin) = cluster();
    let config = |config: &mut ClientConfig| config.set("bootstrap.servers", mock.bootstrap_servers()).clone();
    let producer: ThreadedProducer<DefaultProducerContext> = config(&mut ClientConfig::new()).create().unwrap();
    for _ in 0..7 {
        producer.send(BaseRecord::<str, str>::to(TOPIC).partition(1).payload("x")).map_err(|(e, _)| e).unwrap();
    }
    producer.flush(Duration::from_secs(10)).unwrap();
    let asked = [(tp(0), LogEdge::LastStable), (tp(1), LogEdge::LastStable), (tp(2), LogEdge::Earliest)];
    let found = admin.log_offsets(&asked).await.unwrap();
    assert_eq!(found.values().map(|o| o.offset).collect::<Vec<_>>(), [0, 7, 0]);
    let high = admin.log_offsets(&[(tp(1), LogEdge::HighWatermark)]).await.unwrap();
    assert_eq!(high[&tp(1)].offset, 7);

    let consumer: BaseConsumer = config(ClientConfig::new().set("group.id", "g")).create().unwrap();
    let mut offsets = TopicPartitionList::new();
    let mut element = offsets.add_partition(TOPIC, 1);
    element.set_offset(ListedOffset::Offset(5)).unwrap();
    element.set_metadata("table=t;commit=c");
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
    let found = admin.group_offsets(&[tp(0), tp(1)]).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[&tp(1)], GroupOffset { offset: 5, metadata: "table=t;commit=c".into() });
}

/// A broker of a new cluster isn't the coordinator yet when the first start asks: the process died of a null pointer in the
/// client library.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_not_the_coordinator_yet_is_asked_again() {
    let (mock, admin) = cluster();
    mock.request_errors(RDKafkaApiKey::OffsetFetch, &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR; 2]);
    assert!(admin.group_offsets(&[tp(0)]).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_does_not_answer_is_down_within_the_time_out() {
    let connection = Connection { bootstrap_servers: "127.0.0.1:1".into(), ..Connection::default() };
    let config = client_config(&connection, Role::Admin).unwrap();
    let client = AdminClient::new(&config, Duration::from_millis(1500)).unwrap();
    let admin = KafkaAdmin { client: Arc::new(client), group_id: "g".into(), first_cluster_id: Arc::default() };
    let answer = tokio::time::timeout(Duration::from_secs(10), admin.identity(&[])).await.expect("bounded");
    let Err(PortError::Down(down)) = answer else { panic!("{answer:?}") };
    assert_eq!(down.dependency, "kafka");
}
