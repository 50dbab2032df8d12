use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Mutex;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int64Array, LargeStringArray, ListArray, ListBuilder, StringArray,
    StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Date32Type, Field, Int32Type, Schema as ArrowSchema};
use bytes::Bytes;
use iceberg::TableCreation;
use iceberg::spec::{Datum, PrimitiveType, TableMetadata, TableMetadataBuilder};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, Encoding};
use parquet::file::properties::WriterProperties;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::error::Exit;
use crate::ports::Down;
use crate::sink::parquet_writer::ROW_GROUP_ROWS;
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

// ------------------------------------------------------------------------------------------------------------- writing

#[tokio::test]
async fn what_is_written_is_read_back_value_by_value() {
    let (store, files) = gold_files(&[]);
    let ids = uuids(1, 9_000);
    let given = batches(&ids, HOUR);
    let file = written(&files, &ids).await;
    assert_eq!((file.rows, file.bytes), (9_000, store.get(&file.path).len() as u64));

    let found = read_back(store.get(&file.path));
    let given = arrow::compute::concat_batches(&given[0].schema(), &given).unwrap();
    for (i, column) in given.columns().iter().enumerate() {
        let found = found.column(i);
        match column.as_list_opt::<i32>() {
            Some(list) => {
                let found: &ListArray = found.as_list();
                assert_eq!((list.offsets(), list.values()), (found.offsets(), found.values()), "trade_conditions");
            }
            None => assert_eq!(&column.to_data(), &found.to_data(), "{}", gold::COLUMNS[i].name),
        }
    }
    let sealed: &TimestampMicrosecondArray = found.column(15).as_primitive();
    assert!(sealed.values().iter().all(|t| *t == SEALED));
    assert!(found.column(16).as_primitive::<Date32Type>().values().iter().all(|d| *d == HOUR.exchange_date()));
    assert!(found.column(17).as_primitive::<Int32Type>().values().iter().all(|h| *h == HOUR.exchange_hour()));
}

#[tokio::test]
async fn the_path_is_new_each_time_and_lies_in_the_folder_of_its_partition() {
    let (_, files) = gold_files(&[]);
    let (a, b) = (written(&files, &uuids(1, 10)).await, written(&files, &uuids(1, 10)).await);
    assert_ne!(a.path, b.path);
    let folder = "/lake/gold/data/exchange_date=2026-01-04/exchange_hour=0/sluice-";
    assert_eq!(HOUR.to_string(), "2026-01-04T00Z");
    assert!(a.path.starts_with(folder) && a.path.ends_with("-0.parquet"), "{}", a.path);

    let (_, elsewhere) = gold_files(&[("write.data.path", "/other/place/")]);
    assert!(written(&elsewhere, &uuids(1, 1)).await.path.starts_with("/other/place/exchange_date="));
}

#[tokio::test]
async fn the_columns_are_encoded_plainly_with_a_filter_on_message_id_and_the_tables_field_ids() {
    let (store, files) = gold_files(&[]);
    let file = written(&files, &uuids(1, 5_000)).await;
    let reader = ParquetRecordBatchReaderBuilder::try_new(store.get(&file.path)).unwrap();
    let metadata = reader.metadata();
    let roots = metadata.file_metadata().schema_descr().root_schema().get_fields();
    assert_eq!(roots.iter().map(|f| f.get_basic_info().id()).collect::<Vec<_>>(), (1..=18).collect::<Vec<_>>());
    let version = metadata.file_metadata().key_value_metadata().unwrap();
    assert_eq!(version.iter().map(|kv| kv.key.as_str()).collect::<Vec<_>>(), ["sluice.version"]);
    for column in metadata.row_group(0).columns() {
        let name = column.column_path().parts()[0].as_str();
        let encodings: BTreeSet<String> = column.encodings().map(|e| e.to_string()).collect();
        let plain: BTreeSet<String> =
            [Encoding::PLAIN, Encoding::RLE, Encoding::RLE_DICTIONARY].iter().map(|e| e.to_string()).collect();
        assert!(encodings.is_subset(&plain), "{name}: {encodings:?}");
        let dictionary = column.dictionary_page_offset().is_some();
        let few = ["symbol", "exchange", "asset_class", "currency", "side", "trade_conditions", "exchange_date"];
        let few = few.contains(&name) || name == "exchange_hour" || name == "gold_ingestion_timestamp";
        assert_eq!(dictionary, few, "dictionary of {name}");
        assert_eq!(column.bloom_filter_offset().is_some(), name == "message_id", "filter of {name}");
        assert!(matches!(column.compression(), Compression::ZSTD(_)));
    }
}

