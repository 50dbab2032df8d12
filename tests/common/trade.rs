//! Trades of the oracle: a few numbers that fix every field, so that millions of them are remembered cheaply.

use std::collections::BTreeMap;

use apache_avro::Schema;
use apache_avro::types::Value;

use super::columns::Field;

pub use super::columns::Trade;

/// Microseconds.
pub const MINUTE: i64 = 60_000_000;
pub const HOUR: i64 = 60 * MINUTE;
/// 2026-03-02T10:00:00Z: where event time begins in most tests.
pub const T0: i64 = 1_772_445_600_000_000;

/// A message_id. Two ids are the same only when their texts are.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Id {
    Uuid(u64),
    /// The same 128 bits as `Uuid`, in upper case: another string, so another id.
    UpperCase(u64),
    Braced(u64),
    Text(u64),
    /// As the rows that the other engine appends are called.
    Foreign(u64),
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Uuid(n) => write!(f, "{}", uuid(n)),
            Self::UpperCase(n) => write!(f, "{}", uuid(n).to_string().to_uppercase()),
            Self::Braced(n) => write!(f, "{}", uuid(n).braced()),
            Self::Text(n) => write!(f, "trade/{n}/ä"),
            Self::Foreign(n) => write!(f, "foreign-{n}"),
        }
    }
}

fn uuid(n: u64) -> uuid::Uuid {
    let bits = u128::from(mix(n)) << 64 | u128::from(mix(!n));
    uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
}

/// The schema that a trade is written with. Each gives a TradeV2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Writer {
    /// TradeV2 itself.
    V2,
    /// Other names, fields in reverse order, and the extra fields of the Silver layer.
    Silver,
    /// Without the fields that have defaults.
    Minimal,
}

impl Writer {
    pub const ALL: [Writer; 3] = [Writer::V2, Writer::Silver, Writer::Minimal];

    /// The schema as JSON.
    pub fn schema_text(self) -> String {
        let mut schema: serde_json::Value =
            serde_json::from_str(include_str!("../../schemas/trade_v2.avsc")).expect("the schema is JSON");
        let fields = schema["fields"].as_array_mut().expect("a record has fields");
        match self {
            Self::V2 => {}
            Self::Silver => {
                fields.insert(3, extra("validation_timestamp", serde_json::json!("long")));
                fields.insert(7, extra("bronze_ingestion_timestamp", serde_json::json!(["null", "long"])));
                fields.push(extra("schema_id", serde_json::json!("int")));
                fields.reverse();
                schema["name"] = "SilverTrade".into();
                schema["namespace"] = "silver.example".into();
            }
            Self::Minimal => {
                fields.retain(|field| field.get("default").is_none());
                schema["name"] = "Minimal".into();
            }
        }
        schema.to_string()
    }

    pub fn schema(self) -> &'static Schema {
        static SCHEMAS: std::sync::OnceLock<Vec<Schema>> = std::sync::OnceLock::new();
        let parse = |w: &Writer| Schema::parse_str(&w.schema_text()).expect("a writer's schema is Avro");
        &SCHEMAS.get_or_init(|| Writer::ALL.iter().map(parse).collect())[self as usize]
    }
}

fn extra(name: &str, type_: serde_json::Value) -> serde_json::Value {
    serde_json::json!({"name": name, "type": type_})
}

/// What fixes a trade. Drafts with one id and times in one hour are copies of each other; their payloads may differ.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Draft {
    pub id: Id,
    /// Event time, microseconds.
    pub time: i64,
    /// Everything else follows from this number.
    pub payload: u64,
    pub writer: Writer,
}

impl Draft {
    pub fn new(n: u64, time: i64) -> Self {
        Self { id: Id::Uuid(n), time, payload: n, writer: Writer::V2 }
    }

    pub fn hour(&self) -> i64 {
        self.time.div_euclid(HOUR)
    }

