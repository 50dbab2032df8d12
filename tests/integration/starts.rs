//! The table says where to resume: whatever else is missing, moved or damaged.

use std::fs;
use std::path::Path;

use crate::common::table::by_partition;
use crate::common::*;

/// `count` trades from number `first` on, spread over all partitions, ten seconds of event time apart.
fn produce(world: &World, first: u64, count: u64) {
    let producer = world.producer();
    let partitions: Vec<_> = world.partitions().into_iter().collect();
    for n in first..first + count {
        let (topic, partition) = &partitions[n as usize % partitions.len()];
        producer.trade(topic, *partition, Draft::new(n, T0 + n as i64 * 1_000_000));
    }
    producer.settle();
}

/// Where the lane was opened: new offsets of all of Sluice's resets on main.
fn openings(world: &World) -> Vec<((String, i32), Option<i64>, i64)> {
    let metadata = world.metadata();
    let key = format!("sluice.reset.{}", world.group);
    let mut all = Vec::new();
    for snapshot in metadata.ancestry().into_iter().rev() {
        let Some(json) = snapshot.json(&key) else { continue };
        for (partition, (from, to)) in by_partition(&json, |v| (v[0].as_i64(), v[1].as_i64().expect("an offset"))) {
            all.push((partition, from, to));
        }
    }
    all
}

#[test]
fn a_log_that_starts_at_5000_is_opened_there() {
    let world = World::new("log-start", &[("binance", 1)]);
    let topic = world.topic("binance");
    produce(&world, 0, 6_000);
    world.kafka.delete_records(&topic, 0, 5_000);
    let mut world = world;
    world.starts.insert((topic.clone(), 0), 5_000);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    assert_eq!(openings(&world), [((topic, 0), None, 5_000)]);
    world.check();
    assert_eq!(world.metadata().lane(&world.group).unwrap().totals.consumed, 1_000);
}

#[test]
fn a_topic_added_with_latest_is_opened_at_its_end_and_nothing_behind_that_is_missed() {
    let mut world = World::new("added-topic", &[("binance", 2)]);
    produce(&world, 0, 1_000);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();

    world.create_topic("kraken", 2, &[]);
    world.subscribe(&["kraken"]);
    produce(&world, 10_000, 500);
    world.subscribe(&["binance", "kraken"]);
    world.config = world.config.clone().set("kafka.start", "latest");
    for partition in 0..2 {
        let kraken = world.topic("kraken");
        let end = world.kafka.log(&kraken, partition).1;
        world.starts.insert((kraken, partition), end);
    }
    // Records of the topic that the lane knows came meanwhile: they are not skipped by `latest`.
    produce_in(&world, "binance", 20_000, 300);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    produce(&world, 30_000, 500);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    world.check();
}

fn produce_in(world: &World, topic: &str, first: u64, count: u64) {
    let producer = world.producer();
    for n in first..first + count {
        producer.trade(&world.topic(topic), (n % 2) as i32, Draft::new(n, T0 + n as i64 * 1_000_000));
    }
    producer.settle();
}

#[test]
fn partitions_added_while_running_are_opened_at_0_and_nothing_is_missed() {
    let mut world = World::new("added-partitions", &[("binance", 1)]);
    world.config = world
        .config
        .clone()
        .set("kafka.start", "latest")
        .set_in(&["kafka", "properties", "topic.metadata.refresh.interval.ms"], "2000");
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    produce(&world, 0, 500);
    world.drain(&mut [&mut sluice]);
    world.add_partitions("binance", 3);
    produce(&world, 1_000, 1_500);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    world.check();
    assert_eq!(world.expected(Late::Admit).consumed, 2_000);
}

#[test]
fn offsets_with_holes_and_empty_partitions_are_passed() {
    let mut world = World::new("holes", &[]);
    world.create_topic(
        "compacted",
        3,
        &[
            ("cleanup.policy", "compact"),
            ("min.cleanable.dirty.ratio", "0.01"),
            ("segment.ms", "100"),
            ("delete.retention.ms", "100"),
            ("max.compaction.lag.ms", "500"),
        ],
    );
    world.subscribe(&["compacted"]);
    let topic = world.topic("compacted");
    // Holes that are there from the first: markers of transactions, and aborted records. Partition 2 stays empty.
    let transactions = world.transactions("holes");
    for n in 0..50 {
        transactions.begin();
        transactions.trade(&topic, (n % 2) as i32, Draft::new(n, T0));
        if n % 3 == 0 { transactions.abort() } else { transactions.commit() }
    }
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    assert!(sluice.metric("sluice_offset_holes_total", "") > 0.0, "holes are counted");
    sluice.terminate();
    world.check();
}

