//! The topics that are written to: looked up, or made where the caller says with how many partitions.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::RDKafkaErrorCode;

use super::generator::TopicLayout;
use super::sender::{client_config, refused_property};
use crate::cli::parts;
use crate::config::Kafka;
use crate::error::Stop;
use crate::ports::{PortError, SourceAdmin};
use crate::source::admin::KafkaAdmin;
use crate::types::Topic;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Between two questions for a topic that was just made.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// Partitions of every configured topic, in the order of the configuration. `partitions`: how many a missing topic gets;
/// none: a missing topic is an error.
pub async fn layout(kafka: &Kafka, partitions: Option<i32>) -> Result<Vec<TopicLayout>, Stop> {
    // The service's own way to ask: it tells refused credentials and a missing ACL from silence.
    let admin = KafkaAdmin::new(&parts::connection(kafka), &kafka.group_id)?;
    let mut layouts = Vec::new();
    for topic in &kafka.topics {
        let found = match (count(kafka, &admin, topic).await?, partitions) {
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
async fn count(kafka: &Kafka, admin: &KafkaAdmin, topic: &Topic) -> Result<Option<i32>, Stop> {
    let found = admin.partitions(std::slice::from_ref(topic)).await.map_err(|error| match error {
        PortError::Stop(stop) => stop,
        PortError::Down(down) => silent(kafka, &down.reason),
    })?;
    let count = found.get(topic).map_or(0, Vec::len);
    Ok((count > 0).then(|| i32::try_from(count).expect("partitions are counted in 32 bits")))
}

async fn create(kafka: &Kafka, admin: &KafkaAdmin, topic: &Topic, partitions: i32) -> Result<i32, Stop> {
    let maker: AdminClient<DefaultClientContext> =
        client_config(kafka).create().map_err(|error| refused_property(&error))?;
    let new = NewTopic::new(topic, partitions, TopicReplication::Fixed(-1));
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT)).request_timeout(Some(TIMEOUT));
    let results = maker.create_topics([&new], &options).await.map_err(|error| silent(kafka, &error.to_string()))?;
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
        match count(kafka, admin, topic).await? {
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

fn silent(kafka: &Kafka, reason: &str) -> Stop {
    Stop::gave_up(
        format!("Kafka at {} does not answer within {} s: {reason}", kafka.bootstrap_servers, TIMEOUT.as_secs()),
        "check kafka.bootstrap_servers and kafka.properties, and that the brokers run",
    )
}
