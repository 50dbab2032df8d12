//! What an operator types: `t[:0,1]`, and a date as Kafka's own tool takes it.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDateTime};

use crate::error::Stop;
use crate::types::Topic;

/// Which partitions a reset is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scope {
    /// Every configured topic, and every topic of the lane.
    AllTopics,
    Topics(Vec<TopicScope>),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicScope {
    pub topic: Topic,
    /// None: all of them.
    pub partitions: Option<BTreeSet<i32>>,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ArgumentError {
    #[error("--topic {0:?}: not a topic, or topic:partition[,partition…]")]
    Topic(String),
    #[error("{0:?} is not a date like 2026-01-31T13:05:00.000, with Z or +01:00 behind it if it isn't UTC")]
    Datetime(String),
}

impl From<ArgumentError> for Stop {
    fn from(error: ArgumentError) -> Self {
        Stop::usage(error.to_string(), "see `sluice offsets reset --help` for examples")
    }
}

/// `topic` or `topic:0,1,5`.
pub fn parse_topic_scope(text: &str) -> Result<TopicScope, ArgumentError> {
    let wrong = || ArgumentError::Topic(text.to_string());
    let (topic, partitions) = match text.split_once(':') {
        None => (text, None),
        Some((topic, list)) => {
            let number = |p: &str| p.trim().parse::<i32>().ok().filter(|p| *p >= 0).ok_or_else(wrong);
            (topic, Some(list.split(',').map(number).collect::<Result<BTreeSet<i32>, _>>()?))
        }
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if topic.is_empty() || !topic.chars().all(legal) {
        return Err(wrong());
    }
    Ok(TopicScope { topic: topic.into(), partitions })
}

/// `YYYY-MM-DDTHH:mm:ss[.sss]`, followed by `Z`, `±hh`, `±hhmm`, `±hh:mm` or nothing, which is UTC as in Kafka's tool.
/// Milliseconds since 1970.
pub fn parse_datetime_ms(text: &str) -> Result<i64, ArgumentError> {
    let wrong = || ArgumentError::Datetime(text.to_string());
    let naive = |text: &str| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok();
    if let Some(utc) = text.strip_suffix('Z').map_or_else(|| naive(text), naive) {
        return Ok(utc.and_utc().timestamp_millis());
    }
    let zoned = DateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f%#z").map_err(|_| wrong())?;
    Ok(zoned.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_may_name_its_partitions() {
        let all = TopicScope { topic: "silver.a".into(), partitions: None };
        assert_eq!(parse_topic_scope("silver.a"), Ok(all));
        let some = TopicScope { topic: "silver.a".into(), partitions: Some([0, 5].into()) };
        assert_eq!(parse_topic_scope("silver.a:5,0"), Ok(some));
        for wrong in ["", ":0", "a:", "a:-1", "a:x", "a b", "^a.*"] {
            assert!(parse_topic_scope(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_date_without_zone_is_utc() {
        let at = 1_769_864_700_500;
        for same in [
            "2026-01-31T13:05:00.500",
            "2026-01-31T13:05:00.5",
            "2026-01-31T13:05:00.500Z",
            "2026-01-31T14:05:00.500+01:00",
            "2026-01-31T14:05:00.500+0100",
            "2026-01-31T14:05:00.500+01",
            "2026-01-31T08:05:00.500-05",
        ] {
            assert_eq!(parse_datetime_ms(same), Ok(at), "{same}");
        }
        assert_eq!(parse_datetime_ms("2026-01-31T13:05:00"), Ok(1_769_864_700_000));
        for wrong in ["", "2026-01-31", "2026-13-31T13:05:00.000", "1769864700500", "2026-01-31 13:05:00.000"] {
            assert!(parse_datetime_ms(wrong).is_err(), "{wrong:?}");
        }
    }
}
