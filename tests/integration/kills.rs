//! SIGKILL at any moment changes nothing.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::common::trade::Chance;
use crate::common::*;

const KILLS: usize = 20;
const RATE: u64 = 20_000;

/// Produces `RATE` trades a second over all partitions, 2 % of them copies, until told to end. The event time runs with
/// the records: an hour in 100 s.
fn produce_until(world: &World, end: Arc<AtomicBool>, sent: Arc<AtomicU64>) -> std::thread::JoinHandle<()> {
    let producer = world.producer();
    let partitions: Vec<_> = world.partitions().into_iter().collect();
    std::thread::spawn(move || {
        let begun = Instant::now();
        let mut chance = Chance(20);
        let mut n = 0u64;
        while !end.load(Ordering::Relaxed) {
            let due = (begun.elapsed().as_secs_f64() * RATE as f64) as u64;
            while n < due {
                let number = if n > 100 && chance.one_in(50) { n - chance.below(n.min(1_000_000)) } else { n };
                let (topic, partition) = &partitions[chance.below(partitions.len() as u64) as usize];
                producer.trade(topic, *partition, Draft::new(number, T0 + number as i64 * HOUR / (100 * RATE as i64)));
                n += 1;
            }
            sent.store(n, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(5));
        }
        producer.settle();
    })
}

#[test]
fn twenty_kills_at_random_moments_lose_nothing_and_double_nothing() {
    let world = World::new("kills", &[("binance", 2), ("kraken", 2)]);
    let end = Arc::new(AtomicBool::new(false));
    let sent = Arc::new(AtomicU64::new(0));
    let producing = produce_until(&world, end.clone(), sent.clone());
    let begun = Instant::now();
    let mut chance = Chance(6);
    let mut report = Vec::new();
    let mut phases: BTreeMap<&str, usize> = BTreeMap::new();
    let commits = || world.table.load().map_or(0, |m| m.commits(&world.group).len());
    let mut sluice = world.start(1);
    for kill in 1..=KILLS {
        let before = commits();
        match kill % 4 {
            // While it starts and recovers.
            0 => std::thread::sleep(Duration::from_millis(chance.below(2_500))),
            // Anywhere in a commit interval.
            1 => {
                world.wait_commits(before, 2 + chance.below(2) as usize, &mut sluice);
                std::thread::sleep(Duration::from_millis(chance.below(1_300)));
            }
            // While a commit is under way: from the first byte of its data files on.
            _ => {
                world.wait_commits(before, 1, &mut sluice);
                wait_data_file(&world);
                std::thread::sleep(Duration::from_millis(chance.below(25)));
            }
        }
        sluice.assert_alive();
        let last = sluice.last_event();
        sluice.kill();
        let event = last.map_or_else(
            || "before any event".to_owned(),
            |e| format!("{:>4} ms behind {}", e.at.elapsed().as_millis(), e.name()),
        );
        let phase = phase(&world);
        *phases.entry(phase).or_insert(0) += 1;
        report.push(format!("kill {kill:>2}: {phase}, {event}; {} commits survived", commits() - before));
        sluice = world.start(1);
    }
    let survived = commits();
    end.store(true, Ordering::Relaxed);
    producing.join().expect("the producer ends well");
    let rate = sent.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    println!("{}\n{rate:.0} records/s were produced meanwhile", report.join("\n"));
    // Past the capture of test output: what was hit is worth a line also when nothing was wrong.
    let _ = writeln!(std::io::stderr(), "{KILLS} kills at {rate:.0} records/s: {phases:?}, {survived} commits");
    assert!(rate > RATE as f64 * 0.8, "records came at {rate:.0}/s only");
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    assert!(survived >= KILLS, "{survived} commits survived between {KILLS} kills");
    world.check();
}

/// Waits until the newest file is a data file. Asked for every millisecond: a local commit is over soon after.
fn wait_data_file(world: &World) {
    let deadline = Instant::now() + LONG;
    while !newest_file(&world.engine.warehouse).is_some_and(|file| file.to_string_lossy().contains(".parquet")) {
        assert!(Instant::now() < deadline, "no data file begins within {LONG:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How far a commit had come when its process was killed, by the newest file that it left.
fn phase(world: &World) -> &'static str {
    let Some(newest) = newest_file(&world.engine.warehouse) else { return "before the table was made" };
    let name = newest.file_name().expect("a file has a name").to_string_lossy().into_owned();
    // A file that isn't whole yet has another name around its own.
    if name.contains(".parquet") {
        "behind a data file"
    } else if name.contains(".avro") {
        "behind a manifest"
    } else if world.table.location().is_some_and(|current| current.ends_with(&name)) {
        "between two commits"
    } else {
        "before the catalog's answer"
    }
}

fn newest_file(folder: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let files = entries.filter_map(|path| if path.is_dir() { newest_file(&path) } else { Some(path) });
    files.max_by_key(|path| path.metadata().and_then(|m| m.modified()).ok())
}

#[test]
fn a_second_sigterm_ends_at_once_and_the_next_start_loses_nothing() {
    let world = World::new("terminate", &[("binance", 2)]);
    let end = Arc::new(AtomicBool::new(false));
    let producing = produce_until(&world, end.clone(), Arc::default());
    for _ in 0..3 {
        let mut sluice = world.start(1);
        let before = world.table.load().map_or(0, |m| m.commits(&world.group).len());
        world.wait_commits(before, 1, &mut sluice);
        sluice.signal(libc::SIGTERM);
        sluice.signal(libc::SIGTERM);
        sluice.wait();
    }
    end.store(true, Ordering::Relaxed);
    producing.join().expect("the producer ends well");
    let mut sluice = world.start(1);
    world.drain(&mut [&mut sluice]);
    sluice.terminate();
    world.check();
}
