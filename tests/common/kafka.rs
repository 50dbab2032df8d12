//! What an administrator does with Kafka, and what a plain consumer sees.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::ledger::Partition;
use super::registry::runtime;
use super::wait::{LONG, wait_until};

const CALL: Duration = Duration::from_secs(30);

pub struct Kafka {
    bootstrap: String,
    admin: AdminClient<DefaultClientContext>,
    reader: BaseConsumer,
}

/// A group offset with its metadata.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupOffset {
    pub offset: i64,
    pub metadata: String,
}

/// A record as the dead-letter topic holds it.
#[derive(Clone, Debug)]
pub struct Letter {
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub timestamp_ms: i64,
    pub headers: BTreeMap<String, Vec<u8>>,
}

impl Letter {
    pub fn header(&self, name: &str) -> String {
        match self.headers.get(name) {
            Some(value) => String::from_utf8_lossy(value).into_owned(),
            None => panic!("a letter has no header {name}: {:?}", self.headers.keys()),
        }
    }

    /// The place of the record in Silver.
    pub fn place(&self) -> (Partition, i64) {
        let number = |name: &str| self.header(name).parse::<i64>().expect("a header with a number");
        let partition = number("__connect.errors.partition") as i32;
        ((self.header("__connect.errors.topic"), partition), number("__connect.errors.offset"))
    }
}

impl Kafka {
    pub fn new(bootstrap: &str) -> Self {
        Self {
            bootstrap: bootstrap.to_owned(),
            admin: ClientConfig::new().set("bootstrap.servers", bootstrap).create().expect("an admin client starts"),
            reader: consumer(bootstrap, "sluice-tests-reader"),
        }
    }

    /// For what only the tests of security ask of an administrator.
    pub fn admin(&self) -> &AdminClient<DefaultClientContext> {
        &self.admin
    }

    /// Creates a topic and waits until every partition has a leader.
    pub fn create_topic(&self, name: &str, partitions: i32, config: &[(&str, &str)]) {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let topic = config.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        let answer = runtime().block_on(self.admin.create_topics(&[topic], &options())).expect("Kafka answers");
        assert!(answer.iter().all(Result::is_ok), "topic {name}: {answer:?}");
        self.wait_for_partitions(name, partitions);
    }

    pub fn add_partitions(&self, name: &str, total: i32) {
        let wanted = [NewPartitions::new(name, total as usize)];
        let answer = runtime().block_on(self.admin.create_partitions(&wanted, &options())).expect("Kafka answers");
        assert!(answer.iter().all(Result::is_ok), "partitions of {name}: {answer:?}");
        self.wait_for_partitions(name, total);
    }

    fn wait_for_partitions(&self, name: &str, count: i32) {
        wait_until(&format!("{name} has {count} partitions with leaders"), LONG, || {
            let metadata = self.reader.fetch_metadata(Some(name), CALL).map_err(|e| e.to_string())?;
            let led = metadata.topics().first().map_or(0, |t| t.partitions().iter().filter(|p| p.leader() >= 0).count());
            if led == count as usize { Ok(()) } else { Err(format!("{led} partitions")) }
        });
    }

    pub fn delete_topic(&self, name: &str) {
        let answer = runtime().block_on(self.admin.delete_topics(&[name], &options())).expect("Kafka answers");
        assert!(answer.iter().all(Result::is_ok), "deletion of {name}: {answer:?}");
    }

    /// Moves the start of the log to `before`.
    pub fn delete_records(&self, topic: &str, partition: i32, before: i64) {
        let list = offsets([((topic.to_owned(), partition), before)]);
        let answer = runtime().block_on(self.admin.delete_records(&list, &options())).expect("Kafka answers");
        answer.elements().iter().for_each(|e| e.error().expect("records are deleted"));
    }

    /// Log start and last stable offset.
    pub fn log(&self, topic: &str, partition: i32) -> (i64, i64) {
        self.reader.fetch_watermarks(topic, partition, CALL).expect("Kafka answers")
    }

    /// Commits offsets for a group without members.
    pub fn move_group_offsets(&self, group: &str, to: impl IntoIterator<Item = (Partition, i64)>) {
        let list = offsets(to);
        wait_until(&format!("offsets of {group} move"), LONG, || {
            consumer(&self.bootstrap, group).commit(&list, CommitMode::Sync).map_err(|e| e.to_string())
        });
    }

    /// Deletes a group, once it is empty.
    pub fn delete_group(&self, group: &str) {
        wait_until(&format!("group {group} goes"), LONG, || {
            let answer = runtime().block_on(self.admin.delete_groups(&[group], &options())).map_err(|e| e.to_string())?;
            answer.into_iter().try_for_each(|one| one.map(|_| ()).map_err(|(_, code)| format!("{code:?}")))
        });
    }

    /// Committed group offsets; partitions without one are absent.
    pub fn group_offsets(&self, group: &str, partitions: &[Partition]) -> BTreeMap<Partition, GroupOffset> {
        let mut list = TopicPartitionList::new();
        for (topic, partition) in partitions {
            list.add_partition(topic, *partition);
        }
        let found = consumer(&self.bootstrap, group).committed_offsets(list, CALL).expect("Kafka answers");
        let known = found.elements().into_iter().filter_map(|e| match e.offset() {
            Offset::Offset(offset) => {
                let metadata = e.metadata().to_owned();
                Some(((e.topic().to_owned(), e.partition()), GroupOffset { offset, metadata }))
            }
            _ => None,
        });
        known.collect()
    }

    /// Members that a group has now.
    pub fn group_members(&self, group: &str) -> usize {
        let list = self.reader.fetch_group_list(Some(group), CALL).expect("Kafka answers");
        list.groups().iter().map(|g| g.members().len()).sum()
    }

    /// Everything that a topic of one partition holds.
    pub fn letters(&self, topic: &str) -> Vec<Letter> {
        let (start, end) = self.log(topic, 0);
        let consumer = consumer(&self.bootstrap, "sluice-tests-letters");
        consumer.assign(&offsets([((topic.to_owned(), 0), start)])).expect("assigned");
        let mut letters = Vec::new();
        let mut next = start;
        while next < end {
            let message = consumer.poll(LONG).expect("a letter arrives").expect("a letter is readable");
            next = message.offset() + 1;
            let named = |h: rdkafka::message::Header<'_, &[u8]>| Some((h.key.to_owned(), h.value?.to_owned()));
            letters.push(Letter {
                key: message.key().map(<[u8]>::to_vec),
                value: message.payload().map(<[u8]>::to_vec),
                timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
                headers: message.headers().map(|all| all.iter().filter_map(named).collect()).unwrap_or_default(),
            });
        }
        letters
    }
}

fn consumer(bootstrap: &str, group: &str) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", group)
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .create()
        .expect("a consumer starts")
}

fn offsets(of: impl IntoIterator<Item = (Partition, i64)>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for ((topic, partition), offset) in of {
        list.add_partition_offset(&topic, partition, Offset::Offset(offset)).expect("a valid offset");
    }
    list
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(CALL)).request_timeout(Some(CALL))
}
