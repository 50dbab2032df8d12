//! Transactional producers: aborted records never reach Gold, and the table's offsets pass their markers.

use crate::common::*;

#[test]
fn aborted_records_never_reach_gold_and_open_transactions_hold_nothing_back_for_ever() {
    let world = World::new("transactions", &[("binance", 2)]);
    let topic = world.topic("binance");
    let (steady, slow) = (world.transactions("steady"), world.transactions("slow"));
    let plain = world.producer();
    let mut sluice = world.start(1);
    for round in 0..30u64 {
        let first = round * 1_000;
        // One transaction stays open over several rounds: what lies behind it isn't stable yet.
        if round % 6 == 0 {
            slow.begin();
        }
        slow.trade(&topic, 1, Draft::new(first + 900, T0 + first as i64));
        slow.flush();
        steady.begin();
        for n in first..first + 100 {
            // Trades of an aborted transaction are sent again by the next one, as an application does.
            let id = if round % 3 == 2 { n - 1_000 } else { n };
            steady.trade(&topic, (n % 2) as i32, Draft::new(id, T0 + id as i64));
        }
        if round % 3 == 1 {
            steady.abort();
        } else {
            steady.commit();
        }
        if round % 6 == 5 {
            if round % 12 == 5 { slow.commit() } else { slow.abort() }
        }
        plain.trade(&topic, 0, Draft::new(first + 950, T0 + first as i64));
        plain.settle();
    }
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    world.check();
}

#[test]
fn the_offsets_pass_a_log_that_ends_with_control_records_only() {
    let world = World::new("markers", &[("binance", 1)]);
    let topic = world.topic("binance");
    let transactions = world.transactions("one");
    let mut sluice = world.start(1);
    for n in 0..20 {
        transactions.begin();
        transactions.trade(&topic, 0, Draft::new(n, T0));
        transactions.abort();
    }
    // Nothing but aborted records and markers: progress all the same, and a restart doesn't go back.
    world.drain(&mut [&mut sluice]);
    sluice.kill();
    let mut sluice = world.start(1);
    transactions.begin();
    transactions.trade(&topic, 0, Draft::new(3, T0));
    transactions.commit();
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    world.check();
    assert_eq!(world.metadata().lane(&world.group).unwrap().totals.consumed, 1);
}
