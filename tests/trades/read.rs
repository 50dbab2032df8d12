//! Trades back from Arrow, and from apache-avro's own values.

use std::collections::BTreeMap;

use apache_avro::types::Value;
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int64Type};

use super::Trade;

pub fn row(batch: &RecordBatch, i: usize) -> Trade {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let text = |name: &str| column(name).as_string::<i32>().value(i).to_owned();
    let long = |name: &str| column(name).as_primitive::<Int64Type>().value(i);
    let optional = |name: &str| column(name).is_valid(i).then(|| long(name));
    let decimal = |name: &str| column(name).as_primitive::<Decimal128Type>().value(i);
    for name in ["message_id", "trade_id", "side", "timestamp", "price", "trade_conditions"] {
        assert!(column(name).is_valid(i), "{name}");
    }
    let conditions = column("trade_conditions").as_list::<i32>().value(i);
    let vendor_data = column("vendor_data").is_valid(i).then(|| text("vendor_data"));
    Trade {
        message_id: text("message_id"),
        trade_id: text("trade_id"),
        symbol: text("symbol"),
        exchange: text("exchange"),
        asset_class: text("asset_class"),
        timestamp: long("timestamp"),
        price: decimal("price"),
        quantity: decimal("quantity"),
        currency: text("currency"),
        side: text("side"),
        trade_conditions: conditions.as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect(),
        source_sequence: optional("source_sequence"),
        ingestion_timestamp: long("ingestion_timestamp"),
        platform_sequence: optional("platform_sequence"),
        vendor_data: vendor_data.map(|text| object(&text)),
    }
}

/// A JSON object that must be written as serde_json writes a sorted map.
fn object(text: &str) -> BTreeMap<String, String> {
    let map: BTreeMap<String, String> = serde_json::from_str(text).unwrap();
    assert_eq!(text, serde_json::to_string(&map).unwrap());
    map
}

impl Trade {
    /// From a value that apache-avro has read, resolved to TradeV2 or not.
    pub fn from_value(value: Value) -> Self {
        let Value::Record(fields) = value else { panic!("{value:?}") };
        let mut fields: BTreeMap<String, Value> = fields.into_iter().collect();
        let mut take = |name: &str| match (fields.remove(name), name) {
            (Some(value), _) => value,
            (None, "trade_conditions") => Value::Array(Vec::new()),
            (None, _) => Value::Null,
        };
        Self {
            message_id: text(take("message_id")),
            trade_id: text(take("trade_id")),
            symbol: text(take("symbol")),
            exchange: text(take("exchange")),
            asset_class: text(take("asset_class")),
            timestamp: long(take("timestamp")),
            price: decimal(take("price")),
            quantity: decimal(take("quantity")),
            currency: text(take("currency")),
            side: text(take("side")),
            trade_conditions: array(take("trade_conditions")).into_iter().map(text).collect(),
            source_sequence: optional(take("source_sequence")).map(long),
            ingestion_timestamp: long(take("ingestion_timestamp")),
            platform_sequence: optional(take("platform_sequence")).map(long),
            vendor_data: optional(take("vendor_data")).map(map),
        }
    }
}

fn text(value: Value) -> String {
    match value {
        Value::String(text) | Value::Enum(_, text) => text,
        other => panic!("{other:?}"),
    }
}

fn long(value: Value) -> i64 {
    match value {
        Value::Long(value) | Value::TimestampMicros(value) => value,
        other => panic!("{other:?}"),
    }
}

fn decimal(value: Value) -> i128 {
    let Value::Decimal(decimal) = value else { panic!("{value:?}") };
    let bytes = <Vec<u8>>::try_from(&decimal).unwrap();
    bytes.iter().fold(if bytes[0] & 0x80 == 0 { 0 } else { -1 }, |value: i128, byte| value << 8 | i128::from(*byte))
}

fn optional(value: Value) -> Option<Value> {
    match value {
        Value::Null => None,
        Value::Union(_, value) => optional(*value),
        value => Some(value),
    }
}

fn array(value: Value) -> Vec<Value> {
    match value {
        Value::Array(values) => values,
        other => panic!("{other:?}"),
    }
}

fn map(value: Value) -> BTreeMap<String, String> {
    match value {
        Value::Map(map) => map.into_iter().map(|(key, value)| (key, text(value))).collect(),
        other => panic!("{other:?}"),
    }
}
