//! The topics that are written to: looked up, or made where the caller says with how many partitions.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::generator::TopicLayout;
use super::sender::{client_config, refused_property};
use crate::config::Kafka;
use crate::error::Stop;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Between two questions for a topic that was just made.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Partitions of every configured topic, in the order of the configuration. `partitions`: how many a missing topic gets;
/// none: a missing topic is an error.
pub async fn layout(kafka: &Kafka, partitions: Option<i32>) -> Result<Vec<TopicLayout>, Stop> {
    let admin: AdminClient<DefaultClientContext> =
        client_config(kafka).create().map_err(|error| refused_property(&error))?;
    let mut layouts = Vec::new();
    for topic in &kafka.topics {
        let found = match (count(kafka, &admin, topic)?, partitions) {
            (Some(found), None) => found,
            (Some(found), Some(asked)) if found == asked => found,
            (Some(found), Some(asked)) => {
                return Err(Stop::usage(
                    format!("topic {topic} has {found} partitions, not {asked}"),
                    "leave out --partitions: it is for topics that don't exist yet",
                ));
            }
            (None, Some(asked)) => create(kafka, &admin, topic, asked).await?,
            (None, None) => {
                return Err(Stop::usage(
                    format!("topic {topic} does not exist at {}", kafka.bootstrap_servers),
                    format!(
                        "create it, for instance with `sluice produce --partitions 6`, or kafka-topics --create --topic {topic}"
                    ),
                ));
            }
        };
        layouts.push(TopicLayout { name: topic.to_string(), partitions: found });
    }
    Ok(layouts)
}

/// None: the brokers answer and don't know the topic.
fn count(kafka: &Kafka, admin: &AdminClient<DefaultClientContext>, topic: &str) -> Result<Option<i32>, Stop> {
    let metadata = admin.inner().fetch_metadata(Some(topic), TIMEOUT).map_err(|error| silent(kafka, &error))?;
    let Some(found) = metadata.topics().iter().find(|found| found.name() == topic) else { return Ok(None) };
    match found.error().map(RDKafkaErrorCode::from) {
        None if found.partitions().is_empty() => Ok(None),
        None => Ok(Some(i32::try_from(found.partitions().len()).expect("partitions are counted in 32 bits"))),
        Some(
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::LeaderNotAvailable,
        ) => Ok(None),
        Some(code) => Err(silent(kafka, &KafkaError::MetadataFetch(code))),
    }
}

async fn create(
    kafka: &Kafka,
    admin: &AdminClient<DefaultClientContext>,
    topic: &str,
    partitions: i32,
) -> Result<i32, Stop> {
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
    let results = admin.create_topics([&new], &options).await.map_err(|error| silent(kafka, &error))?;
    for result in results {
        match result {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(Stop::refused(
                    format!("topic {topic} can't be created: {code}"),
                    "create it with Kafka's own tools",
                ));
            }
        }
    }
    let asked = Instant::now();
    loop {
        match count(kafka, admin, topic)? {
            Some(found) if found == partitions => return Ok(found),
            _ if asked.elapsed() > TIMEOUT => {
                return Err(Stop::gave_up(
                    format!("topic {topic} was created and does not appear"),
                    "look at the brokers' logs",
                ));
            }
            _ => tokio::time::sleep(ASK_AGAIN).await,
        }
    }
}

fn silent(kafka: &Kafka, error: &KafkaError) -> Stop {
    Stop::gave_up(
        format!("Kafka at {} does not answer within {} s: {error}", kafka.bootstrap_servers, TIMEOUT.as_secs()),
        "check kafka.bootstrap_servers and kafka.properties, and that the brokers run",
    )
}
