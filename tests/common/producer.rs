//! Producers that write down where each record came to lie.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};

use super::ledger::{Entry, Ledger, Partition, What};
use super::registry::{Registry, framed};
use super::trade::Draft;
use super::wait::LONG;

/// A record on its way.
pub struct Record {
    pub what: What,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// CreateTime of the record.
    pub timestamp_ms: i64,
    pub headers: Vec<(&'static str, &'static [u8])>,
}

impl Record {
    /// Framed, keyed by its id, with a broker timestamp just behind the event.
    pub fn trade(registry: &Registry, draft: Draft) -> Self {
        Self {
            what: What::Trade(draft),
            key: Some(draft.id.to_string().into_bytes()),
            value: Some(framed(registry.id(draft.writer), &draft.body())),
            timestamp_ms: draft.time.div_euclid(1000) + 5,
            headers: Vec::new(),
        }
    }
}

#[derive(Default)]
struct Receipts {
    stored: Mutex<Vec<(Partition, Entry)>>,
    failed: Mutex<Vec<String>>,
}

#[derive(Clone, Default)]
struct Context(Arc<Receipts>);

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<What>;

    fn delivery(&self, result: &DeliveryResult<'_>, what: Box<What>) {
        match result {
            Ok(m) => {
                let entry = Entry { offset: m.offset(), what: *what };
                self.0.stored.lock().unwrap().push(((m.topic().to_owned(), m.partition()), entry));
            }
            Err((error, _)) => self.0.failed.lock().unwrap().push(error.to_string()),
        }
    }
}

/// An idempotent producer. Its records are in the ledger once `settle` has returned.
pub struct Producer {
    inner: ThreadedProducer<Context>,
    receipts: Arc<Receipts>,
    ledger: Arc<Mutex<Ledger>>,
    registry: Arc<Registry>,
}

impl Producer {
    pub fn new(bootstrap: &str, ledger: Arc<Mutex<Ledger>>, registry: Arc<Registry>) -> Self {
        Self::with(ClientConfig::new().set("bootstrap.servers", bootstrap), ledger, registry)
    }

    fn with(config: &mut ClientConfig, ledger: Arc<Mutex<Ledger>>, registry: Arc<Registry>) -> Self {
        let context = Context::default();
        let receipts = context.0.clone();
        let config = config.set("enable.idempotence", "true").set("queue.buffering.max.messages", "500000");
        let inner = config.create_with_context(context).expect("a producer starts");
        Self { inner, receipts, ledger, registry }
    }

    pub fn trade(&self, topic: &str, partition: i32, draft: Draft) {
        self.send(topic, partition, Record::trade(&self.registry, draft));
    }

    pub fn send(&self, topic: &str, partition: i32, record: Record) {
        let mut message = BaseRecord::with_opaque_to(topic, Box::new(record.what))
            .partition(partition)
            .timestamp(record.timestamp_ms)
            .headers(
                record
                    .headers
                    .iter()
                    .fold(OwnedHeaders::new(), |h, (key, value)| h.insert(Header { key, value: Some(*value) })),
            );
        if let Some(key) = &record.key {
            message = message.key(key);
        }
        if let Some(value) = &record.value {
            message = message.payload(value);
        }
        loop {
            match self.inner.send(message) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    message = back;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => panic!("{topic}:{partition} refused a record: {error}"),
            }
        }
    }

    /// Waits until every record is acknowledged and writes them into the ledger.
    pub fn settle(&self) {
        self.flush();
        let stored = std::mem::take(&mut *self.receipts.stored.lock().unwrap());
        let mut ledger = self.ledger.lock().unwrap();
        for (partition, entry) in stored {
            ledger.add(partition, entry);
        }
    }

    fn flush(&self) {
        self.inner.flush(LONG).expect("every record is acknowledged");
        let failed = self.receipts.failed.lock().unwrap();
        assert!(failed.is_empty(), "records were not acknowledged: {:?}", &failed[..failed.len().min(3)]);
    }
}

/// A transactional producer. Only what is committed comes into the ledger.
pub struct Transactions(Producer);

impl Transactions {
    pub fn new(bootstrap: &str, id: &str, ledger: Arc<Mutex<Ledger>>, registry: Arc<Registry>) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("transactional.id", id).set("transaction.timeout.ms", "600000");
        let producer = Producer::with(&mut config, ledger, registry);
        producer.inner.init_transactions(LONG).expect("transactions start");
        Self(producer)
    }

    pub fn begin(&self) {
        self.0.inner.begin_transaction().expect("a transaction begins");
    }

    pub fn trade(&self, topic: &str, partition: i32, draft: Draft) {
        self.0.trade(topic, partition, draft);
    }

    /// Sends what is queued: it lies in the log, not yet visible.
    pub fn flush(&self) {
        self.0.flush();
    }

    pub fn commit(&self) {
        self.0.flush();
        self.0.inner.commit_transaction(LONG).expect("a transaction commits");
        self.0.settle();
    }

    pub fn abort(&self) {
        self.0.flush();
        self.0.inner.abort_transaction(LONG).expect("a transaction aborts");
        self.0.receipts.stored.lock().unwrap().clear();
    }
}
