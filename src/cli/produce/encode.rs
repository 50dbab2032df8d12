//! Trades as bytes: a Confluent frame around an Avro body, in each of the writers' schemas, whole or damaged.
//!
//! The body is written directly, since building values for a general encoder would cost more than all the rest; the tests
//! hold it against the general one.

use super::generator::{GeneratedRecord, Kind, Malformed, Version};
use super::trade::Trade;
use crate::types::Micros;

/// Length of a Confluent frame before the body: a zero byte and the schema id, big endian.
pub const FRAME_BYTES: usize = 5;

/// Beyond what any registry in use has given.
const UNKNOWN_SCHEMA_ID: u32 = 2_147_000_000;

/// Symbols of the Silver layer's enums in its own order, as indexes into those of TradeV2.
const SILVER_SIDE: [i64; 4] = [3, 2, 1, 0];
const SILVER_ASSET_CLASS: [i64; 4] = [1, 0, 3, 2];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    MessageId,
    TradeId,
    Symbol,
    Exchange,
    AssetClass,
    Timestamp,
    Price,
    Quantity,
    Currency,
    Side,
    TradeConditions,
    SourceSequence,
    IngestionTimestamp,
    PlatformSequence,
    VendorData,
    SchemaId,
    BronzeIngestionTimestamp,
    ValidationTimestamp,
}

use Field::*;

const PLAIN: &[Field] = &[
    MessageId,
    TradeId,
    Symbol,
    Exchange,
    AssetClass,
    Timestamp,
    Price,
    Quantity,
    Currency,
    Side,
    TradeConditions,
    SourceSequence,
    IngestionTimestamp,
    PlatformSequence,
    VendorData,
];

const SILVER: &[Field] = &[
    SchemaId,
    Symbol,
    Exchange,
    Timestamp,
    MessageId,
    Price,
    Quantity,
    Side,
    TradeId,
    Currency,
    AssetClass,
    VendorData,
    BronzeIngestionTimestamp,
    TradeConditions,
    SourceSequence,
    PlatformSequence,
    IngestionTimestamp,
    ValidationTimestamp,
];

const LEAN: &[Field] = &[
    MessageId,
    TradeId,
    Symbol,
    Exchange,
    AssetClass,
    Timestamp,
    Price,
    Quantity,
    Currency,
    Side,
    SourceSequence,
    IngestionTimestamp,
    PlatformSequence,
];

impl Version {
    /// The writer's schema as JSON.
    pub fn schema(self) -> &'static str {
        match self {
            Self::Plain => include_str!("../../../schemas/trade_v2.avsc"),
            Self::Silver => include_str!("schemas/silver.avsc"),
            Self::Lean => include_str!("schemas/lean.avsc"),
        }
    }

    /// In the ledger.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Silver => "silver",
            Self::Lean => "lean",
        }
    }

    /// Whether trade_conditions and vendor_data are written.
    pub fn has_optional_fields(self) -> bool {
        self != Self::Lean
    }

    fn fields(self) -> &'static [Field] {
        match self {
            Self::Plain => PLAIN,
            Self::Silver => SILVER,
            Self::Lean => LEAN,
        }
    }
}

/// The ids that the registry gave for the schemas of one subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SchemaIds {
    pub plain: u32,
    pub silver: u32,
    pub lean: u32,
}

impl SchemaIds {
    pub fn of(self, version: Version) -> u32 {
        match version {
            Version::Plain => self.plain,
            Version::Silver => self.silver,
            Version::Lean => self.lean,
        }
    }
}

/// Writes the value of a record into `out`, which is cleared before. False: the record has no value, not even an empty one.
pub fn encode(record: &GeneratedRecord, ids: SchemaIds, out: &mut Vec<u8>) -> bool {
    out.clear();
    let damage = match record.kind {
        Kind::Malformed(damage) => Some(damage),
        Kind::Fresh | Kind::Duplicate | Kind::Late => None,
    };
    let id = if damage == Some(Malformed::UnknownSchemaId) { UNKNOWN_SCHEMA_ID } else { ids.of(record.version) };
    out.push(0);
    out.extend_from_slice(&id.to_be_bytes());
    let mut body = Body { out, damage, schema_id: id };
    for field in record.version.fields() {
        body.field(*field, &record.trade, record.version);
    }
    damage_frame(damage, record.number, out)
}

