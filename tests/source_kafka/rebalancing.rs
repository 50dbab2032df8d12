use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, NewPartitions};
use sluice::ports::{Source, SourceAdmin, SourceEvent, StartAt};
use sluice::source::consumer::KafkaSource;
use sluice::types::*;
use tokio::sync::mpsc::Receiver;

use crate::harness::*;

fn answer(source: &KafkaSource, partitions: &[TopicPartition], epoch: u64) {
    source.assign(partitions.iter().map(|p| (p.clone(), Epoch(epoch), StartAt::Offset(0))).collect());
}

async fn revoked(events: &mut Receiver<SourceEvent>) -> (Vec<TopicPartition>, bool) {
    find(events, |event| match event {
        SourceEvent::Revoked { partitions, lost } => Some((partitions, lost)),
        _ => None,
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_member_gets_its_share_and_the_rest_is_read_on() {
    let topic = topic("share", 4).await;
    let group = unique("g");
    let (first, mut first_events) = start(connection(), &group, &topic);
    let all = assigned(&mut first_events).await;
    assert_eq!(all.len(), 4);
    answer(&first, &all, 1);

    let (second, mut second_events) = start(connection(), &group, &topic);
    let (given, lost) = revoked(&mut first_events).await;
    assert!(given.len() == 2 && !lost, "cooperative: {given:?}");
    // Nothing of the others is taken from us while the answer is out.
    first.unassign(given.clone());
    let got = assigned(&mut second_events).await;
    assert_eq!(BTreeSet::from_iter(&got), BTreeSet::from_iter(&given));
    answer(&second, &got, 1);

    close(first, &mut first_events).await;
    let began = Instant::now();
    let rest = assigned(&mut second_events).await;
    assert!(began.elapsed() < Duration::from_secs(8), "the first left by itself, its session is 10 s");
    assert_eq!(rest.len(), 2);
    answer(&second, &rest, 2);
    close(second, &mut second_events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_eager_assignors_take_and_give_everything() {
    let topic = topic("eager", 4).await;
    let group = unique("g");
    let range = || with(&[("partition.assignment.strategy", "range")]);
    fill(&producer(&[]), &topic, 0, 0..100);
    let (first, mut first_events) = start(range(), &group, &topic);
    let all = assigned(&mut first_events).await;
    answer(&first, &all, 1);
    // A reposition of one partition assigns all anew: the others go on under their epoch.
    find(&mut first_events, |event| matches!(&event, SourceEvent::EndOfPartition { offset: 100, .. }).then_some(())).await;
    first.reposition(vec![(tp(&topic, 0), Epoch(2), StartAt::Offset(90))]);
    let (read, end) = to_end(&mut first_events, Epoch(2)).await;
    assert_eq!((read[0].0, read.len(), end), (90, 10, 100));
    fill(&producer(&[]), &topic, 1, 0..10);
    let offsets = find(&mut first_events, |event| match event {
        SourceEvent::Records { partition, epoch, chunk } if partition.partition == 1 => {
            Some((epoch, chunk.frames[0].offset))
        }
        _ => None,
    })
    .await;
    assert_eq!(offsets, (Epoch(1), 0));

    let (second, mut second_events) = start(range(), &group, &topic);
    let (given, lost) = revoked(&mut first_events).await;
    assert!(given.len() == 4 && !lost, "eager: {given:?}");
    first.unassign(given);
    let half = assigned(&mut first_events).await;
    answer(&first, &half, 3);
    let other = assigned(&mut second_events).await;
    answer(&second, &other, 3);
    assert_eq!((half.len(), other.len()), (2, 2));
    close(first, &mut first_events).await;
    close(second, &mut second_events).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_that_are_added_later_are_assigned() {
    let topic = topic("grows", 1).await;
    let group = unique("g");
    let watchful = with(&[("topic.metadata.refresh.interval.ms", "500")]);
    let (source, mut events) = start(watchful, &group, &topic);
    read_from(&source, &mut events, 0).await;
    native().create_partitions(&[NewPartitions::new(&topic, 3)], &AdminOptions::new()).await.unwrap();
    let mut more = BTreeSet::new();
    while more.len() < 2 {
        let given = assigned(&mut events).await;
        answer(&source, &given, 2);
        more.extend(given);
    }
    assert_eq!(more, BTreeSet::from([tp(&topic, 1), tp(&topic, 2)]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_holds_its_repositions_back_and_keeps_the_member() {
    let topic = topic("late", 2).await;
    let group = unique("g");
    fill(&producer(&[]), &topic, 0, 0..50);
    let (source, mut events) = start(with(&[("session.timeout.ms", "6000")]), &group, &topic);
    let given = assigned(&mut events).await;
    source.reposition(vec![(tp(&topic, 0), Epoch(7), StartAt::Offset(20))]);
    // Longer than the session: heartbeats go on while the answer is out.
    tokio::time::sleep(Duration::from_secs(8)).await;
    assert_eq!(admin(&group).group_members().await.unwrap().len(), 1);
    answer(&source, &given, 1);
    let (read, end) = to_end(&mut events, Epoch(7)).await;
    assert_eq!((read[0].0, end), (20, 50), "the reposition came after the answer");
}

/// Plays the member that is stopped; run by the test below in a process of its own.
#[tokio::test(flavor = "multi_thread")]
async fn member_in_its_own_process() {
    let Ok(name) = std::env::var("SLUICE_TEST_MEMBER") else { return };
    let (source, mut events) = start(with(&[("session.timeout.ms", "6000")]), &name, &name);
    loop {
        match next(&mut events).await {
            SourceEvent::Assigned { partitions } => {
                println!("\nassigned {}", partitions.len());
                answer(&source, &partitions, 1);
            }
            SourceEvent::Revoked { partitions, lost } => {
                println!("\nrevoked {} lost={lost}", partitions.len());
                // Held back, since the assignment is gone.
                source.reposition(partitions.iter().map(|p| (p.clone(), Epoch(9), StartAt::Offset(0))).collect());
                source.unassign(partitions);
            }
            SourceEvent::Fatal(stop) => println!("\nfatal {stop}"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_slept_past_its_session_is_told_that_its_partitions_are_lost() {
    let topic = topic("stopped", 2).await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "rebalancing::member_in_its_own_process", "--nocapture"])
        .env("SLUICE_TEST_MEMBER", &topic)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = said_by(child.stdout.take().unwrap());
    let expect = |wanted: &str| {
        let deadline = Instant::now() + WAIT;
        while lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).expect(wanted) != wanted {}
    };
    expect("assigned 2");
    let signal = |signal: &str| {
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    };
    signal("-STOP");
    // Its session ends: the other member gets everything.
    let (other, mut events) = start(connection(), &topic, &topic);
    let given = assigned(&mut events).await;
    assert_eq!(given.len(), 2);
    answer(&other, &given, 1);
    signal("-CONT");
    expect("revoked 2 lost=true");
    // It joins again and gets its share.
    let (back, lost) = revoked(&mut events).await;
    assert!(!lost);
    other.unassign(back);
    expect("assigned 1");
    child.kill().unwrap();
    child.wait().unwrap();
}

fn said_by(stdout: std::process::ChildStdout) -> std::sync::mpsc::Receiver<String> {
    use std::io::BufRead;
    let (sender, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    lines
}
