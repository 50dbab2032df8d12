//! Sends generated records and learns where they went.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};

use super::encode::{SchemaIds, encode};
use super::generator::{Generator, Kind};
use super::ledger::{LedgerSender, Sent};
use crate::config::Kafka;
use crate::error::Stop;
use crate::types::{Topic, TopicPartition};

/// Longest wait for what is still unacknowledged, for the start of transactions and for their end.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How long to wait before asking a full queue again.
const QUEUE_FULL_PAUSE: Duration = Duration::from_millis(1);

/// Ours; the operator may choose others.
const DEFAULTS: [(&str, &str); 3] =
    [("linger.ms", "5"), ("batch.num.messages", "10000"), ("queue.buffering.max.kbytes", "65536")];

/// Acknowledgements, counted and passed to the ledger on the client's own thread.
pub struct Deliveries {
    ledger: Option<LedgerSender>,
    acknowledged: AtomicU64,
    failed: AtomicU64,
    /// The first failed delivery, or failing that the last error of the client.
    reason: Mutex<Option<String>>,
}

impl Deliveries {
    fn note(&self, reason: String) {
        *self.reason.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason);
    }

    fn reason(&self) -> String {
        let noted = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        noted.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default()
    }
}

impl ClientContext for Deliveries {
    fn error(&self, error: KafkaError, reason: &str) {
        if self.failed.load(Ordering::Relaxed) == 0 {
            self.note(format!("{error}: {reason}"));
        }
    }
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Sent>;

    fn delivery(&self, result: &DeliveryResult<'_>, sent: Box<Sent>) {
        match result {
            Ok(message) => {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
                let written = self.ledger.as_ref().is_none_or(|ledger| ledger.acknowledged(sent, message.offset()));
                if !written && self.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                    self.note("the ledger can't be written".into());
                }
            }
            Err((error, message)) => {
                if self.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                    self.note(format!("{}:{}: {error}", message.topic(), message.partition()));
                }
            }
        }
    }
}

/// An idempotent producer of generated records.
pub struct Sender {
    producer: ThreadedProducer<Deliveries>,
    generator: Generator,
    /// By the topic's place.
    topics: Vec<Topic>,
    schema_ids: Vec<SchemaIds>,
    bootstrap_servers: String,
    value: Vec<u8>,
}

impl Sender {
    /// `schema_ids` by the place of the topic in the generator's spec. With `transactional_id` records are sent between
    /// `begin` and `end` only.
    pub fn new(
        kafka: &Kafka,
        generator: Generator,
        schema_ids: Vec<SchemaIds>,
        ledger: Option<LedgerSender>,
        transactional_id: Option<&str>,
    ) -> Result<Self, Stop> {
        assert_eq!(schema_ids.len(), generator.spec().topics.len(), "one set of schema ids a topic");
        let mut config = client_config(kafka);
        for (name, value) in DEFAULTS.iter().filter(|(name, _)| kafka.properties.get(name).is_none()) {
            config.set(*name, *value);
        }
        if let Some(id) = transactional_id {
            config.set("transactional.id", id);
        }
        let deliveries =
            Deliveries { ledger, acknowledged: AtomicU64::new(0), failed: AtomicU64::new(0), reason: Mutex::new(None) };
        let producer: ThreadedProducer<Deliveries> =
            config.create_with_context(deliveries).map_err(|error| refused_property(&error))?;
        let topics = generator.spec().topics.iter().map(|topic| Topic::from(topic.name.as_str())).collect();
        let sender = Self {
            producer,
            generator,
            topics,
            schema_ids,
            bootstrap_servers: kafka.bootstrap_servers.clone(),
            value: Vec::new(),
        };
        if transactional_id.is_some() {
            sender
                .producer
                .init_transactions(ANSWER_MAX)
                .map_err(|error| sender.gave_up("transactions can't begin", &error))?;
        }
        Ok(sender)
    }

