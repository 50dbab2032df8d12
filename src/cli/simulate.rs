//! `sluice simulate`: the protocol under histories drawn from seeds.

use std::process::ExitCode;
use std::sync::Mutex;

use clap::Args;

use super::Finished;
use super::output::print;
use super::progress::Progress;
use crate::error::{Exit, Stop};
use crate::sim::campaign::{self, Campaign, Summary};
use crate::sim::run;
use crate::sim::scenario::Scenario;

/// Run the protocol through seeded histories of faults, and judge every snapshot
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  sluice simulate --seeds 20000\n  sluice simulate --seed 4711 --trace")]
pub struct SimulateArgs {
    /// How many seeds
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Run each seed twice and compare the traces
    #[arg(long)]
    twice: bool,
    /// Print what happens, line by line; for one seed
    #[arg(long)]
    trace: bool,
    /// Go on after a violation
    #[arg(long)]
    keep_going: bool,
    /// Threads; else as many as there are cores
    #[arg(long)]
    threads: Option<usize>,
}

impl SimulateArgs {
    pub fn run(self) -> Finished {
        std::panic::set_hook(Box::new(|_| {}));
        if self.trace {
            return traced(self.seed);
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let campaign = Campaign {
            first_seed: self.seed,
            seeds: self.seeds,
            threads: self.threads.unwrap_or(cores),
            twice: self.twice,
            stop_at_first: !self.keep_going,
        };
        let progress = Mutex::new(Progress::new("seeds", Some(self.seeds)));
        let summary = campaign::run(&campaign, &|done| {
            if let Ok(mut progress) = progress.lock() {
                progress.at(done);
            }
        });
        print(&told(&summary))?;
        verdict(&summary)
    }
}

fn traced(seed: u64) -> Finished {
    let ended = run::run(&Scenario::of(seed), true);
    print(&format!("{:#?}\n{}\n", Scenario::of(seed), ended.lines.join("\n")))?;
    match ended.violation {
        None => Ok(ExitCode::SUCCESS),
        Some(violation) => Err(Stop::new(Exit::Internal, format!("seed {seed}: {violation:?}"), "see the trace above")),
    }
}

fn told(summary: &Summary) -> String {
    let stats = &summary.stats;
    let mut text = format!(
        "{} seeds in {:.1} s ({:.0}/s): {} steps, {} faults, {} crashes, {} ambiguous commits, {} snapshots judged, {} typed \
         stops, {:.1} h simulated\n",
        summary.seeds,
        summary.seconds,
        summary.seeds as f64 / summary.seconds,
        stats.steps,
        stats.faults,
        stats.crashes,
        stats.ambiguous,
        stats.snapshots,
        stats.stops,
        stats.simulated_ms as f64 / 3.6e6,
    );
    for broken in &summary.broken {
        let violation = &broken.violation;
        text += &format!("seed {}: {:?}: {}\n", broken.seed, violation.invariant, violation.what);
    }
    text
}

fn verdict(summary: &Summary) -> Finished {
    if let Some(seed) = summary.undetermined.first() {
        let what = format!("seed {seed} ran differently the second time ({} seeds did)", summary.undetermined.len());
        return Err(Stop::internal(what));
    }
    match summary.broken.first() {
        None => Ok(ExitCode::SUCCESS),
        Some(broken) => Err(Stop::new(
            Exit::Internal,
            format!("{} of {} seeds broke an invariant", summary.broken.len(), summary.seeds),
            format!("`sluice simulate --seed {} --trace` shows the first", broken.seed),
        )),
    }
}