fn damage_frame(damage: Option<Malformed>, number: u64, out: &mut Vec<u8>) -> bool {
    match damage {
        Some(Malformed::BadMagic) => out[0] = 1 + (number % 255) as u8,
        // Every strict prefix of a body lacks something; from one byte on, so that the value isn't empty.
        Some(Malformed::Truncated) => out.truncate(1 + (number as usize % (out.len() - 1))),
        Some(Malformed::Trailing) => out.extend(std::iter::repeat_n(0, 1 + (number % 8) as usize)),
        Some(Malformed::Empty) => out.clear(),
        Some(Malformed::Null) => {
            out.clear();
            return false;
        }
        _ => {}
    }
    true
}

struct Body<'a> {
    out: &'a mut Vec<u8>,
    damage: Option<Malformed>,
    schema_id: u32,
}

impl Body<'_> {
    fn field(&mut self, field: Field, trade: &Trade, version: Version) {
        match field {
            MessageId if self.damage == Some(Malformed::LengthBomb) => self.long(1 << 40),
            MessageId => self.text(&trade.message_id),
            TradeId => self.text(&trade.trade_id),
            Symbol if self.damage == Some(Malformed::Utf8) => self.bytes(&[b'B', 0xff, 0xfe, b'C']),
            Symbol => self.text(trade.symbol),
            Exchange => self.text(trade.exchange),
            AssetClass => self.symbol(trade.asset_class, version, SILVER_ASSET_CLASS),
            Timestamp if self.damage == Some(Malformed::Overflow) => self.out.extend_from_slice(&[0xff; 11]),
            Timestamp => self.long(trade.timestamp),
            Price => self.decimal(trade.price),
            Quantity => self.decimal(trade.quantity),
            Currency => self.text(trade.currency),
            Side if self.damage == Some(Malformed::EnumIndex) => self.long(if trade.side == 0 { -1 } else { 4 }),
            Side => self.symbol(trade.side, version, SILVER_SIDE),
            TradeConditions => self.conditions(&trade.trade_conditions),
            SourceSequence => self.optional(trade.source_sequence),
            IngestionTimestamp => self.long(trade.ingestion_timestamp),
            PlatformSequence => self.optional(trade.platform_sequence),
            VendorData => self.map(trade.vendor_data.as_deref()),
            SchemaId => self.long(self.schema_id.into()),
            BronzeIngestionTimestamp => self.long(bronze_ingestion_timestamp(trade)),
            ValidationTimestamp => self.optional(Some(validation_timestamp(trade))),
        }
    }

    /// Zigzag, seven bits a byte, least significant first.
    fn long(&mut self, value: i64) {
        let mut rest = (value << 1 ^ value >> 63) as u64;
        while rest >= 0x80 {
            self.out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.out.push(rest as u8);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.long(bytes.len() as i64);
        self.out.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn symbol(&mut self, index: usize, version: Version, silver: [i64; 4]) {
        self.long(if version == Version::Silver { silver[index] } else { index as i64 });
    }

    /// The shortest two's complement, big endian, never empty.
    fn decimal(&mut self, unscaled: i64) {
        let bytes = unscaled.to_be_bytes();
        let spare = (0..bytes.len() - 1)
            .take_while(|i| {
                let sign = if bytes[i + 1] & 0x80 == 0 { 0x00 } else { 0xff };
                bytes[*i] == sign
            })
            .count();
        self.bytes(&bytes[spare..]);
    }

    fn optional(&mut self, value: Option<i64>) {
        match value {
            None => self.long(0),
            Some(value) => {
                self.long(1);
                self.long(value);
            }
        }
    }

    fn conditions(&mut self, conditions: &[&str]) {
        if !conditions.is_empty() {
            self.long(conditions.len() as i64);
            conditions.iter().for_each(|condition| self.text(condition));
        }
        self.long(0);
    }

    fn map(&mut self, map: Option<&[(&str, String)]>) {
        let Some(map) = map else { return self.long(0) };
        self.long(1);
        if !map.is_empty() {
            self.long(map.len() as i64);
            for (key, value) in map {
                self.text(key);
                self.text(value);
            }
        }
        self.long(0);
    }
}

/// The Silver layer's own fields follow from the trade, so that a copy in the same schema is equal byte by byte.
fn bronze_ingestion_timestamp(trade: &Trade) -> Micros {
    trade.ingestion_timestamp + 40_000
}

fn validation_timestamp(trade: &Trade) -> Micros {
    trade.ingestion_timestamp + 90_000
}

#[cfg(test)]
mod tests;
