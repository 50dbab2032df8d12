//! The consumer's side of librdkafka, event by event, and the calls that change its assignment.
//!
//! rdkafka builds configuration and client. Its own consumer is not used: its loop drains the same queue, and its
//! `PartitionEOF` has neither topic nor offset. Events come from `rd_kafka_queue_poll` on the consumer's queue, to which
//! the client's main queue is redirected, so one queue carries records, log ends, errors, rebalances, commit results and
//! log lines.
//!
//! # Why this is sound
//! - Client and queue are made in [`NativeConsumer::start`] and freed in its `Drop`, the queue first; every call in
//!   between gets live pointers. Two others hold them: [`Wake`] has the queue behind a lock, and it is taken away before it
//!   is freed; a probe shares the client, which then ends with the later of both (never on a thread of the library).
//! - librdkafka is thread-safe. What isn't safe to share is the *meaning* of the assignment calls (an unassign can be taken
//!   for an answer), so all but [`Wake`] stays with the poll thread: `NativeConsumer` is `Send`, not `Sync`.
//! - No callback into Rust is registered: rebalances, commits and logs are events. So no panic can cross into C and no
//!   Rust state is reachable from the library's threads.
//! - Every event is owned by one [`Event`] and freed with it. A record's key, value and headers point into its event; they
//!   are lent out only while it is borrowed.
//! - Error codes are read as numbers, see `ffi`.
//!
//! # Why an event belongs to the assignment it is stamped with
//! An unassign, like a pause, raises the partition's version before it returns, and the queue drops what has an older
//! version when it is polled. So after `Remove` has returned no record or log end of before can be polled, and none of the
//! new assignment before `Add`. `_AUTO_OFFSET_RESET` alone carries no version; `reading::OutOfRange` sorts that out.
//! A record counts as consumed for librdkafka when it is taken out of its event, which is when we copy it: a pause or
//! rebalance makes it fetch again from there, so nothing in between is lost.

use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use rdkafka::bindings as rdsys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::types::{RDKafkaErrorCode, RDKafkaType};
use rdkafka::{ClientConfig, Offset as ListedOffset, TopicPartitionList};

use super::assignment::{FetchAt, Protocol, Rebalance, Step};
use super::chunks::Record;
use super::mirror::GroupCommit;
use super::wake::Wake;
use crate::error::Stop;
use crate::ports::Header;
use crate::source::ffi::{self, Event, Fault, take_error};
use crate::source::settings::bad_property;
use crate::types::*;

/// What one poll brought.
pub(super) enum Polled<'a> {
    Nothing,
    Fetched(Fetched<'a>),
    EndOfPartition {
        partition: TopicPartition,
        offset: Offset,
    },
    Rebalance(Rebalance),
    /// The result of the last group commit.
    Committed(Result<(), Fault>),
    Fault {
        fault: Fault,
        place: Option<(TopicPartition, Offset)>,
    },
    LogLine {
        level: i32,
        facility: String,
        line: String,
    },
    /// Nothing that concerns us.
    Other,
}

/// Did some broker answer, and if not, why.
pub(super) type ProbeAnswer = Result<(), String>;

/// Never called: its methods serve rdkafka's own loops.
struct Unheard;
impl ClientContext for Unheard {}

pub(super) struct NativeConsumer {
    queue: NonNull<rdsys::rd_kafka_queue_t>,
    client: Arc<Client<Unheard>>,
    /// One of ours, to ask about.
    topic: Topic,
    wake: Arc<Wake>,
}

// SAFETY: the queue pointer may move to another thread with its client; librdkafka doesn't tie either to a thread.
unsafe impl Send for NativeConsumer {}

impl NativeConsumer {
    pub fn start(config: &ClientConfig, topics: &[Topic]) -> Result<Self, Stop> {
        let native = config.create_native_config().map_err(|e| bad_property(&e))?;
        let events = rdsys::RD_KAFKA_EVENT_REBALANCE
            | rdsys::RD_KAFKA_EVENT_OFFSET_COMMIT
            | rdsys::RD_KAFKA_EVENT_STATS
            | rdsys::RD_KAFKA_EVENT_ERROR
            | rdsys::RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH;
        // SAFETY: the configuration is live; the client takes it over.
        unsafe { rdsys::rd_kafka_conf_set_events(native.ptr(), events) };
        let client =
            Client::new(config, native, RDKafkaType::RD_KAFKA_CONSUMER, Unheard).map_err(|error| bad_property(&error))?;
        // SAFETY: the client is live; the queue reference is ours until `drop`.
        let queue = unsafe {
            rdsys::rd_kafka_poll_set_consumer(client.native_ptr());
            NonNull::new(rdsys::rd_kafka_queue_get_consumer(client.native_ptr()))
        };
        let queue = queue.ok_or_else(|| Stop::internal("a Kafka client with a group.id has no consumer queue"))?;
        let topic = topics.first().cloned().unwrap_or_else(|| "".into());
        // SAFETY: `drop` disconnects it before it frees the queue.
        let wake = Arc::new(unsafe { Wake::of(queue) });
        let consumer = Self { queue, client: Arc::new(client), topic, wake };
        let mut list = TopicPartitionList::new();
        for topic in topics {
            list.add_topic_unassigned(topic);
        }
        // SAFETY: the client is a live consumer with a group.
        let subscribed = unsafe { ffi::subscribe(consumer.rk(), &list) };
        subscribed.map_err(|fault| {
            Stop::usage(format!("Kafka's client refuses the topics {topics:?}: {fault}"), "correct kafka.topics")
        })?;
        Ok(consumer)
    }

