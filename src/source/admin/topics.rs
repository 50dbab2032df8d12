//! Cluster id, topic ids, partitions.

use std::collections::BTreeMap;

use rdkafka::bindings as rdsys;
use rdkafka::types::RDKafkaErrorCode as E;

use super::calls::Names;
use super::client::AdminClient;
use crate::ports::PortError;
use crate::source::ffi::{Event, Fault, each, read_error, text};
use crate::types::*;

type Kind = rdsys::rd_kafka_admin_op_t;

/// Asked afresh; none for a broker that has none (older than 0.10.1).
pub(super) fn cluster_id(client: &AdminClient) -> Result<Option<String>, PortError> {
    let options = client.options(Kind::RD_KAFKA_ADMIN_OP_DESCRIBECLUSTER);
    // SAFETY: client, options and queue are live during the request; the result while its event is.
    let request = |queue| unsafe { rdsys::rd_kafka_DescribeCluster(client.rk(), options.ptr(), queue) };
    client.ask("cluster id", request, |event| unsafe {
        let result = rdsys::rd_kafka_event_DescribeCluster_result(event.ptr());
        let id = rdsys::rd_kafka_DescribeCluster_result_cluster_id(result);
        Ok((!id.is_null()).then(|| text(id)))
    })
}

/// Ids of the topics that exist and whose broker knows ids.
pub(super) fn ids(client: &AdminClient, names: &[Topic]) -> Result<BTreeMap<Topic, TopicId>, PortError> {
    let described = describe(client, names)?;
    Ok(described.into_iter().filter_map(|(topic, described)| Some((topic, described.id?))).collect())
}

/// Partition ids, ascending, of the topics that exist.
pub(super) fn partitions(client: &AdminClient, names: &[Topic]) -> Result<BTreeMap<Topic, Vec<i32>>, PortError> {
    Ok(describe(client, names)?.into_iter().map(|(topic, described)| (topic, described.partitions)).collect())
}

/// The same of the mock cluster, which knows plain metadata only.
pub(super) fn mock_partitions(client: &AdminClient, names: &[Topic]) -> Result<BTreeMap<Topic, Vec<i32>>, PortError> {
    let mut found = BTreeMap::new();
    for name in names {
        let metadata = client.metadata(name)?;
        for topic in metadata.topics().iter().filter(|topic| topic.error().is_none()) {
            let mut partitions: Vec<_> = topic.partitions().iter().map(|partition| partition.id()).collect();
            partitions.sort_unstable();
            found.insert(name.clone(), partitions);
        }
    }
    Ok(found)
}

struct Described {
    id: Option<TopicId>,
    partitions: Vec<i32>,
}

fn describe(client: &AdminClient, names: &[Topic]) -> Result<BTreeMap<Topic, Described>, PortError> {
    let mut names: Vec<&str> = names.iter().map(|name| &**name).collect();
    names.sort_unstable();
    names.dedup();
    let listed = Names::of(names)?;
    let options = client.options(Kind::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS);
    let request = |queue| {
        // SAFETY: the collection copies the names, the request copies the collection.
        unsafe {
            let pointers = listed.pointers.as_ptr().cast_mut();
            let topics = rdsys::rd_kafka_TopicCollection_of_topic_names(pointers, listed.pointers.len());
            rdsys::rd_kafka_DescribeTopics(client.rk(), topics, options.ptr(), queue);
            rdsys::rd_kafka_TopicCollection_destroy(topics);
        }
    };
    client.ask("topics", request, read_described)
}

fn read_described(event: &Event) -> Result<BTreeMap<Topic, Described>, Fault> {
    let mut found = BTreeMap::new();
    // SAFETY: the result and what it points to live as long as the event.
    unsafe {
        let result = rdsys::rd_kafka_event_DescribeTopics_result(event.ptr());
        let mut count = 0;
        let topics = rdsys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        for topic in each(topics, count) {
            let name = text(rdsys::rd_kafka_TopicDescription_name(topic));
            match read_error(rdsys::rd_kafka_TopicDescription_error(topic)) {
                Ok(()) => {}
                Err(fault) if fault.code.is(E::UnknownTopicOrPartition) => continue,
                Err(fault) => return Err(Fault { text: format!("{name}: {}", fault.text), ..fault }),
            }
            let id = topic_id(rdsys::rd_kafka_TopicDescription_topic_id(topic));
            found.insert(Topic::from(name), Described { id, partitions: partition_ids(topic) });
        }
    }
    Ok(found)
}

/// # Safety
/// `topic` is live.
unsafe fn partition_ids(topic: *const rdsys::rd_kafka_TopicDescription_t) -> Vec<i32> {
    let mut count = 0;
    let mut ids: Vec<_> = unsafe {
        let partitions = rdsys::rd_kafka_TopicDescription_partitions(topic, &mut count);
        each(partitions, count).map(|partition| rdsys::rd_kafka_TopicPartitionInfo_partition(partition)).collect()
    };
    ids.sort_unstable();
    ids
}

/// All zeros is Kafka's "none".
///
/// # Safety
/// `uuid` is null or live.
unsafe fn topic_id(uuid: *const rdsys::rd_kafka_Uuid_t) -> Option<TopicId> {
    if uuid.is_null() {
        return None;
    }
    let (high, low) =
        unsafe { (rdsys::rd_kafka_Uuid_most_significant_bits(uuid), rdsys::rd_kafka_Uuid_least_significant_bits(uuid)) };
    let mut id = [0; 16];
    id[..8].copy_from_slice(&high.to_be_bytes());
    id[8..].copy_from_slice(&low.to_be_bytes());
    (id != [0; 16]).then_some(TopicId(id))
}
