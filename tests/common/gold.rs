//! Gold as a foreign reader sees it, compared with the oracle value by value.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::Path;

use apache_avro::types::Value;
use arrow::array::{
    Array, AsArray, Date32Array, Decimal128Array, Int32Array, Int64Array, ListArray, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::engine::Engine;
use super::expect::Expectation;
use super::table::Metadata;
use super::trade::{HOUR, Trade};

/// A row of Gold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    pub trade: Trade,
    pub gold_ingestion_timestamp: i64,
    /// Days since 1970.
    pub exchange_date: i32,
    pub exchange_hour: i32,
}

/// Rows of the head of main, less those that another engine appended (`foreign-…`).
pub fn read(engine: &Engine, reader: &str, dir: &Path) -> Vec<Row> {
    let out = dir.join(format!("gold-{reader}.parquet"));
    engine.read(reader, &out);
    let file = File::open(&out).expect("the reader wrote a file");
    let batches = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet").build().expect("Parquet");
    let mut rows = Vec::new();
    for batch in batches {
        rows_of(&batch.expect("Parquet"), &mut rows);
    }
    rows
}

/// The same from the data files that the head of main lists, for a table without deletes.
pub fn read_live(table: &Metadata) -> Vec<Row> {
    let mut rows = Vec::new();
    for path in live_files(table) {
        let file = File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
        // By Parquet's own types: other engines leave a schema of theirs beside them.
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).expect("Parquet");
        let batches = reader.build().expect("Parquet");
        batches.for_each(|batch| rows_of(&batch.expect("Parquet"), &mut rows));
    }
    rows
}

fn live_files(table: &Metadata) -> Vec<String> {
    let Some(head) = table.head() else { return Vec::new() };
    let list = table.snapshot(head).expect("the head is kept").0["manifest-list"].as_str().expect("a path").to_owned();
    let manifests = records(&list).into_iter().map(|listed| text(&listed, "manifest_path"));
    let entries = manifests.flat_map(|manifest| records(&manifest));
    let live = entries.filter(|entry| !matches!(entry["status"], Value::Int(DELETED)));
    live.map(|entry| match &entry["data_file"] {
        Value::Record(fields) => local(&text(&fields.iter().cloned().collect(), "file_path")),
        other => panic!("a data file is a record: {other:?}"),
    })
    .collect()
}

const DELETED: i32 = 2;

