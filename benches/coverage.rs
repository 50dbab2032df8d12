//! The hot set against a plain set of 128-bit numbers: lookups that miss, lookups that hit, filling, bytes an id.
//! `cargo bench --bench coverage [ids]`. Ratios count; the numbers are this machine's.

use std::hint::black_box;
use std::time::Instant;

use hashbrown::HashSet;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sluice::core::coverage::Coverage;
use sluice::types::{EventHour, MessageId};

const HOUR: EventHour = EventHour(490_000);
const FILES: usize = 40;

fn main() {
    let numbers = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect::<Vec<usize>>();
    let sizes = if numbers.is_empty() { vec![100_000, 1_000_000, 4_000_000] } else { numbers };
    println!("{:>9}  {:<22} {:>12} {:>12} {:>7}", "ids", "", "coverage", "HashSet", "ratio");
    for n in sizes {
        measure(n);
    }
}

fn measure(n: usize) {
    let mut rng = SmallRng::seed_from_u64(7);
    let held: Vec<MessageId> = (0..n).map(|_| uuid_v4(&mut rng)).collect();
    let absent: Vec<MessageId> = (0..n).map(|_| uuid_v4(&mut rng)).collect();
    let mut shuffled = held.clone();
    for i in (1..n).rev() {
        shuffled.swap(i, rng.random_range(0..=i));
    }

    let (coverage, ours) = timed(|| {
        let mut coverage = Coverage::default();
        for (i, ids) in held.chunks(n.div_ceil(FILES)).enumerate() {
            coverage.cover(format!("file-{i}").into(), HOUR, ids);
        }
        coverage
    });
    let (set, plain) = timed(|| {
        let mut set = HashSet::<u128>::new();
        for ids in held.chunks(n.div_ceil(FILES)) {
            set.extend(ids.iter().map(|id| id.0));
        }
        set
    });
    row(n, "fill, M ids/s", mega(n, ours), mega(n, plain));
    for (what, ids) in [("miss, M lookups/s", &absent), ("hit, M lookups/s", &shuffled)] {
        let (found, ours) = timed(|| ids.iter().filter(|id| coverage.lookup(HOUR, **id).is_some()).count());
        let (same, plain) = timed(|| ids.iter().filter(|id| set.contains(&id.0)).count());
        assert_eq!(found, same, "both hold the same ids");
        row(n, what, mega(n, ours), mega(n, plain));
        let (found, ours) = timed(|| {
            let mut found = 0;
            coverage.lookup_all(HOUR, ids, |_, _| found += 1);
            found
        });
        assert_eq!(found, same, "both hold the same ids");
        row(n, "  the same, all at once", mega(n, ours), mega(n, plain));
    }
    row(n, "bytes an id", coverage.bytes() as f64 / n as f64, set.allocation_size() as f64 / n as f64);
}

fn uuid_v4(rng: &mut SmallRng) -> MessageId {
    let random: u128 = rng.random();
    MessageId(random & !(0xf << 76) & !(0x3 << 62) | 0x4 << 76 | 0x2 << 62)
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = Instant::now();
    let done = black_box(work());
    (done, start.elapsed().as_secs_f64())
}

fn mega(n: usize, seconds: f64) -> f64 {
    n as f64 / seconds / 1e6
}

fn row(n: usize, what: &str, ours: f64, plain: f64) {
    println!("{n:>9}  {what:<22} {ours:>12.1} {plain:>12.1} {:>7.2}", ours / plain);
}
