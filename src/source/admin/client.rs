//! The client that asks, and one question: options, request, answer.
//!
//! # Why this is sound
//! A question has a queue of its own, made before the request and freed after the answer or the time-out; an answer that
//! comes later goes with the queue. Options are copied by the request. Results are read while their event lives. The
//! client outlives every question, since `ask` borrows it.

use std::ffi::c_int;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::bindings as rdsys;
use rdkafka::client::{Client, ClientContext};
use rdkafka::metadata::Metadata;
use rdkafka::types::{RDKafkaErrorCode, RDKafkaType};

use crate::error::Stop;
use crate::ports::{Down, PortError};
use crate::source::ffi::{Code, Event, Fault, text};
use crate::source::library_log::{RateLimit, library_line};
use crate::source::settings::bad_property;
use crate::source::trouble::{Trouble, classify, missing_acl, refused};

/// Between two attempts.
const NOT_YET: Duration = Duration::from_millis(200);

/// Never called: events are read here.
struct Unheard;
impl ClientContext for Unheard {}

pub(super) struct AdminClient {
    client: Client<Unheard>,
    timeout: Duration,
    /// Some question was answered.
    reached: AtomicBool,
    /// The last complaint of the client since then: why nothing answers.
    complaint: Mutex<Option<Fault>>,
    limit: Mutex<RateLimit>,
}

/// A queue of one question, or of the client's own events.
struct Queue(*mut rdsys::rd_kafka_queue_t);
impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: our reference, given back once.
        unsafe { rdsys::rd_kafka_queue_destroy(self.0) }
    }
}

/// Options of one kind of request.
pub(super) struct Options(*mut rdsys::rd_kafka_AdminOptions_t);
impl Options {
    pub fn ptr(&self) -> *mut rdsys::rd_kafka_AdminOptions_t {
        self.0
    }
}
impl Drop for Options {
    fn drop(&mut self) {
        // SAFETY: made by `AdminClient::options`, freed once.
        unsafe { rdsys::rd_kafka_AdminOptions_destroy(self.0) }
    }
}

impl AdminClient {
    pub fn new(config: &ClientConfig, timeout: Duration) -> Result<Self, Stop> {
        let native = config.create_native_config().map_err(|e| bad_property(&e))?;
        // SAFETY: the configuration is live; the client takes it over.
        unsafe { rdsys::rd_kafka_conf_set_events(native.ptr(), rdsys::RD_KAFKA_EVENT_ERROR) };
        // A consumer, since a producer's question about a topic can make the topic.
        let client = Client::new(config, native, RDKafkaType::RD_KAFKA_CONSUMER, Unheard).map_err(|e| bad_property(&e))?;
        let (complaint, limit) = (Mutex::default(), Mutex::default());
        Ok(Self { client, timeout, reached: false.into(), complaint, limit })
    }

    pub fn rk(&self) -> *mut rdsys::rd_kafka_t {
        self.client.native_ptr()
    }

    pub fn timeout_ms(&self) -> c_int {
        c_int::try_from(self.timeout.as_millis()).unwrap_or(c_int::MAX)
    }

    pub fn options(&self, kind: rdsys::rd_kafka_admin_op_t) -> Options {
        // SAFETY: the client is live; a time-out within bounds is accepted by every request.
        unsafe {
            let options = rdsys::rd_kafka_AdminOptions_new(self.rk(), kind);
            rdsys::rd_kafka_AdminOptions_set_request_timeout(options, self.timeout_ms(), ptr::null_mut(), 0);
            Options(options)
        }
    }