    pub fn wake(&self) -> &Arc<Wake> {
        &self.wake
    }

    /// The next event, waiting at most so long. Ends early, without an event, when [`Wake`] is called.
    pub fn poll(&self, timeout: Duration) -> Polled<'_> {
        // SAFETY: the queue lives as long as `self`.
        let Some(event) = (unsafe { Event::next(self.queue.as_ptr(), timeout) }) else { return Polled::Nothing };
        match event.kind() {
            rdsys::RD_KAFKA_EVENT_FETCH => self.fetched(event),
            rdsys::RD_KAFKA_EVENT_ERROR => Self::failed(&event),
            rdsys::RD_KAFKA_EVENT_REBALANCE => self.rebalance(&event),
            rdsys::RD_KAFKA_EVENT_OFFSET_COMMIT => Polled::Committed(event.fault()),
            rdsys::RD_KAFKA_EVENT_LOG => match event.log_line() {
                Some((level, facility, line)) => Polled::LogLine { level, facility, line },
                None => Polled::Other,
            },
            _ => Polled::Other,
        }
    }

    fn fetched(&self, event: Event) -> Polled<'_> {
        // SAFETY: a fetch event holds one message, which lives as long as the event.
        let message = unsafe { rdsys::rd_kafka_event_message_next(event.ptr()) };
        match NonNull::new(message.cast_mut()) {
            Some(message) => Polled::Fetched(Fetched { message, _event: event, _consumer: PhantomData }),
            None => Polled::Other,
        }
    }

    fn failed<'a>(event: &Event) -> Polled<'a> {
        let place = event.place();
        let Err(fault) = event.fault() else { return Polled::Other };
        match place {
            Some((partition, offset)) if fault.code.is(RDKafkaErrorCode::PartitionEOF) => {
                Polled::EndOfPartition { partition, offset }
            }
            place => Polled::Fault { fault, place },
        }
    }

    fn rebalance<'a>(&self, event: &Event) -> Polled<'a> {
        let partitions = event.partitions();
        let code = event.code();
        if code.is(RDKafkaErrorCode::AssignPartitions) {
            return Polled::Rebalance(Rebalance::Assign(partitions));
        }
        if code.is(RDKafkaErrorCode::RevokePartitions) {
            return Polled::Rebalance(Rebalance::Revoke { partitions, lost: self.is_lost() });
        }
        Polled::Fault { fault: Fault::of(code), place: None }
    }

    /// The group holds our partitions for lost; true until the revoke event is answered.
    pub fn is_lost(&self) -> bool {
        // SAFETY: the client is live.
        unsafe { rdsys::rd_kafka_assignment_lost(self.rk()) != 0 }
    }

    pub fn protocol(&self) -> Protocol {
        // SAFETY: the client is live; the string is static.
        let name = unsafe { ffi::text(rdsys::rd_kafka_rebalance_protocol(self.rk())) };
        if name == "COOPERATIVE" { Protocol::Cooperative } else { Protocol::Eager }
    }

    pub fn carry_out(&self, step: &Step) -> Result<(), Fault> {
        // SAFETY: client and lists are live during the calls; returned error objects are taken.
        unsafe {
            match step {
                Step::Add(places) => take_error(rdsys::rd_kafka_incremental_assign(self.rk(), placed(places).ptr())),
                Step::Remove(partitions) => {
                    take_error(rdsys::rd_kafka_incremental_unassign(self.rk(), named(partitions).ptr()))
                }
                Step::Replace(places) => ffi::assign_all(self.rk(), Some(&placed(places))),
                Step::Clear => ffi::assign_all(self.rk(), None),
                Step::Pause(partitions) => {
                    rdsys::rd_kafka_pause_partitions(self.rk(), named(partitions).ptr());
                    Ok(())
                }
                Step::Resume(partitions) => {
                    rdsys::rd_kafka_resume_partitions(self.rk(), named(partitions).ptr());
                    Ok(())
                }
            }
        }
    }

    /// Sends the group offsets; the result comes as `Committed`.
    pub fn commit(&self, (offsets, metadata): &GroupCommit) {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in offsets {
            let mut element = list.add_partition(&partition.topic, partition.partition);
            if element.set_offset(ListedOffset::Offset(*offset)).is_ok() {
                element.set_metadata(metadata);
            }
        }
        // SAFETY: client, list and queue are live; the list is copied. Fails only for a client without a group.
        unsafe { rdsys::rd_kafka_commit_queue(self.rk(), list.ptr(), self.queue.as_ptr(), None, ptr::null_mut()) };
    }

    /// Asks whether some broker answers, on a thread of its own: the question blocks, and its asynchronous sisters are no
    /// good here (they go to one broker, or wait for a controller, which the mock cluster lacks). `answer` is called within
    /// `timeout`, and the poll thread is woken.
    pub fn probe(&self, timeout: Duration, answer: Sender<ProbeAnswer>) {
        let (client, topic, wake) = (self.client.clone(), self.topic.clone(), self.wake.clone());
        let failed = answer.clone();
        let ask = move || {
            let metadata = client.fetch_metadata(Some(&topic), timeout).map(drop);
            drop(client);
            // The receiver is gone when the consumer has closed meanwhile.
            let _ = answer.send(metadata.map_err(|error| error.to_string()));
            wake.now();
        };
        if let Err(error) = std::thread::Builder::new().name("kafka-probe".into()).spawn(ask) {
            let _ = failed.send(Err(format!("no thread to ask Kafka: {error}")));
        }
    }

    /// Begins to leave the group. Goes on in `poll`, where revokes still have to be answered, until `is_closed`.
    pub fn close(&self) -> Result<(), Fault> {
        // SAFETY: client and queue are live; the error object is taken.
        unsafe { take_error(rdsys::rd_kafka_consumer_close_queue(self.rk(), self.queue.as_ptr())) }
    }

    pub fn is_closed(&self) -> bool {
        // SAFETY: the client is live.
        unsafe { rdsys::rd_kafka_consumer_closed(self.rk()) == 1 }
    }

    fn rk(&self) -> *mut rdsys::rd_kafka_t {
        self.client.native_ptr()
    }
}

