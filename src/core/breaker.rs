//! The dead-letter breaker: a flood of bad records is an operator's decision, taken before a letter is sent.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

const WINDOW_MS: u64 = 60_000;

#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BreakerRules {
    /// Letters over records; 1.0 passes everything.
    pub rate_max: f64,
    /// And at least so many letters.
    pub rate_min: u64,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Breaker {
    /// (when, records, letters) of the batches of the last 60 s.
    passed: VecDeque<(u64, u64, u64)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Flood {
    pub letters: u64,
    pub records: u64,
}

/// A rate comes from the configuration, which refuses NaN: it equals itself.
impl Eq for BreakerRules {}

impl Hash for BreakerRules {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.rate_max.to_bits(), self.rate_min).hash(state);
    }
}

impl Breaker {
    /// Judges a batch together with what passed in the last 60 s. `Err`: no letter may be sent.
    pub fn judge(&mut self, rules: BreakerRules, now_ms: u64, records: u64, letters: u64) -> Result<(), Flood> {
        while self.passed.front().is_some_and(|(at, ..)| at + WINDOW_MS < now_ms) {
            self.passed.pop_front();
        }
        let records = records + self.passed.iter().map(|p| p.1).sum::<u64>();
        let letters = letters + self.passed.iter().map(|p| p.2).sum::<u64>();
        let flood = letters >= rules.rate_min && letters as f64 > rules.rate_max * records as f64;
        if flood { Err(Flood { letters, records }) } else { Ok(()) }
    }

    pub fn passed(&mut self, now_ms: u64, records: u64, letters: u64) {
        self.passed.push_back((now_ms, records, letters));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: BreakerRules = BreakerRules { rate_max: 0.05, rate_min: 100 };

    #[test]
    fn one_bad_record_in_a_quiet_minute_is_no_flood() {
        assert_eq!(Breaker::default().judge(RULES, 0, 1, 1), Ok(()));
        assert_eq!(Breaker::default().judge(RULES, 0, 99, 99), Ok(()));
    }

    #[test]
    fn a_flood_is_stopped_also_when_it_comes_in_small_batches() {
        let mut breaker = Breaker::default();
        for second in 0..9 {
            assert_eq!(breaker.judge(RULES, second * 1000, 20, 11), Ok(()), "second {second}");
            breaker.passed(second * 1000, 20, 11);
        }
        assert_eq!(breaker.judge(RULES, 9_000, 20, 11), Err(Flood { letters: 110, records: 200 }));
        assert_eq!(breaker.judge(RULES, 120_000, 20, 11), Ok(()), "what passed a minute ago no longer counts");
    }

    #[test]
    fn a_rate_of_one_passes_everything() {
        let all = BreakerRules { rate_max: 1.0, rate_min: 100 };
        assert_eq!(Breaker::default().judge(all, 0, 1_000, 1_000), Ok(()));
    }
}
