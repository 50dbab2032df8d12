//! A trade with all its values, and the row that Gold must hold for it.

use serde::Serialize;

use super::draw::Draw;
use crate::types::{EventHour, Micros};

/// Symbols of the enum `AssetClass` in `schemas/trade_v2.avsc`, in its order.
pub const ASSET_CLASSES: [&str; 4] = ["equities", "crypto", "futures", "options"];

/// Symbols of the enum `TradeSide` in `schemas/trade_v2.avsc`, in its order.
pub const SIDES: [&str; 4] = ["BUY", "SELL", "SELL_SHORT", "UNKNOWN"];

/// Decimal places of price and quantity.
const SCALE: u32 = 8;

/// Greatest decimal(18,8), unscaled.
const DECIMAL_MAX: i64 = 999_999_999_999_999_999;

const EXCHANGES: [&str; 8] = ["BINANCE", "KRAKEN", "COINBASE", "BYBIT", "OKX", "BITSTAMP", "GEMINI", "BITFINEX"];

/// What is traded: symbol, currency, a price around which trades happen and the usual size, both unscaled.
const MARKETS: [(&str, &str, i64, i64); 10] = [
    ("BTCUSDT", "USDT", 9_643_117_000_000, 1_500_000),
    ("ETHUSDT", "USDT", 338_842_000_000, 28_000_000),
    ("SOLUSDT", "USDT", 18_861_000_000, 500_000_000),
    ("XRPUSDT", "USDT", 231_470_000, 42_000_000_000),
    ("DOGEUSDT", "USDT", 32_914_000, 310_000_000_000),
    ("SHIBUSDT", "USDT", 2_217, 450_000_000_000_000),
    ("BTCEUR", "EUR", 9_120_450_000_000, 900_000),
    ("ETHBTC", "BTC", 3_512_000, 40_000_000),
    ("ADAUSD", "USD", 89_120_000, 95_000_000_000),
    ("USDCUSD", "USD", 99_990_000, 200_000_000_000),
];

const CONDITIONS: [&str; 6] = ["@", "T", "I", "BUYER_MAKER", "AUCTION", "BLOCK"];

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trade {
    pub message_id: String,
    pub trade_id: String,
    pub symbol: &'static str,
    pub exchange: &'static str,
    /// Index into `ASSET_CLASSES`.
    pub asset_class: usize,
    pub timestamp: Micros,
    /// Unscaled: times 10^8.
    pub price: i64,
    /// Unscaled: times 10^8.
    pub quantity: i64,
    pub currency: &'static str,
    /// Index into `SIDES`.
    pub side: usize,
    pub trade_conditions: Vec<&'static str>,
    pub source_sequence: Option<i64>,
    pub ingestion_timestamp: Micros,
    pub platform_sequence: Option<i64>,
    /// In the order in which the map is written, which is not sorted.
    pub vendor_data: Option<Vec<(&'static str, String)>>,
}

/// The exchange of a topic by its place in the configuration.
pub fn exchange_of(topic: usize) -> &'static str {
    EXCHANGES[topic % EXCHANGES.len()]
}

impl Trade {
    /// The trade that is made by the record `number`, of the topic at this place, at this event time. `received` is when
    /// the platform took it in.
    pub fn make(draw: &mut Draw, number: u64, topic: usize, timestamp: Micros, received: Micros) -> Self {
        let exchange = exchange_of(topic);
        let (symbol, currency, price, quantity) = draw.pick(&MARKETS);
        Self {
            message_id: message_id(draw, number),
            trade_id: format!("{exchange}-{}", 400_000_000 + number),
            symbol,
            exchange,
            asset_class: if draw.one_in(40) { draw.below(4) as usize } else { 1 },
            timestamp,
            price: around(draw, price),
            quantity: around(draw, quantity),
            currency,
            side: if draw.one_in(30) { draw.below(4) as usize } else { draw.below(2) as usize },
            trade_conditions: conditions(draw),
            source_sequence: (!draw.one_in(25)).then_some(7_000_000_000 + number as i64),
            ingestion_timestamp: received,
            platform_sequence: (!draw.one_in(8)).then_some(number as i64),
            vendor_data: vendor_data(draw, topic, symbol),
        }
    }
}

/// A version 4 UUID; one in 400 is another string, as any string is a legal message_id.
fn message_id(draw: &mut Draw, number: u64) -> String {
    let bits = u128::from(draw.bits()) << 64 | u128::from(draw.bits());
    let uuid = uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid();
    if !draw.one_in(400) {
        return uuid.hyphenated().to_string();
    }
    match draw.below(4) {
        0 => uuid.hyphenated().to_string().to_ascii_uppercase(),
        1 => uuid.braced().to_string(),
        2 => uuid.urn().to_string(),
        _ => format!("handelsplatz-zürich/{number}"),
    }
}

/// Within two percent of `usual`; now and then an extreme that decimal(18,8) still holds.
fn around(draw: &mut Draw, usual: i64) -> i64 {
    if draw.one_in(2_000) {
        return draw.pick(&[1, -1, 0, 127, 128, -128, -129, 255, 256, DECIMAL_MAX, -DECIMAL_MAX]);
    }
    let tick = (usual / 50_000).max(1);
    usual - 1_000 * tick + draw.below(2_001) as i64 * tick
}

fn conditions(draw: &mut Draw) -> Vec<&'static str> {
    let many = [0, 0, 0, 0, 0, 0, 1, 1, 2, 3];
    (0..draw.pick(&many)).map(|_| draw.pick(&CONDITIONS)).collect()
}

