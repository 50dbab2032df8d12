//! Trades, and writer schemas that can carry them: field order, names of types, extra and missing fields, unions with
//! null in either order, enums and strings, units of time, kinds and scales of decimals.

mod columns;
mod extra;
mod read;

use apache_avro::types::Value;
use apache_avro::{Schema, to_avro_datum};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use serde_json::{Value as Json, json};

use columns::{Field, Form, Null, is_optional};

pub use columns::Trade;
pub use read::row;

const DIGITS: i128 = 10i128.pow(18) - 1;

fn text(rng: &mut StdRng) -> String {
    const PIECES: [&str; 10] = ["a", "BTC", "é", "\u{1f600}", "\"", "\\", "\n", "\u{1}", "0123456789abcdef0123456789", " "];
    (0..rng.random_range(0..6)).map(|_| PIECES[rng.random_range(0..PIECES.len())]).collect()
}

fn long(rng: &mut StdRng) -> i64 {
    match rng.random_range(0..8) {
        0 => i64::MIN,
        1 => i64::MAX,
        2 => 0,
        3 => -1,
        4 => rng.random_range(-70..70),
        _ => rng.random(),
    }
}

fn decimal(rng: &mut StdRng) -> i128 {
    match rng.random_range(0..8) {
        0 => DIGITS,
        1 => -DIGITS,
        2 => 0,
        3 => rng.random_range(-300..300),
        _ => rng.random_range(-DIGITS..=DIGITS),
    }
}

impl Trade {
    pub fn random(rng: &mut StdRng) -> Self {
        let message_id = match rng.random_range(0..4) {
            0 => format!("x{}", text(rng)),
            _ => uuid::Uuid::from_u128(rng.random()).to_string(),
        };
        let words = rng.random_range(0..4);
        Self {
            message_id,
            trade_id: text(rng),
            symbol: text(rng),
            exchange: text(rng),
            asset_class: ["equities", "crypto", "futures", "options"][rng.random_range(0..4)].into(),
            timestamp: long(rng),
            price: decimal(rng),
            quantity: decimal(rng),
            currency: text(rng),
            side: ["BUY", "SELL", "SELL_SHORT", "UNKNOWN"][rng.random_range(0..4)].into(),
            trade_conditions: (0..words).map(|_| text(rng)).collect(),
            source_sequence: rng.random::<bool>().then(|| long(rng)),
            ingestion_timestamp: long(rng),
            platform_sequence: rng.random::<bool>().then(|| long(rng)),
            vendor_data: rng.random::<bool>().then(|| (0..rng.random_range(0..5)).map(|_| (text(rng), text(rng))).collect()),
        }
    }
}

pub struct Writer {
    pub json: String,
    pub schema: Schema,
    fields: Vec<Field>,
}

