//! A store in memory and rows to put into it.

mod foreign;
mod probe;
mod unreadable;
mod write;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Mutex;

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, ListBuilder, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field};
use bytes::Bytes;
use iceberg::TableCreation;
use iceberg::spec::{TableMetadata, TableMetadataBuilder};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::sink::storage::StorageError;

const HOUR: EventHour = EventHour(490_968);
const SEALED: Micros = 1_767_500_000_123_456;

/// Objects in memory; remembers what is read, and answers wrongly when told to.
#[derive(Default)]
struct Memory {
    objects: Mutex<BTreeMap<String, Bytes>>,
    reads: Mutex<Vec<Range<u64>>>,
    /// Answers of the next reads, before the right ones.
    faults: Mutex<Vec<Fault>>,
}

enum Fault {
    Unavailable,
    Missing,
    Garbage,
}

impl Memory {
    fn get(&self, path: &str) -> Bytes {
        self.objects.lock().unwrap()[path].clone()
    }
    fn set(&self, path: &str, content: impl Into<Bytes>) {
        self.objects.lock().unwrap().insert(path.into(), content.into());
    }
    fn take_reads(&self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.reads.lock().unwrap())
    }
    fn fail(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }
}

#[async_trait]
impl ObjectStore for Memory {
    async fn put(&self, path: &str, content: Bytes) -> Result<(), StorageError> {
        if let Some(Fault::Unavailable) = self.faults.lock().unwrap().pop() {
            return Err(StorageError::Unavailable { path: path.into(), reason: "no space left".into() });
        }
        self.set(path, content);
        Ok(())
    }
    async fn get(&self, path: &str) -> Result<Bytes, StorageError> {
        self.get_range(path, 0..u64::MAX).await
    }
    async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StorageError> {
        let content = self.objects.lock().unwrap().get(path).cloned();
        let content = content.ok_or_else(|| StorageError::NotFound { path: path.into() })?;
        let range = range.start.min(content.len() as u64)..range.end.min(content.len() as u64);
        self.reads.lock().unwrap().push(range.clone());
        let right = content.slice(range.start as usize..range.end as usize);
        match self.faults.lock().unwrap().pop() {
            None => Ok(right),
            Some(Fault::Unavailable) => Err(StorageError::Unavailable { path: path.into(), reason: "503 slow down".into() }),
            Some(Fault::Missing) => Err(StorageError::NotFound { path: path.into() }),
            Some(Fault::Garbage) => Ok(vec![0x5a; right.len()].into()),
        }
    }
    async fn size(&self, path: &str) -> Result<Option<u64>, StorageError> {
        Ok(self.objects.lock().unwrap().get(path).map(|c| c.len() as u64))
    }
    async fn delete(&self, path: &str) -> Result<(), StorageError> {
        self.objects.lock().unwrap().remove(path);
        Ok(())
    }
}

fn table(properties: &[(&str, &str)]) -> TableMetadata {
    let creation = TableCreation::builder()
        .name("gold".into())
        .location("/lake/gold".into())
        .schema(gold::table_schema())
        .partition_spec(gold::partition_spec())
        .properties(properties.iter().map(|(k, v)| (k.to_string(), v.to_string())))
        .build();
    TableMetadataBuilder::from_table_creation(creation).unwrap().build().unwrap().metadata
}

fn gold_files(properties: &[(&str, &str)]) -> (Arc<Memory>, GoldFiles) {
    let store = Arc::new(Memory::default());
    let files = GoldFiles { pauses: [Duration::ZERO; 2], ..GoldFiles::new(store.clone()) };
    files.use_layout(FileLayout::of(&table(properties)).unwrap());
    (store, files)
}

fn uuid(rng: &mut SmallRng) -> String {
    uuid::Builder::from_random_bytes(rng.random()).into_uuid().to_string()
}

fn uuids(seed: u64, n: usize) -> Vec<String> {
    let mut rng = SmallRng::seed_from_u64(seed);
    (0..n).map(|_| uuid(&mut rng)).collect()
}

fn id_of(text: impl AsRef<str>) -> MessageId {
    MessageId::of(text.as_ref())
}

/// Rows as the decoder yields them: plain Arrow fields without ids, in the order of the table.
fn rows(ids: &[String], hour: EventHour) -> RecordBatch {
    let n = ids.len();
    let number = |from: i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values((0..n as i64).map(|i| from + i))) };
    let word = |words: &[&str]| -> ArrayRef {
        Arc::new(StringArray::from_iter_values((0..n).map(|i| words[i % words.len()].to_string())))
    };
    let amount = |from: i128| -> ArrayRef {
        let values = (0..n as i128).map(|i| from + i * 100_000_000);
        Arc::new(Decimal128Array::from_iter_values(values).with_precision_and_scale(18, 8).unwrap())
    };
    let mut conditions = ListBuilder::new(StringBuilder::new()).with_field(Field::new("element", DataType::Utf8, true));
    for i in 0..n {
        (0..i % 3).for_each(|c| conditions.values().append_value(["regular", "odd-lot"][c]));
        conditions.append(true);
    }
    let every_other: ArrayRef = Arc::new((0..n as i64).map(|i| (i % 2 == 0).then_some(i)).collect::<Int64Array>());
    let vendor = (0..n).map(|i| (i % 5 == 0).then(|| format!(r#"{{"maker":"{i}"}}"#)));
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(ids)),
        Arc::new(StringArray::from_iter_values((0..n).map(|i| format!("trade-with-a-long-name-{i:09}")))),
        word(&["BTCUSDT", "ETHUSDT", "XBT/USD"]),
        word(&["BINANCE"]),
        word(&["crypto"]),
        number(hour.bounds().0),
        amount(-5),
        amount(1),
        word(&["USDT"]),
        word(&["BUY", "SELL"]),
        Arc::new(conditions.finish()),
        every_other,
        number(hour.bounds().0 + 1_000_000),
        Arc::new(Int64Array::new_null(n)),
        Arc::new(vendor.collect::<StringArray>()),
    ];
    let names = gold::COLUMNS.iter().map(|c| c.name).zip(columns);
    RecordBatch::try_from_iter_with_nullable(names.map(|(name, column)| (name, column, true))).unwrap()
}

fn batches(ids: &[String], hour: EventHour) -> Vec<RecordBatch> {
    ids.chunks(4_000).map(|ids| rows(ids, hour)).collect()
}

fn live(written: &WrittenFile) -> LiveFile {
    LiveFile { path: written.path.clone(), hour: Some(written.hour), rows: written.rows, bytes: written.bytes }
}

fn asked(ids: &[String]) -> Vec<ProbeId> {
    ids.iter().map(|text| ProbeId { id: MessageId::of(text), text: Some(text.as_str().into()) }).collect()
}

fn read_back(content: Bytes) -> RecordBatch {
    let reader = ParquetRecordBatchReaderBuilder::try_new(content).unwrap();
    let schema = reader.schema().clone();
    let batches: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
    arrow::compute::concat_batches(&schema, &batches).unwrap()
}

async fn written(files: &GoldFiles, ids: &[String]) -> WrittenFile {
    let mut written = files.write(HOUR, &uuid::Uuid::new_v4().to_string(), SEALED, batches(ids, HOUR)).await.unwrap();
    assert_eq!(written.len(), 1);
    written.pop().unwrap()
}
