//! Several instances of one group write one table.

use std::time::{Duration, Instant};

use crate::common::*;

/// Waits until the instance owns at least one partition.
fn wait_assigned(sluice: &mut Instance) {
    wait_until(&format!("{} owns partitions", sluice.name), LONG, || {
        sluice.assert_alive();
        match sluice.get("/metrics") {
            Some((200, _)) if sluice.metric("sluice_assigned_partitions", "") > 0.0 => Ok(()),
            other => Err(format!("metrics: {}", other.map_or(0, |(status, _)| status))),
        }
    });
}

#[test]
fn two_instances_reading_the_same_ids_from_different_partitions_in_the_same_seconds_write_each_once() {
    let world = World::new("same-seconds", &[("binance", 2), ("kraken", 2)]);
    let partitions: Vec<_> = world.partitions().into_iter().collect();
    let (mut one, mut two) = (world.start(1), world.start(2));
    wait_assigned(&mut one);
    wait_assigned(&mut two);
    let producer = world.producer();
    let begun = Instant::now();
    let mut n = 0;
    // Every id goes to every partition, so to both instances, and both commit once a second meanwhile.
    while begun.elapsed() < Duration::from_secs(15) {
        for _ in 0..50 {
            for (topic, partition) in &partitions {
                producer.trade(topic, *partition, Draft::new(n, T0 + n as i64 * 200_000));
            }
            n += 1;
        }
        producer.settle();
        std::thread::sleep(Duration::from_millis(50));
    }
    world.drain(&mut [&mut one, &mut two]);
    for instance in [&one, &two] {
        assert!(instance.metric("sluice_commits_total", "outcome=\"committed\"") >= 3.0, "{} took part", instance.name);
    }
    one.terminate();
    two.terminate();
    world.check();
}

#[test]
fn three_instances_started_at_once_on_an_empty_system_all_go_on() {
    for round in 0..5u64 {
        let world = World::new(&format!("at-once-{round}"), &[("binance", 3), ("kraken", 1)]);
        let producer = world.producer();
        for n in 0..1_000 {
            let (topic, partition) = if n % 4 == 3 { ("kraken", 0) } else { ("binance", (n % 4) as i32) };
            producer.trade(&world.topic(topic), partition, Draft::new(n / 2, T0 + n as i64 / 2));
        }
        producer.settle();
        let mut instances: Vec<_> = (1..=3).map(|i| world.start(i)).collect();
        world.drain(&mut instances.iter_mut().collect::<Vec<_>>());
        for instance in &mut instances {
            instance.wait_ready();
            instance.terminate();
        }
        world.check();
    }
}

#[test]
fn an_instance_stopped_past_its_session_and_woken_neither_loses_nor_doubles() {
    let world = World::new("zombie", &[("binance", 2), ("kraken", 2)]);
    let partitions: Vec<_> = world.partitions().into_iter().collect();
    let producer = world.producer();
    let mut n = 0;
    let mut produce = |count: u64| {
        for _ in 0..count {
            let (topic, partition) = &partitions[(n % 4) as usize];
            producer.trade(topic, *partition, Draft::new(n - n % 7, T0 + (n - n % 7) as i64 * 100_000));
            n += 1;
        }
        producer.settle();
    };
    let (mut zombie, mut heir) = (world.start(1), world.start(2));
    for round in 0..3 {
        wait_assigned(&mut zombie);
        wait_assigned(&mut heir);
        // It is stopped with records read and not yet committed, at another moment of its interval each time.
        produce(2_000);
        std::thread::sleep(Duration::from_millis(150 + 400 * round));
        zombie.signal(libc::SIGSTOP);
        produce(2_000);
        // The other takes over all partitions, and commits what the stopped one had read.
        world.drain(&mut [&mut heir]);
        zombie.signal(libc::SIGCONT);
        produce(2_000);
        world.drain(&mut [&mut zombie, &mut heir]);
    }
    zombie.terminate();
    heir.terminate();
    world.check();
}

#[test]
fn instances_come_and_go_and_every_trade_is_there_once() {
    let world = World::new("come-and-go", &[("binance", 4)]);
    let topic = world.topic("binance");
    let producer = world.producer();
    let mut stays = world.start(1);
    let mut n = 0;
    for round in 0..6 {
        let mut guest = world.start(2 + round % 2);
        for _ in 0..10 {
            for _ in 0..200 {
                producer.trade(&topic, (n % 4) as i32, Draft::new(n / 3, T0 + n as i64 / 3 * 10_000));
                n += 1;
            }
            producer.settle();
            std::thread::sleep(Duration::from_millis(200));
        }
        if round % 2 == 0 { guest.terminate() } else { guest.kill() }
    }
    world.drain(&mut [&mut stays]);
    stays.terminate();
    world.check();
}

#[test]
fn one_more_instance_than_partitions_stands_by_and_is_ready() {
    let world = World::new("stand-by", &[("binance", 1)]);
    let (mut one, mut two) = (world.start(1), world.start(2));
    one.wait_ready();
    two.wait_ready();
    let producer = world.producer();
    for n in 0..500 {
        producer.trade(&world.topic("binance"), 0, Draft::new(n, T0));
    }
    producer.settle();
    world.drain(&mut [&mut one, &mut two]);
    one.terminate();
    two.terminate();
    world.check();
}
