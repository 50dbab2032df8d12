//! Lateness is judged per partition, by the log alone.

use crate::common::*;

const DAY: i64 = 24 * HOUR;

/// On-time trades in both partitions, trades late by days between them, and a late copy (in partition 0) before its on-time
/// copy (in partition 1, whose own time is a day behind).
fn produce_late(world: &World, first: u64) {
    let producer = world.producer();
    let topic = world.topic("binance");
    for n in first..first + 1_000 {
        let at = T0 + 2 * DAY + n as i64 * 1_000_000;
        producer.trade(&topic, 0, Draft::new(4 * n, at));
        if n % 10 == 3 {
            producer.trade(&topic, 0, Draft::new(4 * n + 1, at - 2 * DAY - HOUR));
            // The same late trade again: a late record never makes another one a duplicate.
            producer.trade(&topic, 0, Draft::new(4 * n + 1, at - 2 * DAY - HOUR));
        }
        // Behind by less than the delay: on time.
        producer.trade(&topic, 0, Draft::new(4 * n + 2, at - 4 * MINUTE));
        let day_before = Draft::new(4 * n + 3, T0 + DAY + n as i64 * 1_000_000);
        producer.trade(&topic, 0, day_before);
        producer.trade(&topic, 1, day_before);
    }
    producer.settle();
}

fn with_policy(name: &str, policy: &str, late: Late) {
    let mut world = World::new(name, &[("binance", 2)]);
    world.config = world.config.clone().set("event_time.late", policy);
    produce_late(&world, 0);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    produce_late(&world, 1_000);
    world.drain(&mut [&mut sluice]);
    sluice.kill();
    // A restart takes the maxima from the table: what was late stays late.
    produce_late(&world, 2_000);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    world.check_with(late);
    // The slowest partition's greatest event time less the delay.
    assert_eq!(watermark(&world).as_deref(), Some("2026-03-03T10:44:59"));
}

#[test]
fn late_trades_are_written_under_admit() {
    with_policy("late-admit", "admit", Late::Admit);
}

#[test]
fn late_trades_become_letters_under_dead_letter_but_their_on_time_copies_are_written() {
    with_policy("late-letter", "dead-letter", Late::DeadLetter);
}

#[test]
fn late_trades_are_left_out_under_drop_but_their_on_time_copies_are_written() {
    with_policy("late-drop", "drop", Late::Drop);
}

fn watermark(world: &World) -> Option<String> {
    world.metadata().newest_own().expect("a snapshot of Sluice").watermark(&world.group)
}

#[test]
fn the_watermark_stands_for_a_slow_partition_passes_a_silent_one_and_ignores_the_year_2300() {
    let mut world = World::new("watermark", &[("binance", 3)]);
    let topic = world.topic("binance");
    let producer = world.producer();
    let mut sluice = world.start(1);
    // Partition 2 has no record and so no part in it; partition 0 is behind and holds it.
    producer.trade(&topic, 0, Draft::new(1, T0 + 10 * MINUTE));
    producer.trade(&topic, 1, Draft::new(2, T0 + 60 * MINUTE));
    producer.settle();
    world.drain(&mut [&mut sluice]);
    assert_eq!(watermark(&world).as_deref(), Some("2026-03-02T10:05:00"));
    producer.trade(&topic, 1, Draft::new(3, T0 + 80 * MINUTE));
    producer.settle();
    world.drain(&mut [&mut sluice]);
    assert_eq!(watermark(&world).as_deref(), Some("2026-03-02T10:05:00"), "it stands for the slow partition");
    producer.trade(&topic, 0, Draft::new(4, T0 + 20 * MINUTE));
    producer.settle();
    world.drain(&mut [&mut sluice]);
    assert_eq!(watermark(&world).as_deref(), Some("2026-03-02T10:15:00"), "it advances with the slow partition");
    sluice.terminate();

    world.config = world.config.clone().set("event_time.idle_timeout", "2s");
    let mut sluice = world.start(1);
    let mut n = 10;
    wait_until("the watermark goes past the silent partition", LONG, || {
        sluice.assert_alive();
        n += 1;
        producer.trade(&topic, 1, Draft::new(n, T0 + 90 * MINUTE));
        producer.settle();
        match watermark(&world).as_deref() {
            Some("2026-03-02T11:25:00") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    // A record from 2300 is a dead letter and moves nothing.
    let from_2300 = Record::trade(&world.registry, Draft::new(9_999, T0 + 274 * 365 * DAY));
    producer.send(&topic, 1, Record { what: What::Malformed("from 2300"), timestamp_ms: T0 / 1000, ..from_2300 });
    producer.settle();
    world.drain(&mut [&mut sluice]);
    assert_eq!(watermark(&world).as_deref(), Some("2026-03-02T11:25:00"));
    sluice.terminate();
    world.check();
}
