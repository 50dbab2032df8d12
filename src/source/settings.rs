//! What librdkafka is told. The operator's `[kafka.properties]` go on top of our defaults, verbatim; a property that
//! would break a guarantee is refused with its reason.

use std::collections::BTreeMap;
use std::fmt;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use crate::error::Stop;

mod refused;

/// How to reach Kafka.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Connection {
    /// `host:port`, comma separated.
    pub bootstrap_servers: String,
    /// `[kafka.properties]`, librdkafka's names.
    pub properties: BTreeMap<String, String>,
}

/// Values can be secrets: only the names are shown.
impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("bootstrap_servers", &self.bootstrap_servers)
            .field("properties", &self.properties.keys())
            .finish()
    }
}

/// Which client the configuration is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role<'a> {
    /// Member of the group.
    Consumer { group_id: &'a str },
    /// Reads ranges of the log. The group is never joined and nothing is committed in its name; the client wants one, and the
    /// operator's ACLs name this.
    Reader { group_id: &'a str },
    /// Asks only; never a member of a group, never makes a topic.
    Admin,
    /// Producer of the dead-letter topic.
    DeadLetters,
}

/// Ours; the operator may choose others.
const DEFAULTS: &[(&str, &str)] = &[("client.id", DEFAULT_CLIENT_ID)];
const DEFAULT_CLIENT_ID: &str = "sluice";

const CONSUMER_DEFAULTS: &[(&str, &str)] = &[
    ("partition.assignment.strategy", "cooperative-sticky"),
    // How long a killed process holds its partitions; the library's own 45 s is too long for that.
    ("session.timeout.ms", "10000"),
    // Fetched ahead, for all partitions of a broker connection.
    ("queued.max.messages.kbytes", "16384"),
];

/// Without these Sluice would lose records or read what never was: the operator's value may only repeat them.
const CONSUMER_FIXED: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("enable.partition.eof", "true"),
    ("isolation.level", "read_committed"),
    ("auto.offset.reset", "error"),
    ("check.crcs", "true"),
    ("allow.auto.create.topics", "false"),
];

const DEAD_LETTER_DEFAULTS: &[(&str, &str)] = &[
    // Then the letter counts as not acknowledged, and the caller tries again.
    ("message.timeout.ms", "30000"),
    // Large enough that the topic's own limit decides, not the client's.
    ("message.max.bytes", "104857600"),
    // Room for one such letter; more wait. The library's own limit is a gigabyte.
    ("queue.buffering.max.kbytes", "131072"),
];

const DEAD_LETTER_FIXED: &[(&str, &str)] = &[("enable.idempotence", "true"), ("acks", "all")];

/// The configuration of one client. Every wrong property is found here, before anything is connected: exit 2 with key,
/// value and reason.
pub fn client_config(connection: &Connection, role: Role<'_>) -> Result<ClientConfig, Stop> {
    refused::check(&connection.properties)?;
    if connection.bootstrap_servers.trim().is_empty() {
        return Err(Stop::usage("kafka.bootstrap_servers is empty", "name at least one broker: host:port"));
    }
    let (defaults, fixed) = match role {
        Role::Consumer { .. } => (CONSUMER_DEFAULTS, CONSUMER_FIXED),
        Role::Reader { .. } => (&[][..], CONSUMER_FIXED),
        Role::Admin => (&[][..], &[("allow.auto.create.topics", "false")][..]),
        Role::DeadLetters => (DEAD_LETTER_DEFAULTS, DEAD_LETTER_FIXED),
    };
    let mut config = ClientConfig::new();
    for (key, value) in DEFAULTS.iter().chain(defaults) {
        config.set(*key, *value);
    }
    // A setting and its alias would otherwise be applied in no fixed order.
    for (key, value) in &connection.properties {
        config.set(refused::canonical(key), value);
    }
    for (key, value) in fixed {
        config.set(*key, *value);
    }
    config.set("bootstrap.servers", &connection.bootstrap_servers);
    if let Role::Consumer { group_id } | Role::Reader { group_id } = role {
        if group_id.is_empty() {
            return Err(Stop::usage(
                "kafka.group_id is empty",
                "name the group: it is also the name of the lane in the table",
            ));
        }
        config.set("group.id", group_id);
    }
    config.set_log_level(RDKafkaLogLevel::Info);
    config.create_native_config().map_err(|e| bad_property(&e))?;
    Ok(config)
}

/// The name under which the group shows a client of this connection.
pub fn client_id(connection: &Connection) -> &str {
    let given = connection.properties.iter().find(|(key, _)| refused::canonical(key) == "client.id");
    given.map_or(DEFAULT_CLIENT_ID, |(_, value)| value)
}

