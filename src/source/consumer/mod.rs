//! The consumer of the group: port `Source`.
//!
//! [`KafkaSource`] only hands commands to the poll thread (`poll_thread`), which owns the client (`events`), knows what is
//! read from where (`assignment`, `reading`), copies records (`chunks`) and sends events without ever waiting for their
//! receiver (`outbox`, `pressure`).

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};

use tokio::sync::mpsc;

use super::settings::{Connection, Role, client_config};
use crate::error::{Exit, Stop};
use crate::ports::{Source, SourceEvent, StartAt};
use crate::types::*;

pub(crate) mod assignment;
mod availability;
mod chunks;
mod events;
mod mirror;
mod outbox;
mod poll_thread;
mod pressure;
pub(crate) mod reading;
mod wake;

#[derive(Clone, Debug)]
pub struct SourceConfig {
    pub connection: Connection,
    pub group_id: String,
    /// Records that the pipeline hasn't taken may hold so many bytes; what librdkafka fetches ahead
    /// (`queued.max.messages.kbytes`) comes on top.
    pub buffer_bytes_max: u64,
}

/// What the pipeline wants of the poll thread.
enum Command {
    Assign(Vec<(TopicPartition, Epoch, StartAt)>),
    Unassign,
    Reposition(Vec<(TopicPartition, Epoch, StartAt)>),
    Pause(Vec<TopicPartition>),
    Resume(Vec<TopicPartition>),
    Mirror(BTreeMap<TopicPartition, Offset>, String),
    Close,
}

/// Dropped without `close`, it leaves the group by itself; nothing waits for that.
pub struct KafkaSource {
    commands: Sender<Command>,
    wake: Arc<wake::Wake>,
    buffered: Arc<AtomicU64>,
}

impl KafkaSource {
    /// Joins the group in the background; answers come as events. The receiver ends (`None`) after `Closed`, or when the
    /// poll thread died, which is told by a `Fatal` before.
    ///
    /// # Errors
    /// Exit 2 for a property, a topic name or a group that can't be, before anything is connected.
    pub fn start(config: SourceConfig, topics: &[Topic]) -> Result<(Self, mpsc::Receiver<SourceEvent>), Stop> {
        check_topics(topics)?;
        let client = client_config(&config.connection, Role::Consumer { group_id: &config.group_id })?;
        let consumer = events::NativeConsumer::start(&client, topics)?;
        let wake = consumer.wake().clone();
        let buffered = Arc::new(AtomicU64::new(0));
        let (outbox, receiver) = outbox::Outbox::new(buffered.clone());
        let last_words = outbox.sender();
        let (commands, obeyed) = channel();
        let bytes_max = config.buffer_bytes_max.max(1);
        let spawned = std::thread::Builder::new().name("kafka-poll".into()).spawn(move || {
            let mut thread = poll_thread::PollThread::new(consumer, obeyed, outbox, bytes_max);
            if catch_unwind(AssertUnwindSafe(|| thread.run())).is_err()
                && let Some(last_words) = last_words.upgrade()
            {
                // A full channel has a receiver that then sees its end without `Closed`.
                let _ = last_words.try_send(SourceEvent::Fatal(Stop::internal("the Kafka poll thread panicked")));
            }
        });
        spawned.map_err(|e| Stop::new(Exit::GaveUp, format!("no thread for Kafka: {e}"), "raise the limit on threads"))?;
        Ok((Self { commands, wake, buffered }, receiver))
    }

    /// Bytes of records that were taken from the client and not yet by the pipeline.
    pub fn buffered_bytes(&self) -> u64 {
        self.buffered.load(Ordering::Relaxed)
    }

    fn command(&self, command: Command) {
        // Fails only when the poll thread has ended, which `Closed` or `Fatal` tells.
        let _ = self.commands.send(command);
        self.wake.now();
    }
}

impl Source for KafkaSource {
    fn assign(&self, partitions: Vec<(TopicPartition, Epoch, StartAt)>) {
        self.command(Command::Assign(partitions));
    }
    fn unassign(&self, _partitions: Vec<TopicPartition>) {
        self.command(Command::Unassign);
    }
    fn reposition(&self, partitions: Vec<(TopicPartition, Epoch, StartAt)>) {
        self.command(Command::Reposition(partitions));
    }
    fn pause(&self, partitions: Vec<TopicPartition>) {
        self.command(Command::Pause(partitions));
    }
    fn resume(&self, partitions: Vec<TopicPartition>) {
        self.command(Command::Resume(partitions));
    }
    fn mirror_group_offsets(&self, offsets: BTreeMap<TopicPartition, Offset>, metadata: String) {
        self.command(Command::Mirror(offsets, metadata));
    }
    fn close(&self) {
        self.command(Command::Close);
    }
}

impl Drop for KafkaSource {
    fn drop(&mut self) {
        self.command(Command::Close);
    }
}

fn check_topics(topics: &[Topic]) -> Result<(), Stop> {
    if topics.is_empty() {
        return Err(Stop::usage("kafka.topics is empty", "name at least one topic"));
    }
    for (at, topic) in topics.iter().enumerate() {
        if topic.starts_with('^') {
            return Err(Stop::usage(
                format!("kafka.topics: \"{topic}\" is a pattern, which isn't supported"),
                "name every topic",
            ));
        }
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if topic.is_empty() || topic.len() > 249 || !topic.chars().all(legal) || matches!(&**topic, "." | "..") {
            return Err(Stop::usage(
                format!("kafka.topics: \"{}\" can't be the name of a topic", topic.escape_debug()),
                "1-249 letters, digits, dots, underscores and hyphens",
            ));
        }
        if topics[..at].contains(topic) {
            return Err(Stop::usage(format!("kafka.topics: \"{topic}\" is there twice"), "name every topic once"));
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "mock_tests.rs"]
mod tests;
