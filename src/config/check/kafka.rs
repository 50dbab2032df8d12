//! The section `[kafka]`.

use std::collections::BTreeSet;

use super::super::key::KAFKA_PROPERTIES;
use super::*;

/// Least `max.poll.interval.ms`: an assignment is answered within a quarter of it, and that takes a load of the table.
pub const POLL_INTERVAL_FLOOR: Duration = Duration::from_secs(120);

/// librdkafka's default.
const POLL_INTERVAL_DEFAULT: Duration = Duration::from_secs(300);

/// Longest name of a topic that Kafka allows.
const TOPIC_NAME_MAX: usize = 249;

pub fn kafka(settings: &Settings) -> Checked<Kafka> {
    let mut findings = Findings::new(settings);
    findings.not_empty("kafka.bootstrap_servers");
    findings.not_empty("kafka.group_id");
    check_topics(&mut findings);
    check_poll_and_session(&mut findings);
    for (property, own) in [
        ("bootstrap.servers", "kafka.bootstrap_servers"),
        ("metadata.broker.list", "kafka.bootstrap_servers"),
        ("group.id", "kafka.group_id"),
        ("group.protocol", "kafka.group_protocol"),
    ] {
        let name = format!("{KAFKA_PROPERTIES}.{property}");
        if settings.get(&name).is_some() {
            findings.add(&name, "has a key of its own", format!("write {own} instead"));
        }
    }
    if settings.text("kafka.group_protocol") == "consumer" {
        findings.add("kafka.group_protocol", "is not built yet", "write \"classic\"");
    }
    findings.value(|s| Kafka {
        bootstrap_servers: s.text("kafka.bootstrap_servers"),
        topics: s.list("kafka.topics").into_iter().map(Topic::from).collect(),
        group_id: s.text("kafka.group_id").into(),
        start: if s.text("kafka.start") == "latest" { Start::Latest } else { Start::Earliest },
        start_is_written: s.get("kafka.start").is_some_and(|setting| setting.origin != layer::Origin::Default),
        group_protocol: GroupProtocol::Classic,
        properties: properties(s, KAFKA_PROPERTIES),
    })
}

fn check_topics(findings: &mut Findings<'_>) {
    let topics = findings.settings.list("kafka.topics");
    if topics.is_empty() {
        findings.add("kafka.topics", "is empty", "name one or more Silver topics");
    }
    let mut seen = BTreeSet::new();
    for topic in &topics {
        if topic.starts_with('^') {
            findings.add("kafka.topics", &format!("names the pattern {topic:?}, which is not supported"), "name each topic");
        } else if !is_topic_name(topic) {
            findings.add(
                "kafka.topics",
                &format!("names {topic:?}, which can't be a topic"),
                "letters, digits, '.', '_' and '-'",
            );
        }
        // the summary key sluice.event-time.G lists idle partitions under this name, beside the topics
        if topic == "idle" {
            findings.add(
                "kafka.topics",
                "names \"idle\", which the table's summaries keep for something else",
                "rename the topic",
            );
        }
        if !seen.insert(topic) {
            findings.add("kafka.topics", &format!("names {topic:?} twice"), "name it once");
        }
    }
}

pub(super) fn is_topic_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    !name.is_empty() && name.len() <= TOPIC_NAME_MAX && name != "." && name != ".." && name.chars().all(legal)
}

fn check_poll_and_session(findings: &mut Findings<'_>) {
    let poll = milliseconds(findings, "max.poll.interval.ms");
    let session = milliseconds(findings, "session.timeout.ms");
    if poll.is_some_and(|poll| poll < POLL_INTERVAL_FLOOR) {
        let name = format!("{KAFKA_PROPERTIES}.max.poll.interval.ms");
        findings.add(&name, "is too short to answer an assignment", format!("at least {}", POLL_INTERVAL_FLOOR.as_millis()));
    }
    let poll = poll.unwrap_or(POLL_INTERVAL_DEFAULT);
    if session.is_some_and(|session| session.is_zero() || session > poll) {
        let name = format!("{KAFKA_PROPERTIES}.session.timeout.ms");
        let fix = format!("between 1 and max.poll.interval.ms ({}); 10000 without the property", poll.as_millis());
        findings.add(&name, "is out of bounds", fix);
    }
}

fn milliseconds(findings: &mut Findings<'_>, property: &str) -> Option<Duration> {
    let name = format!("{KAFKA_PROPERTIES}.{property}");
    let text = findings.settings.optional_text(&name)?;
    match text.trim().parse::<u32>() {
        Ok(millis) => Some(Duration::from_millis(millis.into())),
        Err(_) => {
            findings.add(&name, "is not a number of milliseconds", "write a whole number");
            None
        }
    }
}