impl Drop for NativeConsumer {
    fn drop(&mut self) {
        self.wake.disconnect();
        // SAFETY: our reference, given back once; the client is freed after it by its own drop.
        unsafe { rdsys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

fn placed(places: &[(TopicPartition, FetchAt)]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(places.len());
    for (partition, at) in places {
        let offset = match at {
            FetchAt::Offset(offset) => ListedOffset::Offset(*offset),
            FetchAt::LogEnd => ListedOffset::End,
        };
        list.add_partition_offset(&partition.topic, partition.partition, offset)
            .expect("an absolute offset or the log end is a valid start");
    }
    list
}

fn named(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition);
    }
    list
}

/// A record, in the client's memory.
pub(super) struct Fetched<'a> {
    message: NonNull<rdsys::rd_kafka_message_t>,
    _event: Event,
    _consumer: PhantomData<&'a NativeConsumer>,
}

impl Fetched<'_> {
    /// Names the partition as long as the client lives; compare, never follow.
    pub fn handle(&self) -> (usize, i32) {
        // SAFETY: the message lives as long as its event; fields are read one by one.
        unsafe { ((*self.message.as_ptr()).rkt as usize, (*self.message.as_ptr()).partition) }
    }

    pub fn partition(&self) -> TopicPartition {
        // SAFETY: as above; the topic's name lives as long as the topic.
        unsafe {
            let topic = ffi::text(rdsys::rd_kafka_topic_name((*self.message.as_ptr()).rkt));
            TopicPartition::new(topic, (*self.message.as_ptr()).partition)
        }
    }

    pub fn offset(&self) -> Offset {
        // SAFETY: as above.
        unsafe { (*self.message.as_ptr()).offset }
    }

    pub fn record(&self) -> Record<'_> {
        let message = self.message.as_ptr();
        // SAFETY: key and payload point into the event, which `self` holds; null means none, whatever the length.
        unsafe {
            let epoch = rdsys::rd_kafka_message_leader_epoch(message);
            Record {
                offset: (*message).offset,
                timestamp_ms: self.timestamp_ms(),
                leader_epoch: (epoch >= 0).then_some(epoch),
                key: bytes((*message).key.cast(), (*message).key_len),
                value: bytes((*message).payload.cast(), (*message).len),
                headers: self.headers(),
            }
        }
    }

    fn timestamp_ms(&self) -> Option<i64> {
        let mut kind = rdsys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is live.
        let timestamp = unsafe { rdsys::rd_kafka_message_timestamp(self.message.as_ptr(), &mut kind) };
        (kind != rdsys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE && timestamp >= 0).then_some(timestamp)
    }

    fn headers(&self) -> Vec<Header> {
        let mut headers = ptr::null_mut();
        let mut all = Vec::new();
        // SAFETY: headers, names and values belong to the message.
        unsafe {
            rdsys::rd_kafka_message_headers(self.message.as_ptr(), &mut headers);
            if headers.is_null() {
                return all;
            }
            for index in 0..rdsys::rd_kafka_header_cnt(headers) {
                let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
                rdsys::rd_kafka_header_get_all(headers, index, &mut name, &mut value, &mut size);
                all.push((ffi::text(name), bytes(value.cast(), size).map(<[u8]>::to_vec)));
            }
        }
        all
    }
}

/// # Safety
/// `start` is null, or points to `length` bytes that live as long as `'a`.
unsafe fn bytes<'a>(start: *const u8, length: usize) -> Option<&'a [u8]> {
    (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start, length) })
}
