//! Records a second through `ChunkDecoder` on one core, Arrow batches included:
//! `cargo bench --bench decode -- [--records N] [--seconds S]`.
//! Each line is the best of the runs that fit into the time, in CPU time of the thread, so that a busy machine shows less.

use std::hint::black_box;
use std::time::{Duration, Instant};

use apache_avro::types::Value;
use apache_avro::{Decimal, Schema, to_avro_datum};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::json;
use sluice::decode::{ChunkDecoder, Plan, TRADE_V2};

const ROWS: usize = 4_000;

fn main() {
    let records = option("--records", 200_000);
    let seconds = option("--seconds", 3);
    let mut rng = StdRng::seed_from_u64(8);
    let plain = plan(TRADE_V2);
    let extended_schema = extended();
    let extended = plan(&extended_schema);
    let plain_bodies = bodies(TRADE_V2, records, &mut rng);
    let extended_bodies = bodies(&extended_schema, records, &mut rng);
    let of = |plan: &'static Plan, bodies: &[Vec<u8>]| bodies.iter().cloned().map(|body| (plan, body)).collect::<Vec<_>>();

    let clean = of(plain, &plain_bodies);
    measure("TradeV2", &clean, seconds);
    measure("with three extra fields", &of(extended, &extended_bodies), seconds);
    let mut interleaved = clean.clone();
    for (i, body) in extended_bodies.iter().enumerate().filter(|(i, _)| i % 2 == 0) {
        interleaved[i] = (extended, body.clone());
    }
    measure("both, interleaved", &interleaved, seconds);
    let mut corrupt = clean;
    for (_, body) in corrupt.iter_mut().step_by(100) {
        let half = body.len() / 2;
        body.truncate(half);
    }
    measure("TradeV2, 1 % corrupt", &corrupt, seconds);
    measure_apache_avro(&plain_bodies[..records / 20], seconds);
}

fn option(name: &str, default: usize) -> usize {
    let args: Vec<String> = std::env::args().collect();
    let given = args.windows(2).find(|pair| pair[0] == name).map(|pair| pair[1].parse());
    given.transpose().unwrap_or_else(|_| panic!("{name} takes a number")).unwrap_or(default)
}

fn plan(schema: &str) -> &'static Plan {
    Box::leak(Box::new(Plan::compile(schema, &[]).expect("the schema gives a TradeV2")))
}

/// As the Silver layer writes it.
fn extended() -> String {
    let mut schema: serde_json::Value = serde_json::from_str(TRADE_V2).expect("the embedded schema is JSON");
    let fields = schema["fields"].as_array_mut().expect("a record has fields");
    for (name, of) in [("validation_timestamp", "long"), ("bronze_ingestion_timestamp", "long"), ("schema_id", "int")] {
        fields.push(json!({"name": name, "type": of}));
    }
    schema.to_string()
}

fn bodies(schema: &str, records: usize, rng: &mut StdRng) -> Vec<Vec<u8>> {
    let schema = Schema::parse_str(schema).expect("an Avro schema");
    let extra = matches!(&schema, Schema::Record(record) if record.fields.len() > 15);
    (0..records).map(|i| to_avro_datum(&schema, trade(i as i64, extra, rng)).expect("a trade")).collect()
}

