//! What Kafka removes from topics besides the oldest records.

use std::collections::BTreeSet;
use std::ptr;

use rdkafka::bindings as rdsys;
use rdkafka::types::RDKafkaErrorCode as E;

use super::calls::c_string;
use super::client::AdminClient;
use crate::ports::PortError;
use crate::source::ffi::{Event, Fault, config_fault, each, text};
use crate::types::*;

const POLICY: &str = "cleanup.policy";
const COMPACT: &str = "compact";

/// Topics that are compacted, or whose policy this user may not see. Those that don't exist are left out.
pub(super) fn compacted(client: &AdminClient, names: &[Topic]) -> Result<BTreeSet<Topic>, PortError> {
    if names.is_empty() {
        return Ok(BTreeSet::new());
    }
    let asked = Resources::of(names)?;
    let options = client.options(rdsys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    let request = |queue| {
        // SAFETY: client, resources, options and queue are live during the request, which copies them.
        unsafe {
            let pointers = asked.0.as_ptr().cast_mut();
            rdsys::rd_kafka_DescribeConfigs(client.rk(), pointers, asked.0.len(), options.ptr(), queue);
        }
    };
    client.ask("cleanup policies", request, read)
}

/// Topics as the request wants them.
struct Resources(Vec<*mut rdsys::rd_kafka_ConfigResource_t>);

impl Resources {
    fn of(names: &[Topic]) -> Result<Self, PortError> {
        // Kafka refuses a resource that is named twice.
        let names: BTreeSet<&Topic> = names.iter().collect();
        let mut resources = Self(Vec::with_capacity(names.len()));
        for name in names {
            let name = c_string(name)?;
            let kind = rdsys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
            // SAFETY: the name is copied; the resource is ours to free.
            resources.0.push(unsafe { rdsys::rd_kafka_ConfigResource_new(kind, name.as_ptr()) });
        }
        Ok(resources)
    }
}

impl Drop for Resources {
    fn drop(&mut self) {
        // SAFETY: made by `of`, freed once.
        unsafe { rdsys::rd_kafka_ConfigResource_destroy_array(self.0.as_mut_ptr(), self.0.len()) }
    }
}

fn read(event: &Event) -> Result<BTreeSet<Topic>, Fault> {
    let mut found = BTreeSet::new();
    // SAFETY: the result and what it points to live as long as the event.
    unsafe {
        let result = rdsys::rd_kafka_event_DescribeConfigs_result(event.ptr());
        let mut count = 0;
        let resources = rdsys::rd_kafka_DescribeConfigs_result_resources(result, &mut count);
        for resource in each(resources, count) {
            let name = text(rdsys::rd_kafka_ConfigResource_name(resource));
            let compacts = match config_fault(resource) {
                Ok(()) => policy(resource).is_some_and(|policy| compacts(&policy)),
                Err(fault) if fault.code.is(E::UnknownTopicOrPartition) => false,
                Err(fault) if fault.code.is(E::TopicAuthorizationFailed) => true,
                Err(fault) => return Err(Fault { text: format!("{name}: {}", fault.text), ..fault }),
            };
            if compacts {
                found.insert(Topic::from(name));
            }
        }
    }
    Ok(found)
}

/// # Safety
/// `resource` is live.
unsafe fn policy(resource: *const rdsys::rd_kafka_ConfigResource_t) -> Option<String> {
    let mut count = 0;
    unsafe {
        let entries = rdsys::rd_kafka_ConfigResource_configs(resource, ptr::from_mut(&mut count));
        let mut entries = each(entries, count);
        let entry = entries.find(|entry| text(rdsys::rd_kafka_ConfigEntry_name(*entry)) == POLICY)?;
        Some(text(rdsys::rd_kafka_ConfigEntry_value(entry)))
    }
}

/// The policy is a list: `compact,delete` compacts too.
fn compacts(policy: &str) -> bool {
    policy.split(',').any(|one| one.trim() == COMPACT)
}
