//! What an error of the client library means to an operator. Codes and texts as seen on Kafka 4.3 with librdkafka 2.12.

use rdkafka::types::RDKafkaErrorCode as E;

use super::ffi::Fault;
use crate::error::{Exit, Stop};

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Trouble {
    /// Wrong password, certificate or protocol: no retry helps. The stop is for a start; later it is waited for.
    Credentials(Stop),
    /// An ACL is missing.
    Permission(Stop),
    /// No broker at all answers.
    Unreachable(String),
    /// The client instance is finished.
    Fatal(Stop),
    /// The library retries by itself.
    Passing(String),
}

const CHECK_CREDENTIALS: &str =
    "check sasl.username, sasl.password and sasl.mechanism in kafka.properties, and that the user exists in Kafka";
const CHECK_CERTIFICATES: &str =
    "check security.protocol, ssl.ca.location, ssl.certificate.location and ssl.key.location in kafka.properties";

pub(super) fn classify(fault: &Fault) -> Trouble {
    let text = fault.text.trim();
    let code = fault.code;
    if code.is_one_of(&[E::FencedInstanceId, E::UnreleasedInstanceId]) {
        return Trouble::Fatal(Stop::usage(
            format!("another consumer uses the same group.instance.id: {text}"),
            "give every instance its own group.instance.id",
        ));
    }
    if fault.fatal || code.is(E::Fatal) {
        return Trouble::Fatal(Stop::gave_up(
            format!("the Kafka client can't go on: {text}"),
            "start Sluice again; the table says where to go on",
        ));
    }
    if code.is_one_of(&[E::Authentication, E::SaslAuthenticationFailed, E::UnsupportedSASLMechanism, E::IllegalSASLState]) {
        return Trouble::Credentials(Stop::usage(format!("Kafka refuses the credentials: {text}"), CHECK_CREDENTIALS));
    }
    if code.is(E::SSL) || (code.is(E::BrokerTransportFailure) && names_tls_alert(text)) {
        return Trouble::Credentials(Stop::usage(format!("the TLS handshake with Kafka fails: {text}"), CHECK_CERTIFICATES));
    }
    if let Some(stop) = missing_acl(fault) {
        return Trouble::Permission(stop);
    }
    if code.is(E::AllBrokersDown) {
        return Trouble::Unreachable(text.to_owned());
    }
    Trouble::Passing(text.to_owned())
}

/// A broker that wants a client certificate answers with an alert; to the library that is a lost connection.
fn names_tls_alert(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("alert") && (text.contains("ssl") || text.contains("tls"))
}

/// The stop for an authorization error, with the ACL that is needed.
pub(super) fn missing_acl(fault: &Fault) -> Option<Stop> {
    let (resource, needs) = match fault.code {
        code if code.is(E::TopicAuthorizationFailed) => {
            ("a topic", "READ on every topic that is read, WRITE on the dead-letter topic")
        }
        code if code.is(E::GroupAuthorizationFailed) => ("the group", "READ on the group"),
        code if code.is(E::ClusterAuthorizationFailed) => ("the cluster", "DESCRIBE on the cluster"),
        code if code.is(E::TransactionalIdAuthorizationFailed) => ("the producer", "IDEMPOTENT_WRITE on the cluster"),
        _ => return None,
    };
    Some(Stop::usage(
        format!("Kafka doesn't authorize Sluice for {resource}: {}", fault.text.trim()),
        format!("let an administrator of Kafka add the ACL: {needs}"),
    ))
}

/// A stop that names Kafka's own words, where no better remedy is known.
pub(super) fn refused(what: &str, fault: &Fault) -> Stop {
    Stop::new(Exit::GaveUp, format!("{what}: {}", fault.text.trim()), "see what Kafka's log says about it, then try again")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ffi::Code;

    fn fault(code: E, text: &str) -> Fault {
        Fault { code: Code::of(code), fatal: false, text: text.into() }
    }

    #[test]
    fn what_no_retry_can_mend_is_told_from_what_passes() {
        let credentials = [
            fault(E::Authentication, "sasl_ssl://b:9094/bootstrap: SASL authentication error: Authentication failed"),
            fault(E::BrokerTransportFailure, "ssl://b: Disconnected: ... ssl/tls alert bad certificate ..."),
            fault(E::SSL, "ssl://b: SSL handshake failed: certificate verify failed"),
        ];
        for fault in credentials {
            let Trouble::Credentials(stop) = classify(&fault) else { panic!("{fault:?}") };
            assert_eq!(stop.exit, Exit::Usage);
            assert!(stop.what.contains(&fault.text), "{stop}");
        }
        for fault in [
            fault(E::BrokerTransportFailure, "b:9092/1: Disconnected (after 12 ms in state UP)"),
            fault(E::Resolve, "b:9092: Failed to resolve 'b:9092'"),
            fault(E::NotCoordinator, "not coordinator"),
        ] {
            assert!(matches!(classify(&fault), Trouble::Passing(_)), "{fault:?}");
        }
    }

    #[test]
    fn a_missing_acl_names_what_is_needed() {
        for code in [E::TopicAuthorizationFailed, E::GroupAuthorizationFailed] {
            let Trouble::Permission(stop) = classify(&fault(code, "denied")) else { panic!() };
            assert!(stop.remedy.contains("READ"), "{stop}");
        }
    }

    #[test]
    fn a_fatal_client_and_a_fenced_member_end_it() {
        let dead = Fault { fatal: true, ..fault(E::Unknown, "gone") };
        assert!(matches!(classify(&dead), Trouble::Fatal(_)));
        let Trouble::Fatal(stop) = classify(&fault(E::FencedInstanceId, "fenced")) else { panic!() };
        assert_eq!(stop.exit, Exit::Usage);
    }

    #[test]
    fn all_brokers_down_is_waited_for() {
        assert_eq!(
            classify(&fault(E::AllBrokersDown, "1/1 brokers are down")),
            Trouble::Unreachable("1/1 brokers are down".into())
        );
    }
}
