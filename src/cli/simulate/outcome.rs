//! What seeds came to, for programs.

use serde::Serialize;

use crate::sim::campaign::{Broken, Summary};

#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Outcome<'a> {
    seeds: u64,
    seconds: f64,
    steps: u64,
    faults: u64,
    crashes: u64,
    /// Requests to commit whose outcome wasn't told.
    ambiguous: u64,
    /// Judged, each of them.
    snapshots: u64,
    /// Typed ones.
    stops: u64,
    simulated_ms: u64,
    broken: Vec<BrokenSeed<'a>>,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct BrokenSeed<'a> {
    seed: u64,
    invariant: String,
    what: &'a str,
}

impl<'a> Outcome<'a> {
    pub fn of(summary: &'a Summary) -> Self {
        let Summary { seeds, stats, broken, seconds, .. } = summary;
        Self {
            seeds: *seeds,
            seconds: *seconds,
            steps: stats.steps,
            faults: stats.faults,
            crashes: stats.crashes,
            ambiguous: stats.ambiguous,
            snapshots: stats.snapshots,
            stops: stats.stops,
            simulated_ms: stats.simulated_ms,
            broken: broken.iter().map(BrokenSeed::of).collect(),
        }
    }
}

impl<'a> BrokenSeed<'a> {
    fn of(Broken { seed, violation }: &'a Broken) -> Self {
        Self { seed: *seed, invariant: violation.invariant.name().to_string(), what: &violation.what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::invariant::Invariant;
    use crate::sim::oracle::Violation;
    use crate::sim::world::Stats;

    /// `--output json` was taken and a line for people printed.
    #[test]
    fn a_program_reads_every_number_and_every_broken_seed() {
        let violation = Violation { invariant: Invariant::EachKeyOnce, snapshot: None, what: "twice".into() };
        let stats = Stats { steps: 1, faults: 2, crashes: 3, ambiguous: 4, snapshots: 5, stops: 6, simulated_ms: 7 };
        let broken = vec![Broken { seed: 9, violation }];
        let summary = Summary { seeds: 10, stats, broken, seconds: 0.5, ..Summary::default() };
        let expected = serde_json::json!({
            "seeds": 10, "seconds": 0.5, "steps": 1, "faults": 2, "crashes": 3, "ambiguous": 4, "snapshots": 5, "stops": 6,
            "simulated_ms": 7,
            "broken": [{"seed": 9, "invariant": Invariant::EachKeyOnce.name(), "what": "twice"}],
        });
        assert_eq!(serde_json::to_value(Outcome::of(&summary)).unwrap(), expected);
    }
}