const NAMES: [&str; 15] = [
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

fn any_form(name: &str, rng: &mut StdRng) -> Form {
    let scale = [0, 2, 7, 8, 9, 12][rng.random_range(0..6)];
    let choices: &[Form] = match name {
        "asset_class" => &[Form::AssetClass, Form::Text, Form::Bytes],
        "side" => &[Form::Side, Form::Text],
        "timestamp" | "ingestion_timestamp" => &[Form::Micros, Form::Millis, Form::Long, Form::Int],
        "price" | "quantity" => {
            &[Form::Decimal { scale, least: 1 }, Form::FixedDecimal { scale, size: rng.random_range(10..24) }]
        }
        "trade_conditions" => &[Form::Conditions, Form::NullableConditions],
        "source_sequence" | "platform_sequence" => &[Form::Long, Form::Int],
        "vendor_data" => &[Form::VendorMap, Form::VendorMapNullable, Form::VendorJson],
        _ => &[Form::Text, Form::Text, Form::Bytes],
    };
    choices[rng.random_range(0..choices.len())]
}

impl Writer {
    /// What Avro's own resolution covers: order, extra fields, missing ones with a default.
    pub fn standard(rng: &mut StdRng) -> Self {
        Self::generate(rng, |name, _| match Field::standard(name) {
            // It resolves a decimal of precision 18 only from 8 bytes or more.
            Field { form: Form::Decimal { scale, .. }, null, .. } => (Form::Decimal { scale, least: 8 }, null),
            Field { form, null, .. } => (form, null),
        })
    }

    /// All that Sluice reads.
    pub fn any(rng: &mut StdRng) -> Self {
        Self::generate(rng, |name, rng| (any_form(name, rng), [Null::None, Null::First, Null::Last][rng.random_range(0..3)]))
    }

    fn generate(rng: &mut StdRng, form: impl Fn(&str, &mut StdRng) -> (Form, Null)) -> Self {
        let mut fields = Vec::new();
        for name in NAMES {
            if (is_optional(name) || name == "trade_conditions") && rng.random_range(0..4) == 0 {
                continue;
            }
            let (form, null) = form(name, rng);
            fields.push(Field { name: name.into(), form, null });
        }
        for i in 0..rng.random_range(0..5) {
            fields.push(Field { name: format!("extra_{i}"), form: Form::Extra, null: Null::None });
        }
        if rng.random_range(0..3) > 0 {
            fields.shuffle(rng);
        }
        let mut types = extra::Types::default();
        let json_fields: Vec<Json> = fields.iter().map(|field| field.json(rng, &mut types)).collect();
        let name = ["TradeV2", "topLevelRecord"][rng.random_range(0..2)];
        let mut schema = json!({"type": "record", "name": name, "fields": json_fields});
        if rng.random() {
            schema["namespace"] = json!("some.where");
        }
        let json = schema.to_string();
        let schema = Schema::parse_str(&json).unwrap_or_else(|error| panic!("{error}\n{json}"));
        Self { json, schema, fields }
    }

    fn form(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// The trade with values that this writer's types can carry.
    pub fn exact(&self, mut trade: Trade) -> Trade {
        for (name, value) in [("timestamp", &mut trade.timestamp), ("ingestion_timestamp", &mut trade.ingestion_timestamp)] {
            match self.form(name).map(|field| field.form) {
                Some(Form::Millis) => *value = *value / 1000 * 1000,
                Some(Form::Int) => *value = i64::from(*value as i32),
                _ => {}
            }
        }
        for (name, value) in [("price", &mut trade.price), ("quantity", &mut trade.quantity)] {
            if let Some(Form::Decimal { scale, .. } | Form::FixedDecimal { scale, .. }) =
                self.form(name).map(|field| field.form)
                && scale < 8
            {
                let step = 10i128.pow(8 - scale);
                *value = *value / step * step;
            }
        }
        for (name, value) in
            [("source_sequence", &mut trade.source_sequence), ("platform_sequence", &mut trade.platform_sequence)]
        {
            let field = self.form(name);
            if field.is_some_and(|field| field.form == Form::Int) {
                *value = value.map(|value| i64::from(value as i32));
            }
            if field.is_some_and(|field| field.null == Null::None) {
                *value = value.or(Some(7));
            }
        }
        if self.form("vendor_data").is_some_and(|field| field.null == Null::None) {
            trade.vendor_data.get_or_insert_default();
        }
        trade
    }

    /// What a reader sees of a trade: defaults for what the writer leaves out.
    pub fn seen(&self, mut trade: Trade) -> Trade {
        if self.form("trade_conditions").is_none() {
            trade.trade_conditions.clear();
        }
        if self.form("source_sequence").is_none() {
            trade.source_sequence = None;
        }
        if self.form("platform_sequence").is_none() {
            trade.platform_sequence = None;
        }
        if self.form("vendor_data").is_none() {
            trade.vendor_data = None;
        }
        trade
    }

    pub fn encode(&self, trade: &Trade, rng: &mut StdRng) -> Vec<u8> {
        let value = self.value(trade, rng);
        to_avro_datum(&self.schema, value).unwrap_or_else(|error| panic!("{error}\n{}", self.json))
    }

    pub fn value(&self, trade: &Trade, rng: &mut StdRng) -> Value {
        let Schema::Record(record) = &self.schema else { unreachable!() };
        let values = self.fields.iter().zip(&record.fields).map(|(field, of)| {
            let value = match field.form {
                Form::Extra => extra::value(&of.schema, &extra::names(&self.schema), rng, 0),
                _ => field.value(trade),
            };
            (field.name.clone(), value)
        });
        Value::Record(values.collect())
    }

    /// Fields that TradeV2 requires and this writer may leave null: index in the record, branch of the null.
    pub fn required_nullable(&self) -> Vec<(usize, u32)> {
        let fields = self.fields.iter().enumerate();
        let required = fields.filter(|(_, field)| field.form != Form::Extra && !is_optional(&field.name));
        required
            .filter_map(|(i, field)| match field.null {
                Null::None => None,
                Null::First => Some((i, 0)),
                Null::Last => Some((i, 1)),
            })
            .collect()
    }
}

impl Field {
    fn json(&self, rng: &mut StdRng, types: &mut extra::Types) -> Json {
        let name = &self.name;
        let decimal = |scale: u32| json!({"type": "bytes", "logicalType": "decimal", "precision": 30, "scale": scale});
        let base = match self.form {
            Form::Text => json!("string"),
            Form::Bytes => json!("bytes"),
            Form::AssetClass => {
                json!({"type": "enum", "name": "AssetClass", "symbols": ["equities", "crypto", "futures", "options"]})
            }
            Form::Side => json!({"type": "enum", "name": "TradeSide", "symbols": ["BUY", "SELL", "SELL_SHORT", "UNKNOWN"]}),
            Form::Micros => json!({"type": "long", "logicalType": "timestamp-micros"}),
            Form::Millis => json!({"type": "long", "logicalType": "timestamp-millis"}),
            Form::Long => json!("long"),
            Form::Int => json!("int"),
            Form::Decimal { scale, .. } => decimal(scale),
            Form::FixedDecimal { scale, size } => {
                json!({"type": "fixed", "name": format!("{name}_fixed"), "size": size, "logicalType": "decimal", "precision": 23, "scale": scale})
            }
            Form::Conditions => json!({"type": "array", "items": "string"}),
            Form::NullableConditions => json!({"type": "array", "items": ["string", "null"]}),
            Form::VendorMap => json!({"type": "map", "values": "string"}),
            Form::VendorMapNullable => json!({"type": "map", "values": ["null", "string"]}),
            Form::VendorJson => json!("string"),
            Form::Extra => types.random(rng, 0),
        };
        let of = match self.null {
            Null::None => base,
            Null::First => json!(["null", base]),
            Null::Last => json!([base, "null"]),
        };
        json!({"name": name, "type": of})
    }
}
