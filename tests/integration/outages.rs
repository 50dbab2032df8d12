//! Kafka, registry or letter topic away: Sluice waits, says so, and goes on.

use crate::common::stack::Stack;
use crate::common::*;

fn produce(world: &World, first: u64, count: u64) {
    let producer = world.producer();
    for n in first..first + count {
        producer.trade(&world.topic("binance"), (n % 2) as i32, Draft::new(n, T0 + n as i64 * 100_000));
    }
    producer.settle();
}

#[test]
fn a_broker_that_is_away_is_waited_for() {
    let stack = Stack::start("outage");
    let world = World::on(&stack, "kafka-away", &[("binance", 2)]);
    produce(&world, 0, 2_000);
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    let from = sluice.position();
    stack.stop("kafka");
    sluice.wait_not_ready("kafka");
    let (_, from) = sluice.wait_event_from(from, "dependency.down");
    stack.restart("kafka");
    sluice.wait_event_from(from, "dependency.up");
    produce(&world, 1_000, 2_000);
    world.drain(&mut [&mut sluice]);
    sluice.wait_ready();
    sluice.terminate();
    world.check();
}

#[test]
fn a_registry_that_hangs_is_waited_for_and_no_record_becomes_a_letter() {
    let stack = Stack::start("registry");
    let world = World::on(&stack, "registry-away", &[("binance", 2)]);
    let mut sluice = world.start(1);
    sluice.wait_ready();
    process::signal(stack.pid("registry"), libc::SIGSTOP);
    // Its ids were known before it hung; this process has not asked for one yet.
    produce(&world, 0, 2_000);
    sluice.wait_not_ready("registry");
    process::signal(stack.pid("registry"), libc::SIGCONT);
    world.drain(&mut [&mut sluice]);
    sluice.wait_ready();
    sluice.terminate();
    world.check();
    assert_eq!(world.kafka.letters(&world.letters).len(), 0);
}
