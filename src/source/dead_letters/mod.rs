//! The producer of the dead-letter topic: port `DeadLetters`.
//!
//! A letter carries key, value and timestamp of its record unchanged, the record's headers, and why it fell out (`letter`).
//! `send` returns when every letter is acknowledged by all in-sync replicas.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::future::join_all;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::producer::future_producer::Delivery;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::types::RDKafkaErrorCode as E;

use super::ffi::{Code, Fault};
use super::library_log::{RateLimit, library_line};
use super::settings::{Connection, Role, bad_property, client_config};
use super::trouble::{Trouble, classify, missing_acl};
use crate::error::Stop;
use crate::ports::{DeadLetters, Down, Letter, PortError};
use crate::types::*;

mod letter;

/// How long a letter waits for room in the client's queue.
const QUEUE_TIMEOUT: Duration = Duration::from_secs(30);

pub struct KafkaDeadLetters {
    topic: Topic,
    connector_name: Arc<str>,
    config: ClientConfig,
    voice: Arc<Voice>,
    /// Made anew when the client declares itself dead.
    producer: Mutex<FutureProducer<Listener>>,
}

/// What the client says about itself.
#[derive(Default)]
struct Voice {
    complaint: Mutex<Option<Fault>>,
    limit: Mutex<RateLimit>,
}

struct Listener(Arc<Voice>);

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        library_line(&mut self.0.limit.lock().unwrap_or_else(PoisonError::into_inner), level as i32, facility, line);
    }
    fn error(&self, error: KafkaError, reason: &str) {
        let code = Code::of(error.rdkafka_error_code().unwrap_or(E::Fail));
        let fault = Fault { code, fatal: false, text: reason.to_owned() };
        let mut complaint = self.0.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        let better = complaint.as_ref().is_some_and(|known| matches!(classify(known), Trouble::Credentials(_)));
        if !better {
            *complaint = Some(fault);
        }
    }
}

/// How one letter ended.
enum Sent {
    Acknowledged,
    TooLarge,
    Failed(KafkaError),
}

impl KafkaDeadLetters {
    /// Connects in the background. `group_id` stands in the letters as the connector's name.
    ///
    /// # Errors
    /// Exit 2 for a property that can't be.
    pub fn new(connection: &Connection, topic: Topic, group_id: &str) -> Result<Self, Stop> {
        let config = client_config(connection, Role::DeadLetters)?;
        let voice = Arc::new(Voice::default());
        let producer = Mutex::new(make_producer(&config, &voice)?);
        Ok(Self { topic, connector_name: group_id.into(), config, voice, producer })
    }

    fn producer(&self) -> FutureProducer<Listener> {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn send_one(&self, producer: &FutureProducer<Listener>, letter: &Letter, with_value: bool) -> Sent {
        let omitted = if with_value { None } else { letter.value.as_ref().map(Vec::len) };
        let mut record = FutureRecord::to(&self.topic).headers(letter::headers(letter, &self.connector_name, omitted));
        if let Some(key) = &letter.key {
            record = record.key(key);
        }
        if let Some(value) = letter.value.as_ref().filter(|_| with_value) {
            record = record.payload(value);
        }
        if let Some(timestamp) = letter.timestamp_ms {
            record = record.timestamp(timestamp);
        }
        outcome(producer.send::<Vec<u8>, Vec<u8>, _>(record, QUEUE_TIMEOUT).await.map_err(|(error, _)| error))
    }

    /// What is too large in a batch can fit alone, and what doesn't fit alone does without its value.
    async fn send_large(&self, producer: &FutureProducer<Listener>, letter: &Letter) -> Sent {
        match self.send_one(producer, letter, true).await {
            Sent::TooLarge => {
                let (partition, offset) = (&letter.partition, letter.offset);
                tracing::warn!(%partition, offset, "the dead-letter topic refuses the letter as too large: sent without its value");
                self.send_one(producer, letter, false).await
            }
            sent => sent,
        }
    }

    fn failure(&self, error: &KafkaError) -> PortError {
        let code = Code::of(error.rdkafka_error_code().unwrap_or(E::Fail));
        let fault = Fault { code, fatal: false, text: error.to_string() };
        if let Some(stop) = missing_acl(&fault) {
            return stop.into();
        }
        if code.is_one_of(&[E::UnknownTopic, E::UnknownTopicOrPartition, E::UnknownPartition]) {
            return self.down(format!("topic {} doesn't exist: create it, Sluice doesn't", self.topic));
        }
        if code.is(E::MessageSizeTooLarge) {
            return Stop::data(
                format!("the dead-letter topic {} refuses a letter without its value as too large: {error}", self.topic),
                "raise max.message.bytes of that topic",
            )
            .into();
        }
        let complaint = self.voice.complaint.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let why = complaint.map(|complaint| format!(" ({})", complaint.text.trim())).unwrap_or_default();
        self.down(format!("{error}{why}"))
    }

    fn down(&self, reason: String) -> PortError {
        Down { dependency: "dead-letter topic", reason }.into()
    }

    /// An idempotent producer that has lost its place can only be replaced.
    fn replace_if_dead(&self, producer: &FutureProducer<Listener>) -> Result<(), Stop> {
        let Some((_, text)) = producer.client().fatal_error() else { return Ok(()) };
        tracing::warn!("the producer of dead letters is replaced: {text}");
        let fresh = make_producer(&self.config, &self.voice)?;
        *self.producer.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}

fn make_producer(config: &ClientConfig, voice: &Arc<Voice>) -> Result<FutureProducer<Listener>, Stop> {
    config.create_with_context(Listener(voice.clone())).map_err(|error| bad_property(&error))
}

fn outcome(result: Result<Delivery, KafkaError>) -> Sent {
    match result {
        Ok(_) => Sent::Acknowledged,
        Err(error) if is_too_large(&error) => Sent::TooLarge,
        Err(error) => Sent::Failed(error),
    }
}

fn is_too_large(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code().map(Code::of);
    code.is_some_and(|code| code.is_one_of(&[E::MessageSizeTooLarge, E::MessageBatchTooLarge, E::InvalidMessageSize]))
}

#[async_trait]
impl DeadLetters for KafkaDeadLetters {
    async fn send(&self, letters: &[Letter]) -> Result<(), PortError> {
        let started = Instant::now();
        let producer = self.producer();
        let mut sent = join_all(letters.iter().map(|letter| self.send_one(&producer, letter, true))).await;
        for (letter, sent) in letters.iter().zip(&mut sent) {
            if matches!(sent, Sent::TooLarge) {
                *sent = self.send_large(&producer, letter).await;
            }
        }
        for sent in sent {
            let error = match sent {
                Sent::Acknowledged => continue,
                Sent::TooLarge => KafkaError::MessageProduction(E::MessageSizeTooLarge),
                Sent::Failed(error) => error,
            };
            self.replace_if_dead(&producer)?;
            return Err(self.failure(&error));
        }
        *self.voice.complaint.lock().unwrap_or_else(PoisonError::into_inner) = None;
        tracing::debug!(letters = letters.len(), took = ?started.elapsed(), "dead letters acknowledged");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
