//! Where logs begin and end, and where a time is in them.

use std::collections::BTreeMap;

use rdkafka::Offset as ListedOffset;
use rdkafka::bindings as rdsys;

use super::calls::list;
use super::client::AdminClient;
use crate::ports::{LogEdge, LogOffset, PortError};
use crate::source::ffi::{Code, Event, Fault, Listed, each, take_error};
use crate::types::*;

type Isolation = rdsys::rd_kafka_IsolationLevel_t;

/// Kafka's protocol: the latest and the earliest offset stand where a timestamp does.
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
/// "No such record."
const NONE: Offset = -1;

pub(super) fn ask(
    client: &AdminClient,
    at: BTreeMap<TopicPartition, LogEdge>,
) -> Result<BTreeMap<TopicPartition, LogOffset>, PortError> {
    let (uncommitted, committed): (Vec<_>, Vec<_>) = at.into_iter().partition(|(_, edge)| *edge == LogEdge::HighWatermark);
    let spec = |edge: LogEdge| match edge {
        LogEdge::Earliest => EARLIEST,
        LogEdge::LastStable | LogEdge::HighWatermark => LATEST,
        LogEdge::Timestamp(ms) => ms.max(0),
    };
    let specs = |of: Vec<(TopicPartition, LogEdge)>| of.into_iter().map(|(p, edge)| (p, spec(edge))).collect::<Vec<_>>();
    let mut found = list_offsets(client, &specs(uncommitted), Isolation::RD_KAFKA_ISOLATION_LEVEL_READ_UNCOMMITTED)?;
    found.extend(list_offsets(client, &specs(committed), Isolation::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED)?);
    let behind_all: Vec<_> = found.iter().filter(|(_, o)| o.offset == NONE).map(|(p, _)| (p.clone(), LATEST)).collect();
    found.extend(list_offsets(client, &behind_all, Isolation::RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED)?);
    Ok(found)
}

/// One ListOffsets per leader. `offset` is [`NONE`] where no record is as new as the timestamp.
fn list_offsets(
    client: &AdminClient,
    at: &[(TopicPartition, i64)],
    isolation: Isolation,
) -> Result<BTreeMap<TopicPartition, LogOffset>, PortError> {
    if at.is_empty() {
        return Ok(BTreeMap::new());
    }
    let wanted = list(at.iter().map(|(partition, _)| (partition, ListedOffset::Invalid)))?;
    // SAFETY: the list is ours and has one element per entry, in this order. Times and specifications stand where offsets
    // do; the safe setter would take a time for an offset out of range.
    unsafe {
        for (index, (_, spec)) in at.iter().enumerate() {
            (*(*wanted.ptr()).elems.add(index)).offset = *spec;
        }
    }
    let options = client.options(rdsys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS);
    // SAFETY: the options are live; the error object is taken.
    let set = unsafe { take_error(rdsys::rd_kafka_AdminOptions_set_isolation_level(options.ptr(), isolation)) };
    set.map_err(|fault| client.failure("log offsets", &fault))?;
    // SAFETY: client, list, options and queue are live during the request, which copies them.
    let request = |queue| unsafe { rdsys::rd_kafka_ListOffsets(client.rk(), wanted.ptr(), options.ptr(), queue) };
    client.ask("log offsets", request, read)
}

fn read(event: &Event) -> Result<BTreeMap<TopicPartition, LogOffset>, Fault> {
    let mut found = BTreeMap::new();
    // SAFETY: the result and what it points to live as long as the event.
    unsafe {
        let result = rdsys::rd_kafka_event_ListOffsets_result(event.ptr());
        let mut count = 0;
        let infos = rdsys::rd_kafka_ListOffsets_result_infos(result, &mut count);
        for info in each(infos, count) {
            let listed = Listed::read(rdsys::rd_kafka_ListOffsetsResultInfo_topic_partition(info));
            if listed.code != Code::OK {
                let fault = Fault::of(listed.code);
                return Err(Fault { text: format!("{}: {}", listed.partition, fault.text), ..fault });
            }
            let timestamp = rdsys::rd_kafka_ListOffsetsResultInfo_timestamp(info);
            let timestamp_ms = (timestamp >= 0).then_some(timestamp);
            let (offset, leader_epoch) = (listed.offset, listed.leader_epoch);
            found.insert(listed.partition, LogOffset { offset, leader_epoch, timestamp_ms });
        }
    }
    Ok(found)
}
