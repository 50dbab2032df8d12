//! The columns of a trade, and how a writer can represent each in Avro.

use std::collections::BTreeMap;

use apache_avro::Decimal;
use apache_avro::types::Value;

/// The fifteen columns that come from the record. Decimals as unscaled integers of scale 8.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trade {
    pub message_id: String,
    pub trade_id: String,
    pub symbol: String,
    pub exchange: String,
    pub asset_class: String,
    pub timestamp: i64,
    pub price: i128,
    pub quantity: i128,
    pub currency: String,
    pub side: String,
    pub trade_conditions: Vec<String>,
    pub source_sequence: Option<i64>,
    pub ingestion_timestamp: i64,
    pub platform_sequence: Option<i64>,
    pub vendor_data: Option<BTreeMap<String, String>>,
}

/// How a writer represents one field.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Form {
    Text,
    Bytes,
    AssetClass,
    Side,
    Micros,
    Millis,
    Long,
    Int,
    /// Bytes, no more than the number needs and at least `least`.
    Decimal {
        scale: u32,
        least: usize,
    },
    FixedDecimal {
        scale: u32,
        size: usize,
    },
    Conditions,
    NullableConditions,
    VendorMap,
    VendorMapNullable,
    VendorJson,
    Extra,
}

/// Where a field's union has its null.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Null {
    None,
    First,
    Last,
}

pub struct Field {
    pub name: String,
    pub form: Form,
    pub null: Null,
}

pub fn is_optional(name: &str) -> bool {
    matches!(name, "source_sequence" | "platform_sequence" | "vendor_data")
}

fn form_of(name: &str) -> Form {
    match name {
        "asset_class" => Form::AssetClass,
        "side" => Form::Side,
        "timestamp" | "ingestion_timestamp" => Form::Micros,
        "price" | "quantity" => Form::Decimal { scale: 8, least: 1 },
        "trade_conditions" => Form::Conditions,
        "source_sequence" | "platform_sequence" => Form::Long,
        "vendor_data" => Form::VendorMap,
        _ => Form::Text,
    }
}

impl Field {
    /// TradeV2's own form of a field.
    pub fn standard(name: &str) -> Self {
        let null = if is_optional(name) { Null::First } else { Null::None };
        Self { name: name.into(), form: form_of(name), null }
    }

    /// The value of this field in a trade.
    pub fn value(&self, trade: &Trade) -> Value {
        let value = match self.name.as_str() {
            "message_id" => self.text(&trade.message_id),
            "trade_id" => self.text(&trade.trade_id),
            "symbol" => self.text(&trade.symbol),
            "exchange" => self.text(&trade.exchange),
            "asset_class" => self.text(&trade.asset_class),
            "currency" => self.text(&trade.currency),
            "side" => self.text(&trade.side),
            "timestamp" => self.time(trade.timestamp),
            "ingestion_timestamp" => self.time(trade.ingestion_timestamp),
            "price" => self.decimal(trade.price),
            "quantity" => self.decimal(trade.quantity),
            "trade_conditions" => self.conditions(&trade.trade_conditions),
            "source_sequence" => return self.optional(trade.source_sequence.map(|value| self.integer(value))),
            "platform_sequence" => return self.optional(trade.platform_sequence.map(|value| self.integer(value))),
            "vendor_data" => return self.optional(trade.vendor_data.as_ref().map(|map| self.vendor_data(map))),
            other => unreachable!("{other}"),
        };
        self.optional(Some(value))
    }

    fn optional(&self, value: Option<Value>) -> Value {
        let (null, some) = match self.null {
            Null::None => return value.expect("exact() gives a value where the writer has no null"),
            Null::First => (0, 1),
            Null::Last => (1, 0),
        };
        match value {
            None => Value::Union(null, Box::new(Value::Null)),
            Some(value) => Value::Union(some, Box::new(value)),
        }
    }

    fn text(&self, text: &str) -> Value {
        let index = |symbols: [&str; 4]| symbols.iter().position(|symbol| *symbol == text).unwrap() as u32;
        match self.form {
            Form::Bytes => Value::Bytes(text.as_bytes().to_vec()),
            Form::AssetClass => Value::Enum(index(["equities", "crypto", "futures", "options"]), text.into()),
            Form::Side => Value::Enum(index(["BUY", "SELL", "SELL_SHORT", "UNKNOWN"]), text.into()),
            _ => Value::String(text.into()),
        }
    }

    fn time(&self, micros: i64) -> Value {
        match self.form {
            Form::Millis => Value::TimestampMillis(micros / 1000),
            Form::Micros => Value::TimestampMicros(micros),
            _ => self.integer(micros),
        }
    }

    fn integer(&self, value: i64) -> Value {
        match self.form {
            Form::Int => Value::Int(value.try_into().unwrap()),
            _ => Value::Long(value),
        }
    }

    fn decimal(&self, at_scale_8: i128) -> Value {
        let (scale, least) = match self.form {
            Form::Decimal { scale, least } => (scale, least),
            Form::FixedDecimal { scale, .. } => (scale, 1),
            _ => unreachable!(),
        };
        let value = match scale {
            ..8 => at_scale_8 / 10i128.pow(8 - scale),
            _ => at_scale_8 * 10i128.pow(scale - 8),
        };
        let bytes = value.to_be_bytes();
        let sign = if value < 0 { 0xff } else { 0 };
        let longest = bytes.len() - least;
        let shortest = (0..longest).find(|&i| bytes[i] != sign || (bytes[i + 1] ^ sign) & 0x80 != 0).unwrap_or(longest);
        Value::Decimal(Decimal::from(&bytes[shortest..]))
    }

    fn conditions(&self, conditions: &[String]) -> Value {
        let element = |text: &String| match self.form {
            Form::NullableConditions => Value::Union(0, Box::new(Value::String(text.clone()))),
            _ => Value::String(text.clone()),
        };
        Value::Array(conditions.iter().map(element).collect())
    }

    fn vendor_data(&self, map: &BTreeMap<String, String>) -> Value {
        let entry = |(key, text): (&String, &String)| {
            let value = Value::String(text.clone());
            let value = if self.form == Form::VendorMapNullable { Value::Union(1, Box::new(value)) } else { value };
            (key.clone(), value)
        };
        match self.form {
            Form::VendorJson => Value::String(serde_json::to_string(map).unwrap()),
            _ => Value::Map(map.iter().map(entry).collect()),
        }
    }
}
