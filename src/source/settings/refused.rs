//! Properties that the operator may not set, or only to one value.

use std::collections::BTreeMap;

use crate::error::Stop;

enum Allowed {
    Never,
    Only(&'static [&'static str]),
    AtLeast(i64),
}
use Allowed::{AtLeast, Never, Only};

const TRUE: Allowed = Only(&["true", "t", "1"]);
const FALSE: Allowed = Only(&["false", "f", "0"]);
const NOT_BUILT: &str = "isn't built yet";

/// Sorted by what they would break.
const REFUSED: &[(&str, Allowed, &str)] = &[
    ("bootstrap.servers", Never, "has its own key: kafka.bootstrap_servers"),
    ("group.id", Never, "has its own key: kafka.group_id"),
    ("group.protocol", Only(&["classic"]), "has its own key: kafka.group_protocol"),
    // Positions come from the table.
    ("enable.auto.commit", FALSE, "the table holds the offsets; committed by the client they would run ahead of it"),
    ("enable.auto.offset.store", FALSE, "the table holds the offsets; the client must not store its own"),
    ("offset.store.method", Only(&["broker"]), "the table holds the offsets, no file does"),
    ("auto.offset.reset", Only(&["error"]), "any other value skips or repeats records in silence when a position is gone"),
    // What is read is what was written.
    ("isolation.level", Only(&["read_committed"]), "aborted records would reach the table"),
    ("enable.partition.eof", TRUE, "the end of a partition is how offsets pass control records"),
    ("check.crcs", TRUE, "a record damaged on its way would be taken for a good one"),
    ("allow.auto.create.topics", FALSE, "Sluice never makes a topic"),
    // The group.
    ("max.poll.interval.ms", AtLeast(120_000), "an assignment is answered within a quarter of it, and a commit must fit in"),
    ("group.instance.id", Never, NOT_BUILT),
    ("group.remote.assignor", Never, NOT_BUILT),
    ("group.protocol.type", Only(&["consumer"]), "other members would not understand it"),
    // Dead letters.
    ("enable.idempotence", TRUE, "a letter would be written twice or out of order"),
    ("acks", Only(&["all", "-1"]), "a letter could be lost after the commit that passes its record"),
    ("transactional.id", Never, "letters are acknowledged before the commit, not in a transaction"),
    ("delivery.report.only.error", FALSE, "Sluice waits for the acknowledgement of every letter"),
    ("message.timeout.ms", AtLeast(1_000), "0 waits for ever, and a letter needs time to be acknowledged"),
    // Secrets and methods that are not there.
    ("sasl.mechanism", Only(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]), "is not built in; use PLAIN or SCRAM"),
    ("sasl.oauthbearer.method", Never, "OAUTHBEARER isn't built yet, and the client library is without its own oidc"),
    ("sasl.oauthbearer.config", Never, "OAUTHBEARER isn't built yet"),
    ("enable.sasl.oauthbearer.unsecure.jwt", Never, "OAUTHBEARER isn't built yet"),
    // The client library itself.
    ("plugin.library.paths", Never, "foreign code between Kafka and the table"),
    ("enabled_events", Never, "Sluice serves the client's events itself"),
    ("log.queue", Never, "Sluice serves the client's log itself"),
    ("test.mock.num.brokers", Never, "the client would talk to brokers of its own making"),
];

/// Older names of the same property.
const ALIASES: &[(&str, &str)] = &[
    ("metadata.broker.list", "bootstrap.servers"),
    ("auto.commit.enable", "enable.auto.commit"),
    ("request.required.acks", "acks"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("sasl.mechanisms", "sasl.mechanism"),
    ("compression.type", "compression.codec"),
    ("fetch.message.max.bytes", "max.partition.fetch.bytes"),
    ("linger.ms", "queue.buffering.max.ms"),
    ("retries", "message.send.max.retries"),
    ("max.in.flight", "max.in.flight.requests.per.connection"),
];

/// The name under which a property is set.
pub(super) fn canonical(key: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == key).map_or(key, |(_, name)| name)
}

pub(super) fn is_secret(key: &str) -> bool {
    ["password", "secret", "token", "pem", "jwt", "sasl.oauthbearer.config"].iter().any(|part| key.contains(part))
}

