//! Lines of the client library in our log, and repeated complaints held back.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Lets one line per key through per interval, and counts those in between.
pub(super) struct RateLimit {
    interval: Duration,
    seen: HashMap<String, (Instant, u64)>,
}

impl RateLimit {
    pub fn new(interval: Duration) -> Self {
        Self { interval, seen: HashMap::new() }
    }

    /// `Some(n)`: say it now, `n` like it were held back since the last time.
    pub fn pass(&mut self, key: &str, now: Instant) -> Option<u64> {
        match self.seen.get_mut(key) {
            Some((last, held_back)) if now.duration_since(*last) < self.interval => {
                *held_back += 1;
                None
            }
            Some((last, held_back)) => {
                *last = now;
                Some(std::mem::take(held_back))
            }
            None => {
                // Keys are facilities and error codes, so few; a flood of others must not grow this for ever.
                if self.seen.len() >= 256 {
                    self.seen.clear();
                }
                self.seen.insert(key.to_owned(), (now, 0));
                Some(0)
            }
        }
    }
}

impl Default for RateLimit {
    fn default() -> Self {
        Self::new(Duration::from_secs(30))
    }
}

/// Writes a line of librdkafka. ERROR in our log means that a person must look; the library says ERROR of every lost
/// connection, so its levels move down by one.
pub(super) fn library_line(limit: &mut RateLimit, level: i32, facility: &str, line: &str) {
    if level > 5 || facility.trim() == "CONFWARN" {
        tracing::debug!(target: "librdkafka", facility, "{line}");
        return;
    }
    let Some(held_back) = limit.pass(facility, Instant::now()) else { return };
    match level {
        ..=4 => tracing::warn!(target: "librdkafka", facility, held_back, "{line}"),
        _ => tracing::info!(target: "librdkafka", facility, held_back, "{line}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_interval_and_key_and_the_others_are_counted() {
        let mut limit = RateLimit::new(Duration::from_secs(10));
        let start = Instant::now();
        assert_eq!(limit.pass("a", start), Some(0));
        assert_eq!(limit.pass("a", start + Duration::from_secs(1)), None);
        assert_eq!(limit.pass("a", start + Duration::from_secs(9)), None);
        assert_eq!(limit.pass("b", start + Duration::from_secs(9)), Some(0));
        assert_eq!(limit.pass("a", start + Duration::from_secs(10)), Some(2));
        assert_eq!(limit.pass("a", start + Duration::from_secs(20)), Some(0));
    }
}