/// What the client library says when it refuses a property, or the combination of several.
pub(super) fn bad_property(error: &KafkaError) -> Stop {
    match error {
        KafkaError::ClientConfig(_, _, key, _) if refused::is_secret(key) => Stop::usage(
            format!("kafka.properties: the value of \"{key}\" is not accepted (not shown, it is a secret)"),
            "correct it, or the file or variable that it comes from",
        ),
        KafkaError::ClientConfig(_, description, key, value) => Stop::usage(
            format!("kafka.properties: \"{key}\" = \"{value}\": {description}"),
            "correct or remove it; names and values are those of librdkafka's CONFIGURATION.md",
        ),
        KafkaError::ClientCreation(text) => Stop::usage(
            format!("the Kafka client can't be made of kafka.properties: {text}"),
            "correct the property that the text names",
        ),
        other => Stop::internal(format!("the Kafka client can't be made: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    fn connection(properties: &[(&str, &str)]) -> Connection {
        Connection {
            bootstrap_servers: "127.0.0.1:1".into(),
            properties: properties.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect(),
        }
    }

    fn config(properties: &[(&str, &str)], role: Role<'_>) -> Result<ClientConfig, Stop> {
        client_config(&connection(properties), role)
    }

    const CONSUMER: Role<'static> = Role::Consumer { group_id: "g" };

    #[test]
    fn the_consumer_reads_what_is_committed_and_never_moves_by_itself() {
        let config = config(&[], CONSUMER).unwrap();
        for (key, value) in [
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("isolation.level", "read_committed"),
            ("auto.offset.reset", "error"),
            ("check.crcs", "true"),
            ("queued.max.messages.kbytes", "16384"),
            ("session.timeout.ms", "10000"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("client.id", "sluice"),
            ("group.id", "g"),
        ] {
            assert_eq!(config.get(key), Some(value), "{key}");
        }
    }

    #[test]
    fn a_reader_of_ranges_sees_what_the_consumer_sees() {
        let reader = config(&[], Role::Reader { group_id: "g" }).unwrap();
        for (key, value) in CONSUMER_FIXED {
            assert_eq!(reader.get(key), Some(*value), "{key}");
        }
        assert_eq!(reader.get("group.id"), Some("g"));
    }

    #[test]
    fn letters_are_acknowledged_by_all_and_written_once() {
        let config = config(&[], Role::DeadLetters).unwrap();
        assert_eq!((config.get("acks"), config.get("enable.idempotence")), (Some("all"), Some("true")));
        assert_eq!(config.get("group.id"), None);
    }

    #[test]
    fn the_operator_may_choose_what_breaks_no_guarantee() {
        let config = config(
            &[("session.timeout.ms", "6000"), ("client.id", "mine"), ("partition.assignment.strategy", "range")],
            CONSUMER,
        )
        .unwrap();
        assert_eq!(config.get("session.timeout.ms"), Some("6000"));
        assert_eq!(config.get("client.id"), Some("mine"));
        assert_eq!(client_id(&connection(&[("client.id", "mine")])), "mine");
        assert_eq!(client_id(&connection(&[])), "sluice");
        assert_eq!(config.get("partition.assignment.strategy"), Some("range"));
    }

    #[test]
    fn an_unknown_property_and_a_bad_value_are_named() {
        for role in [CONSUMER, Role::Admin, Role::DeadLetters] {
            let stop = config(&[("sesion.timeout.ms", "1")], role).unwrap_err();
            assert_eq!(stop.exit, Exit::Usage);
            assert!(stop.what.contains("sesion.timeout.ms"), "{stop}");
            let stop = config(&[("session.timeout.ms", "soon")], role).unwrap_err();
            assert!(stop.what.contains("session.timeout.ms") && stop.what.contains("soon"), "{stop}");
        }
    }

    #[test]
    fn a_secret_is_never_repeated() {
        let stop = config(&[("ssl.key.password", "hunter2\0")], CONSUMER).unwrap_err();
        assert!(!format!("{stop:?}").contains("hunter2"), "{stop}");
        let shown = format!("{:?}", connection(&[("sasl.password", "hunter2")]));
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn a_missing_address_or_group_is_a_usage_error() {
        let nowhere = Connection { bootstrap_servers: " ".into(), ..connection(&[]) };
        assert_eq!(client_config(&nowhere, Role::Admin).unwrap_err().exit, Exit::Usage);
        assert_eq!(config(&[], Role::Consumer { group_id: "" }).unwrap_err().exit, Exit::Usage);
    }
}