#[tokio::test]
async fn a_tables_own_properties_decide_over_codec_and_filter() {
    let (store, files) =
        gold_files(&[("write.parquet.compression-codec", "snappy"), (gold::BLOOM_FILTER_MESSAGE_ID, "false")]);
    let ids = uuids(1, 500);
    let file = written(&files, &ids).await;
    let reader = ParquetRecordBatchReaderBuilder::try_new(store.get(&file.path)).unwrap();
    let column = reader.metadata().row_group(0).column(0).clone();
    assert_eq!((column.compression(), column.bloom_filter_offset()), (Compression::SNAPPY, None));
    assert_eq!(files.probe(&live(&file), HOUR, &asked(&ids[..3])).await.unwrap().len(), 3);
}

#[tokio::test]
async fn the_manifest_entry_says_what_icebergs_own_writer_would_say() {
    use iceberg::writer::file_writer::{FileWriter, FileWriterBuilder, ParquetWriterBuilder};

    let (store, files) = gold_files(&[]);
    let ids = uuids(3, 4_000);
    let ours = written(&files, &ids).await.data_file;

    let schema = table(&[]).current_schema().clone();
    let path = "memory:///oracle.parquet";
    let output = iceberg::io::FileIO::new_with_memory().new_output(path).unwrap();
    let properties = WriterProperties::builder().set_statistics_truncate_length(None).build();
    let mut oracle = ParquetWriterBuilder::new(properties, schema.clone()).build(output).await.unwrap();
    let content = read_back(store.get(ours.file_path()));
    let arrow = Arc::new(iceberg::arrow::schema_to_arrow_schema(&schema).unwrap());
    let columns = content.columns().iter().zip(arrow.fields()).map(|(c, f)| arrow::compute::cast(c, f.data_type()).unwrap());
    oracle.write(&RecordBatch::try_new(arrow.clone(), columns.collect()).unwrap()).await.unwrap();
    let theirs = oracle.close().await.unwrap().remove(0).build().unwrap();

    assert_eq!(ours.record_count(), theirs.record_count());
    assert_eq!(ours.value_counts(), theirs.value_counts());
    assert_eq!(ours.null_value_counts(), theirs.null_value_counts());
    let scalar = |bounds: &HashMap<i32, Datum>| -> BTreeMap<i32, Datum> {
        let scalars = bounds.iter().filter(|(_, d)| *d.data_type() != PrimitiveType::String);
        scalars.map(|(id, d)| (*id, d.clone())).collect()
    };
    assert_eq!(scalar(ours.lower_bounds()), scalar(theirs.lower_bounds()));
    assert_eq!(scalar(ours.upper_bounds()), scalar(theirs.upper_bounds()));
    // Strings are cut to 16 characters; elements of lists have no bounds; columns of nulls neither.
    assert_eq!(ours.lower_bounds()[&2], Datum::string("trade-with-a-lon"));
    assert_eq!(ours.upper_bounds()[&2], Datum::string("trade-with-a-loo"));
    assert_eq!(ours.lower_bounds()[&3], theirs.lower_bounds()[&3]);
    assert!(!ours.lower_bounds().contains_key(&14) && !ours.lower_bounds().contains_key(&19));
    assert_eq!(ours.partition(), &gold::partition_values(HOUR));
    assert_eq!(ours.column_sizes().len(), 18);
    assert_eq!(ours.split_offsets(), Some(&[4i64][..]));
}

#[tokio::test]
async fn a_file_is_closed_when_it_has_grown_to_the_tables_size() {
    let (store, files) = gold_files(&[(gold::TARGET_FILE_SIZE, "300000")]);
    let ids = uuids(1, 20_000);
    let written = files.write(HOUR, "w", SEALED, batches(&ids, HOUR)).await.unwrap();
    assert!(written.len() >= 3, "{} files", written.len());
    assert_eq!(written.iter().map(|f| f.path.as_ref()).collect::<BTreeSet<_>>().len(), written.len());
    assert_eq!(written.iter().map(|f| f.rows).sum::<u64>(), 20_000);
    let mut found = Vec::new();
    for file in &written {
        assert_eq!(file.bytes, store.get(&file.path).len() as u64);
        found.extend(files.read_ids(&live(file)).await.unwrap());
    }
    assert_eq!(found, ids.iter().map(|id| (id_of(id), HOUR)).collect::<Vec<_>>());
}

