//! What producers write: trades whose duplicates, lateness and faults are known, and the bytes of each.

use std::sync::Arc;

use crate::sim::chance::Chance;
use crate::sim::history::{Record, RecordKind, Serial};
use crate::sim::scenario::{Action, Scenario};
use crate::types::*;

/// Where the world's time begins: some hour, so that event times around it lie in several.
pub const BEGIN_MS: i64 = 1_767_222_000_000;
/// Ids of schemas that the registry knows; one that it doesn't.
pub const SCHEMAS: [u32; 2] = [1, 2];
pub const UNKNOWN_SCHEMA: u32 = 99;

/// Records sent to one partition at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct Production {
    pub topic: usize,
    pub partition: i32,
    pub records: Vec<RecordKind>,
    pub transaction: Transaction,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Transaction {
    None,
    Committed,
    Aborted,
    /// Stays open so long: everything behind it waits.
    Open {
        ms: u64,
    },
}

/// Some dozen records, in pieces, over the time before the heal and a little after.
pub fn productions(scenario: &Scenario, chance: &mut Chance) -> Vec<(u64, Action)> {
    let (duplicates, late, malformed) = (rate(chance, 0.5), rate(chance, 0.3), rate(chance, 0.2));
    let transactional = chance.happens(0.3);
    let before_start = chance.between(0, 2);
    let until = scenario.heal_at_ms + 2_000;
    let mut sent: Vec<RecordKind> = Vec::new();
    let mut script = Vec::new();
    for piece in 0..chance.between(2, 14) {
        let at = if piece < before_start { 0 } else { chance.between(0, until) };
        let topic = chance.between(0, scenario.topics.len() as u64 - 1) as usize;
        let partition = chance.between(0, scenario.topics[topic].partitions as u64 - 1) as i32;
        let mut records = Vec::new();
        for _ in 0..chance.between(1, 6) {
            let record = match chance.between(0, 99) as f64 / 100.0 {
                x if x < malformed => RecordKind::Malformed,
                x if x < malformed + duplicates && !sent.is_empty() => again(&sent, chance),
                _ => trade(sent.len(), at, chance.happens(late), chance),
            };
            if record != RecordKind::Malformed {
                sent.push(record.clone());
            }
            records.push(record);
        }
        let transaction = if transactional { transaction(chance) } else { Transaction::None };
        script.push((at, Action::Produce(Production { topic, partition, records, transaction })));
    }
    script
}

fn rate(chance: &mut Chance, most: f64) -> f64 {
    if chance.happens(0.4) { 0.0 } else { most * chance.between(1, 10) as f64 / 10.0 }
}

fn transaction(chance: &mut Chance) -> Transaction {
    match chance.between(0, 9) {
        0..=3 => Transaction::Committed,
        4..=6 => Transaction::Aborted,
        7 => Transaction::Open { ms: chance.between(100, 20_000) },
        _ => Transaction::None,
    }
}

/// The same id again: nearly always the same record, now and then under another hour, which makes it another key.
fn again(sent: &[RecordKind], chance: &mut Chance) -> RecordKind {
    let newest = sent.len().saturating_sub(8);
    let from = if chance.happens(0.7) { &sent[newest..] } else { sent };
    let RecordKind::Trade { id, time } = chance.pick(from).expect("not empty") else { unreachable!("only trades are kept") };
    let time = if chance.happens(0.05) { time - 3_600_000_000 } else { *time };
    RecordKind::Trade { id: id.clone(), time }
}

fn trade(number: usize, at_ms: u64, late: bool, chance: &mut Chance) -> RecordKind {
    let now = (BEGIN_MS + at_ms as i64) * 1000;
    let behind = match late {
        false => chance.between(0, 50) * 1_000_000,
        true => *chance.pick(&[120, 600, 4_000, 90_000]).expect("some") * 1_000_000,
    };
    let id = match chance.happens(0.2) {
        // no canonical UUID: it goes through the hash
        true => format!("trade-{number}"),
        false => uuid::Uuid::from_u128(chance.u128()).hyphenated().to_string(),
    };
    RecordKind::Trade { id: id.into(), time: now - behind as i64 }
}

/// The value of a record; none is a tombstone. Written for the schema that the serial chooses.
pub fn value_of(record: &Record) -> Option<Vec<u8>> {
    let Serial(serial) = record.serial;
    match &record.kind {
        RecordKind::Trade { id, time } => Some(framed(SCHEMAS[serial as usize % 2], &body(serial, id, *time))),
        RecordKind::Malformed => match serial % 6 {
            0 => None,
            1 => Some(Vec::new()),
            2 => Some(framed(UNKNOWN_SCHEMA, &body(serial, "x", 1))),
            3 => Some(framed(1, &body(serial, "", BEGIN_MS * 1000))),
            4 => Some(framed(1, &body(serial, "far-future", (BEGIN_MS + 86_400_000) * 1000))),
            _ => Some(framed(1, &body(serial, "cut", BEGIN_MS * 1000)[..7])),
        },
    }
}

/// The writer's schema of an id: the reader's own, or the same with another name.
pub fn schema_of(id: u32) -> Option<Arc<str>> {
    match id {
        1 => Some(crate::decode::TRADE_V2.into()),
        2 => Some(crate::decode::TRADE_V2.replacen("\"TradeV2\"", "\"topLevelRecord\"", 1).into()),
        _ => None,
    }
}

fn framed(schema: u32, body: &[u8]) -> Vec<u8> {
    let mut value = vec![0];
    value.extend(schema.to_be_bytes());
    value.extend(body);
    value
}

/// A TradeV2; `trade_id` is the serial, so that a row says which record it was made of.
fn body(serial: u64, id: &str, time: Micros) -> Vec<u8> {
    let mut out = Vec::with_capacity(96);
    let serial = serial.to_string();
    for text in [id, &serial, "BTCUSDT", "BINANCE"] {
        string(&mut out, text);
    }
    long(&mut out, 1); // asset_class
    long(&mut out, time);
    for price in [6_500_000_000_000_i64, 25_000_000] {
        let bytes = price.to_be_bytes();
        long(&mut out, bytes.len() as i64);
        out.extend(bytes);
    }
    string(&mut out, "USDT");
    long(&mut out, 0); // side
    long(&mut out, 0); // trade_conditions
    long(&mut out, 0); // source_sequence: null
    long(&mut out, time + 1_000); // ingestion_timestamp
    long(&mut out, 0); // platform_sequence: null
    long(&mut out, 0); // vendor_data: null
    out
}

fn string(out: &mut Vec<u8>, text: &str) {
    long(out, text.len() as i64);
    out.extend(text.as_bytes());
}

/// Avro's zig-zag varint.
fn long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push((rest as u8) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}
