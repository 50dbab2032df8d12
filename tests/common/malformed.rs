//! Records that must become dead letters, one of each kind.

use super::ledger::What;
use super::producer::Record;
use super::registry::{Registry, framed};
use super::trade::{Draft, HOUR, T0, Writer};

/// Ids that no registry here gives.
const UNKNOWN_SCHEMA: u32 = 1_900_000_001;

/// Every kind by name. `n` keeps message_ids apart; `alien` is the id of a schema that can't give a TradeV2.
pub fn all(registry: &Registry, n: u64, alien: u32) -> Vec<Record> {
    let draft = Draft::new(n, T0);
    let v2 = registry.id(Writer::V2);
    let body = draft.body();
    let id_length = draft.id.to_string().len();
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = body.clone();
        changed.splice(at..at + bytes.len(), bytes.iter().copied());
        changed
    };
    let mut unknown_symbol = body.clone();
    unknown_symbol[draft.body_until("asset_class").len()] = 8; // index 4 of 4 symbols, as zigzag
    let mut bad_magic = framed(v2, &body);
    bad_magic[0] = 1;
    let kinds: Vec<(&'static str, Option<Vec<u8>>)> = vec![
        ("null value", None),
        ("empty value", Some(Vec::new())),
        ("one byte", Some(vec![0])),
        ("frame without its last byte", Some(vec![0, 0, 0, 0])),
        ("frame without a body", Some(framed(v2, &[]))),
        ("bad magic", Some(bad_magic)),
        ("unknown schema id", Some(framed(UNKNOWN_SCHEMA, &body))),
        ("schema that gives no TradeV2", Some(framed(alien, &[2, 4]))),
        ("body cut in the first field", Some(framed(v2, &body[..10]))),
        ("body cut in the middle", Some(framed(v2, &body[..body.len() / 2]))),
        ("body without its last byte", Some(framed(v2, &body[..body.len() - 1]))),
        ("a byte behind the body", Some(framed(v2, &[&body[..], &[0]].concat()))),
        ("invalid UTF-8", Some(framed(v2, &with(1 + id_length / 2, &[0xff, 0xfe])))),
        ("unknown enum index", Some(framed(v2, &unknown_symbol))),
        ("length bomb", Some(framed(v2, &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]))),
        ("negative length", Some(framed(v2, &[0x01]))),
        ("endless varint", Some(framed(v2, &[0xff; 12]))),
        ("array bomb", Some(framed(v2, &array_bomb(&draft)))),
        ("empty message_id", Some(framed(v2, &[&[0][..], &body[1 + id_length..]].concat()))),
    ];
    let broken = kinds.into_iter().map(|(kind, value)| Record {
        what: What::Malformed(kind),
        key: Some(format!("malformed {kind}").into_bytes()),
        value,
        timestamp_ms: T0 / 1000,
        headers: vec![("origin", b"test")],
    });
    broken.chain(out_of_time(registry, n)).collect()
}

/// Well-formed trades whose event time can't be: behind `past_max`, ahead by more than `future_max`, negative.
fn out_of_time(registry: &Registry, n: u64) -> impl Iterator<Item = Record> {
    const YEAR: i64 = 365 * 24 * HOUR;
    let times = [
        ("from 2300", T0 + 274 * YEAR),
        ("six minutes ahead of the broker", T0 + HOUR / 10),
        ("millis for micros", T0 / 1000),
        ("before 1970", -1),
        ("eleven years old", T0 - 11 * YEAR),
    ];
    times.into_iter().zip(n + 1..).map(|((kind, time), n)| {
        let draft = Draft::new(n, time);
        Record { what: What::Malformed(kind), timestamp_ms: T0 / 1000, ..Record::trade(registry, draft) }
    })
}

/// Up to the array, and then ten million elements in five bytes.
fn array_bomb(draft: &Draft) -> Vec<u8> {
    let mut bomb = draft.body_until("trade_conditions");
    bomb.extend([0x80, 0xda, 0xc4, 0x09, 0x00]);
    bomb
}
