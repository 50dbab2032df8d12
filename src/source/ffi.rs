//! Shared pieces of the C interface: error codes as plain numbers, owned events, partition lists.
//!
//! rdkafka's bindings give error codes as a Rust enum. A newer broker's code that this enum lacks would be undefined
//! behaviour the moment it is read, so every code is declared and read here as the C `int` that it is.
#![allow(clashing_extern_declarations)]

use std::ffi::{CStr, c_char, c_int};
use std::ptr::NonNull;

use rdkafka::TopicPartitionList;
use rdkafka::bindings as rdsys;
use rdkafka::types::RDKafkaErrorCode;

use crate::types::*;

unsafe extern "C" {
    fn rd_kafka_event_error(event: *mut rdsys::rd_kafka_event_t) -> c_int;
    fn rd_kafka_error_code(error: *const rdsys::rd_kafka_error_t) -> c_int;
    fn rd_kafka_ConfigResource_error(resource: *const rdsys::rd_kafka_ConfigResource_t) -> c_int;
    fn rd_kafka_err2str(code: c_int) -> *const c_char;
    fn rd_kafka_assign(rk: *mut rdsys::rd_kafka_t, list: *const rdsys::rd_kafka_topic_partition_list_t) -> c_int;
    fn rd_kafka_subscribe(rk: *mut rdsys::rd_kafka_t, list: *const rdsys::rd_kafka_topic_partition_list_t) -> c_int;
}

/// An error code of librdkafka: negative for its own, positive for a broker's (Kafka's protocol guide lists them).
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub(super) struct Code(pub i32);

impl Code {
    pub const OK: Code = Code(0);

    pub const fn of(code: RDKafkaErrorCode) -> Self {
        Self(code as i32)
    }
    pub fn is(self, code: RDKafkaErrorCode) -> bool {
        self == Self::of(code)
    }
    pub fn is_one_of(self, codes: &[RDKafkaErrorCode]) -> bool {
        codes.iter().any(|code| self.is(*code))
    }
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // SAFETY: returns a static string for every number.
        write!(f, "{}", unsafe { text(rd_kafka_err2str(self.0)) })
    }
}

/// What a call or an event says went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Fault {
    pub code: Code,
    /// The client instance can't go on.
    pub fatal: bool,
    pub text: String,
}

impl Fault {
    pub fn of(code: Code) -> Self {
        Self { code, fatal: false, text: code.to_string() }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.text)
    }
}

/// # Safety
/// `string` is null or a NUL-terminated string that lives during the call.
pub(super) unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned()
}

/// Takes the error object that a call returned, null for success, and frees it.
///
/// # Safety
/// `error` is null or owned by the caller and not used afterwards.
pub(super) unsafe fn take_error(error: *mut rdsys::rd_kafka_error_t) -> Result<(), Fault> {
    let result = unsafe { read_error(error) };
    if !error.is_null() {
        unsafe { rdsys::rd_kafka_error_destroy(error) };
    }
    result
}

/// # Safety
/// `error` is null or a valid error object.
pub(super) unsafe fn read_error(error: *const rdsys::rd_kafka_error_t) -> Result<(), Fault> {
    if error.is_null() {
        return Ok(());
    }
    let code = Code(unsafe { rd_kafka_error_code(error) });
    if code == Code::OK {
        return Ok(());
    }
    let fatal = unsafe { rdsys::rd_kafka_error_is_fatal(error) } != 0;
    let mut text = unsafe { text(rdsys::rd_kafka_error_string(error)) };
    // Kafka leaves its part of the text out for many codes: "ConsumerGroupDescribe: ".
    if text.trim_end().ends_with(':') {
        text = format!("{} {code}", text.trim_end());
    }
    Err(Fault { code, fatal, text })
}

/// What went wrong with one resource of a configuration request.
///
/// # Safety
/// `resource` is live.
pub(super) unsafe fn config_fault(resource: *const rdsys::rd_kafka_ConfigResource_t) -> Result<(), Fault> {
    code_result(unsafe { rd_kafka_ConfigResource_error(resource) })
}

fn code_result(code: c_int) -> Result<(), Fault> {
    if code == 0 { Ok(()) } else { Err(Fault::of(Code(code))) }
}

/// `rd_kafka_assign`; no list means: nothing.
///
/// # Safety
/// `rk` is a live consumer.
pub(super) unsafe fn assign_all(rk: *mut rdsys::rd_kafka_t, list: Option<&TopicPartitionList>) -> Result<(), Fault> {
    let list = list.map_or(std::ptr::null_mut(), TopicPartitionList::ptr);
    code_result(unsafe { rd_kafka_assign(rk, list) })
}

/// # Safety
/// `rk` is a live consumer with a group.
pub(super) unsafe fn subscribe(rk: *mut rdsys::rd_kafka_t, topics: &TopicPartitionList) -> Result<(), Fault> {
    code_result(unsafe { rd_kafka_subscribe(rk, topics.ptr()) })
}

/// An event that is ours to read and to free.
pub(super) struct Event(NonNull<rdsys::rd_kafka_event_t>);

