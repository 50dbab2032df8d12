//! Why a record gives no row: stable names for operators, values for whoever looks at one letter.

use std::fmt;

use crate::ports::Stage;

/// Why a record is a dead letter: the metric's label `reason` and the header `sluice.reason`. Never renamed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// A tombstone: it doesn't count for the breaker.
    NullValue,
    EmptyValue,
    /// The first byte is not the Confluent framing's 0.
    Magic,
    /// The body ends inside a value.
    Truncated,
    /// A length or an element count that can't be one.
    Length,
    /// A variable-length integer of more than 64 bits, or more than 32 where the schema says int.
    Varint,
    Utf8,
    EnumIndex,
    UnionIndex,
    /// The writer chose a union branch of a type that the field can't be read from.
    UnionBranch,
    Boolean,
    /// An array or map block whose byte size is not that of its elements.
    BlockSize,
    Depth,
    TooLarge,
    Trailing,
    /// The writer's schema can't give a TradeV2.
    Schema,
    /// The writer's schema is a change envelope (before, after, op), not a plain record.
    ChangeEnvelope,
    SchemaUnknown,
    /// Null where TradeV2 has no null.
    NullField,
    /// More than 18 digits, or not exact at scale 8.
    Decimal,
    /// A timestamp that doesn't fit 64 bits of microseconds.
    Timestamp,
    /// `vendor_data` is a string and no JSON object.
    VendorData,
    EmptyMessageId,
    FutureTimestamp,
    PastTimestamp,
}

impl Reason {
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::NullValue => "null_value",
            Reason::EmptyValue => "empty_value",
            Reason::Magic => "magic",
            Reason::Truncated => "truncated",
            Reason::Length => "length",
            Reason::Varint => "varint",
            Reason::Utf8 => "utf8",
            Reason::EnumIndex => "enum_index",
            Reason::UnionIndex => "union_index",
            Reason::UnionBranch => "union_branch",
            Reason::Boolean => "boolean",
            Reason::BlockSize => "block_size",
            Reason::Depth => "depth",
            Reason::TooLarge => "too_large",
            Reason::Trailing => "trailing",
            Reason::Schema => "schema",
            Reason::ChangeEnvelope => "change_envelope",
            Reason::SchemaUnknown => "schema_unknown",
            Reason::NullField => "null_field",
            Reason::Decimal => "decimal",
            Reason::Timestamp => "timestamp",
            Reason::VendorData => "vendor_data",
            Reason::EmptyMessageId => "empty_message_id",
            Reason::FutureTimestamp => "future_timestamp",
            Reason::PastTimestamp => "past_timestamp",
        }
    }

    /// `Decode`: the bytes can't be read. `Validate`: they can, and their value isn't one that Gold takes.
    pub fn stage(self) -> Stage {
        match self {
            Reason::NullField
            | Reason::Decimal
            | Reason::Timestamp
            | Reason::VendorData
            | Reason::EmptyMessageId
            | Reason::FutureTimestamp
            | Reason::PastTimestamp => Stage::Validate,
            _ => Stage::Decode,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One record that gives no row: what its dead letter says.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}: {message}")]
pub struct RowError {
    pub reason: Reason,
    /// Field names, byte positions, lengths; no payload.
    pub message: String,
    /// The id in the record's frame, where it could be read.
    pub schema_id: Option<u32>,
}

impl RowError {
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), schema_id: None }
    }

    pub fn of_schema(mut self, schema_id: u32) -> Self {
        self.schema_id = Some(schema_id);
        self
    }

    pub fn stage(&self) -> Stage {
        self.reason.stage()
    }
}