fn vendor_data(draw: &mut Draw, topic: usize, symbol: &str) -> Option<Vec<(&'static str, String)>> {
    if draw.one_in(5) {
        return None;
    }
    if draw.one_in(50) {
        // What JSON must escape, and what sorts otherwise than it looks.
        return Some(vec![
            ("z\"quoted\"", "line\nbreak\ttab \\ \u{1} é 🦀".into()),
            ("Z", "\u{7f}/".into()),
            ("a b", String::new()),
        ]);
    }
    if draw.one_in(50) {
        return Some(Vec::new());
    }
    Some(match topic % 2 {
        0 => vec![
            ("is_buyer_maker", (draw.below(2) == 1).to_string()),
            ("event_type", "trade".into()),
            ("base_asset", symbol[..3].into()),
        ],
        _ => vec![
            ("pair", format!("{}/{}", &symbol[..3], &symbol[3..])),
            ("order_type", draw.pick(&["l", "m"]).into()),
            ("misc", String::new()),
        ],
    })
}

/// What Gold holds for a trade: the columns whose values follow from the record, named as in the table.
#[derive(Serialize, Clone, PartialEq, Debug)]
pub struct Row<'a> {
    pub message_id: &'a str,
    pub trade_id: &'a str,
    pub symbol: &'a str,
    pub exchange: &'a str,
    pub asset_class: &'a str,
    pub timestamp: Micros,
    /// With all eight decimal places, such as `96431.17000000`.
    pub price: String,
    pub quantity: String,
    pub currency: &'a str,
    pub side: &'a str,
    pub trade_conditions: &'a [&'static str],
    pub source_sequence: Option<i64>,
    pub ingestion_timestamp: Micros,
    pub platform_sequence: Option<i64>,
    /// A JSON object, keys sorted by their bytes, without spaces.
    pub vendor_data: Option<String>,
    /// `YYYY-MM-DD`, UTC.
    pub exchange_date: String,
    /// 0-23, UTC.
    pub exchange_hour: i32,
}

impl Trade {
    /// `optional`: whether the writer's schema has trade_conditions and vendor_data; without them the defaults are read.
    pub fn row(&self, optional: bool) -> Row<'_> {
        let hour = EventHour::of(self.timestamp);
        let date = chrono::DateTime::from_timestamp_micros(self.timestamp);
        Row {
            message_id: &self.message_id,
            trade_id: &self.trade_id,
            symbol: self.symbol,
            exchange: self.exchange,
            asset_class: ASSET_CLASSES[self.asset_class],
            timestamp: self.timestamp,
            price: decimal(self.price),
            quantity: decimal(self.quantity),
            currency: self.currency,
            side: SIDES[self.side],
            trade_conditions: if optional { &self.trade_conditions } else { &[] },
            source_sequence: self.source_sequence,
            ingestion_timestamp: self.ingestion_timestamp,
            platform_sequence: self.platform_sequence,
            vendor_data: self.vendor_data.as_ref().filter(|_| optional).map(|map| json_object(map)),
            exchange_date: date.map(|date| date.format("%Y-%m-%d").to_string()).unwrap_or_default(),
            exchange_hour: hour.exchange_hour(),
        }
    }
}

fn json_object(map: &[(&'static str, String)]) -> String {
    let sorted: std::collections::BTreeMap<&str, &str> = map.iter().map(|(key, value)| (*key, value.as_str())).collect();
    serde_json::to_string(&sorted).expect("texts are JSON")
}

fn decimal(unscaled: i64) -> String {
    let one = 10u64.pow(SCALE);
    let sign = if unscaled < 0 { "-" } else { "" };
    format!("{sign}{}.{:08}", unscaled.unsigned_abs() / one, unscaled.unsigned_abs() % one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_written_with_eight_places_and_their_sign() {
        assert_eq!(decimal(9_643_117_000_000), "96431.17000000");
        assert_eq!(decimal(-1), "-0.00000001");
        assert_eq!(decimal(DECIMAL_MAX), "9999999999.99999999");
    }

    #[test]
    fn message_ids_differ_and_most_are_version_4_uuids() {
        let ids: std::collections::BTreeSet<String> =
            (0..20_000).map(|n| Trade::make(&mut Draw::of(7, 1, n), n, 0, 0, 0).message_id).collect();
        assert_eq!(ids.len(), 20_000);
        let v4 = |id: &&String| uuid::Uuid::parse_str(id).is_ok_and(|id| id.get_version_num() == 4);
        let canonical = ids.iter().filter(|id| id.len() == 36 && id.to_lowercase() == **id).filter(v4).count();
        assert!((19_900..20_000).contains(&canonical), "{canonical}");
    }

    #[test]
    fn a_row_has_sorted_json_and_the_utc_hour() {
        let mut trade = Trade::make(&mut Draw::of(7, 1, 1), 1, 0, 1_767_225_600_000_000 - 1, 0);
        trade.vendor_data = Some(vec![("b", "1".into()), ("a", "\"".into())]);
        let row = trade.row(true);
        assert_eq!(row.vendor_data.as_deref(), Some(r#"{"a":"\"","b":"1"}"#));
        assert_eq!((row.exchange_date.as_str(), row.exchange_hour), ("2025-12-31", 23));
        assert_eq!(trade.row(false).vendor_data, None);
    }
}