#[tokio::test]
async fn one_batch_of_many_rows_is_rolled_too() {
    let (_, files) = gold_files(&[(gold::TARGET_FILE_SIZE, "300000")]);
    let ids = uuids(1, 40_000);
    let written = files.write(HOUR, "w", SEALED, vec![rows(&ids, HOUR)]).await.unwrap();
    assert_eq!(written.iter().map(|f| f.rows).collect::<Vec<_>>(), [16_384, 16_384, 7_232]);
}

#[tokio::test]
async fn no_rows_make_no_file() {
    let (store, files) = gold_files(&[]);
    assert!(files.write(HOUR, "w", SEALED, vec![rows(&[], HOUR)]).await.unwrap().is_empty());
    assert!(store.objects.lock().unwrap().is_empty());
}

#[tokio::test]
async fn rows_of_another_hour_or_without_an_id_are_never_written() {
    let (store, files) = gold_files(&[]);
    let other = rows(&uuids(1, 5), EventHour(HOUR.0 + 1));
    let mut columns = rows(&uuids(1, 5), HOUR).columns().to_vec();
    columns[0] = Arc::new(StringArray::from(vec![Some("a"), None, Some("b"), Some("c"), Some("d")]));
    let without_id = RecordBatch::try_new(rows(&uuids(1, 5), HOUR).schema(), columns).unwrap();
    for (bad, says) in [(other, "rows of 2026-01-04T00Z have event times from"), (without_id, "message_id")] {
        match files.write(HOUR, "w", SEALED, vec![bad]).await {
            Err(PortError::Stop(stop)) => {
                assert_eq!(stop.exit, Exit::Internal);
                assert!(stop.what.contains(says), "{}", stop.what);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(store.objects.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_full_disk_is_waited_for() {
    let (store, files) = gold_files(&[]);
    store.fail([Fault::Unavailable]);
    let answer = files.write(HOUR, "w", SEALED, batches(&uuids(1, 5), HOUR)).await;
    assert!(matches!(answer, Err(PortError::Down(Down { dependency: "object store", .. }))), "{answer:?}");
    assert_eq!(written(&files, &uuids(1, 5)).await.rows, 5);
}

// ------------------------------------------------------------------------------------------------------------- probing

#[tokio::test]
async fn a_probe_finds_exactly_the_ids_that_the_file_holds() {
    let (_, files) = gold_files(&[]);
    let ids = uuids(1, 3_000);
    let file = live(&written(&files, &ids).await);
    for seed in 0..20 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let absent = uuids(seed + 1000, 200);
        let mut asked = asked(&absent);
        let present: Vec<_> = (0..rng.random_range(0..50)).map(|_| ids[rng.random_range(0..ids.len())].clone()).collect();
        for (i, text) in present.iter().enumerate() {
            // Of every other one only the id is known.
            let known = (i % 2 == 0).then(|| text.as_str().into());
            asked.insert(rng.random_range(0..=asked.len()), ProbeId { id: id_of(text), text: known });
        }
        let hits = files.probe(&file, HOUR, &asked).await.unwrap();
        let mut expected: Vec<MessageId> = Vec::new();
        let held: BTreeSet<_> = present.iter().map(id_of).collect();
        for id in asked.iter().filter(|p| held.contains(&p.id)) {
            if !expected.contains(&id.id) {
                expected.push(id.id);
            }
        }
        assert_eq!(hits, expected, "in the order asked, each once");
    }
}

#[tokio::test]
async fn ids_that_no_filter_knows_cost_no_reading_of_columns() {
    let (store, files) = gold_files(&[]);
    let ids = uuids(1, 60_000);
    let file = live(&written(&files, &ids).await);
    let column = ParquetRecordBatchReaderBuilder::try_new(store.get(&file.path)).unwrap();
    let column = column.metadata().row_group(0).column(0).byte_range();
    store.take_reads();
    assert!(files.probe(&file, HOUR, &asked(&uuids(77, 1))).await.unwrap().is_empty());
    let reads = store.take_reads();
    assert!(reads.len() <= 2, "footer, filter: {reads:?}");
    assert!(reads.iter().all(|r| r.start >= column.0 + column.1), "{reads:?} against the column at {column:?}");

    assert_eq!(files.probe(&file, HOUR, &asked(&ids[5..6])).await.unwrap().len(), 1);
    assert!(store.take_reads().iter().any(|r| r.start == column.0));
}

#[tokio::test]
async fn every_row_group_has_its_own_filter_and_only_those_in_question_are_read() {
    let (store, files) = gold_files(&[]);
    let ids = uuids(1, ROW_GROUP_ROWS + 10_000);
    let file = live(&written(&files, &ids).await);
    let reader = ParquetRecordBatchReaderBuilder::try_new(store.get(&file.path)).unwrap();
    let groups = reader.metadata().row_groups();
    assert_eq!(groups.iter().map(|g| g.num_rows()).collect::<Vec<_>>(), [ROW_GROUP_ROWS as i64, 10_000]);
    let filters: Vec<_> = groups.iter().map(|g| g.column(0).bloom_filter_length().unwrap()).collect();
    assert!(filters[0] < (256 << 10) + 64 && filters[1] < (32 << 10), "{filters:?}");

    store.take_reads();
    let last = ids.last().unwrap();
    assert_eq!(files.probe(&file, HOUR, &asked(std::slice::from_ref(last))).await.unwrap(), [id_of(last)]);
    let (start, length) = groups[0].column(0).byte_range();
    assert!(store.take_reads().iter().all(|r| r.start >= start + length), "the first row group wasn't read");
}

#[tokio::test]
async fn an_id_is_found_in_its_own_hour_only() {
    let (_, files) = gold_files(&[]);
    let ids = uuids(1, 10);
    let file = live(&written(&files, &ids).await);
    assert!(files.probe(&file, EventHour(HOUR.0 + 1), &asked(&ids)).await.unwrap().is_empty());
    assert_eq!(files.probe(&file, HOUR, &asked(&ids)).await.unwrap().len(), 10);
}

// ------------------------------------------------------------------------------------- files that somebody else wrote

/// A file as another engine may write it: no field ids unless given, large strings with an Arrow schema beside, nulls.
fn foreign(names: [&str; 2], field_ids: Option<[i32; 2]>, rows: &[(Option<&str>, Option<Micros>)]) -> Bytes {
    foreign_under(Compression::UNCOMPRESSED, names, field_ids, rows)
}

fn foreign_under(
    codec: Compression,
    names: [&str; 2],
    field_ids: Option<[i32; 2]>,
    rows: &[(Option<&str>, Option<Micros>)],
) -> Bytes {
    let field = |i: usize, kind: DataType| {
        let field = Field::new(names[i], kind, true);
        match field_ids {
            None => field,
            Some(ids) => field.with_metadata(HashMap::from([(gold::FIELD_ID_KEY.to_string(), ids[i].to_string())])),
        }
    };
    // The columns in another order than ours, one that Gold doesn't know among them.
    let schema = ArrowSchema::new(vec![
        field(1, DataType::Int64),
        Field::new("unknown", DataType::Utf8, true),
        field(0, DataType::LargeUtf8),
    ]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| r.1).collect::<Int64Array>()),
        Arc::new(StringArray::from(vec!["x"; rows.len()])),
        Arc::new(rows.iter().map(|r| r.0).collect::<LargeStringArray>()),
    ];
    let batch = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    let properties = WriterProperties::builder().set_compression(codec).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap().into()
}

fn listed(path: &str, content: &Bytes, hour: Option<EventHour>) -> LiveFile {
    LiveFile { path: path.into(), hour, rows: 1, bytes: content.len() as u64 }
}

#[tokio::test]
async fn rows_without_an_id_or_a_time_count_as_nothing_whoever_wrote_them() {
    let (store, files) = gold_files(&[]);
    let (from, _) = HOUR.bounds();
    let rows = [
        (Some("a"), Some(from)),
        (None, Some(from - 1)),
        (Some("timeless"), None),
        (Some("b"), Some(from + 1)),
        (None, None),
        (Some(""), Some(from + 2)),
    ];
    for field_ids in [None, Some([1, 6])] {
        let content = foreign(["message_id", "timestamp"], field_ids, &rows);
        store.set("f", content.clone());
        for hour in [Some(HOUR), None] {
            let file = listed("f", &content, hour);
            let counted = ["a", "b", ""].map(|id| (MessageId::of(id), HOUR)).to_vec();
            assert_eq!(files.read_ids(&file).await.unwrap(), counted);
            let asked = asked(&["timeless", "b", "nowhere"].map(String::from));
            assert_eq!(files.probe(&file, HOUR, &asked).await.unwrap(), [MessageId::of("b")]);
            assert_eq!(files.hours(&file).await.unwrap(), BTreeSet::from([HOUR]));
        }
    }
}

#[tokio::test]
async fn a_file_of_several_hours_answers_for_the_hour_of_each_row() {
    let (store, files) = gold_files(&[]);
    let (from, to) = HOUR.bounds();
    let content =
        foreign(["message_id", "timestamp"], None, &[(Some("a"), Some(from)), (Some("a"), Some(to)), (Some("b"), Some(to))]);
    store.set("f", content.clone());
    let file = listed("f", &content, None);
    let next = EventHour(HOUR.0 + 1);
    let asked = asked(&["a", "b"].map(String::from));
    assert_eq!(files.probe(&file, HOUR, &asked).await.unwrap(), [MessageId::of("a")]);
    assert_eq!(files.probe(&file, next, &asked).await.unwrap(), [MessageId::of("a"), MessageId::of("b")]);
    let all = [("a", HOUR), ("a", next), ("b", next)].map(|(id, hour)| (MessageId::of(id), hour));
    assert_eq!(files.read_ids(&file).await.unwrap(), all);
    assert_eq!(files.hours(&file).await.unwrap(), BTreeSet::from([HOUR, next]));
}

#[tokio::test]
async fn rows_are_of_their_own_hour_whatever_the_partition_says() {
    let (store, files) = gold_files(&[]);
    let (from, to) = HOUR.bounds();
    let content = foreign(["message_id", "timestamp"], None, &[(Some("a"), Some(from)), (Some("b"), Some(to))]);
    store.set("f", content.clone());
    let file = listed("f", &content, Some(HOUR));
    let next = EventHour(HOUR.0 + 1);
    assert_eq!(files.hours(&file).await.unwrap(), BTreeSet::from([HOUR, next]), "what the check of foreign files asks");
    let ids = [("a", HOUR), ("b", next)].map(|(id, hour)| (MessageId::of(id), hour));
    assert_eq!(files.read_ids(&file).await.unwrap(), ids);
}

#[tokio::test]
async fn a_file_of_any_codec_is_read() {
    let (store, files) = gold_files(&[]);
    let rows = [(Some("a"), Some(HOUR.bounds().0)), (Some("b"), Some(HOUR.bounds().0))];
    let codecs = [
        Compression::SNAPPY,
        Compression::GZIP(Default::default()),
        Compression::BROTLI(Default::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(Default::default()),
    ];
    for codec in codecs {
        let content = foreign_under(codec, ["message_id", "timestamp"], None, &rows);
        store.set("f", content.clone());
        assert_eq!(files.read_ids(&listed("f", &content, Some(HOUR))).await.unwrap().len(), 2, "{codec}");
    }
}

#[tokio::test]
async fn columns_are_found_by_field_id_else_by_the_name_mapping_else_by_name() {
    let mapping = r#"[{"field-id":1,"names":["message_id","mid"]},{"field-id":6,"names":["ts"]}]"#;
    let mapped: &[(&str, &str)] = &[("schema.name-mapping.default", mapping)];
    let row = [(Some("a"), Some(HOUR.bounds().0))];
    type Case<'a> = (&'a [(&'a str, &'a str)], [&'a str; 2], Option<[i32; 2]>, usize);
    let cases: [Case<'_>; 8] = [
        (&[], ["message_id", "timestamp"], None, 1),
        (&[], ["renamed", "too"], Some([1, 6]), 1),
        (&[], ["mid", "ts"], None, 0),
        (mapped, ["mid", "ts"], None, 1),
        (mapped, ["message_id", "ts"], None, 1),
        // The mapping doesn't know this name for the event time: to every reader of the table it is null.
        (mapped, ["message_id", "timestamp"], None, 0),
        // A column with the id of another one isn't ours, whatever its name.
        (&[], ["message_id", "timestamp"], Some([3, 6]), 0),
        (&[], ["timestamp", "message_id"], Some([1, 6]), 1),
    ];
    for (properties, names, field_ids, expected) in cases {
        let (store, files) = gold_files(properties);
        let content = foreign(names, field_ids, &row);
        store.set("f", content.clone());
        let found = files.read_ids(&listed("f", &content, Some(HOUR))).await.unwrap();
        assert_eq!(found.len(), expected, "{names:?} with ids {field_ids:?}");
    }
    assert!(matches!(
        FileLayout::of(&table(&[("schema.name-mapping.default", "{")])),
        Err(crate::sink::file_layout::LayoutError::NameMapping(_))
    ));
}

// ------------------------------------------------------------------------------------------- files that can't be read

async fn all_answers(files: &GoldFiles, file: &LiveFile) -> Vec<Result<usize, PortError>> {
    vec![
        files.probe(file, HOUR, &asked(&uuids(1, 1))).await.map(|hits| hits.len()),
        files.read_ids(file).await.map(|ids| ids.len()),
        files.hours(file).await.map(|_| 0),
    ]
}

fn stops_with(answers: Vec<Result<usize, PortError>>, says: &str) {
    for answer in answers {
        match answer {
            Err(PortError::Stop(stop)) => {
                assert_eq!(stop.exit, Exit::Inconsistent);
                assert!(stop.what.contains("/lake/gold/data/") && stop.what.contains(says), "{}", stop.what);
            }
            other => panic!("{says}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_live_file_that_is_missing_cut_or_garbage_stops_with_its_path_and_is_never_a_no() {
    let (store, files) = gold_files(&[]);
    let ids = uuids(1, 20_000);
    let file = live(&written(&files, &ids).await);
    let whole = store.get(&file.path);

    store.delete(&file.path).await.unwrap();
    stops_with(all_answers(&files, &file).await, "does not exist");
    for (broken, says) in [
        (whole.slice(..whole.len() - 1000), "can't be read"),
        (vec![7; whole.len()].into(), "can't be read"),
        (Bytes::new(), "can't be read"),
        ([&vec![0x5a; whole.len() - 60_000][..], &whole[whole.len() - 60_000..]].concat().into(), "can't be read"),
    ] {
        store.set(&file.path, broken);
        stops_with(all_answers(&files, &file).await, says);
    }
    store.set(&file.path, whole);
    assert_eq!(files.read_ids(&file).await.unwrap().len(), 20_000);
}

#[tokio::test]
async fn a_fault_of_the_moment_is_asked_again_and_a_store_that_is_down_is_waited_for() {
    let (store, files) = gold_files(&[]);
    let ids = uuids(1, 100);
    let file = live(&written(&files, &ids).await);
    for faults in [vec![Fault::Garbage], vec![Fault::Missing], vec![Fault::Garbage, Fault::Missing]] {
        store.fail(faults);
        assert_eq!(files.probe(&file, HOUR, &asked(&ids[..1])).await.unwrap().len(), 1);
    }
    store.fail([Fault::Unavailable]);
    let answer = files.probe(&file, HOUR, &asked(&ids[..1])).await;
    assert!(matches!(answer, Err(PortError::Down(_))), "{answer:?}");
}

#[tokio::test]
async fn a_manifest_that_is_wrong_about_the_length_is_overruled() {
    let (_, files) = gold_files(&[]);
    let ids = uuids(1, 100);
    let file = live(&written(&files, &ids).await);
    for bytes in [file.bytes - 10, file.bytes + 10, 0] {
        assert_eq!(files.read_ids(&LiveFile { bytes, ..file.clone() }).await.unwrap().len(), 100);
    }
}

#[tokio::test]
async fn a_filter_that_is_not_whole_is_not_asked() {
    let (store, files) = gold_files(&[]);
    let ids = uuids(1, 20_000);
    let file = live(&written(&files, &ids).await);
    let whole = store.get(&file.path);
    let reader = ParquetRecordBatchReaderBuilder::try_new(whole.clone()).unwrap();
    let column = reader.metadata().row_group(0).column(0);
    let start = column.bloom_filter_offset().unwrap() as usize;
    let length = column.bloom_filter_length().unwrap() as usize;
    // Zeros; then a header (a varint of the bytes behind 0x15) that says less than there is.
    let mut zeros = whole.to_vec();
    zeros[start..start + length].fill(0);
    let mut short = whole.to_vec();
    short[start + 1] ^= 0x40;
    for broken in [zeros, short] {
        store.set(&file.path, broken);
        stops_with(vec![files.probe(&file, HOUR, &asked(&ids[..1])).await.map(|hits| hits.len())], "can't be read");
    }
}

#[tokio::test]
async fn no_damage_of_a_file_makes_the_reader_panic() {
    let (store, files) = gold_files(&[]);
    let ids = uuids(1, 400);
    let file = live(&written(&files, &ids).await);
    let whole = store.get(&file.path);
    let mut refused = 0;
    for seed in 0..400 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut damaged = whole.to_vec();
        // Mostly in the footer, where it hurts.
        let from = if seed % 4 == 0 { 0 } else { damaged.len().saturating_sub(9000) };
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(from..damaged.len());
            damaged[at] ^= 1 << rng.random_range(0..8);
        }
        store.set(&file.path, damaged);
        refused += all_answers(&files, &file).await.iter().filter(|answer| answer.is_err()).count();
    }
    assert!(refused > 100, "{refused} of 1,200 answers were refusals");
}

// ------------------------------------------------------------------------------------------------------- in a table

/// Rows of a committed table that Iceberg's own reader finds for a filter. It prunes by the bounds in our manifests.
async fn scanned(metadata: &TableMetadata, filter: iceberg::expr::Predicate) -> usize {
    let table = iceberg::table::Table::builder()
        .metadata(metadata.clone())
        .identifier(iceberg::TableIdent::from_strs(["market_data", "gold"]).unwrap())
        .file_io(iceberg::io::FileIO::new_with_fs())
        .runtime(iceberg::Runtime::current())
        .build()
        .unwrap();
    let rows = table.scan().with_filter(filter).build().unwrap().to_arrow().await.unwrap();
    rows.try_fold(0, |n, batch| async move { Ok(n + batch.num_rows()) }).await.unwrap()
}

#[tokio::test]
async fn another_engine_finds_every_committed_row_by_filters_that_prune_files() {
    use crate::sink::testing::{World, batch, view};
    use iceberg::expr::Reference;

    let world = World::new().await;
    let files = GoldFiles::new(Arc::new(crate::sink::local_fs::LocalFs));
    files.use_layout(FileLayout::of(&world.loaded().await.metadata).unwrap());
    let hours = [HOUR, EventHour(HOUR.0 + 1), EventHour(HOUR.0 + 30)];
    let mut written = Vec::new();
    for (seed, hour) in hours.iter().enumerate() {
        written.extend(files.write(*hour, "w", SEALED, batches(&uuids(seed as u64, 500), *hour)).await.unwrap());
    }
    world.commit(&batch(1, "g", 1_500, 1_500), &written).await;

    let listed = view(&world.table).await;
    assert_eq!(listed.live.len(), 3);
    for (seed, hour) in hours.iter().enumerate() {
        let file = listed.live.of_hour(*hour).next().unwrap();
        let ids = uuids(seed as u64, 500);
        assert_eq!(files.read_ids(file).await.unwrap(), ids.iter().map(|id| (id_of(id), *hour)).collect::<Vec<_>>());
        assert_eq!(files.probe(file, *hour, &asked(&ids[7..9])).await.unwrap().len(), 2);
        assert!(files.exists(&file.path).await.unwrap());
    }
    let metadata = world.loaded().await.metadata;
    let found = async |filter| scanned(&metadata, filter).await;
    for id in uuids(1, 500).iter().step_by(50) {
        assert_eq!(found(Reference::new("message_id").equal_to(Datum::string(id))).await, 1);
    }
    let (from, to) = hours[1].bounds();
    let time = || Reference::new("timestamp");
    let of_hour = time().greater_than_or_equal_to(Datum::long(from)).and(time().less_than(Datum::long(to)));
    assert_eq!(found(of_hour).await, 500);
    assert_eq!(found(Reference::new("trade_id").equal_to(Datum::string("trade-with-a-long-name-000000499"))).await, 3);
    assert_eq!(found(Reference::new("price").equal_to(Datum::decimal_from_str("-0.00000005").unwrap())).await, 3);
    let date = Datum::date(hours[2].exchange_date());
    assert_eq!(found(Reference::new("exchange_date").equal_to(date)).await, 500);
    assert_eq!(found(Reference::new("vendor_data").is_null()).await, 1_200);
    assert_eq!(found(Reference::new("gold_ingestion_timestamp").equal_to(Datum::timestamptz_micros(SEALED))).await, 1_500);
}
