//! The group: committed offsets with their metadata, and members.

use std::collections::BTreeMap;
use std::ptr;

use rdkafka::Offset as ListedOffset;
use rdkafka::bindings as rdsys;
use rdkafka::types::RDKafkaErrorCode as E;

use super::calls::{Names, c_string, list};
use super::client::AdminClient;
use crate::ports::{GroupMember, GroupOffset, PortError};
use crate::source::ffi::{Code, Event, Fault, Listed, each, read_error, text};
use crate::types::*;

type Kind = rdsys::rd_kafka_admin_op_t;

/// Committed offsets; partitions without one are absent.
///
/// Asked without "stable": group offsets are never part of a transaction of ours, and one of somebody else's must not hold
/// up the tripwire.
pub(super) fn offsets(
    client: &AdminClient,
    group_id: &str,
    partitions: &[TopicPartition],
) -> Result<BTreeMap<TopicPartition, GroupOffset>, PortError> {
    if partitions.is_empty() {
        return Ok(BTreeMap::new());
    }
    let group = c_string(group_id)?;
    let wanted = list(partitions.iter().map(|partition| (partition, ListedOffset::Invalid)))?;
    let options = client.options(Kind::RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS);
    let request = |queue| {
        // SAFETY: the request copies group and partitions; both are live until then, and the copy is freed.
        unsafe {
            let mut asked = rdsys::rd_kafka_ListConsumerGroupOffsets_new(group.as_ptr(), wanted.ptr());
            rdsys::rd_kafka_ListConsumerGroupOffsets(client.rk(), &mut asked, 1, options.ptr(), queue);
            rdsys::rd_kafka_ListConsumerGroupOffsets_destroy(asked);
        }
    };
    client.ask("group offsets", request, read_offsets)
}

fn read_offsets(event: &Event) -> Result<BTreeMap<TopicPartition, GroupOffset>, Fault> {
    let mut found = BTreeMap::new();
    // SAFETY: the result and what it points to live as long as the event.
    unsafe {
        let result = rdsys::rd_kafka_event_ListConsumerGroupOffsets_result(event.ptr());
        let mut count = 0;
        let groups = rdsys::rd_kafka_ListConsumerGroupOffsets_result_groups(result, &mut count);
        for group in each(groups, count) {
            match read_error(rdsys::rd_kafka_group_result_error(group)) {
                Ok(()) => {}
                Err(fault) if fault.code.is(E::GroupIdNotFound) => continue,
                Err(fault) => return Err(fault),
            }
            for listed in Listed::read_all(rdsys::rd_kafka_group_result_partitions(group)) {
                // A topic that is gone has no offsets.
                if listed.code.is(E::UnknownTopicOrPartition) || (listed.code == Code::OK && listed.offset < 0) {
                    continue;
                }
                if listed.code != Code::OK {
                    let fault = Fault::of(listed.code);
                    return Err(Fault { text: format!("{}: {}", listed.partition, fault.text), ..fault });
                }
                found.insert(listed.partition, GroupOffset { offset: listed.offset, metadata: listed.metadata });
            }
        }
    }
    Ok(found)
}

/// Members of the group, of the classic and of the new protocol; empty for a group that doesn't exist.
pub(super) fn members(client: &AdminClient, group_id: &str) -> Result<Vec<GroupMember>, PortError> {
    let names = Names::of([group_id])?;
    let options = client.options(Kind::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    let request = |queue| {
        // SAFETY: names, options and queue are live during the request, which copies them.
        unsafe {
            let pointers = names.pointers.as_ptr().cast_mut();
            rdsys::rd_kafka_DescribeConsumerGroups(client.rk(), pointers, 1, options.ptr(), queue);
        }
    };
    client.ask("group members", request, read_members)
}

fn read_members(event: &Event) -> Result<Vec<GroupMember>, Fault> {
    let mut found = Vec::new();
    // SAFETY: the result and what it points to live as long as the event.
    unsafe {
        let result = rdsys::rd_kafka_event_DescribeConsumerGroups_result(event.ptr());
        let mut count = 0;
        let groups = rdsys::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
        for group in each(groups, count) {
            match read_error(rdsys::rd_kafka_ConsumerGroupDescription_error(group)) {
                Ok(()) => {}
                Err(fault) if fault.code.is(E::GroupIdNotFound) => continue,
                Err(fault) => return Err(fault),
            }
            for index in 0..rdsys::rd_kafka_ConsumerGroupDescription_member_count(group) {
                found.push(read_member(rdsys::rd_kafka_ConsumerGroupDescription_member(group, index)));
            }
        }
    }
    Ok(found)
}

/// # Safety
/// `member` is live.
unsafe fn read_member(member: *const rdsys::rd_kafka_MemberDescription_t) -> GroupMember {
    unsafe {
        let assignment = rdsys::rd_kafka_MemberDescription_assignment(member);
        let partitions = match assignment.is_null() {
            true => ptr::null(),
            false => rdsys::rd_kafka_MemberAssignment_partitions(assignment),
        };
        GroupMember {
            member_id: text(rdsys::rd_kafka_MemberDescription_consumer_id(member)),
            client_id: text(rdsys::rd_kafka_MemberDescription_client_id(member)),
            host: text(rdsys::rd_kafka_MemberDescription_host(member)),
            partitions: Listed::read_all(partitions).into_iter().map(|listed| listed.partition).collect(),
        }
    }
}
