use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use sluice::error::{Exit, Stop};
use sluice::ports::{DeadLetters, PortError, SourceAdmin, SourceEvent};
use sluice::source::admin::KafkaAdmin;
use sluice::source::dead_letters::KafkaDeadLetters;
use sluice::source::settings::Connection;
use sluice::types::*;

use crate::harness::*;
use crate::letters::letter;
use crate::stack;
use crate::users::{Acl, Login, allow};

fn by_scram() -> Login {
    stack::shared().scram.clone()
}

fn by_certificate() -> Login {
    stack::shared().certificate.clone()
}

fn connection_of(login: &Login) -> Connection {
    let properties = login.properties.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    Connection { bootstrap_servers: login.bootstrap_servers.clone(), properties }
}

/// What the consumer and the admin client say; both must be exit 2 and never name a secret.
async fn refused(login: &Login, topic: &str, group: &str) -> [String; 2] {
    let connection = connection_of(login);
    let (_source, mut events) = start(connection.clone(), group, topic);
    let consumer = find(&mut events, |event| match event {
        SourceEvent::Fatal(stop) => Some(stop),
        _ => None,
    })
    .await;
    let admin = asked(&connection, topic, group).await;
    [consumer, admin].map(|stop| {
        assert_eq!(stop.exit, Exit::Usage, "{stop}");
        assert!(!stop.to_string().contains("secret"), "{stop}");
        stop.to_string()
    })
}

/// The stop of an admin client that is asked for a topic and then for the group.
async fn asked(connection: &Connection, topic: &str, group: &str) -> Stop {
    let started = Instant::now();
    let admin = KafkaAdmin::new(connection, group).unwrap();
    let error = match admin.partitions(&[topic.into()]).await {
        Ok(_) => admin.group_offsets(&[tp(topic, 0)]).await.unwrap_err(),
        Err(error) => error,
    };
    let PortError::Stop(stop) = error else { panic!("{error:?}") };
    assert!(started.elapsed() < Duration::from_secs(9), "no need to wait out the time-out");
    stop
}

/// Reads ten records with READ on the topic and on the group alone.
async fn reads(login: &Login) {
    let (topic, group) = (topic("secured", 1).await, unique("secured"));
    fill(&producer(&[]), &topic, 0, 0..10);
    allow(&native(), login, &[Acl::ReadTopic(&topic), Acl::ReadGroup(&group)]);
    let connection = connection_of(login);
    let (source, mut events) = start(connection.clone(), &group, &topic);
    let partition = read_from(&source, &mut events, 0).await;
    let (read, end) = to_end(&mut events, Epoch(1)).await;
    assert_eq!((read.len(), end), (10, 10));
    let admin = KafkaAdmin::new(&connection, &group).unwrap();
    let name = Topic::from(topic.as_str());
    let found = admin.partitions(std::slice::from_ref(&name)).await.unwrap();
    assert_eq!(found, BTreeMap::from([(name.clone(), vec![0])]));
    let identity = admin.identity(&[name]).await.unwrap();
    assert!(identity.cluster_id.is_some() && identity.topics.len() == 1, "{identity:?}");
    assert_eq!(admin.group_members().await.unwrap().len(), 1);
    assert!(admin.group_offsets(&[partition]).await.unwrap().is_empty());
    close(source, &mut events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_on_topic_and_group_is_all_that_reading_takes_by_scram_sha_512() {
    reads(&by_scram()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_read_by_scram_sha_256() {
    reads(&by_scram().with("sasl.mechanism", "SCRAM-SHA-256")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_read_by_plain_over_tls() {
    reads(&stack::shared().plain).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn records_are_read_by_a_client_certificate() {
    reads(&by_certificate()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_exit_2() {
    for login in [by_scram(), stack::shared().plain.clone()] {
        for text in refused(&login.with("sasl.password", "not-the-secret"), "anything", &unique("g")).await {
            assert!(text.contains("credentials") && text.contains("sasl.password"), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_ca_is_exit_2() {
    for login in [by_scram(), by_certificate()] {
        for text in refused(&login.without("ssl.ca.location"), "anything", &unique("g")).await {
            assert!(text.contains("TLS") && text.contains("ssl.ca.location"), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_client_certificate_is_exit_2() {
    let without = by_certificate().without("ssl.certificate.location").without("ssl.key.location");
    for text in refused(&without, "anything", &unique("g")).await {
        assert!(text.contains("TLS") && text.contains("ssl.certificate.location"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_acls_is_exit_2_with_the_acl_that_is_missing() {
    for text in refused(&by_scram(), "anything", &unique("g")).await {
        assert!(text.contains("ACL") && text.contains("READ"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_the_topic_but_not_the_group_is_exit_2_with_the_acl_that_is_missing() {
    let (login, topic) = (by_scram(), topic("secured", 1).await);
    allow(&native(), &login, &[Acl::ReadTopic(&topic)]);
    for text in refused(&login, &topic, &unique("g")).await {
        assert!(text.contains("READ on the group"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn write_on_the_dead_letter_topic_is_all_that_a_letter_takes_and_its_lack_is_exit_2() {
    let (login, topic) = (by_scram(), topic("secured-dlq", 1).await);
    // A user who may write nowhere at all: who may write to some topic is also given a producer's id.
    let nobody = connection_of(&stack::shared().plain);
    let letters = KafkaDeadLetters::new(&nobody, topic.as_str().into(), "g").unwrap();
    let PortError::Stop(stop) = letters.send(&[letter(1, vec![1])]).await.unwrap_err() else { panic!("a stop") };
    assert_eq!(stop.exit, Exit::Usage, "{stop}");
    assert!(stop.to_string().contains("WRITE on the dead-letter topic"), "{stop}");
    allow(&native(), &login, &[Acl::WriteTopic(&topic)]);
    let letters = KafkaDeadLetters::new(&connection_of(&login), topic.as_str().into(), "g").unwrap();
    letters.send(&[letter(1, vec![1])]).await.unwrap();
}