pub(super) fn check(properties: &BTreeMap<String, String>) -> Result<(), Stop> {
    for (key, value) in properties {
        let Some((_, allowed, reason)) = REFUSED.iter().find(|(name, ..)| *name == canonical(key)) else { continue };
        if !permits(allowed, value) {
            return Err(refusal(key, value, allowed, reason));
        }
    }
    let mut seen = BTreeMap::new();
    for key in properties.keys() {
        if let Some(other) = seen.insert(canonical(key), key) {
            return Err(Stop::usage(
                format!("kafka.properties: \"{other}\" and \"{key}\" are two names of one property"),
                "keep one of them",
            ));
        }
    }
    Ok(())
}

fn permits(allowed: &Allowed, value: &str) -> bool {
    match allowed {
        Never => false,
        Only(values) => values.iter().any(|v| v.eq_ignore_ascii_case(value.trim())),
        AtLeast(least) => value.trim().parse::<i64>().is_ok_and(|v| v >= *least),
    }
}

fn refusal(key: &str, value: &str, allowed: &Allowed, reason: &str) -> Stop {
    let shown = if is_secret(key) { "…" } else { value };
    let remedy = match allowed {
        Never => format!("remove \"{key}\" from kafka.properties"),
        Only(values) => format!("remove it, or set it to {}", values.iter().find(|v| v.len() > 1).unwrap_or(&values[0])),
        AtLeast(least) => format!("remove it, or set it to {least} or more"),
    };
    Stop::usage(format!("kafka.properties: \"{key}\" = \"{shown}\" is refused: {reason}"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    fn one(key: &str, value: &str) -> Result<(), Stop> {
        check(&BTreeMap::from([(key.to_owned(), value.to_owned())]))
    }

    #[test]
    fn what_breaks_a_guarantee_is_refused_with_key_value_and_reason() {
        for (key, value) in [
            ("bootstrap.servers", "b:9092"),
            ("metadata.broker.list", "b:9092"),
            ("group.id", "g"),
            ("group.protocol", "consumer"),
            ("group.instance.id", "i"),
            ("enable.auto.commit", "true"),
            ("auto.commit.enable", "1"),
            ("enable.auto.offset.store", "true"),
            ("enable.partition.eof", "false"),
            ("isolation.level", "read_uncommitted"),
            ("auto.offset.reset", "latest"),
            ("check.crcs", "false"),
            ("allow.auto.create.topics", "true"),
            ("max.poll.interval.ms", "119999"),
            ("max.poll.interval.ms", "many"),
            ("enable.idempotence", "false"),
            ("acks", "1"),
            ("request.required.acks", "0"),
            ("transactional.id", "t"),
            ("delivery.report.only.error", "true"),
            ("message.timeout.ms", "0"),
            ("sasl.mechanism", "OAUTHBEARER"),
            ("sasl.mechanisms", "OAUTHBEARER"),
            ("sasl.oauthbearer.method", "oidc"),
            ("plugin.library.paths", "x.so"),
            ("test.mock.num.brokers", "3"),
        ] {
            let stop = one(key, value).expect_err(key);
            assert_eq!(stop.exit, Exit::Usage);
            assert!(stop.what.contains(key) && stop.what.contains(value) && !stop.remedy.is_empty(), "{stop}");
        }
    }

    #[test]
    fn a_value_that_repeats_ours_is_no_fault() {
        for (key, value) in [
            ("enable.auto.commit", "False"),
            ("isolation.level", "read_committed"),
            ("auto.offset.reset", "error"),
            ("max.poll.interval.ms", "120000"),
            ("acks", "-1"),
            ("sasl.mechanism", "SCRAM-SHA-512"),
        ] {
            one(key, value).unwrap_or_else(|stop| panic!("{stop}"));
        }
    }

    #[test]
    fn two_names_of_one_property_are_refused() {
        let both = BTreeMap::from([
            ("linger.ms".to_owned(), "5".to_owned()),
            ("queue.buffering.max.ms".to_owned(), "6".to_owned()),
        ]);
        assert!(check(&both).unwrap_err().what.contains("two names"));
    }
}
