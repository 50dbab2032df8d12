//! Makes a failing history short: leaves out whatever it fails without.

use crate::sim::run::{Ended, run};
use crate::sim::scenario::{Rates, Scenario};

/// The shortest history found that breaks the same invariant, and how it ends.
pub fn shrink(scenario: &Scenario) -> (Scenario, Ended) {
    let mut best = scenario.clone();
    let invariant = run(&best, false).violation.map(|v| v.invariant);
    let fails =
        |candidate: &Scenario| invariant.is_some() && run(candidate, false).violation.map(|v| v.invariant) == invariant;
    let mut shorter = true;
    while shorter {
        shorter = without_actions(&mut best, &fails) | without_faults(&mut best, &fails);
    }
    let ended = run(&best, true);
    (best, ended)
}

/// Halves of the script first, then smaller pieces, down to single actions.
fn without_actions(best: &mut Scenario, fails: &dyn Fn(&Scenario) -> bool) -> bool {
    let before = best.script.len();
    let mut piece = before.div_ceil(2);
    while piece > 0 {
        let mut at = 0;
        while at < best.script.len() {
            let mut candidate = best.clone();
            candidate.script.drain(at..(at + piece).min(best.script.len()));
            match fails(&candidate) {
                true => *best = candidate,
                false => at += piece,
            }
        }
        piece /= 2;
    }
    best.script.len() < before
}

fn without_faults(best: &mut Scenario, fails: &dyn Fn(&Scenario) -> bool) -> bool {
    let mut shorter = false;
    for rate in Rates::EACH {
        let mut candidate = best.clone();
        if std::mem::take(rate(&mut candidate.rates)) != 0.0 && fails(&candidate) {
            *best = candidate;
            shorter = true;
        }
    }
    shorter
}
