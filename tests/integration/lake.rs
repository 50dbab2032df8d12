//! Faults of warehouse and catalog on the local disk: waited for by a service that wrote before, refused at a start.

use std::path::PathBuf;

use rusqlite::Connection;

use crate::common::volume::Volume;
use crate::common::*;

fn produce(world: &World, first: u64, count: u64) {
    let producer = world.producer();
    for n in first..first + count {
        producer.trade(&world.topic("binance"), (n % 2) as i32, Draft::new(n, T0 + n as i64 * 100_000));
    }
    producer.settle();
}

/// Moves the catalog's file, which nobody made yet.
fn move_catalog(world: &mut World, to: PathBuf) {
    world.config = world.config.clone().set("iceberg.uri", to.to_str().expect("UTF-8"));
    world.table.catalog = to;
    world.engine.table = world.table.clone();
}

/// What is written before, during and after `volume` is read-only is in the table once, and the service says meanwhile that
/// `dependency` is down. Another one that starts then is refused and names `setting`.
fn waits_while_read_only(world: &World, volume: &Volume, dependency: &str, setting: &str) {
    let mut sluice = world.start(1);
    produce(world, 0, 1_000);
    world.drain(&mut [&mut sluice]);
    let from = sluice.position();
    volume.make_read_only();
    produce(world, 500, 1_000);
    let (down, from) = sluice.wait_event_from(from, "dependency.down");
    assert_eq!(down.body["dependency"], dependency, "{down:?}");
    sluice.wait_not_ready(dependency);
    volume.make_writable();
    sluice.wait_event_from(from, "dependency.up");
    world.drain(&mut [&mut sluice]);
    sluice.wait_ready();
    sluice.terminate();
    world.check();

    produce(world, 2_000, 100);
    volume.make_read_only();
    let mut sluice = world.start(2);
    let text = sluice.wait_stop(2);
    assert!(text.contains(setting), "the stop names {setting}: {text}");
    volume.make_writable();
    let mut sluice = world.start(2);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    world.check();
}

/// It ended with exit 2, as if the configuration had been wrong all along.
#[test]
fn a_warehouse_that_becomes_read_only_is_waited_for() {
    let world = World::new("warehouse-read-only", &[("binance", 2)]);
    let warehouse = Volume::at(world.dir.join("warehouse"));
    waits_while_read_only(&world, &warehouse, "object store", "iceberg.warehouse");
}

#[test]
fn a_catalog_file_that_becomes_read_only_is_waited_for() {
    let mut world = World::new("catalog-read-only", &[("binance", 2)]);
    let folder = world.dir.join("catalog");
    let volume = Volume::at(folder.clone());
    move_catalog(&mut world, folder.join("catalog.db"));
    waits_while_read_only(&world, &volume, "catalog", "iceberg.uri");
}

/// The service went on trying and stayed ready, as if it were committing.
#[test]
fn a_catalog_that_another_process_holds_is_waited_for() {
    let world = World::new("catalog-held", &[("binance", 2)]);
    let mut sluice = world.start(1);
    produce(&world, 0, 1_000);
    world.drain(&mut [&mut sluice]);
    sluice.wait_ready();
    let from = sluice.position();
    let holder = Connection::open(&world.table.catalog).expect("the catalog opens");
    holder.busy_timeout(LONG).expect("a timeout is set");
    holder.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes for long");
    let before = world.metadata().head();
    produce(&world, 500, 1_000);
    let (down, from) = sluice.wait_event_from(from, "dependency.down");
    assert_eq!(down.body["dependency"], "catalog", "{down:?}");
    sluice.wait_not_ready("locked");
    assert_eq!(world.metadata().head(), before, "nothing was committed past the lock");
    holder.execute_batch("ROLLBACK").expect("the lock is released");
    sluice.wait_event_from(from, "dependency.up");
    world.drain(&mut [&mut sluice]);
    sluice.wait_ready();
    sluice.terminate();
    world.check();
}
