//! `sluice simulate`: the protocol under histories drawn from seeds, or under every history of a small world.

mod exhaustive;
mod outcome;
#[cfg(feature = "planted-bugs")]
mod planted;

use std::process::ExitCode;
use std::sync::Mutex;

use clap::Args;

use self::outcome::Outcome;
use super::Finished;
use super::output::{Output, print};
use super::progress::Progress;
use crate::error::{Exit, Stop};
use crate::sim::campaign::{self, Broken, Campaign, Summary};
use crate::sim::run;
use crate::sim::scenario::Scenario;
use crate::sim::shrink::shrink;

/// Run the protocol through seeded histories of faults, and judge every snapshot
///
/// The production pipeline, core, decoder and consumer assignment run over simulated Kafka, catalog, object store and
/// clocks, in virtual time. The same seed is the same history, whatever the machine.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Example:\n  sluice simulate --seeds 20000\n  sluice simulate --seed 4711 --trace\n  sluice simulate --exhaustive"
)]
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
    #[arg(long, conflicts_with = "twice")]
    trace: bool,
    /// Leave out of a failing history whatever it fails without, and print what is left; for one seed
    #[arg(long, conflicts_with_all = ["twice", "trace"])]
    shrink: bool,
    /// Go on after a violation
    #[arg(long)]
    keep_going: bool,
    /// Threads; else as many as there are cores
    #[arg(long)]
    threads: Option<usize>,
    /// Instead of seeds: every history of small worlds, `short` within seconds, `long` within minutes, or the `largest`
    /// world whose states are seen within ten minutes
    #[arg(long, value_enum, value_name = "BOUNDS", num_args = 0..=1, default_missing_value = "short")]
    exhaustive: Option<exhaustive::Extent>,
    /// Hunt planted bugs, this one or `all`: how many seeds each takes
    #[cfg(feature = "planted-bugs")]
    #[arg(long, value_name = "BUG")]
    planted: Option<String>,
}

impl SimulateArgs {
    pub fn run(self, output: Output) -> Finished {
        // a panic of the code under test is a finding, told with its seed
        std::panic::set_hook(Box::new(|_| {}));
        #[cfg(feature = "planted-bugs")]
        if let Some(bug) = &self.planted {
            return planted::run(bug, self.seed, self.seeds, self.threads());
        }
        match self.exhaustive {
            Some(extent) => exhaustive::run(extent),
            None if self.trace => traced(&Scenario::of(self.seed)),
            None if self.shrink => shrunk(self.seed),
            None => self.campaign(output),
        }
    }

    fn threads(&self) -> usize {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
    }

    fn campaign(&self, output: Output) -> Finished {
        let campaign = Campaign {
            first_seed: self.seed,
            seeds: self.seeds,
            threads: self.threads(),
            twice: self.twice,
            stop_at_first: !self.keep_going,
        };
        let progress = Mutex::new(Progress::new("seeds", Some(self.seeds)));
        let summary = campaign::run(&campaign, &|done| {
            if let Ok(mut progress) = progress.lock() {
                progress.at(done);
            }
        });
        output.print(&Outcome::of(&summary), || told(&summary))?;
        if let (Output::Table, Some(broken)) = (output, summary.broken.first()) {
            print(&shortest(broken.seed))?;
        }
        verdict(&summary)
    }
}

fn traced(scenario: &Scenario) -> Finished {
    let ended = run::run(scenario, true);
    print(&format!("{scenario:#?}\n{}\n", ended.lines.join("\n")))?;
    match ended.violation {
        None => Ok(ExitCode::SUCCESS),
        Some(violation) => {
            Err(Stop::new(Exit::Internal, format!("seed {}: {violation:?}", scenario.seed), "see the trace above"))
        }
    }
}

fn shrunk(seed: u64) -> Finished {
    let scenario = Scenario::of(seed);
    let (shortest, ended) = shrink(&scenario);
    let (before, after) = (scenario.script.len(), shortest.script.len());
    print(&format!("{shortest:#?}\n{}\n{before} actions, {after} are left\n", ended.lines.join("\n")))?;
    match ended.violation {
        None => Ok(ExitCode::SUCCESS),
        Some(violation) => Err(Stop::new(Exit::Internal, format!("seed {seed}: {violation:?}"), "see the history above")),
    }
}

/// What a failing history comes down to.
fn shortest(seed: u64) -> String {
    let (shortest, ended) = shrink(&Scenario::of(seed));
    let actions: Vec<String> = shortest.script.iter().map(|(at, action)| format!("  {at} ms: {action:?}\n")).collect();
    let what = ended.violation.map(|v| format!("{}: {}", v.invariant.name(), v.what)).unwrap_or_default();
    format!("seed {seed} comes down to\n{}  {:?}\n  {what}\n", actions.concat(), shortest.rates)
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
    for Broken { seed, violation } in &summary.broken {
        text += &format!("seed {seed}: {}: {}\n", violation.invariant.name(), violation.what);
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
            format!(
                "`sluice simulate --seed {0} --trace` replays the first, `--seed {0} --shrink` makes it short",
                broken.seed
            ),
        )),
    }
}
