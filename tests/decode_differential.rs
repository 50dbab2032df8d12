//! Decoding against apache-avro, with generated writer schemas and values. apache-avro encodes; what must come out is
//! known from the value that went in, and, where its resolution has the case, from apache-avro's own reading.
//! A failure prints the seed and the schema that repeat it.

mod trades;

use apache_avro::types::Value;
use apache_avro::{Schema, from_avro_datum};
use arrow::array::RecordBatch;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use sluice::decode::{ChunkDecoder, Plan, TRADE_V2};
use sluice::types::MessageId;

use trades::{Trade, Writer, row};

fn rng(seed: u64) -> StdRng {
    StdRng::seed_from_u64(0x51_u64 << 56 | seed)
}

struct Case {
    writer: Writer,
    plan: Plan,
}

impl Case {
    fn new(writer: Writer) -> Self {
        let plan = Plan::compile(&writer.json, &[]);
        let plan = plan.unwrap_or_else(|why| panic!("{why}\nschema: {}", writer.json));
        Self { writer, plan }
    }
}

/// What apache-avro reads of a body, as the writer wrote it or resolved to the reader's schema; none where it refuses or
/// leaves bytes over.
fn oracle(writer: &Schema, body: &[u8], reader: Option<&Schema>) -> Option<Trade> {
    let mut rest = body;
    let value = from_avro_datum(writer, &mut rest, reader).ok()?;
    rest.is_empty().then(|| Trade::from_value(value))
}

fn decoded(batch: &RecordBatch) -> Vec<Trade> {
    (0..batch.num_rows()).map(|i| row(batch, i)).collect()
}

#[test]
fn every_value_is_the_one_that_was_written() {
    for seed in 0..600 {
        let mut rng = rng(seed);
        let case = Case::new(Writer::any(&mut rng));
        let mut chunk = ChunkDecoder::new(16);
        let mut expected = Vec::new();
        for _ in 0..20 {
            let trade = case.writer.exact(Trade::random(&mut rng));
            let body = case.writer.encode(&trade, &mut rng);
            let meta = chunk
                .push(&case.plan, &body)
                .unwrap_or_else(|error| panic!("seed {seed}: {error}\nschema: {}\ntrade: {trade:?}", case.writer.json));
            assert_eq!(meta.id, MessageId::of(&trade.message_id), "seed {seed}");
            assert_eq!(meta.event_time, trade.timestamp, "seed {seed}");
            assert_eq!(chunk.message_id(chunk.rows() - 1), trade.message_id, "seed {seed}");
            expected.push(case.writer.seen(trade));
        }
        let batch = chunk.finish();
        assert_eq!(batch.schema(), sluice::decode::rows::schema());
        assert_eq!(decoded(&batch), expected, "seed {seed}\nschema: {}", case.writer.json);
        assert_eq!(chunk.rows(), 0);
    }
}

#[test]
fn apache_avro_reads_the_same_where_its_resolution_has_the_case() {
    let reader = Schema::parse_str(TRADE_V2).unwrap();
    for seed in 0..300 {
        let mut rng = rng(seed);
        let case = Case::new(Writer::standard(&mut rng));
        let mut chunk = ChunkDecoder::new(16);
        let mut expected = Vec::new();
        for _ in 0..10 {
            let trade = case.writer.exact(Trade::random(&mut rng));
            let body = case.writer.encode(&trade, &mut rng);
            chunk
                .push(&case.plan, &body)
                .unwrap_or_else(|error| panic!("seed {seed}: {error}\nschema: {}", case.writer.json));
            let theirs = oracle(&case.writer.schema, &body, Some(&reader));
            expected.push(theirs.unwrap_or_else(|| panic!("seed {seed}: no oracle\nschema: {}", case.writer.json)));
        }
        assert_eq!(decoded(&chunk.finish()), expected, "seed {seed}\nschema: {}", case.writer.json);
    }
}

#[test]
fn every_truncation_and_every_trailing_byte_is_an_error() {
    for seed in 0..150 {
        let mut rng = rng(seed);
        let case = Case::new(Writer::any(&mut rng));
        let trade = case.writer.exact(Trade::random(&mut rng));
        let mut body = case.writer.encode(&trade, &mut rng);
        let mut chunk = ChunkDecoder::new(4);
        for length in 0..body.len() {
            let result = chunk.push(&case.plan, &body[..length]);
            assert!(result.is_err(), "seed {seed}: cut at {length} of {}\nschema: {}", body.len(), case.writer.json);
            assert_eq!(chunk.rows(), 0, "seed {seed}");
        }
        body.push(rng.random());
        assert!(chunk.push(&case.plan, &body).is_err(), "seed {seed}: trailing byte\nschema: {}", case.writer.json);
        assert_eq!(chunk.finish().num_rows(), 0);
    }
}

