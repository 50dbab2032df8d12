use sluice::error::Exit;
use sluice::ports::{PortError, SourceAdmin, SourceEvent};
use sluice::source::admin::KafkaAdmin;
use sluice::source::settings::Connection;

use crate::harness::*;

fn sasl(password: &str, ca: bool) -> Connection {
    let bootstrap = required("SLUICE_TEST_KAFKA_SASL_SSL", "the address of a SASL_SSL listener");
    let mut properties = vec![
        ("security.protocol", "SASL_SSL".to_owned()),
        ("sasl.mechanism", "SCRAM-SHA-512".to_owned()),
        ("sasl.username", "alice".to_owned()),
        ("sasl.password", password.to_owned()),
    ];
    if ca {
        properties.push(("ssl.ca.location", required("SLUICE_TEST_KAFKA_CA", "the file of the test CA")));
    }
    secured(bootstrap, properties)
}

fn secured(bootstrap_servers: String, properties: Vec<(&str, String)>) -> Connection {
    Connection { bootstrap_servers, properties: properties.into_iter().map(|(k, v)| (k.to_owned(), v)).collect() }
}

/// What the consumer and the admin client say; both must be exit 2 and never name a secret.
async fn refused(connection: Connection) -> [String; 2] {
    let (_source, mut events) = start(connection.clone(), &unique("g"), "anything");
    let consumer = find(&mut events, |event| match event {
        SourceEvent::Fatal(stop) => Some(stop),
        _ => None,
    })
    .await;
    let started = std::time::Instant::now();
    let admin = KafkaAdmin::new(&connection, "g").unwrap().partitions(&["anything".into()]).await.unwrap_err();
    let PortError::Stop(admin) = admin else { panic!("{admin:?}") };
    assert!(started.elapsed().as_secs() < 9, "no need to wait out the time-out");
    [consumer, admin].map(|stop| {
        assert_eq!(stop.exit, Exit::Usage, "{stop}");
        assert!(!stop.to_string().contains("secret"), "{stop}");
        stop.to_string()
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_exit_2() {
    for text in refused(sasl("not-the-secret", true)).await {
        assert!(text.contains("credentials") && text.contains("sasl.password"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_ca_is_exit_2() {
    for text in refused(sasl("alice-secret", false)).await {
        assert!(text.contains("TLS") && text.contains("ssl.ca.location"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_client_certificate_is_exit_2() {
    let bootstrap = required("SLUICE_TEST_KAFKA_MTLS", "the address of an SSL listener that wants client certificates");
    let ca = required("SLUICE_TEST_KAFKA_CA", "the file of the test CA");
    let without = secured(bootstrap, vec![("security.protocol", "SSL".into()), ("ssl.ca.location", ca)]);
    for text in refused(without).await {
        assert!(text.contains("TLS") && text.contains("ssl.certificate.location"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_acls_is_exit_2_with_the_acl_that_is_missing() {
    for text in refused(sasl("alice-secret", true)).await {
        assert!(text.contains("ACL") && text.contains("READ"), "{text}");
    }
}