    /// Sends a request and waits for its answer, which `read` reads. One that says "not yet" (a coordinator that loads, a
    /// leader that is being elected) is asked again, all within the time-out.
    pub fn ask<T>(
        &self,
        what: &str,
        request: impl Fn(*mut rdsys::rd_kafka_queue_t),
        read: impl Fn(&Event) -> Result<T, Fault>,
    ) -> Result<T, PortError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            match self.ask_once(&request, &read) {
                Ok(answer) => {
                    self.answered();
                    return Ok(answer);
                }
                Err(fault) if is_not_yet(&fault) && Instant::now() < deadline => std::thread::sleep(NOT_YET),
                Err(fault) => return Err(self.failure(what, &fault)),
            }
        }
    }

    fn ask_once<T>(
        &self,
        request: &impl Fn(*mut rdsys::rd_kafka_queue_t),
        read: &impl Fn(&Event) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        // SAFETY: the client is live.
        let queue = Queue(unsafe { rdsys::rd_kafka_queue_new(self.rk()) });
        request(queue.0);
        // The request's own time-out answers first.
        let deadline = Instant::now() + self.timeout + Duration::from_secs(1);
        loop {
            // SAFETY: the queue lives until the end of this function.
            let event = unsafe { Event::next(queue.0, Duration::from_millis(100)) };
            self.listen();
            if let Some(event) = event {
                return event.fault().and_then(|()| read(&event));
            }
            if self.is_hopeless() || Instant::now() >= deadline {
                return Err(Fault::of(Code::of(RDKafkaErrorCode::OperationTimedOut)));
            }
        }
    }

    /// Cluster id as the client learnt it when it first connected. Every cluster answers this, the mock too.
    pub fn first_cluster_id(&self) -> Result<String, PortError> {
        let deadline = Instant::now() + self.timeout;
        loop {
            // SAFETY: the client is live; the string is ours to free.
            let id = unsafe {
                let id = rdsys::rd_kafka_clusterid(self.rk(), 200);
                let copy = text(id);
                if !id.is_null() {
                    rdsys::rd_kafka_mem_free(self.rk(), id.cast());
                }
                copy
            };
            self.listen();
            if !id.is_empty() {
                self.answered();
                return Ok(id);
            }
            if self.is_hopeless() || Instant::now() >= deadline {
                return Err(self.failure("cluster id", &Fault::of(Code::of(RDKafkaErrorCode::OperationTimedOut))));
            }
        }
    }

    /// Plain metadata of one topic.
    pub fn metadata(&self, topic: &str) -> Result<Metadata, PortError> {
        let answer = self.client.fetch_metadata(Some(topic), self.timeout);
        self.listen();
        answer.inspect(|_| self.answered()).map_err(|error| {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            self.failure(&format!("partitions of {topic}"), &Fault::of(Code::of(code)))
        })
    }

    fn answered(&self) {
        self.reached.store(true, Ordering::Relaxed);
        *self.complaint.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Reads the client's own events: log lines, and errors that say why nothing answers.
    fn listen(&self) {
        // SAFETY: the client is live; the reference to its main queue is given back at the end.
        let main = Queue(unsafe { rdsys::rd_kafka_queue_get_main(self.rk()) });
        while let Some(event) = unsafe { Event::next(main.0, Duration::ZERO) } {
            if let Some((level, facility, line)) = event.log_line() {
                let mut limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
                library_line(&mut limit, level, &facility, &line);
            } else if event.kind() == rdsys::RD_KAFKA_EVENT_ERROR
                && let Err(fault) = event.fault()
            {
                self.complain(fault);
            }
        }
    }

    /// A refused password says more than "all brokers are down", which follows it.
    fn complain(&self, fault: Fault) {
        let mut complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        let better = complaint.as_ref().is_some_and(|known| matches!(classify(known), Trouble::Credentials(_)));
        if !better || matches!(classify(&fault), Trouble::Credentials(_)) {
            *complaint = Some(fault);
        }
    }

    fn complaint(&self) -> Option<Fault> {
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Credentials were refused before any answer: waiting out the time-out brings nothing.
    fn is_hopeless(&self) -> bool {
        !self.reached.load(Ordering::Relaxed)
            && self.complaint().is_some_and(|fault| matches!(classify(&fault), Trouble::Credentials(_)))
    }

    /// What a failed question means: wait, or an operator's matter.
    pub fn failure(&self, what: &str, fault: &Fault) -> PortError {
        if let Some(stop) = missing_acl(fault) {
            return stop.into();
        }
        let complaint = self.complaint();
        let trouble = classify(complaint.as_ref().unwrap_or(fault));
        match trouble {
            Trouble::Credentials(stop) if !self.reached.load(Ordering::Relaxed) => stop.into(),
            Trouble::Credentials(stop) => Down { dependency: "kafka", reason: stop.what }.into(),
            Trouble::Fatal(stop) => stop.into(),
            _ if is_unsupported(fault) => refused(&format!("Kafka doesn't answer: {what}"), fault).into(),
            _ => {
                let why = complaint.map(|complaint| format!(" ({})", complaint.text.trim())).unwrap_or_default();
                Down { dependency: "kafka", reason: format!("{what}: {fault}{why}") }.into()
            }
        }
    }
}

fn is_not_yet(fault: &Fault) -> bool {
    use RDKafkaErrorCode as E;
    fault.code.is_one_of(&[
        E::CoordinatorLoadInProgress,
        E::CoordinatorNotAvailable,
        E::NotCoordinator,
        E::LeaderNotAvailable,
        E::NotLeaderForPartition,
    ])
}

fn is_unsupported(fault: &Fault) -> bool {
    use RDKafkaErrorCode as E;
    fault.code.is_one_of(&[
        E::UnsupportedFeature,
        E::UnsupportedVersion,
        E::InvalidArgument,
        E::InvalidRequest,
        E::InvalidGroupId,
    ])
}