    /// Queues the record `number`; waits while the client's queue is full. Returns what it was made to be, and where it goes.
    pub fn send(&mut self, number: u64) -> Result<(Kind, TopicPartition), Stop> {
        let record = self.generator.record(number);
        let ids = self.schema_ids[record.topic];
        let has_value = encode(&record, ids, &mut self.value);
        let topic = record.topic;
        let (kind, partition, timestamp_ms, key) = (record.kind, record.partition, record.timestamp_ms, record.trade.symbol);
        let sent = Sent { schema_id: ids.of(record.version), record };
        let mut message = BaseRecord::with_opaque_to(&self.topics[topic], Box::new(sent))
            .partition(partition)
            .timestamp(timestamp_ms)
            .key(key);
        if has_value {
            message = message.payload(self.value.as_slice());
        }
        loop {
            match self.producer.send(message) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    self.check()?;
                    std::thread::sleep(QUEUE_FULL_PAUSE);
                    message = back;
                }
                Err((error, _)) => return Err(self.gave_up("a record can't be sent", &error)),
            }
        }
        self.check()?;
        Ok((kind, TopicPartition::new(Topic::clone(&self.topics[topic]), partition)))
    }

    /// Records that Kafka has acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.producer.context().acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until everything is acknowledged and in the ledger.
    pub fn flush(&self) -> Result<(), Stop> {
        self.producer.flush(ANSWER_MAX).map_err(|error| {
            let what =
                format!("{} records are not acknowledged after {} s", self.producer.in_flight_count(), ANSWER_MAX.as_secs());
            self.gave_up(&what, &error)
        })?;
        self.check()?;
        if self.producer.context().ledger.as_ref().is_some_and(|ledger| !ledger.flush()) {
            return Err(Stop::gave_up("the ledger can't be written", "make room, or name another file"));
        }
        Ok(())
    }

    pub fn begin(&self) -> Result<(), Stop> {
        self.producer.begin_transaction().map_err(|error| self.gave_up("a transaction can't begin", &error))
    }

    /// Ends the transaction with its records in the log, aborted or committed.
    pub fn end(&self, abort: bool) -> Result<(), Stop> {
        // Without this an abort would throw away what is still queued, and nothing aborted would be in the log.
        self.flush()?;
        let ended = match abort {
            true => self.producer.abort_transaction(ANSWER_MAX),
            false => self.producer.commit_transaction(ANSWER_MAX),
        };
        ended.map_err(|error| self.gave_up("a transaction can't end", &error))?;
        if let Some(ledger) = &self.producer.context().ledger {
            ledger.transaction_ended(abort);
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Stop> {
        match self.producer.context().failed.load(Ordering::Relaxed) {
            0 => Ok(()),
            failed => Err(Stop::gave_up(
                format!(
                    "{failed} records were not delivered to {}{}",
                    self.bootstrap_servers,
                    self.producer.context().reason()
                ),
                "mend what the message names; what was acknowledged is in the ledger",
            )),
        }
    }

    fn gave_up(&self, what: &str, error: &KafkaError) -> Stop {
        let reason = self.producer.context().reason();
        Stop::gave_up(
            format!("{what} at {}: {error}{reason}", self.bootstrap_servers),
            "check that the brokers answer and that this user may write to the topics",
        )
    }
}

/// The operator's properties with what the generator needs.
pub fn client_config(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    for (name, value) in kafka.properties.iter() {
        config.set(name, value);
    }
    config.set("bootstrap.servers", &kafka.bootstrap_servers).set("enable.idempotence", "true");
    config
}

/// What the client says to a property that it doesn't know, or to several that don't go together.
pub fn refused_property(error: &KafkaError) -> Stop {
    let remedy = "mend kafka.properties: librdkafka's names and values";
    match error {
        // Without the value, which can be a secret.
        KafkaError::ClientConfig(_, reason, name, _) => Stop::usage(format!("kafka.properties.{name}: {reason}"), remedy),
        other => Stop::usage(format!("the Kafka client refuses kafka.properties: {other}"), remedy),
    }
}
