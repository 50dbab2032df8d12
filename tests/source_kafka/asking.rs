use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::admin::AdminOptions;
use rdkafka::producer::{BaseRecord, Producer};
use sluice::ports::{GroupOffset, LogEdge, Source, SourceAdmin};
use sluice::types::*;

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_topic_has_another_id_in_the_same_cluster() {
    let topic = topic("identity", 2).await;
    let name = Topic::from(topic.as_str());
    let admin = admin("nobody");
    let before = admin.identity(&[name.clone(), "no-such-topic".into()]).await.unwrap();
    assert_eq!(before.topics.len(), 1, "{before:?}");
    assert!(before.cluster_id.as_ref().is_some_and(|id| !id.is_empty()));
    assert_eq!(admin.identity(&[name.clone(), name.clone()]).await.unwrap(), before);

    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(20)));
    native().delete_topics(&[&topic], &options).await.unwrap();
    while !admin.partitions(std::slice::from_ref(&name)).await.unwrap().is_empty() {}
    assert!(admin.identity(std::slice::from_ref(&name)).await.unwrap().topics.is_empty());
    create(&topic, 2, &[]).await;
    let after = loop {
        let after = admin.identity(std::slice::from_ref(&name)).await.unwrap();
        if !after.topics.is_empty() {
            break after;
        }
    };
    assert_eq!(after.cluster_id, before.cluster_id);
    assert_ne!(after.topics[&name], before.topics[&name]);
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_of_a_topic_that_does_not_exist_are_absent_and_it_is_not_made() {
    let topic = topic("partitions", 3).await;
    let missing = unique("missing");
    let admin = admin("nobody");
    for _ in 0..2 {
        let found = admin.partitions(&[topic.as_str().into(), missing.as_str().into()]).await.unwrap();
        assert_eq!(found, BTreeMap::from([(Topic::from(topic.as_str()), vec![0, 1, 2])]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compacted_topics_are_told_by_their_policy() {
    let names = ["kept", "compacted", "both", "never-made"].map(unique);
    let policies: [&[(&str, &str)]; 3] = [&[], &[("cleanup.policy", "compact")], &[("cleanup.policy", "compact,delete")]];
    for (name, policy) in names.iter().zip(policies) {
        create(name, 1, policy).await;
    }
    let topics: Vec<Topic> = names.iter().chain(&names).map(|name| name.as_str().into()).collect();
    let found = admin("nobody").compacted(&topics).await.unwrap();
    assert_eq!(found, topics[1..3].iter().cloned().collect());
    assert!(admin("nobody").compacted(&[]).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_is_the_first_record_not_before_it_or_the_end() {
    let topic = topic("times", 1).await;
    let producer = producer(&[]);
    for minute in 0..10 {
        let record =
            BaseRecord::<str, str>::to(&topic).partition(0).payload("x").timestamp(1_700_000_000_000 + minute * 60_000);
        producer.send(record).map_err(|(e, _)| e).unwrap();
    }
    producer.flush(WAIT).unwrap();
    let admin = admin("nobody");
    for (time, offset) in
        [(0, 0), (1_700_000_000_000, 0), (1_700_000_000_001, 1), (1_700_000_540_000, 9), (1_700_000_540_001, 10)]
    {
        let found = admin.log_offsets(&[(tp(&topic, 0), LogEdge::Timestamp(time))]).await.unwrap();
        assert_eq!(found[&tp(&topic, 0)].offset, offset, "at {time}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn group_offsets_are_mirrored_with_their_metadata_and_the_group_is_left_at_once() {
    let topic = topic("mirror", 1).await;
    let group = unique("g");
    let admin = admin(&group);
    assert!(admin.group_members().await.unwrap().is_empty(), "a group that doesn't exist");
    assert!(admin.group_offsets(&[tp(&topic, 0)]).await.unwrap().is_empty());

    let (source, mut events) = start(connection(), &group, &topic);
    let partition = read_from(&source, &mut events, 0).await;
    to_end(&mut events, Epoch(1)).await;
    let members = admin.group_members().await.unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!((members[0].client_id.as_str(), &members[0].partitions), ("sluice", &vec![partition.clone()]));

    let metadata = "table=5b0c;commit=77aa".to_owned();
    source.mirror_group_offsets(BTreeMap::from([(partition.clone(), 5)]), "older".into());
    source.mirror_group_offsets(BTreeMap::from([(partition.clone(), 6)]), "older".into());
    source.mirror_group_offsets(BTreeMap::from([(partition.clone(), 7)]), metadata.clone());
    let expected = BTreeMap::from([(partition.clone(), GroupOffset { offset: 7, metadata })]);
    let deadline = Instant::now() + Duration::from_secs(20);
    while admin.group_offsets(std::slice::from_ref(&partition)).await.unwrap() != expected {
        assert!(Instant::now() < deadline, "not mirrored");
    }

    // The last word before the end arrives too.
    source.mirror_group_offsets(BTreeMap::from([(partition.clone(), 9)]), "last".into());
    close(source, &mut events).await;
    assert!(admin.group_members().await.unwrap().is_empty(), "left, not timed out");
    assert_eq!(admin.group_offsets(std::slice::from_ref(&partition)).await.unwrap()[&partition].offset, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_the_new_protocol_are_seen() {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let topic = topic("kip848", 1).await;
    let group = unique("g");
    let consumer: BaseConsumer = rdkafka::ClientConfig::new()
        .set("bootstrap.servers", broker())
        .set("group.id", &group)
        .set("group.protocol", "consumer")
        .set("client.id", "new")
        .create()
        .unwrap();
    consumer.subscribe(&[&topic]).unwrap();
    let admin = admin(&group);
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        consumer.poll(Duration::from_millis(100));
        let members = admin.group_members().await.unwrap();
        if members.iter().any(|member| member.client_id == "new" && member.partitions == [tp(&topic, 0)]) {
            break;
        }
        assert!(Instant::now() < deadline, "{members:?}");
    }
}
