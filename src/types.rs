//! The words that every part of Sluice shares: where a record is, when it happened, what it is called.

use std::fmt;
use std::sync::Arc;

/// First offset of a partition that is not yet processed.
pub type Offset = i64;

/// Event time: microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

/// Path of a data file as the table lists it. Unique, and its content never changes.
pub type FilePath = Arc<str>;

/// A topic's name.
pub type Topic = Arc<str>;

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicPartition {
    pub topic: Topic,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Topic>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.topic, self.partition)
    }
}

/// An hour of event time, counted from 1970-01-01T00Z: the table's partition, and half of the deduplication key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventHour(pub i64);

impl EventHour {
    const MICROS: i64 = 3_600_000_000;

    pub fn of(time: Micros) -> Self {
        Self(time.div_euclid(Self::MICROS))
    }

    /// From the table's partition values: days since 1970-01-01 and hour of that day, 0-23.
    pub fn from_partition(exchange_date: i32, exchange_hour: i32) -> Self {
        Self(i64::from(exchange_date) * 24 + i64::from(exchange_hour))
    }

    /// `exchange_date`: days since 1970-01-01, UTC.
    pub fn exchange_date(self) -> i32 {
        i32::try_from(self.0.div_euclid(24)).expect("an hour within i32 days of 1970")
    }

    /// `exchange_hour`: 0-23, UTC.
    pub fn exchange_hour(self) -> i32 {
        self.0.rem_euclid(24) as i32
    }

    /// First microsecond of the hour, and the first after it.
    pub fn bounds(self) -> (Micros, Micros) {
        (self.0 * Self::MICROS, (self.0 + 1) * Self::MICROS)
    }
}

impl fmt::Display for EventHour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = chrono::DateTime::from_timestamp(self.0 * 3600, 0);
        match date {
            Some(date) => write!(f, "{}", date.format("%Y-%m-%dT%HZ")),
            None => write!(f, "hour {}", self.0),
        }
    }
}

impl fmt::Debug for EventHour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A message_id as 128 bits. The canonical lower-case hyphenated UUID of 36 characters is its own bits; every other
/// string is hashed in a domain of its own, so that two strings share an id only by a collision of SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(pub u128);

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl MessageId {
    pub fn of(text: &str) -> Self {
        Self(canonical_uuid(text.as_bytes()).unwrap_or_else(|| hashed(text)))
    }
}

/// Value of a lower-case hexadecimal digit; 0xff for every other byte.
const HEX: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut digit = 0;
    while digit < 16 {
        table[b"0123456789abcdef"[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};

/// Every record passes here: without a branch for each character.
fn canonical_uuid(text: &[u8]) -> Option<u128> {
    const PAIRS: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    let text: &[u8; 36] = text.try_into().ok()?;
    let mut wrong = 0;
    let bytes = PAIRS.map(|at| {
        let (high, low) = (HEX[usize::from(text[at])], HEX[usize::from(text[at + 1])]);
        wrong |= high | low;
        high << 4 | low & 0xf
    });
    let hyphens = [text[8], text[13], text[18], text[23]] == *b"----";
    (hyphens && wrong < 0x10).then_some(u128::from_be_bytes(bytes))
}

fn hashed(text: &str) -> u128 {
    use sha2::{Digest, Sha256};
    let digest = Sha256::new().chain_update(b"sluice message_id\0").chain_update(text.as_bytes()).finalize();
    u128::from_be_bytes(digest[..16].try_into().expect("SHA-256 has 32 bytes"))
}

/// The id of an Iceberg snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapshotId(pub i64);

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Debug for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// `sluice.commit-id`: fresh for every attempt with other content.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitId(pub u128);

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", uuid::Uuid::from_u128(self.0))
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::str::FromStr for CommitId {
    type Err = uuid::Error;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        uuid::Uuid::parse_str(s).map(|u| Self(u.as_u128()))
    }
}

/// A topic's id: printed and parsed as Kafka's own tools do, URL-safe base64 without padding (librdkafka prints the
/// plain alphabet, which is parsed too).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub [u8; 16]);

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use base64::Engine as _;
        write!(f, "{}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a topic id (16 bytes in base64)")]
pub struct TopicIdError(String);

impl std::str::FromStr for TopicId {
    type Err = TopicIdError;
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        use base64::Engine as _;
        let plain: String = s.trim_end_matches('=').replace('+', "-").replace('/', "_");
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(plain).map_err(|_| TopicIdError(s.into()))?;
        bytes.try_into().map(Self).map_err(|_| TopicIdError(s.into()))
    }
}

/// One assignment of one partition: every event of the source carries the epoch it was read under. Grows with every
/// assignment and reposition; an event of an older epoch is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Epoch(pub u64);

/// What became of the records of a commit: `sluice.counts.G`, `sluice.totals.G`. `consumed` is the sum of the others.
/// `late` counts only those that were not written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Counts {
    pub written: u64,
    pub duplicate: u64,
    pub late: u64,
    pub dead_lettered: u64,
}

impl Counts {
    pub fn consumed(&self) -> u64 {
        self.written + self.duplicate + self.late + self.dead_lettered
    }
}

impl std::ops::Add for Counts {
    type Output = Counts;
    fn add(self, o: Counts) -> Counts {
        Counts {
            written: self.written + o.written,
            duplicate: self.duplicate + o.duplicate,
            late: self.late + o.late,
            dead_lettered: self.dead_lettered + o.dead_lettered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_uuid_is_its_own_bits() {
        let canonical = "0f8fad5b-d9cb-469f-a165-70867728950e";
        assert_eq!(MessageId::of(canonical).0, 0x0f8fad5b_d9cb_469f_a165_70867728950e);
        for other in [
            "0F8FAD5B-D9CB-469F-A165-70867728950E",
            "{0f8fad5b-d9cb-469f-a165-70867728950e}",
            "urn:uuid:0f8fad5b-d9cb-469f-a165-70867728950e",
            "0f8fad5bd9cb469fa16570867728950e",
            "0f8fad5b-d9cb-469f-a165-70867728950g",
            "0f8fad5b-d9cb-469f-a165+70867728950e",
            "0f8fad5b-d9cb-469f-a165-7086772895é",
        ] {
            assert_ne!(MessageId::of(other), MessageId::of(canonical), "{other}");
        }
        for at in 0..36 {
            for wrong in ["g", "A", ":", "/", "`", " ", "\0"].iter().filter(|c| **c != &canonical[at..=at]) {
                let other = [&canonical[..at], wrong, &canonical[at + 1..]].concat();
                assert_eq!(MessageId::of(&other).0, hashed(&other), "{other}");
            }
        }
    }

    #[test]
    fn an_event_hour_is_utc_also_before_1970() {
        assert_eq!(EventHour::of(-1), EventHour(-1));
        assert_eq!((EventHour(-1).exchange_date(), EventHour(-1).exchange_hour()), (-1, 23));
        let hour = EventHour::of(1_767_225_600_000_000);
        assert_eq!(hour.to_string(), "2026-01-01T00Z");
        assert_eq!(EventHour::from_partition(hour.exchange_date(), hour.exchange_hour()), hour);
    }

    #[test]
    fn a_topic_id_is_read_in_both_alphabets() {
        let id: TopicId = "PQZ_mDxxQp-4eZ0k0o2m3w".parse().unwrap();
        assert_eq!("PQZ/mDxxQp+4eZ0k0o2m3w==".parse::<TopicId>().unwrap(), id);
        assert_eq!(id.to_string(), "PQZ_mDxxQp-4eZ0k0o2m3w");
        assert!("PQZ".parse::<TopicId>().is_err());
    }
}
