//! Keys and rows as verify holds them: small, and exact where equality decides.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::types::EventHour;

/// A message_id, exactly: a canonical lower-case UUID as its bits, which is reversible; any other string as itself.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Key {
    Uuid(u128),
    Text(Box<str>),
}

impl Key {
    pub fn of(message_id: &str) -> Self {
        let mut canonical = uuid::Uuid::encode_buffer();
        match uuid::Uuid::try_parse(message_id) {
            Ok(id) if id.hyphenated().encode_lower(&mut canonical) == message_id => Self::Uuid(id.as_u128()),
            _ => Self::Text(message_id.into()),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uuid(bits) => write!(f, "{}", uuid::Uuid::from_u128(*bits)),
            Self::Text(text) => write!(f, "{text}"),
        }
    }
}

/// The 64-bit fingerprint of a message_id: equal ids have equal ones, the converse is a suspicion only.
pub fn fingerprint(message_id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    message_id.hash(&mut hasher);
    hasher.finish()
}

/// One part of all message_ids, so that a pass over the input holds only this part in memory. Every occurrence of an id
/// falls in the same shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shard {
    index: u32,
    of: u32,
}

impl Shard {
    pub const WHOLE: Shard = Shard { index: 0, of: 1 };

    /// As many shards as keep `rows` entries of `bytes_each` within `budget_bytes`.
    pub fn split(rows: u64, bytes_each: u64, budget_bytes: u64) -> Vec<Shard> {
        let of = (rows.saturating_mul(bytes_each)).div_ceil(budget_bytes.max(1)).clamp(1, 4096) as u32;
        (0..of).map(|index| Shard { index, of }).collect()
    }

    pub fn holds(self, fingerprint: u64) -> bool {
        // The upper half: the lower bits place the entry in the tables that this shard fills.
        (fingerprint >> 32) as u32 % self.of == self.index
    }

    /// Whether this is the first pass: what must be counted once is counted in it.
    pub fn first(self) -> bool {
        self.index == 0
    }
}

/// The 15 columns that come from Silver, in the order of the Gold table.
pub const SILVER_COLUMNS: [&str; 15] = [
    "message_id",
    "trade_id",
    "symbol",
    "exchange",
    "asset_class",
    "timestamp",
    "price",
    "quantity",
    "currency",
    "side",
    "trade_conditions",
    "source_sequence",
    "ingestion_timestamp",
    "platform_sequence",
    "vendor_data",
];

/// The values of a row: equal rows have equal prints. The whole decides; the columns say where two prints differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowPrint {
    whole: u64,
    columns: [u16; 15],
}

impl RowPrint {
    /// From one 64-bit hash per column of [`SILVER_COLUMNS`], null and every value told apart.
    pub fn of_columns(hashes: [u64; 15]) -> Self {
        let mut hasher = DefaultHasher::new();
        hashes.hash(&mut hasher);
        Self { whole: hasher.finish(), columns: hashes.map(|h| h as u16) }
    }

    /// Columns in which the two differ.
    pub fn differences(&self, other: &RowPrint) -> Vec<&'static str> {
        let columns = SILVER_COLUMNS.iter().zip(self.columns.iter().zip(&other.columns));
        columns.filter(|(_, (a, b))| a != b).map(|(name, _)| *name).collect()
    }
}

/// A message_id in an event hour: what Gold holds once.
pub type HourKey = (Key, EventHour);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_that_only_look_like_the_same_uuid_stay_apart() {
        let canonical = "0f8fad5b-d9cb-469f-a165-70867728950e";
        assert_eq!(Key::of(canonical), Key::Uuid(0x0f8fad5b_d9cb_469f_a165_70867728950e));
        assert_eq!(Key::of(canonical).to_string(), canonical);
        for other in ["0F8FAD5B-D9CB-469F-A165-70867728950E", "0f8fad5bd9cb469fa16570867728950e", "", "trade 7"] {
            assert_eq!(Key::of(other), Key::Text(other.into()));
        }
    }

    #[test]
    fn every_id_falls_in_exactly_one_shard() {
        let shards = Shard::split(1000, 10, 1500);
        assert_eq!(shards.len(), 7);
        for id in 0..1000 {
            let print = fingerprint(&id.to_string());
            assert_eq!(shards.iter().filter(|s| s.holds(print)).count(), 1);
        }
        assert_eq!(Shard::split(0, 10, 1500), vec![Shard::WHOLE]);
    }
}
