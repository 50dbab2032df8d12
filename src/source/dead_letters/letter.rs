//! Headers of a letter, as Kafka Connect writes them for its own dead letters (KIP-298), and two of ours.

use rdkafka::message::{Header, OwnedHeaders};

use crate::ports::{Letter, Stage};

/// The record's own headers first, unchanged; `omitted` is the length of a value that was left out.
pub(super) fn headers(letter: &Letter, connector_name: &str, omitted: Option<usize>) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new_with_capacity(letter.headers.len() + 10);
    for (key, value) in &letter.headers {
        headers = headers.insert(Header { key, value: value.as_ref() });
    }
    let stage = match letter.stage {
        Stage::Decode => "DECODE",
        Stage::Validate => "VALIDATE",
        Stage::Late => "LATE",
    };
    let mut ours = vec![
        ("__connect.errors.topic", letter.partition.topic.to_string()),
        ("__connect.errors.partition", letter.partition.partition.to_string()),
        ("__connect.errors.offset", letter.offset.to_string()),
        ("__connect.errors.connector.name", connector_name.to_owned()),
        ("__connect.errors.stage", stage.to_owned()),
        ("__connect.errors.class.name", format!("sluice.{}", letter.reason)),
        ("__connect.errors.exception.message", letter.message.clone()),
        ("sluice.reason", letter.reason.to_owned()),
    ];
    ours.extend(letter.schema_id.map(|id| ("sluice.schema-id", id.to_string())));
    ours.extend(omitted.map(|bytes| ("sluice.value-omitted", bytes.to_string())));
    for (key, value) in &ours {
        headers = headers.insert(Header { key, value: Some(value) });
    }
    headers
}
