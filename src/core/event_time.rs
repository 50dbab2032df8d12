//! Event time: what is late, what is impossible, who is idle.

use crate::types::*;

/// What becomes of a record behind its own partition's greatest event time less the delay.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum LatePolicy {
    /// Written, deduplicated like any other.
    Admit,
    DeadLetter,
    Drop,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct EventTimeRules {
    pub watermark_delay: Micros,
    pub late: LatePolicy,
    pub idle_timeout_ms: u64,
    pub future_max: Micros,
    pub past_max: Micros,
}

/// A timestamp that must not reach the maxima nor open an hour.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum Impossible {
    #[error("timestamp {time} us is ahead of the record's Kafka timestamp {kafka_ms} ms by more than event_time.future_max")]
    Future { time: Micros, kafka_ms: i64 },
    #[error("timestamp {time} us is older than the record's Kafka timestamp {kafka_ms} ms by more than event_time.past_max")]
    Past { time: Micros, kafka_ms: i64 },
    #[error("timestamp {time} us is negative")]
    Negative { time: Micros },
}

impl Impossible {
    pub fn reason(self) -> &'static str {
        match self {
            Self::Future { .. } => "future_timestamp",
            Self::Past { .. } | Self::Negative { .. } => "past_timestamp",
        }
    }
}

impl EventTimeRules {
    /// `kafka_ms`: the record's Kafka timestamp; the wall clock where it carries none.
    pub fn check(&self, time: Micros, kafka_ms: i64) -> Result<(), Impossible> {
        let kafka = i128::from(kafka_ms) * 1000;
        let time_wide = i128::from(time);
        if time < 0 {
            Err(Impossible::Negative { time })
        } else if time_wide - kafka > i128::from(self.future_max) {
            Err(Impossible::Future { time, kafka_ms })
        } else if kafka - time_wide > i128::from(self.past_max) {
            Err(Impossible::Past { time, kafka_ms })
        } else {
            Ok(())
        }
    }

    /// Late by its own partition's greatest event time before it, and by nothing else: the same for any number of
    /// instances and after every roll-back.
    pub fn is_late(&self, time: Micros, max_before: Option<Micros>) -> bool {
        max_before.is_some_and(|max| time < max.saturating_sub(self.watermark_delay))
    }
}