    /// The values that Gold must show.
    pub fn trade(&self) -> Trade {
        let mut chance = Chance(mix(self.payload ^ 0x5109_1ce5));
        let conditions = (0..chance.below(4)).map(|i| format!("cond-{i}-{}", chance.below(50))).collect();
        let mut trade = Trade {
            message_id: self.id.to_string(),
            trade_id: format!("T-{}", self.payload),
            symbol: chance.pick(&["BTCUSDT", "ETHUSDT", "XBT/USD", "ÆTHER-ÅÜ", ""]).into(),
            exchange: chance.pick(&["BINANCE", "KRAKEN"]).into(),
            asset_class: chance.pick(&["equities", "crypto", "futures", "options"]).into(),
            timestamp: self.time,
            price: chance.decimal(),
            quantity: chance.decimal(),
            currency: chance.pick(&["USDT", "USD", "EUR"]).into(),
            side: chance.pick(&["BUY", "SELL", "SELL_SHORT", "UNKNOWN"]).into(),
            trade_conditions: conditions,
            source_sequence: chance.option().map(|n| n as i64),
            ingestion_timestamp: self.time + 1_000 + chance.below(1_000_000) as i64,
            platform_sequence: chance.option().map(|n| (n >> 1) as i64),
            vendor_data: chance.option().map(|_| chance.vendor_data()),
        };
        if self.writer == Writer::Minimal {
            trade.trade_conditions = Vec::new();
            (trade.source_sequence, trade.platform_sequence, trade.vendor_data) = (None, None, None);
        }
        trade
    }

    /// The Avro body by the writer's schema, without framing.
    pub fn body(&self) -> Vec<u8> {
        self.encoded(self.writer.schema())
    }

    /// The first bytes of `body`, up to the given field.
    pub fn body_until(&self, field: &str) -> Vec<u8> {
        let mut schema: serde_json::Value = serde_json::from_str(&self.writer.schema_text()).expect("the schema is JSON");
        let fields = schema["fields"].as_array_mut().expect("a record has fields");
        let at = fields.iter().position(|f| f["name"] == field).unwrap_or_else(|| panic!("no field {field}"));
        fields.truncate(at);
        self.encoded(&Schema::parse(&schema).expect("a schema without its last fields is one"))
    }

    fn encoded(&self, schema: &Schema) -> Vec<u8> {
        let trade = self.trade();
        let Schema::Record(record) = schema else { unreachable!("writers' schemas are records") };
        let fields = record.fields.iter().map(|field| {
            let name = &field.name;
            let value = silver_extra(name, self.payload).unwrap_or_else(|| Field::standard(name).value(&trade));
            (name.clone(), value)
        });
        apache_avro::to_avro_datum(schema, Value::Record(fields.collect())).expect("a draft fits its schema")
    }
}

/// The fields of the Silver layer that TradeV2 doesn't have.
fn silver_extra(name: &str, payload: u64) -> Option<Value> {
    match name {
        "validation_timestamp" => Some(Value::Long(payload as i64)),
        "bronze_ingestion_timestamp" => Some(Value::Union(1, Box::new(Value::Long(-1)))),
        "schema_id" => Some(Value::Int(-7)),
        _ => None,
    }
}

/// A bijection that scatters neighbours (the finalizer of SplitMix64).
pub fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// Seeded choices.
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
    fn option(&mut self) -> Option<u64> {
        let value = self.next();
        (!self.one_in(3)).then_some(value)
    }
    /// Now and then the ends of decimal(18,8).
    fn decimal(&mut self) -> i128 {
        const END: i128 = 999_999_999_999_999_999;
        match self.below(40) {
            0 => END,
            1 => -END,
            2 => 0,
            3 => -1,
            _ => i128::from(self.below(1_000_000_000_000_000)),
        }
    }
    fn vendor_data(&mut self) -> BTreeMap<String, String> {
        let value =
            |c: &mut Self| c.pick(&["", "plain", "\"quoted\" \\ back", "line\nbreak\tand \u{1}", "日本", "NaN"]).to_owned();
        (0..self.below(4)).map(|_| (format!("k{}", self.below(30)), value(self))).collect()
    }
}
