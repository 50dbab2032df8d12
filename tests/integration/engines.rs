//! Other engines roll back, delete, rewrite and expire beside Sluice.

use crate::common::table::ranges;
use crate::common::*;

/// `count` trades from `first` on in the given topic, one hour of event time per thousand.
fn produce(world: &World, topic: &str, first: u64, count: u64) {
    let producer = world.producer();
    for n in first..first + count {
        producer.trade(&world.topic(topic), (n % 2) as i32, draft(n));
    }
    producer.settle();
}

fn draft(n: u64) -> Draft {
    Draft::new(n, T0 + n as i64 * HOUR / 1_000)
}

/// Three portions, each committed before the next: returns the snapshots behind them.
fn three_portions(world: &World, sluice: &mut Instance) -> Vec<i64> {
    let mut heads = Vec::new();
    for portion in 0..3 {
        produce(world, "binance", portion * 1_000, 1_000);
        world.drain(&mut [sluice]);
        heads.push(world.metadata().head().expect("a head"));
    }
    heads
}

#[test]
fn a_roll_back_by_another_engine_with_input_is_a_rewind() {
    let world = World::new("roll-back-input", &[("binance", 2)]);
    let mut sluice = world.start(1);
    three_portions(&world, &mut sluice);
    let producer = world.producer();
    for round in 0..60u64 {
        for i in 0..50 {
            let n = 3_000 + round * 50 + i;
            producer.trade(&world.topic("binance"), (i % 2) as i32, draft(n));
            // Copies of trades that the roll-backs take away, or don't.
            producer.trade(&world.topic("binance"), (n % 2) as i32, draft(n - 500));
        }
        producer.settle();
        if round % 20 == 10 {
            let target = world.metadata().ancestry()[2].id();
            world.engine.roll_back(target);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    world.check();
}

#[test]
fn a_roll_back_without_input_is_a_rewind_within_the_commit_interval() {
    let world = World::new("roll-back-idle", &[("binance", 2)]);
    let mut sluice = world.start(1);
    let heads = three_portions(&world, &mut sluice);
    for to in [heads[1], heads[0]] {
        let before = world.metadata().head().expect("three portions were committed");
        world.engine.roll_back(to);
        // what took its place may be committed already
        assert!(world.metadata().ancestry().iter().all(|s| s.id() != before), "main went back");
        world.drain(&mut [&mut sluice]);
        world.check_rows("pyiceberg", &world.expected(Late::Admit));
    }
    sluice.terminate();
    world.check();
}

#[test]
fn a_roll_back_while_stopped_is_a_rewind_at_the_next_start() {
    let world = World::new("roll-back-stopped", &[("binance", 2)]);
    let mut sluice = world.start(1);
    let heads = three_portions(&world, &mut sluice);
    sluice.kill();
    world.engine.roll_back(heads[0]);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    world.check();
}

#[test]
fn a_roll_back_to_before_a_topic_joined_stops_with_four_also_under_latest() {
    let mut world = World::new("roll-back-topic", &[("binance", 2)]);
    let mut sluice = world.start(1);
    let heads = three_portions(&world, &mut sluice);
    sluice.terminate();
    world.create_topic("kraken", 2, &[]);
    world.subscribe(&["binance", "kraken"]);
    produce(&world, "kraken", 5_000, 1_000);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();

    world.engine.roll_back(heads[2]);
    world.config = world.config.clone().set("kafka.start", "latest");
    let mut sluice = world.start(1);
    let text = sluice.wait_stop(4);
    assert!(text.contains("offsets reset"), "the stop names the command: {text}");
    let lane = world.metadata().lane(&world.group).unwrap();
    assert!(lane.offsets.keys().all(|(topic, _)| *topic != world.topic("kraken")), "nothing was opened: {lane:?}");
    // The safe answer: a replay can't double anything.
    let kraken = world.topic("kraken");
    world.run_expecting(0, &["offsets", "reset", "--topic", &kraken, "--to-earliest", "--execute"]);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    world.check();
}

#[test]
fn re_sends_of_a_file_that_another_engine_deletes_at_that_moment_are_written() {
    let mut world = World::new("delete-file", &[("binance", 2)]);
    world.config = world.config.clone().set("gold.commit_interval", "4s").set("gold.idle_commit_interval", "8s");
    let mut sluice = world.start(1);
    let mut deletes = Vec::new();
    for round in 0..4u64 {
        // One hour a round: its rows lie in files of their own.
        produce(&world, "binance", round * 1_000, 1_000);
        world.drain(&mut [&mut sluice]);
        let hour = draft(round * 1_000).hour();
        let files = world.engine.files();
        let victims: Vec<_> = files.iter().filter(|f| f.path.contains(&partition_path(hour))).collect();
        assert!(!victims.is_empty(), "files of hour {hour} among {files:?}");
        // The re-sends are read and judged duplicates; then, before that is committed, their files go.
        let fetched = sluice.metric("sluice_records_fetched_total", "");
        produce(&world, "binance", round * 1_000, 1_000);
        wait_until("the re-sends are fetched", LONG, || {
            let now = sluice.metric("sluice_records_fetched_total", "");
            if now >= fetched + 1_000.0 { Ok(()) } else { Err(format!("{now} fetched, {fetched} before")) }
        });
        deletes.push((hour, world.engine.delete_files(&victims)));
        world.drain(&mut [&mut sluice]);
    }
    sluice.terminate();
    let between = rows_are_there_whose_records_were_committed_behind_the_delete(&world, &deletes);
    assert!(between > 0, "in no round did the delete come between verdict and commit");
    world.metadata().audit(&world.group);
    world.run_expecting(0, &["verify", "--deep"]);
}

/// As the table's paths name the partition of an event hour.
fn partition_path(hour: i64) -> String {
    let date = chrono::DateTime::from_timestamp(hour * 3600, 0).expect("a date").date_naive();
    format!("exchange_date={date}/exchange_hour={}/", hour.rem_euclid(24))
}

/// A record that was committed behind the delete of its hour's files stands on a base without them, so its row must be
/// there; one that was committed before went with them. Returns how many records were committed behind.
fn rows_are_there_whose_records_were_committed_behind_the_delete(world: &World, deletes: &[(i64, i64)]) -> usize {
    let metadata = world.metadata();
    let chain: Vec<i64> = metadata.ancestry().iter().rev().map(|s| s.id()).collect();
    let place = |id: i64| chain.iter().position(|i| *i == id).expect("on main");
    let commits: Vec<_> =
        metadata.commits(&world.group).into_iter().map(|s| (place(s.id()), ranges(s, &world.group))).collect();
    let mut behind = std::collections::HashSet::new();
    let mut expected = world.expected(Late::Admit);
    for (partition, entries) in world.ledger.lock().unwrap().partitions() {
        for entry in entries {
            let What::Trade(draft) = entry.what else { continue };
            let holds = |r: &&(usize, _)| covers(&r.1, partition, entry.offset);
            let (committed, _) = commits.iter().find(holds).expect("every record is in a range");
            let (_, delete) = deletes.iter().find(|(hour, _)| *hour == draft.hour()).expect("every hour had a delete");
            if *committed > place(*delete) {
                behind.insert((draft.id.to_string(), draft.hour()));
            }
        }
    }
    expected.rows.retain(|key, _| behind.contains(key));
    world.check_rows("pyiceberg", &expected);
    behind.len()
}

type Ranges = std::collections::BTreeMap<ledger::Partition, (i64, i64)>;

fn covers(ranges: &Ranges, partition: &ledger::Partition, offset: i64) -> bool {
    ranges.get(partition).is_some_and(|(start, end)| (*start..*end).contains(&offset))
}

#[test]
fn two_lanes_go_on_one_of_them_idle_while_another_engine_appends_rewrites_and_expires() {
    let mut world = World::new("two-lanes", &[("binance", 2)]);
    world.create_topic("kraken", 2, &[]);
    let busy = world.config.clone();
    let idle_group = format!("{}-idle", world.group);
    let idle = busy
        .clone()
        .set("kafka.group_id", idle_group.as_str())
        .set("kafka.topics", vec![toml::Value::from(world.topic("kraken"))]);
    produce(&world, "kraken", 50_000, 1_000);
    let mut one = world.start_with(1, &busy);
    let mut two = world.start_with(2, &idle);
    world.drain_lane(&idle, &mut [&mut two]);
    let mut expired = 0;
    for round in 0..6 {
        produce(&world, "binance", round * 1_000, 1_000);
        world.drain_lane(&busy, &mut [&mut one, &mut two]);
        world.engine.append(round * 100, 100, T0);
        world.engine.rewrite();
        // Foreign maintenance finds a snapshot of Sluice near the head: it is anchored within the idle interval.
        wait_until("the foreign head is anchored", LONG, || {
            one.assert_alive();
            two.assert_alive();
            let metadata = world.metadata();
            let head = metadata.head().and_then(|id| metadata.snapshot(id)).expect("a head");
            if head.is_sluices_own() { Ok(()) } else { Err(format!("head {} is foreign", head.id())) }
        });
        expired += world.engine.expire();
    }
    assert!(expired > 10, "{expired} snapshots were expired");
    // The idle lane wakes.
    produce(&world, "kraken", 60_000, 1_000);
    world.drain_lane(&idle, &mut [&mut one, &mut two]);
    one.terminate();
    two.terminate();
    let metadata = world.metadata();
    for (group, consumed) in [(&world.group, 6_000), (&idle_group, 2_000)] {
        metadata.audit(group);
        assert_eq!(metadata.lane(group).expect("the lane is carried").totals.consumed, consumed, "{group}");
    }
    world.check_rows("pyiceberg", &world.expected(Late::Admit));
    for config in [busy, idle] {
        world.config = config;
        world.run_expecting(0, &["verify", "--deep"]);
    }
}

#[test]
fn rows_that_another_engine_appends_count_as_seen() {
    let world = World::new("foreign-rows", &[("binance", 1)]);
    let mut sluice = world.start(1);
    produce_one(&world, 0);
    world.drain(&mut [&mut sluice]);
    world.engine.append(0, 100, T0);
    let producer = world.producer();
    for n in 0..100 {
        let draft = Draft { id: Id::Foreign(n), ..Draft::new(n, T0) };
        producer.trade(&world.topic("binance"), 0, draft);
    }
    producer.settle();
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    let totals = world.metadata().lane(&world.group).unwrap().totals;
    assert_eq!((totals.written, totals.duplicate), (1, 100), "{totals:?}");
    world.run_expecting(0, &["verify", "--deep"]);
}

fn produce_one(world: &World, n: u64) {
    let producer = world.producer();
    producer.trade(&world.topic("binance"), 0, draft(n));
    producer.settle();
}

#[test]
fn a_table_that_was_dropped_is_never_made_again_in_silence() {
    let world = World::new("dropped", &[("binance", 1)]);
    let mut sluice = world.start(1);
    produce_one(&world, 0);
    world.drain(&mut [&mut sluice]);
    world.engine.drop_table();
    let text = sluice.wait_stop(4);
    assert!(text.contains(&world.table.name), "the stop names the table: {text}");
    world.start(1).wait_stop(4);
    assert!(world.table.load().is_none(), "nothing was created");
}
