//! What the letters of a batch say, in short: for the operator who has to decide about them.

use std::collections::BTreeMap;

use crate::decode::Reason;
use crate::error::Stop;
use crate::ports::Letter;

/// At least one letter: how many of each reason, and the first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LetterReasons {
    pub reasons: BTreeMap<&'static str, u64>,
    /// topic:partition
    pub first: String,
    pub offset: i64,
    pub message: String,
}

impl LetterReasons {
    /// None without a letter.
    pub fn of<'a>(letters: impl IntoIterator<Item = &'a Letter>) -> Option<Self> {
        let mut letters = letters.into_iter().peekable();
        let Letter { partition, offset, message, .. } = letters.peek()?;
        let mut all =
            Self { reasons: BTreeMap::new(), first: partition.to_string(), offset: *offset, message: message.clone() };
        for letter in letters {
            *all.reasons.entry(letter.reason).or_default() += 1;
        }
        Some(all)
    }

    /// Of those that the breaker counts: a tombstone is none of them.
    pub fn against_the_rate(letters: &[Letter]) -> Option<Self> {
        Self::of(letters.iter().filter(|letter| letter.reason != Reason::NullValue.as_str()))
    }

    /// The stop of the breaker, with what no log line says: letters that weren't sent have none.
    pub fn told_with(&self, stop: Stop) -> Stop {
        let reasons: Vec<String> = self.reasons.iter().map(|(reason, letters)| format!("{reason} {letters}")).collect();
        let Self { first, offset, message, .. } = self;
        let what = format!("{}: {}. The first is {first} at offset {offset}: {message}", stop.what, reasons.join(", "));
        Stop { what, ..stop }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Stage;
    use crate::types::TopicPartition;

    fn letter(offset: i64, reason: Reason) -> Letter {
        Letter {
            partition: TopicPartition::new("silver.a", 3),
            offset,
            timestamp_ms: None,
            key: None,
            value: None,
            headers: vec![],
            stage: Stage::Decode,
            reason: reason.as_str(),
            message: format!("told at {offset}"),
            schema_id: None,
        }
    }

    /// The stop sent people to `dead_letter.sent`, which isn't logged for letters that weren't sent.
    #[test]
    fn the_breakers_stop_counts_the_reasons_and_shows_the_first_record() {
        let letters = [
            letter(4, Reason::NullValue),
            letter(5, Reason::SchemaUnknown),
            letter(6, Reason::Truncated),
            letter(7, Reason::SchemaUnknown),
        ];
        let reasons = LetterReasons::against_the_rate(&letters).unwrap();
        let stop = reasons.told_with(Stop::data("too many letters", "mend the producer"));
        assert_eq!(
            stop.what,
            "too many letters: schema_unknown 2, truncated 1. The first is silver.a:3 at offset 5: told at 5"
        );
        assert_eq!(stop.remedy, "mend the producer");
        assert_eq!(LetterReasons::against_the_rate(&letters[..1]), None, "tombstones only");
    }
}
