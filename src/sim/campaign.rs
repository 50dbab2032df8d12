//! Many seeds, on all cores: how far they came, and the first that broke something.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::sim::oracle::Violation;
use crate::sim::run;
use crate::sim::scenario::Scenario;
use crate::sim::world::Stats;

#[derive(Clone, Copy, Debug)]
pub struct Campaign {
    pub first_seed: u64,
    pub seeds: u64,
    pub threads: usize,
    /// Each seed twice: the traces must be the same.
    pub twice: bool,
    /// Stop at the first violation.
    pub stop_at_first: bool,
}

#[derive(Clone, Debug)]
pub struct Broken {
    pub seed: u64,
    pub violation: Violation,
}

#[derive(Debug, Default)]
pub struct Summary {
    pub seeds: u64,
    pub stats: Stats,
    pub broken: Vec<Broken>,
    /// Seeds whose two runs differ.
    pub undetermined: Vec<u64>,
    pub seconds: f64,
}

/// `progress`: told the number of seeds done, now and then.
pub fn run(campaign: &Campaign, progress: &(dyn Fn(u64) + Sync)) -> Summary {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let summary = Mutex::new(Summary::default());
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..campaign.threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= campaign.seeds {
                        return;
                    }
                    let seed = campaign.first_seed + n;
                    let scenario = Scenario::of(seed);
                    let ended = run::run(&scenario, false);
                    let same = !campaign.twice || run::run(&scenario, false).trace_hash == ended.trace_hash;
                    let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
                    summary.seeds += 1;
                    summary.stats.add(&ended.stats);
                    if !same {
                        summary.undetermined.push(seed);
                    }
                    if let Some(violation) = ended.violation {
                        summary.broken.push(Broken { seed, violation });
                        stop.fetch_or(campaign.stop_at_first, Ordering::Relaxed);
                    }
                    if summary.seeds % 256 == 0 {
                        progress(summary.seeds);
                    }
                }
            });
        }
    });
    let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.seconds = began.elapsed().as_secs_f64();
    summary.broken.sort_by_key(|broken| broken.seed);
    summary
}