/// All trades so far once more: every one must be found again, wherever its id is kept.
fn produce_again(world: &World, count: u64) {
    let producer = world.producer();
    let partitions: Vec<_> = world.partitions().into_iter().collect();
    for n in 0..count {
        let (topic, partition) = &partitions[(n as usize + 1) % partitions.len()];
        producer.trade(topic, *partition, Draft::new(n, T0 + n as i64 * 1_000_000));
    }
    producer.settle();
}

#[test]
fn a_warm_restart_is_served_by_sled_and_a_deleted_or_corrupted_state_costs_time_only() {
    let world = World::new("state", &[("binance", 2)]);
    produce(&world, 0, 5_000);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.kill();

    // Warm: no message_id column of a file that sled holds is read.
    produce_again(&world, 5_000);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    assert!(sluice.metric("sluice_dedup_loads_total", "source=\"sled\"") > 0.0, "ids come from sled");
    assert_eq!(sluice.metric("sluice_dedup_loads_total", "source=\"column\""), 0.0, "no column is read");
    sluice.kill();

    fs::remove_dir_all(world.state_dir(1)).expect("there was a state folder");
    produce_again(&world, 5_000);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    assert!(sluice.metric("sluice_dedup_loads_total", "source=\"column\"") > 0.0, "ids come from the table");
    sluice.kill();

    for damage in [flip_a_byte, truncate] {
        for_each_file(&world.state_dir(1), &damage);
        produce_again(&world, 5_000);
        let mut sluice = world.start(1);
        world.drain(&mut [&mut sluice]);
        sluice.kill();
    }
    let mut sluice = world.start(1);
    sluice.wait_ready();
    sluice.terminate();
    world.check();
    assert_eq!(world.metadata().lane(&world.group).unwrap().totals.written, 5_000);
}

fn for_each_file(dir: &Path, damage: &dyn Fn(&Path)) {
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { for_each_file(&path, damage) } else { damage(&path) }
    }
}

fn flip_a_byte(path: &Path) {
    let mut bytes = fs::read(path).expect("a file");
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 0x40;
        fs::write(path, bytes).expect("a file");
    }
}

fn truncate(path: &Path) {
    let bytes = fs::read(path).expect("a file");
    fs::write(path, &bytes[..bytes.len() / 3]).expect("a file");
}

#[test]
fn group_offsets_that_were_deleted_or_moved_change_nothing_and_are_mirrored_again() {
    let world = World::new("group-offsets", &[("binance", 2)]);
    let partitions: Vec<_> = world.partitions().into_iter().collect();
    produce(&world, 0, 2_000);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();

    world.kafka.delete_group(&world.group);
    produce(&world, 2_000, 500);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();

    // Ahead of the table: a consumer that believed it would skip the next records. And back to the start.
    for to in [[9_999, 9_999], [0, 0]] {
        world.kafka.move_group_offsets(&world.group, partitions.iter().cloned().zip(to));
        let first = 10_000 + to[0] as u64;
        produce(&world, first, 500);
        let mut sluice = world.start(1);
        world.drain(&mut [&mut sluice]);
        sluice.terminate();
        let lane = world.metadata().lane(&world.group).unwrap();
        let mirrored = world.kafka.group_offsets(&world.group, &partitions);
        for (partition, offset) in &lane.offsets {
            assert_eq!(mirrored[partition].offset, *offset, "{partition:?} mirrors the table");
            assert!(mirrored[partition].metadata.starts_with("table="), "{:?}", mirrored[partition]);
        }
    }
    world.check();
}

