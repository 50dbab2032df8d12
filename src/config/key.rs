//! Every setting: its name, what it takes, its default. One table, so that reading, showing and suggesting can't differ.

/// What a setting takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Text,
    /// An http or https address without credentials in it.
    Url,
    Path,
    /// A file whose content, less one trailing newline, is the secret.
    SecretFile,
    /// A list of texts; separated by commas where it comes from the environment or a flag.
    TextList,
    Duration,
    /// Bytes.
    Size,
    /// A whole number, 0 or more.
    Count,
    /// 0 to 1.
    Fraction,
    Switch,
    Choice(&'static [&'static str]),
}

/// Whether somebody must say something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fallback {
    Required,
    /// Without it the feature is off.
    Absent,
    /// Written as it would be in the environment.
    Value(&'static str),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Fallback,
    /// An example for messages.
    pub example: &'static str,
    /// Why it does nothing yet.
    pub without_effect: Option<&'static str>,
}

use Fallback::{Absent, Required, Value};
use Kind::{Choice, Count, Duration, Fraction, Path, SecretFile, Size, Switch, Text, TextList, Url};

const fn key(name: &'static str, kind: Kind, default: Fallback, example: &'static str) -> Key {
    Key { name, kind, default, example, without_effect: None }
}

const fn with_default(name: &'static str, kind: Kind, default: &'static str) -> Key {
    key(name, kind, Value(default), default)
}

const fn idle(key: Key, why: &'static str) -> Key {
    Key { without_effect: Some(why), ..key }
}

/// In the order in which they are shown.
pub const KEYS: &[Key] = &[
    key("kafka.bootstrap_servers", Text, Required, "kafka:9092"),
    key("kafka.topics", TextList, Required, "silver.binance.trades,silver.kraken.trades"),
    with_default("kafka.group_id", Text, "sluice-gold"),
    with_default("kafka.start", Choice(&["earliest", "latest"]), "earliest"),
    with_default("kafka.group_protocol", Choice(&["classic", "consumer"]), "classic"),
    key("schema_registry.url", Url, Required, "http://registry:8081"),
    key("schema_registry.username", Text, Absent, "sluice"),
    key("schema_registry.password_file", SecretFile, Absent, "/run/secrets/registry-password"),
    key("schema_registry.bearer_token_file", SecretFile, Absent, "/run/secrets/registry-token"),
    key("schema_registry.ca_file", Path, Absent, "/etc/ssl/registry-ca.pem"),
    // messages show what is built
    key("iceberg.catalog", Choice(&["rest", "sqlite"]), Value("rest"), "sqlite"),
    key("iceberg.uri", Text, Required, "./catalog.db"),
    key("iceberg.warehouse", Text, Required, "./warehouse"),
    idle(key("iceberg.ca_file", Path, Absent, "/etc/ssl/lake-ca.pem"), "for catalog = \"rest\", which is not built yet"),
    with_default("iceberg.table", Text, "market_data.gold_crypto_trades"),
    with_default("gold.commit_interval", Duration, "30s"),
    with_default("gold.idle_commit_interval", Duration, "5m"),
    with_default("gold.batch_rows_max", Count, "1000000"),
    with_default("gold.batch_bytes_max", Size, "64MiB"),
    with_default("event_time.watermark_delay", Duration, "5m"),
    with_default("event_time.late", Choice(&["admit", "dead-letter", "drop"]), "admit"),
    with_default("event_time.idle_timeout", Duration, "60s"),
    with_default("event_time.future_max", Duration, "5m"),
    with_default("event_time.past_max", Duration, "3650d"),
    with_default("dedup.state_dir", Path, "./state"),
    with_default("dead_letter.topic", Text, "silver.trades.dlq"),
    with_default("dead_letter.rate_max", Fraction, "0.05"),
    with_default("dead_letter.rate_min", Count, "100"),
    with_default("limits.memory_max", Size, "512MiB"),
    with_default("limits.stall_timeout", Duration, "10m"),
    with_default("limits.shutdown_timeout", Duration, "25s"),
    idle(with_default("maintenance.enabled", Switch, "true"), "expiry is not built yet: nothing is expired"),
    idle(with_default("maintenance.orphan_age", Duration, "3d"), "removal of orphans is not built yet: nothing is removed"),
    with_default("http.listen", Text, "127.0.0.1:9464"),
    with_default("log.format", Choice(&["json", "text"]), "json"),
    with_default("log.level", Text, "info"),
    with_default("log.job", Text, "gold-aggregation"),
];

/// Sections whose keys are another system's names.
pub const KAFKA_PROPERTIES: &str = "kafka.properties";
pub const ICEBERG_PROPERTIES: &str = "iceberg.properties";
pub const PROPERTY_SECTIONS: [&str; 2] = [KAFKA_PROPERTIES, ICEBERG_PROPERTIES];

pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// `kafka.properties.security.protocol` is the property `security.protocol` of the section `kafka.properties`.
pub fn property(name: &str) -> Option<(&'static str, &str)> {
    PROPERTY_SECTIONS.into_iter().find_map(|section| {
        let property = name.strip_prefix(section)?.strip_prefix('.')?;
        (!property.is_empty()).then_some((section, property))
    })
}

/// Tables of the file: `kafka`, `kafka.properties`, `schema_registry`, …
pub fn is_section(name: &str) -> bool {
    PROPERTY_SECTIONS.contains(&name)
        || KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// The known name that somebody most likely meant.
pub fn suggestion(unknown: &str) -> Option<String> {
    let near = |candidate: &str| strsim::jaro_winkler(unknown, candidate);
    let last = unknown.rsplit('.').next().unwrap_or(unknown);
    let (name, likeness) = KEYS
        .iter()
        .map(|key| {
            let own = key.name.rsplit('.').next().unwrap_or(key.name);
            // The right name in the wrong section is worth as much as a slip of the pen.
            let likeness = if own == last { 0.95 } else { near(key.name) };
            (key.name, likeness)
        })
        .max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    (likeness > 0.85).then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_and_a_wrong_section_are_answered_with_the_name_that_was_meant() {
        assert_eq!(suggestion("kafka.bootstrap_server").as_deref(), Some("kafka.bootstrap_servers"));
        assert_eq!(suggestion("kafka.bootstrap.servers").as_deref(), Some("kafka.bootstrap_servers"));
        assert_eq!(suggestion("gold.watermark_delay").as_deref(), Some("event_time.watermark_delay"));
        assert_eq!(suggestion("schema_registry.password").as_deref(), Some("schema_registry.password_file"));
        assert_eq!(suggestion("colour"), None);
    }

    #[test]
    fn names_are_unique_and_defaults_that_are_built_are_examples_of_themselves() {
        for (i, key) in KEYS.iter().enumerate() {
            assert!(!KEYS[..i].iter().any(|other| other.name == key.name), "{}", key.name);
            if let Value(default) = key.default
                && key.name != "iceberg.catalog"
            {
                assert_eq!(default, key.example);
            }
        }
    }

    #[test]
    fn a_property_belongs_to_the_section_whose_name_it_begins_with() {
        assert_eq!(property("kafka.properties.security.protocol"), Some((KAFKA_PROPERTIES, "security.protocol")));
        assert_eq!(property("kafka.properties"), None);
        assert_eq!(property("kafka.topics"), None);
        assert!(is_section("kafka") && is_section("kafka.properties") && !is_section("kafk"));
    }
}
