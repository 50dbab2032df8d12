//! The rows that decoding gives: Gold's first 15 columns, in Gold's order.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};

use crate::decode::values::decimal::{PRECISION, SCALE};

/// One column of TradeV2: what it holds, and so how a writer's field is read into it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Column {
    Text(TextColumn),
    /// Microseconds since 1970, UTC.
    Time(TimeColumn),
    /// decimal(18,8).
    Decimal(DecimalColumn),
    /// A long or null.
    Sequence(SequenceColumn),
    TradeConditions,
    /// A JSON object as text, or null.
    VendorData,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum TextColumn {
    MessageId,
    TradeId,
    Symbol,
    Exchange,
    AssetClass,
    Currency,
    Side,
}

impl TextColumn {
    pub const COUNT: usize = 7;
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum TimeColumn {
    Timestamp,
    IngestionTimestamp,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum DecimalColumn {
    Price,
    Quantity,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum SequenceColumn {
    SourceSequence,
    PlatformSequence,
}

impl Column {
    /// Null where TradeV2 allows it.
    pub fn is_optional(self) -> bool {
        matches!(self, Column::Sequence(_) | Column::VendorData)
    }

    fn data_type(self) -> DataType {
        match self {
            Column::Text(_) | Column::VendorData => DataType::Utf8,
            Column::Time(_) | Column::Sequence(_) => DataType::Int64,
            Column::Decimal(_) => DataType::Decimal128(PRECISION, SCALE as i8),
            Column::TradeConditions => DataType::List(condition_field()),
        }
    }
}

/// Gold's data columns, in the order of the table.
pub const COLUMNS: [(&str, Column); 15] = [
    ("message_id", Column::Text(TextColumn::MessageId)),
    ("trade_id", Column::Text(TextColumn::TradeId)),
    ("symbol", Column::Text(TextColumn::Symbol)),
    ("exchange", Column::Text(TextColumn::Exchange)),
    ("asset_class", Column::Text(TextColumn::AssetClass)),
    ("timestamp", Column::Time(TimeColumn::Timestamp)),
    ("price", Column::Decimal(DecimalColumn::Price)),
    ("quantity", Column::Decimal(DecimalColumn::Quantity)),
    ("currency", Column::Text(TextColumn::Currency)),
    ("side", Column::Text(TextColumn::Side)),
    ("trade_conditions", Column::TradeConditions),
    ("source_sequence", Column::Sequence(SequenceColumn::SourceSequence)),
    ("ingestion_timestamp", Column::Time(TimeColumn::IngestionTimestamp)),
    ("platform_sequence", Column::Sequence(SequenceColumn::PlatformSequence)),
    ("vendor_data", Column::VendorData),
];

/// The list's element: optional, as the table has it.
pub(super) fn condition_field() -> FieldRef {
    static ELEMENT: LazyLock<FieldRef> = LazyLock::new(|| Arc::new(Field::new("element", DataType::Utf8, true)));
    ELEMENT.clone()
}

/// The Arrow schema of decoded rows. Only `message_id` is required, as in the table; no field ids, which are the table's.
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let field = |(name, column): &(&str, Column)| Field::new(*name, column.data_type(), *name != "message_id");
        Arc::new(Schema::new(COLUMNS.iter().map(field).collect::<Vec<_>>()))
    });
    SCHEMA.clone()
}