fn trade(i: i64, extra: bool, rng: &mut StdRng) -> Value {
    let text = |text: String| Value::String(text);
    let decimal = |value: i64| Value::Decimal(Decimal::from(value.to_be_bytes()));
    let time = 1_767_225_600_000_000 + i * 1_000;
    let vendor = [("is_buyer_maker", "true"), ("base_asset", "BTC"), ("event_type", "trade")];
    let vendor = vendor.into_iter().map(|(key, value)| (key.to_owned(), text(value.into()))).collect();
    let mut fields = vec![
        ("message_id", text(uuid::Uuid::from_u128(rng.random()).to_string())),
        ("trade_id", text(format!("BINANCE-{}", 3_000_000_000 + i))),
        ("symbol", text("BTCUSDT".into())),
        ("exchange", text("BINANCE".into())),
        ("asset_class", Value::Enum(1, "crypto".into())),
        ("timestamp", Value::TimestampMicros(time)),
        ("price", decimal(rng.random_range(1..10_000_000_000_000))),
        ("quantity", decimal(rng.random_range(1..10_000_000_000))),
        ("currency", text("USDT".into())),
        ("side", Value::Enum(0, "BUY".into())),
        ("trade_conditions", Value::Array(vec![text("REGULAR".into())])),
        ("source_sequence", Value::Union(1, Box::new(Value::Long(i)))),
        ("ingestion_timestamp", Value::TimestampMicros(time + 250_000)),
        ("platform_sequence", Value::Union(1, Box::new(Value::Long(i * 3)))),
        ("vendor_data", Value::Union(1, Box::new(Value::Map(vendor)))),
    ];
    if extra {
        fields.push(("validation_timestamp", Value::Long(time)));
        fields.push(("bronze_ingestion_timestamp", Value::Long(time)));
        fields.push(("schema_id", Value::Int(7)));
    }
    Value::Record(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn measure(name: &str, records: &[(&'static Plan, Vec<u8>)], seconds: usize) {
    let bytes = records.iter().map(|(_, body)| body.len()).sum();
    let contiguous = Records::new(records);
    let best = best_of(seconds, || {
        black_box(decode(&contiguous));
    });
    report(name, records.len(), bytes, best);
}

/// What the machine is worth at this moment: the rest is best read against this line.
fn measure_apache_avro(bodies: &[Vec<u8>], seconds: usize) {
    let schema = Schema::parse_str(TRADE_V2).expect("an Avro schema");
    let best = best_of(seconds, || {
        for body in bodies {
            let value = apache_avro::from_avro_datum(&schema, &mut &body[..], None);
            black_box(value.expect("a trade"));
        }
    });
    report("apache-avro to its Value", bodies.len(), bodies.iter().map(Vec::len).sum(), best);
}

fn best_of(seconds: usize, run: impl Fn()) -> Duration {
    let started = Instant::now();
    let mut best = Duration::MAX;
    while started.elapsed() < Duration::from_secs(seconds as u64) || best == Duration::MAX {
        let before = cpu_time();
        run();
        best = best.min(cpu_time() - before);
    }
    best
}

fn report(name: &str, records: usize, bytes: usize, best: Duration) {
    let rate = records as f64 / best.as_secs_f64();
    println!(
        "{name:26} {:5.2} M records/s {:5.0} ns a record {:5.0} MB/s, {} bytes a record",
        rate / 1e6,
        1e9 / rate,
        bytes as f64 / best.as_secs_f64() / 1e6,
        bytes / records,
    );
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes one timespec, which outlives it.
    let done = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    assert_eq!(done, 0, "this system has a clock of CPU time");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Bodies in one buffer, as a chunk of the source has them.
struct Records {
    data: Vec<u8>,
    records: Vec<(&'static Plan, usize, usize)>,
}

impl Records {
    fn new(records: &[(&'static Plan, Vec<u8>)]) -> Self {
        let mut data = Vec::new();
        let records = records.iter().map(|(plan, body)| {
            let from = data.len();
            data.extend_from_slice(body);
            (*plan, from, data.len())
        });
        Self { records: records.collect(), data }
    }
}

fn decode(records: &Records) -> (usize, u128) {
    let mut chunk = ChunkDecoder::new(ROWS);
    let (mut rows, mut ids) = (0, 0);
    for (plan, from, to) in &records.records {
        let body = &records.data[*from..*to];
        if let Ok(meta) = chunk.push(plan, body) {
            ids ^= meta.id.0;
        }
        if chunk.rows() == ROWS {
            rows += chunk.finish().num_rows();
        }
    }
    (rows + chunk.finish().num_rows(), ids)
}