#[test]
fn a_flipped_byte_gives_what_apache_avro_reads_or_an_error() {
    apache_avro::util::max_allocation_bytes(1 << 16);
    let (mut same, mut refused) = (0, 0);
    for seed in 0..200 {
        let mut rng = rng(seed);
        let case = Case::new(Writer::standard(&mut rng));
        let body = case.writer.encode(&case.writer.exact(Trade::random(&mut rng)), &mut rng);
        let mut chunk = ChunkDecoder::new(4);
        for _ in 0..100 {
            let mut flipped = body.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..flipped.len());
                flipped[at] ^= 1 << rng.random_range(0..8);
            }
            if chunk.push(&case.plan, &flipped).is_err() {
                refused += 1;
                continue;
            }
            let ours = decoded(&chunk.finish());
            let theirs: Vec<Trade> = oracle(&case.writer.schema, &flipped, None).into_iter().collect();
            assert_eq!(ours, theirs, "seed {seed}: {flipped:02x?}\nschema: {}", case.writer.json);
            same += 1;
        }
    }
    assert!(same > 1_000 && refused > 1_000, "the test has both: {same} read, {refused} refused");
}

#[test]
fn schemas_take_turns_and_a_corrupt_record_leaves_its_neighbours_untouched() {
    for seed in 0..60 {
        let mut rng = rng(seed);
        let cases: Vec<Case> = (0..4).map(|_| Case::new(Writer::any(&mut rng))).collect();
        let mut chunk = ChunkDecoder::new(64);
        let mut expected = Vec::new();
        for _ in 0..200 {
            let case = &cases[rng.random_range(0..cases.len())];
            let trade = case.writer.exact(Trade::random(&mut rng));
            let mut body = case.writer.encode(&trade, &mut rng);
            match rng.random_range(0..10) {
                0 => {
                    body.truncate(rng.random_range(0..body.len()));
                    assert!(chunk.push(&case.plan, &body).is_err(), "seed {seed}");
                }
                1 => {
                    chunk.push(&case.plan, &body).unwrap();
                    chunk.pop_row();
                }
                _ => {
                    chunk.push(&case.plan, &body).unwrap();
                    expected.push(case.writer.seen(trade));
                }
            }
            assert_eq!(chunk.rows(), expected.len(), "seed {seed}");
        }
        assert_eq!(decoded(&chunk.finish()), expected, "seed {seed}");
    }
}

#[test]
fn random_bytes_are_never_a_panic() {
    for seed in 0..100 {
        // Shown when a panic ends the test.
        println!("seed {seed}");
        let mut rng = rng(seed);
        let case = Case::new(Writer::any(&mut rng));
        let mut chunk = ChunkDecoder::new(4);
        for _ in 0..300 {
            let length = rng.random_range(0..200);
            let mut body: Vec<u8> = (0..length).map(|_| rng.random()).collect();
            if rng.random() {
                body.iter_mut().for_each(|byte| *byte &= 0x8f);
            }
            let _ = chunk.push(&case.plan, &body);
        }
        let rows = chunk.rows();
        assert_eq!(chunk.finish().num_rows(), rows, "seed {seed}");
    }
}

#[test]
fn a_null_that_trade_v2_has_not_is_refused() {
    let mut refused = 0;
    for seed in 0..200 {
        let mut rng = rng(seed);
        let case = Case::new(Writer::any(&mut rng));
        let nullable = case.writer.required_nullable();
        let Some((at, null)) = nullable.choose(&mut rng) else { continue };
        let trade = case.writer.exact(Trade::random(&mut rng));
        let Value::Record(mut values) = case.writer.value(&trade, &mut rng) else { unreachable!() };
        values[*at].1 = Value::Union(*null, Box::new(Value::Null));
        let body = apache_avro::to_avro_datum(&case.writer.schema, Value::Record(values)).unwrap();
        let error = ChunkDecoder::new(1).push(&case.plan, &body).unwrap_err();
        assert_eq!(error.reason.as_str(), "null_field", "seed {seed}: {error}\nschema: {}", case.writer.json);
        refused += 1;
    }
    assert!(refused > 100, "{refused}");
}
