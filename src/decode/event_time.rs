//! Event times that would poison the maxima or open thousands of hours: a record's own dead letter instead.

use crate::decode::error::{Reason, RowError};
use crate::types::Micros;

/// How far an event time may be from the record's Kafka timestamp, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventTimeBounds {
    /// `event_time.future_max`
    pub future_max: Micros,
    /// `event_time.past_max`
    pub past_max: Micros,
}

impl EventTimeBounds {
    /// `kafka_ms` is the record's own timestamp; `wall_ms` the host's clock, which serves only where it has none, so that
    /// a replay judges as the first reading did.
    pub fn check(self, event_time: Micros, kafka_ms: Option<i64>, wall_ms: i64) -> Result<(), RowError> {
        let (name, reference) = match kafka_ms {
            Some(ms) => ("the record's Kafka timestamp", ms),
            None => ("the clock of this host (the record has no Kafka timestamp)", wall_ms),
        };
        let reference = i128::from(reference) * 1000;
        let ahead = i128::from(event_time) - reference;
        if ahead > i128::from(self.future_max) {
            let message =
                format!("timestamp {event_time} is {ahead} us ahead of {name}; future_max is {} us", self.future_max);
            return Err(RowError::new(Reason::FutureTimestamp, message));
        }
        if event_time < 0 {
            let message = format!("timestamp {event_time} is before 1970");
            return Err(RowError::new(Reason::PastTimestamp, message));
        }
        if -ahead > i128::from(self.past_max) {
            let message = format!("timestamp {event_time} is {} us behind {name}; past_max is {} us", -ahead, self.past_max);
            return Err(RowError::new(Reason::PastTimestamp, message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_767_225_600_000;
    const NOW: Micros = NOW_MS * 1000;
    const BOUNDS: EventTimeBounds = EventTimeBounds { future_max: 300_000_000, past_max: 3650 * 86_400_000_000 };

    fn reason(event_time: Micros, kafka_ms: Option<i64>, wall_ms: i64) -> Option<Reason> {
        BOUNDS.check(event_time, kafka_ms, wall_ms).err().map(|error| error.reason)
    }

    #[test]
    fn the_bounds_are_themselves_allowed() {
        assert_eq!(reason(NOW + BOUNDS.future_max, Some(NOW_MS), 0), None);
        assert_eq!(reason(NOW + BOUNDS.future_max + 1, Some(NOW_MS), 0), Some(Reason::FutureTimestamp));
        assert_eq!(reason(NOW - BOUNDS.past_max, Some(NOW_MS), 0), None);
        assert_eq!(reason(NOW - BOUNDS.past_max - 1, Some(NOW_MS), 0), Some(Reason::PastTimestamp));
    }

    #[test]
    fn millis_for_micros_and_micros_for_millis_are_caught() {
        assert_eq!(reason(NOW_MS, Some(NOW_MS), 0), Some(Reason::PastTimestamp));
        assert_eq!(reason(NOW * 1000, Some(NOW_MS), 0), Some(Reason::FutureTimestamp));
        for extreme in [i64::MIN, -1] {
            assert!(reason(extreme, Some(i64::MIN), 0).is_some(), "{extreme}");
        }
        assert_eq!(reason(i64::MIN, Some(i64::MAX), 0), Some(Reason::PastTimestamp));
        assert_eq!(reason(i64::MAX, Some(i64::MIN), 0), Some(Reason::FutureTimestamp));
    }

    #[test]
    fn the_wall_clock_serves_only_without_a_kafka_timestamp() {
        assert_eq!(reason(NOW, Some(NOW_MS), 0), None);
        assert_eq!(reason(NOW, None, 0), Some(Reason::FutureTimestamp));
        assert_eq!(reason(NOW, None, NOW_MS), None);
    }
}
