//! What to do when the pipeline takes less than Kafka gives.

use std::time::{Duration, Instant};

/// So long the budget may stay used up before partitions are paused.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) struct Pressure {
    bytes_max: u64,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    Free,
    /// One event at a time.
    Trickling {
        since: Instant,
    },
    /// Everything is paused.
    Paused,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Change {
    Pause,
    Resume,
}

impl Pressure {
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, state: State::Free }
    }

    /// Bytes that the pipeline hasn't taken.
    pub fn on_bytes(&mut self, bytes: u64, now: Instant) -> Option<Change> {
        let full = bytes >= self.bytes_max;
        match self.state {
            State::Free if full => self.state = State::Trickling { since: now },
            State::Trickling { .. } if !full => self.state = State::Free,
            State::Trickling { since } if now.duration_since(since) >= PATIENCE => {
                self.state = State::Paused;
                return Some(Change::Pause);
            }
            State::Paused if bytes <= self.bytes_max / 2 => {
                self.state = State::Free;
                return Some(Change::Resume);
            }
            _ => {}
        }
        None
    }

    pub fn is_trickling(&self) -> bool {
        matches!(self.state, State::Trickling { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_jam_trickles_a_long_one_pauses_until_half_is_gone() {
        let start = Instant::now();
        let mut pressure = Pressure::new(100);
        assert_eq!(pressure.on_bytes(99, start), None);
        assert!(!pressure.is_trickling());
        assert_eq!(pressure.on_bytes(100, start), None);
        assert!(pressure.is_trickling());
        assert_eq!(pressure.on_bytes(80, start + PATIENCE), None);
        assert!(!pressure.is_trickling());

        assert_eq!(pressure.on_bytes(120, start), None);
        assert_eq!(pressure.on_bytes(120, start + PATIENCE), Some(Change::Pause));
        assert!(!pressure.is_trickling(), "paused: polling brings no records");
        assert_eq!(pressure.on_bytes(120, start + PATIENCE * 5), None);
        assert_eq!(pressure.on_bytes(51, start + PATIENCE * 5), None);
        assert_eq!(pressure.on_bytes(50, start + PATIENCE * 5), Some(Change::Resume));
    }
}