fn records(path: &str) -> Vec<HashMap<String, Value>> {
    let path = local(path);
    let file = File::open(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let records = apache_avro::Reader::new(file).expect("Avro").map(|record| match record.expect("Avro") {
        Value::Record(fields) => fields.into_iter().collect(),
        other => panic!("{path} holds records: {other:?}"),
    });
    records.collect()
}

fn text(fields: &HashMap<String, Value>, name: &str) -> String {
    match &fields[name] {
        Value::String(text) => text.clone(),
        other => panic!("{name} is a text: {other:?}"),
    }
}

fn local(path: &str) -> String {
    path.strip_prefix("file://").unwrap_or(path).to_owned()
}

fn rows_of(batch: &RecordBatch, rows: &mut Vec<Row>) {
    let text = |name: &str| column::<StringArray>(batch, name);
    let long = |name: &str| column::<Int64Array>(batch, name);
    let columns = (text("message_id"), text("vendor_data"), column::<ListArray>(batch, "trade_conditions"));
    let (price, quantity) = (column::<Decimal128Array>(batch, "price"), column::<Decimal128Array>(batch, "quantity"));
    let ingested = column::<TimestampMicrosecondArray>(batch, "gold_ingestion_timestamp");
    let (date, hour) = (column::<Date32Array>(batch, "exchange_date"), column::<Int32Array>(batch, "exchange_hour"));
    for i in 0..batch.num_rows() {
        if columns.0.value(i).starts_with("foreign-") {
            continue;
        }
        let filled = |name: &str, array: &dyn Array| assert!(!array.is_null(i), "{}: {name} is null", columns.0.value(i));
        let string = |name: &str| {
            filled(name, text(name));
            text(name).value(i).to_owned()
        };
        let number = |name: &str| {
            filled(name, long(name));
            long(name).value(i)
        };
        let optional = |name: &str| (!long(name).is_null(i)).then(|| long(name).value(i));
        for (name, array) in [("price", price as &dyn Array), ("quantity", quantity), ("gold_ingestion_timestamp", ingested)]
        {
            filled(name, array);
        }
        filled("trade_conditions", columns.2);
        let conditions = columns.2.value(i);
        rows.push(Row {
            trade: Trade {
                message_id: string("message_id"),
                trade_id: string("trade_id"),
                symbol: string("symbol"),
                exchange: string("exchange"),
                asset_class: string("asset_class"),
                timestamp: number("timestamp"),
                price: price.value(i),
                quantity: quantity.value(i),
                currency: string("currency"),
                side: string("side"),
                trade_conditions: conditions.as_string::<i32>().iter().map(|c| c.expect("an element").to_owned()).collect(),
                source_sequence: optional("source_sequence"),
                ingestion_timestamp: number("ingestion_timestamp"),
                platform_sequence: optional("platform_sequence"),
                vendor_data: (!columns.1.is_null(i)).then(|| vendor_data(columns.1.value(i))),
            },
            gold_ingestion_timestamp: ingested.value(i),
            exchange_date: date.value(i),
            exchange_hour: hour.value(i),
        });
    }
}

fn column<'a, T: Array + 'static>(batch: &'a RecordBatch, name: &str) -> &'a T {
    let column = batch.column_by_name(name).unwrap_or_else(|| panic!("no column {name}"));
    column.as_any().downcast_ref::<T>().unwrap_or_else(|| panic!("{name} is {}", column.data_type()))
}

/// The map of a JSON object, whose keys must be sorted.
fn vendor_data(json: &str) -> BTreeMap<String, String> {
    let map: BTreeMap<String, String> = serde_json::from_str(json).unwrap_or_else(|e| panic!("vendor_data {json}: {e}"));
    let places: Vec<_> =
        map.keys().map(|key| json.find(&format!("\"{key}\":")).unwrap_or_else(|| panic!("{json}"))).collect();
    assert!(places.is_sorted(), "keys of vendor_data are not sorted: {json}");
    map
}

/// What differs between the table and the oracle: the first few of each kind, and how many there are.
#[derive(Default)]
struct Differences {
    counts: BTreeMap<&'static str, usize>,
    shown: Vec<String>,
}

impl Differences {
    fn add(&mut self, kind: &'static str, detail: impl FnOnce() -> String) {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        if *count <= 3 {
            self.shown.push(format!("{kind}: {}", detail()));
        }
    }
}

/// Panics unless every expected (message_id, hour) has exactly one row, with the values of one of its records, and no
/// other row is there. `since`, `until`: microseconds between which the rows were written.
pub fn compare(reader: &str, expected: &Expectation, rows: &[Row], since: i64, until: i64) {
    let mut differences = Differences::default();
    let mut seen = std::collections::HashSet::with_capacity(rows.len());
    for row in rows {
        let key = (row.trade.message_id.clone(), row.trade.timestamp.div_euclid(HOUR));
        match expected.rows.get(&key) {
            None => differences.add("a row that nothing calls for", || format!("{row:?}")),
            Some(drafts) if !drafts.iter().any(|d| d.trade() == row.trade) => {
                differences.add("other values", || format!("{:?}\n  expected {:?}", row.trade, drafts[0].trade()));
            }
            Some(_) => {}
        }
        if i64::from(row.exchange_date) * 24 + i64::from(row.exchange_hour) != key.1 {
            differences.add("wrong partition", || format!("{row:?}"));
        }
        if !(since..=until).contains(&row.gold_ingestion_timestamp) {
            differences
                .add("gold_ingestion_timestamp", || format!("{} not in {since}..={until}", row.gold_ingestion_timestamp));
        }
        if !seen.insert(key) {
            differences.add("twice", || format!("{row:?}"));
        }
    }
    for (key, drafts) in expected.rows.iter().filter(|(key, _)| !seen.contains(*key)) {
        differences.add("missing", || format!("{key:?} {:?}", drafts[0]));
    }
    let (rows, wanted) = (rows.len(), expected.rows.len());
    assert!(
        differences.counts.is_empty(),
        "{reader} reads {rows} rows, {wanted} expected: {:?}\n{}",
        differences.counts,
        differences.shown.join("\n")
    );
}
