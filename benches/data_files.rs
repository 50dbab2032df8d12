//! Data files in memory: rows written, ids read back, ids probed, per second.
//! `cargo bench --bench data_files [rows] [file to keep]`. Ratios count; the numbers are this machine's.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder};
use async_trait::async_trait;
use bytes::Bytes;
use iceberg::TableCreation;
use iceberg::spec::TableMetadataBuilder;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sluice::core::table::LiveFile;
use sluice::ports::{DataFiles, ProbeId, WrittenFile};
use sluice::sink::data_files::GoldFiles;
use sluice::sink::file_layout::FileLayout;
use sluice::sink::gold;
use sluice::sink::storage::{ObjectStore, StorageError};
use sluice::types::{EventHour, MessageId};

const HOUR: EventHour = EventHour(490_968);

#[derive(Default)]
struct Memory(Mutex<BTreeMap<String, Bytes>>);

#[async_trait]
impl ObjectStore for Memory {
    async fn put(&self, path: &str, content: Bytes) -> Result<(), StorageError> {
        self.0.lock().unwrap().insert(path.into(), content);
        Ok(())
    }
    async fn get(&self, path: &str) -> Result<Bytes, StorageError> {
        Ok(self.0.lock().unwrap()[path].clone())
    }
    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        Ok(self.0.lock().unwrap()[path].slice(range.start as usize..range.end as usize))
    }
    async fn size(&self, path: &str) -> Result<Option<u64>, StorageError> {
        Ok(self.0.lock().unwrap().get(path).map(|c| c.len() as u64))
    }
    async fn delete(&self, path: &str) -> Result<(), StorageError> {
        self.0.lock().unwrap().remove(path);
        Ok(())
    }
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).filter(|a| !a.starts_with("--"));
    let n = arguments.next().and_then(|a| a.parse().ok()).unwrap_or(1_000_000);
    let store = Arc::new(Memory::default());
    let files = GoldFiles::new(store.clone());
    files.use_layout(layout());

    let mut rng = SmallRng::seed_from_u64(1);
    let ids: Vec<String> = (0..n).map(|_| uuid::Builder::from_random_bytes(rng.random()).into_uuid().to_string()).collect();
    let batches: Vec<RecordBatch> = ids.chunks(8_000).map(|ids| rows(ids, &mut rng)).collect();

    let start = Instant::now();
    let written = files.write(HOUR, "bench", 1_767_500_000_000_000, batches).await.expect("a store in memory");
    report("written, M rows/s", n, start);
    let bytes: u64 = written.iter().map(|f| f.bytes).sum();
    println!("{:<36} {:>10.1}", "bytes a row", bytes as f64 / n as f64);

    for attempt in ["ids read, M/s", "ids read again, M/s"] {
        let start = Instant::now();
        let mut read = 0;
        for file in &written {
            read += files.read_ids(&live(file)).await.expect("just written").len();
        }
        assert_eq!(read, n);
        report(attempt, n, start);
    }
    let absent: Vec<MessageId> = (0..1000).map(|_| MessageId(rng.random())).collect();
    let absent: Vec<String> = absent.iter().map(|id| uuid::Uuid::from_u128(id.0).to_string()).collect();
    for (what, asked) in
        [("probe of 1,000 absent ids, ms a file", &absent[..]), ("probe of 1 id that is there, ms", &ids[..1])]
    {
        let start = Instant::now();
        let probe: Vec<_> = asked.iter().map(|t| ProbeId { id: MessageId::of(t), text: Some(t.as_str().into()) }).collect();
        for file in &written {
            files.probe(&live(file), HOUR, &probe).await.expect("just written");
        }
        println!("{what:<36} {:>10.2}", start.elapsed().as_secs_f64() * 1e3 / written.len() as f64);
    }
    if let Some(path) = arguments.next() {
        std::fs::write(path, store.get(&written[0].path).await.expect("just written")).expect("a writable path");
    }
}

fn report(what: &str, n: usize, start: Instant) {
    println!("{what:<36} {:>10.2}", n as f64 / start.elapsed().as_secs_f64() / 1e6);
}

fn live(file: &WrittenFile) -> LiveFile {
    LiveFile { path: file.path.clone(), hour: Some(file.hour), rows: file.rows, bytes: file.bytes }
}

fn layout() -> FileLayout {
    let creation = TableCreation::builder()
        .name("gold".into())
        .location("/lake/gold".into())
        .schema(gold::table_schema())
        .partition_spec(gold::partition_spec())
        .build();
    let table = TableMetadataBuilder::from_table_creation(creation).expect("Gold's schema").build().expect("Gold's table");
    FileLayout::of(&table.metadata).expect("Gold's table")
}

/// Trades like those of a crypto exchange: a few symbols, prices that walk, rising sequence numbers.
fn rows(ids: &[String], rng: &mut SmallRng) -> RecordBatch {
    let n = ids.len();
    let (from, _) = HOUR.bounds();
    let longs = |values: &mut dyn FnMut(i64) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values((0..n as i64).map(values)))
    };
    let word = |words: &[&str], rng: &mut SmallRng| -> ArrayRef {
        Arc::new(StringArray::from_iter_values((0..n).map(|_| words[rng.random_range(0..words.len())].to_string())))
    };
    let amount = |values: Vec<i128>| -> ArrayRef {
        Arc::new(Decimal128Array::from(values).with_precision_and_scale(18, 8).expect("amounts of 18 digits"))
    };
    let mut price = 9_654_321_000_000i128;
    let mut conditions = ListBuilder::new(StringBuilder::new());
    (0..n).for_each(|_| conditions.append(true));
    let vendor = (0..n).map(|i| format!(r#"{{"is_buyer_maker":"{}","trade_id":"{}"}}"#, i % 2 == 0, rng.random::<u32>()));
    let vendor: ArrayRef = Arc::new(StringArray::from_iter_values(vendor));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(ids)),
        Arc::new(StringArray::from_iter_values((0..n).map(|_| format!("BINANCE-{}", rng.random::<u32>())))),
        word(&["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"], rng),
        word(&["BINANCE"], rng),
        word(&["crypto"], rng),
        longs(&mut |i| from + i * 700),
        amount((0..n).map(|_| (price += rng.random_range(-50..=50) * 1_000_000, price).1).collect()),
        amount((0..n).map(|_| rng.random_range(1..100_000) * 1_000).collect()),
        word(&["USDT"], rng),
        word(&["BUY", "SELL"], rng),
        Arc::new(conditions.finish()),
        longs(&mut |i| 5_000_000 + i),
        longs(&mut |i| from + i * 700 + rng.random_range(1_000..90_000)),
        longs(&mut |i| i),
        vendor,
    ];
    let names = gold::COLUMNS.iter().map(|c| c.name).zip(columns);
    RecordBatch::try_from_iter_with_nullable(names.map(|(name, column)| (name, column, true)))
        .expect("columns of one length")
}
