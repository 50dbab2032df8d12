use rdkafka::admin::AdminOptions;
use rdkafka::producer::Producer;
use rdkafka::{Offset as ListedOffset, TopicPartitionList};
use sluice::ports::{LogEdge, Source, SourceAdmin, SourceEvent, StartAt};
use sluice::types::*;

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn the_log_end_lies_behind_the_control_record_of_the_last_transaction() {
    let topic = topic("control", 1).await;
    let producer = transactional(&unique("tx"));
    // c0 c1 commit(2) a3 a4 a5 abort(6) c7 c8 commit(9)
    for (values, commits) in [(&["c0", "c1"][..], true), (&["a3", "a4", "a5"], false), (&["c7", "c8"], true)] {
        producer.begin_transaction().unwrap();
        for value in values {
            send(&producer, &topic, 0, value.as_bytes());
        }
        producer.flush(WAIT).unwrap();
        match commits {
            true => producer.commit_transaction(WAIT).unwrap(),
            false => producer.abort_transaction(WAIT).unwrap(),
        }
    }
    let (source, mut events) = start(connection(), &unique("g"), &topic);
    read_from(&source, &mut events, 0).await;
    let (read, end) = to_end(&mut events, Epoch(1)).await;
    let expected: Read = [0, 1, 7, 8].iter().map(|o| (*o, format!("c{o}").into_bytes())).collect();
    assert_eq!(read, expected, "aborted records are hidden, offsets have holes");
    assert_eq!(end, 10, "one behind the last control record");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_ends_the_log_until_it_is_committed() {
    let topic = topic("open", 1).await;
    fill(&producer(&[]), &topic, 0, 0..5);
    let writer = transactional(&unique("tx"));
    writer.begin_transaction().unwrap();
    send(&writer, &topic, 0, b"open");
    writer.flush(WAIT).unwrap();

    let admin = admin("nobody");
    let at = |edge| [(tp(&topic, 0), edge)];
    let stable = admin.log_offsets(&at(LogEdge::LastStable)).await.unwrap()[&tp(&topic, 0)].offset;
    let high = admin.log_offsets(&at(LogEdge::HighWatermark)).await.unwrap()[&tp(&topic, 0)].offset;
    assert_eq!((stable, high), (5, 6));

    let (source, mut events) = start(connection(), &unique("g"), &topic);
    read_from(&source, &mut events, 0).await;
    let (read, end) = to_end(&mut events, Epoch(1)).await;
    assert_eq!((read.len(), end), (5, 5), "the last stable offset is the end");
    writer.commit_transaction(WAIT).unwrap();
    let mut rest = Vec::new();
    let end = loop {
        let (read, end) = to_end(&mut events, Epoch(1)).await;
        rest.extend(read);
        if end == 7 {
            break end;
        }
    };
    assert_eq!((rest, end), (vec![(5, b"open".to_vec())], 7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_outside_the_log_is_told_and_can_be_mended() {
    let topic = topic("range", 1).await;
    fill(&producer(&[]), &topic, 0, 0..100);
    let mut deleted = TopicPartitionList::new();
    deleted.add_partition_offset(&topic, 0, ListedOffset::Offset(40)).unwrap();
    native().delete_records(&deleted, &AdminOptions::new()).await.unwrap();

    let (source, mut events) = start(connection(), &unique("g"), &topic);
    let partition = read_from(&source, &mut events, 10).await;
    let out = |event| match event {
        SourceEvent::OutOfRange { epoch, reason, .. } => Some((epoch, reason)),
        SourceEvent::Records { .. } | SourceEvent::EndOfPartition { .. } => panic!("nothing is read from elsewhere"),
        _ => None,
    };
    let (epoch, reason) = find(&mut events, out).await;
    assert!(epoch == Epoch(1) && reason.contains("10"), "{reason}");

    source.reposition(vec![(partition.clone(), Epoch(2), StartAt::Offset(101))]);
    assert_eq!(find(&mut events, out).await.0, Epoch(2), "beyond the end is outside, too");

    let log_start = admin("nobody").log_offsets(&[(partition.clone(), LogEdge::Earliest)]).await.unwrap()[&partition].offset;
    assert_eq!(log_start, 40);
    source.reposition(vec![(partition, Epoch(3), StartAt::Offset(log_start))]);
    let (read, end) = to_end(&mut events, Epoch(3)).await;
    assert_eq!((read, end), ((40..100).map(|o| (o, value_at(0, o))).collect(), 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_partition_has_an_end() {
    let topic = topic("empty", 1).await;
    let (source, mut events) = start(connection(), &unique("g"), &topic);
    read_from(&source, &mut events, 0).await;
    assert_eq!(to_end(&mut events, Epoch(1)).await, (vec![], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_epoch_and_broker_timestamp_come_with_every_record() {
    let topic = topic("stamps", 1).await;
    fill(&producer(&[]), &topic, 0, 0..1);
    let (source, mut events) = start(connection(), &unique("g"), &topic);
    read_from(&source, &mut events, 0).await;
    let chunk = find(&mut events, |event| match event {
        SourceEvent::Records { chunk, .. } => Some(chunk),
        _ => None,
    })
    .await;
    assert_eq!(chunk.frames[0].leader_epoch, Some(0));
    assert!(chunk.frames[0].timestamp_ms.unwrap() > 1_700_000_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn repositions_in_a_row_read_exactly_from_the_last_one() {
    let topic = topic("again", 1).await;
    let count = 20_000;
    fill(&producer(&[]), &topic, 0, 0..count);
    let (source, mut events) = start(connection(), &unique("g"), &topic);
    let partition = read_from(&source, &mut events, 0).await;
    let start = |epoch: u64| (epoch as i64 * 7919) % count;
    for epoch in 2..200 {
        source.reposition(vec![(partition.clone(), Epoch(epoch), StartAt::Offset(start(epoch)))]);
        if epoch % 3 == 0 {
            source.pause(vec![partition.clone()]);
            source.resume(vec![partition.clone()]);
        }
        if epoch % 10 == 0 {
            let (first, epoch_seen) = find(&mut events, |event| match event {
                SourceEvent::Records { epoch: of, chunk, .. } if of == Epoch(epoch) => Some((chunk.frames[0].offset, of)),
                _ => None,
            })
            .await;
            assert_eq!((first, epoch_seen), (start(epoch), Epoch(epoch)));
        }
    }
    let (read, end) = to_end(&mut events, Epoch(199)).await;
    assert_eq!(read, (start(199)..count).map(|o| (o, value_at(0, o))).collect::<Vec<_>>());
    assert_eq!(end, count);
}

/// Not a promise, a figure: run it alone with --ignored --nocapture.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures"]
async fn records_a_second_of_one_poll_thread() {
    let topic = topic("speed", 4).await;
    let (writer, value, count) = (producer(&[("linger.ms", "50")]), vec![7u8; 200], 500_000);
    for partition in 0..4 {
        (0..count).for_each(|_| send(&writer, &topic, partition, &value));
        writer.flush(WAIT).unwrap();
    }
    let (source, mut events) = start(connection(), &unique("g"), &topic);
    let partitions = assigned(&mut events).await;
    let cpu = || {
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
    };
    let (began, cpu_before) = (std::time::Instant::now(), cpu());
    source.assign(partitions.iter().map(|p| (p.clone(), Epoch(1), StartAt::Offset(0))).collect());
    let (mut rows, mut chunks, mut ends) = (0, 0, 0);
    while ends < 4 {
        match next(&mut events).await {
            SourceEvent::Records { chunk, .. } => (rows, chunks) = (rows + chunk.frames.len(), chunks + 1),
            SourceEvent::EndOfPartition { .. } => ends += 1,
            _ => {}
        }
    }
    let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu() - cpu_before);
    println!(
        "{rows} records in {chunks} chunks: {:.0}/s, {:.0} ns CPU a record",
        rows as f64 / wall,
        cpu * 1e9 / rows as f64
    );
}