impl Event {
    /// The next event of the queue within the time, if any.
    ///
    /// # Safety
    /// `queue` is a live queue.
    pub unsafe fn next(queue: *mut rdsys::rd_kafka_queue_t, timeout: std::time::Duration) -> Option<Self> {
        let timeout_ms = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
        NonNull::new(unsafe { rdsys::rd_kafka_queue_poll(queue, timeout_ms) }).map(Self)
    }

    pub fn ptr(&self) -> *mut rdsys::rd_kafka_event_t {
        self.0.as_ptr()
    }

    pub fn kind(&self) -> i32 {
        // SAFETY: the event is live until drop.
        unsafe { rdsys::rd_kafka_event_type(self.ptr()) }
    }

    /// Of events that carry an error: error events, results of admin calls and of commits.
    pub fn fault(&self) -> Result<(), Fault> {
        // SAFETY: the event is live until drop; the string belongs to it. `is_fatal` reads a part that only error
        // events have.
        unsafe {
            let code = Code(rd_kafka_event_error(self.ptr()));
            if code == Code::OK {
                return Ok(());
            }
            let fatal = self.kind() == rdsys::RD_KAFKA_EVENT_ERROR && rdsys::rd_kafka_event_error_is_fatal(self.ptr()) != 0;
            Err(Fault { code, fatal, text: text(rdsys::rd_kafka_event_error_string(self.ptr())) })
        }
    }

    pub fn code(&self) -> Code {
        // SAFETY: the event is live until drop.
        Code(unsafe { rd_kafka_event_error(self.ptr()) })
    }

    /// Topic, partition and offset of an error event that has them.
    pub fn place(&self) -> Option<(TopicPartition, Offset)> {
        // SAFETY: the call gives a copy, which is ours to free.
        unsafe {
            let copy = NonNull::new(rdsys::rd_kafka_event_topic_partition(self.ptr()))?;
            let read = Listed::read(copy.as_ptr());
            rdsys::rd_kafka_topic_partition_destroy(copy.as_ptr());
            Some((read.partition, read.offset))
        }
    }

    /// Partitions of a rebalance event.
    pub fn partitions(&self) -> Vec<TopicPartition> {
        // SAFETY: the list belongs to the event.
        let list = unsafe { Listed::read_all(rdsys::rd_kafka_event_topic_partition_list(self.ptr())) };
        list.into_iter().map(|listed| listed.partition).collect()
    }

    /// Level (0-7, as syslog), facility and text of a log event.
    pub fn log_line(&self) -> Option<(i32, String, String)> {
        let (mut facility, mut line, mut level) = (std::ptr::null(), std::ptr::null(), 0);
        // SAFETY: the strings belong to the event.
        unsafe {
            (rdsys::rd_kafka_event_log(self.ptr(), &mut facility, &mut line, &mut level) == 0)
                .then(|| (level, text(facility), text(line)))
        }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: owned, freed once.
        unsafe { rdsys::rd_kafka_event_destroy(self.ptr()) }
    }
}

/// One element of a native partition list.
pub(super) struct Listed {
    pub partition: TopicPartition,
    pub offset: Offset,
    pub metadata: String,
    pub leader_epoch: Option<i32>,
    pub code: Code,
}

impl Listed {
    /// # Safety
    /// `element` is a live partition element.
    pub unsafe fn read(element: *const rdsys::rd_kafka_topic_partition_t) -> Self {
        // Field by field, never through a reference: the error field may hold a number that its enum lacks.
        unsafe {
            let metadata = std::slice::from_raw_parts(
                match (*element).metadata.is_null() {
                    true => NonNull::dangling().as_ptr(),
                    false => (*element).metadata.cast::<u8>(),
                },
                if (*element).metadata.is_null() { 0 } else { (*element).metadata_size },
            );
            let epoch = rdsys::rd_kafka_topic_partition_get_leader_epoch(element);
            Self {
                partition: TopicPartition::new(text((*element).topic), (*element).partition),
                offset: (*element).offset,
                metadata: String::from_utf8_lossy(metadata).into_owned(),
                leader_epoch: (epoch >= 0).then_some(epoch),
                code: Code(std::ptr::addr_of!((*element).err).cast::<c_int>().read()),
            }
        }
    }

    /// # Safety
    /// `list` is null or a live list.
    pub unsafe fn read_all(list: *const rdsys::rd_kafka_topic_partition_list_t) -> Vec<Self> {
        if list.is_null() {
            return Vec::new();
        }
        unsafe {
            let count = usize::try_from((*list).cnt).expect("a list has no negative length");
            (0..count).map(|i| Self::read((*list).elems.add(i))).collect()
        }
    }
}

/// The text of an array of objects that a result holds: pointer and length as `rd_kafka_*_result_*` return them.
///
/// # Safety
/// `array` points to `count` valid pointers, or `count` is 0.
pub(super) unsafe fn each<T>(array: *mut *const T, count: usize) -> impl Iterator<Item = *const T> {
    (0..count).map(move |i| unsafe { *array.add(i) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_the_binding_does_not_know_is_still_a_number_with_a_text() {
        let unknown = Code(31_999);
        assert!(!unknown.is(RDKafkaErrorCode::NoError));
        assert!(unknown.to_string().contains("31999"), "{unknown}");
        assert!(Code::of(RDKafkaErrorCode::AllBrokersDown).to_string().contains("broker"));
    }
}
