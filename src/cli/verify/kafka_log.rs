//! Ranges of a real Kafka log, read by a consumer without a group. It shares nothing with the service's consumer.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset as At, TopicPartitionList};

use super::silver::LogReader;
use crate::core::verify::ReadRange;
use crate::error::Stop;
use crate::ports::{Down, Frame, PortError, RecordChunk};
use crate::source::settings::{Connection, Role, client_config};
use crate::types::Offset;

/// Records of one chunk.
const CHUNK_RECORDS: usize = 4000;
const CHUNK_BYTES: usize = 4 << 20;
/// Without a record for so long the command gives up.
const SILENCE_MAX: Duration = Duration::from_secs(60);

pub struct KafkaLog {
    config: ClientConfig,
    reading: Option<Reading>,
}

struct Reading {
    consumer: BaseConsumer,
    range: ReadRange,
    ended: bool,
}

impl KafkaLog {
    pub fn new(connection: &Connection, group_id: &str) -> Result<Self, Stop> {
        Ok(Self { config: client_config(connection, Role::Reader { group_id })?, reading: None })
    }
}

#[async_trait]
impl LogReader for KafkaLog {
    async fn start(&mut self, range: &ReadRange) -> Result<(), PortError> {
        self.reading = None;
        let consumer: BaseConsumer = self
            .config
            .create()
            .map_err(|e| Stop::usage(format!("kafka: {e}"), "check the section kafka of the configuration"))?;
        let mut at = TopicPartitionList::new();
        let (topic, partition) = (&*range.partition.topic, range.partition.partition);
        let assigned =
            at.add_partition_offset(topic, partition, At::Offset(range.start)).and_then(|()| consumer.assign(&at));
        assigned.map_err(|e| Stop::internal(format!("assigning {}: {e}", range.partition)))?;
        let ended = range.end <= range.start;
        self.reading = Some(Reading { consumer, range: range.clone(), ended });
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<RecordChunk>, PortError> {
        let Some(reading) = self.reading.take() else { return Ok(None) };
        let read = tokio::task::spawn_blocking(move || {
            let mut reading = reading;
            let chunk = reading.chunk();
            (reading, chunk)
        });
        let (reading, chunk) = read.await.map_err(|e| Stop::internal(format!("reading the log: {e}")))?;
        let chunk = chunk?;
        self.reading = Some(reading);
        Ok((!chunk.frames.is_empty()).then_some(chunk))
    }
}

impl Reading {
    /// Empty only at the end of the range.
    fn chunk(&mut self) -> Result<RecordChunk, PortError> {
        let mut chunk = RecordChunk::default();
        let mut heard = Instant::now();
        while !self.ended && chunk.frames.len() < CHUNK_RECORDS && chunk.data.len() < CHUNK_BYTES {
            match self.consumer.poll(Duration::from_millis(500)) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let offset = message.offset();
                    if offset < self.range.end {
                        push(&mut chunk, &message);
                    }
                    self.ended = offset + 1 >= self.range.end;
                }
                Some(Err(KafkaError::PartitionEOF(_))) => self.ended = self.log_end()? >= self.range.end,
                Some(Err(error)) => self.refuse(&error)?,
                None => {}
            }
            if heard.elapsed() > SILENCE_MAX {
                let reason = format!("no record of {} for {} s", self.range.partition, SILENCE_MAX.as_secs());
                return Err(Down { dependency: "kafka", reason }.into());
            }
        }
        Ok(chunk)
    }

    /// The last stable offset: the end that this consumer can read to.
    fn log_end(&self) -> Result<Offset, PortError> {
        let partition = &self.range.partition;
        let edges = self.consumer.fetch_watermarks(&partition.topic, partition.partition, Duration::from_secs(10));
        let (_, end) = edges.map_err(|e| Down { dependency: "kafka", reason: format!("log end of {partition}: {e}") })?;
        Ok(end)
    }

    /// Passing faults are the client's to retry; what can't pass stops.
    fn refuse(&self, error: &KafkaError) -> Result<(), PortError> {
        let partition = &self.range.partition;
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange) => {
                let what = format!("{partition}: offsets from {} left the log while it was read: {error}", self.range.start);
                Err(Stop::data(what, "start again: verify compares what the log still holds").into())
            }
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SaslAuthenticationFailed,
            ) => Err(Stop::usage(format!("{partition}: {error}"), "check the credentials and ACLs of section kafka").into()),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownPartition) => {
                Err(Stop::inconsistent(format!("{partition} is gone: {error}"), "start again").into())
            }
            _ => Ok(()),
        }
    }
}

fn push(chunk: &mut RecordChunk, message: &rdkafka::message::BorrowedMessage<'_>) {
    let mut keep = |bytes: Option<&[u8]>| {
        let bytes = bytes?;
        let from = chunk.data.len() as u32;
        chunk.data.extend_from_slice(bytes);
        Some((from, chunk.data.len() as u32))
    };
    let (key, value) = (keep(message.key()), keep(message.payload()));
    if let Some(headers) = message.headers() {
        let headers = headers.iter().map(|h| (h.key.to_string(), h.value.map(<[u8]>::to_vec)));
        chunk.headers.push((chunk.frames.len(), headers.collect()));
    }
    let timestamp_ms = message.timestamp().to_millis().filter(|ms| *ms >= 0);
    chunk.frames.push(Frame { offset: message.offset(), timestamp_ms, leader_epoch: None, key, value });
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    use super::*;
    use crate::types::TopicPartition;

    async fn offsets(log: &mut KafkaLog, start: Offset, end: Offset) -> Vec<Offset> {
        log.start(&ReadRange { partition: TopicPartition::new("silver", 0), start, end }).await.unwrap();
        let mut offsets = vec![];
        while let Some(chunk) = log.next().await.unwrap() {
            offsets.extend(chunk.frames.iter().map(|f| f.offset));
            for i in 0..chunk.frames.len() {
                assert_eq!(chunk.value(i), Some(format!("v{}", chunk.frames[i].offset).as_bytes()));
                assert_eq!(chunk.key(i), None);
            }
        }
        offsets
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_range_gives_its_own_offsets_and_no_others() {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("silver", 1, 1).unwrap();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers());
        let producer: BaseProducer = config.create().unwrap();
        for n in 0..9000 {
            let value = format!("v{n}");
            producer.send(BaseRecord::<(), str>::to("silver").partition(0).payload(&value)).unwrap();
        }
        producer.flush(Duration::from_secs(30)).unwrap();

        let connection = Connection { bootstrap_servers: cluster.bootstrap_servers(), ..Connection::default() };
        let mut log = KafkaLog::new(&connection, "gold").unwrap();
        assert_eq!(offsets(&mut log, 10, 60).await, (10..60).collect::<Vec<_>>());
        assert_eq!(offsets(&mut log, 0, 9000).await, (0..9000).collect::<Vec<_>>());
        assert!(offsets(&mut log, 5, 5).await.is_empty());
    }
}