#[test]
fn an_operators_reset_reads_everything_again_and_doubles_nothing() {
    let world = World::new("reset", &[("binance", 2), ("kraken", 1)]);
    produce(&world, 0, 3_000);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    // Refused while the group has members.
    world.run_expecting(3, &["offsets", "reset", "--all-topics", "--to-earliest", "--execute"]);
    sluice.terminate();
    wait_until("the group is empty", LONG, || match world.kafka.group_members(&world.group) {
        0 => Ok(()),
        members => Err(format!("{members} members")),
    });
    let before = world.metadata().head();
    world.run_expecting(0, &["offsets", "reset", "--all-topics", "--to-earliest"]);
    assert_eq!(world.metadata().head(), before, "without --execute it prints the plan only");
    world.run_expecting(0, &["offsets", "reset", "--all-topics", "--to-earliest", "--execute"]);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    let expected = world.expected(Late::Admit);
    world.check_rows("pyiceberg", &expected);
    world.metadata().audit(&world.group);
    let totals = world.metadata().lane(&world.group).unwrap().totals;
    assert_eq!((totals.written, totals.duplicate), (3_000, 3_000), "{totals:?}");
    world.run_expecting(0, &["verify", "--deep"]);
}

#[test]
fn a_recreated_topic_stops_with_four_and_a_reset_of_all_its_partitions_goes_on() {
    let world = World::new("recreated", &[("binance", 2)]);
    let topic = world.topic("binance");
    produce(&world, 0, 2_000);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    let first = world.expected(Late::Admit);

    world.kafka.delete_topic(&topic);
    *world.ledger.lock().unwrap() = ledger::Ledger::default();
    wait_until("the topic can be made again", LONG, || {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.kafka.create_topic(&topic, 2, &[])))
            .map_err(|_| "still there".to_owned())
    });
    // Longer than the old offsets: a consumer that only looked at these would go on in the middle.
    produce(&world, 50_000, 4_000);
    let mut sluice = world.start(1);
    let text = sluice.wait_stop(4);
    assert!(text.contains("offsets reset"), "the stop names the command: {text}");
    // One partition only would bless the old offset of the other.
    world.run_expecting(3, &["offsets", "reset", "--topic", &format!("{topic}:0"), "--to-earliest", "--execute"]);
    world.run_expecting(0, &["offsets", "reset", "--topic", &topic, "--to-earliest", "--execute"]);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    let mut expected = world.expected(Late::Admit);
    expected.rows.extend(first.rows);
    world.check_rows("pyiceberg", &expected);
    world.metadata().audit(&world.group);
}

#[test]
fn records_lost_to_retention_stop_with_six_and_name_the_range() {
    let world = World::new("retention", &[("binance", 1)]);
    let topic = world.topic("binance");
    produce(&world, 0, 1_000);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    produce(&world, 1_000, 1_000);
    world.kafka.delete_records(&topic, 0, 1_500);
    let mut sluice = world.start(1);
    let text = sluice.wait_stop(6);
    for word in ["1000", "1500", "offsets reset"] {
        assert!(text.contains(word), "the stop names {word}: {text}");
    }
    world.run_expecting(0, &["offsets", "reset", "--topic", &topic, "--to-earliest", "--execute"]);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    let totals = world.metadata().lane(&world.group).unwrap().totals;
    assert_eq!(totals.consumed, 1_500, "{totals:?}");
    world.metadata().audit(&world.group);
}

#[test]
fn a_wrong_configuration_is_exit_2_with_key_value_and_fix_before_anything_is_touched() {
    let world = World::new("config", &[("binance", 1)]);
    for (path, value, words) in [
        (vec!["gold", "commit_intervall"], "30s", ["commit_intervall", "commit_interval"]),
        (vec!["gold", "commit_interval"], "soon", ["gold.commit_interval", "soon"]),
        (vec!["event_time", "late"], "sometimes", ["event_time.late", "admit"]),
        (vec!["kafka", "properties", "enable.auto.commit"], "true", ["enable.auto.commit", "true"]),
        (vec!["kafka", "properties", "max.poll.interval.ms"], "5000", ["max.poll.interval.ms", "5000"]),
        (vec!["iceberg", "catalog"], "rest", ["iceberg.catalog", "rest"]),
    ] {
        let config = world.config.clone().set_in(&path, value);
        let mut sluice = world.start_with(1, &config);
        let text = sluice.wait_stop(2);
        for word in words {
            assert!(text.contains(word), "{path:?} = {value}: the message names {word}: {text}");
        }
    }
    assert!(world.table.load().is_none(), "nothing was touched");
}
