//! Rows of one hour to Parquet files in memory: one pass, plain encodings, zstd; a new file where one has grown to the
//! table's target size. What is written can be read by every Parquet reader of the last ten years.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Int32Array, ListArray, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, ParquetMetaData};
use parquet::file::properties::{BloomFilterPosition, EnabledStatistics, WriterProperties, WriterVersion};
use parquet::schema::types::ColumnPath;

use crate::error::Stop;
use crate::sink::file_layout::FileLayout;
use crate::sink::gold;
use crate::types::{EventHour, Micros};

/// 200,000 ids fill a bloom filter of 256 KiB to 1 % false positives: filters have a power of two of bytes.
pub const ROW_GROUP_ROWS: usize = 200_000;

/// Larger batches are cut, so that a file is not far above its target size: a few MB at most.
const SLICE_ROWS: usize = 16_384;

const BLOOM_FILTER_FPP: f64 = 0.01;

/// Columns of few different values, or the same one for a whole batch: only these get a dictionary. For the others it
/// would grow, be thrown away and cost the time of both.
const DICTIONARY: [&str; 9] = [
    "symbol",
    "exchange",
    "asset_class",
    "currency",
    "side",
    "trade_conditions",
    "gold_ingestion_timestamp",
    gold::EXCHANGE_DATE,
    gold::EXCHANGE_HOUR,
];

/// Columns that arrive with the rows; the rest is derived here.
const ARRIVING: usize = 15;

#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("rows of {hour} have event times from {least} to {greatest}")]
    OtherHour { hour: EventHour, least: Micros, greatest: Micros },
    #[error("rows of {hour} without an event time")]
    NoEventTime { hour: EventHour },
    #[error("rows don't have the columns of the table: {0}")]
    Rows(#[from] ArrowError),
    #[error("rows can't be encoded: {0}")]
    Encode(#[from] ParquetError),
}

impl From<WriteError> for Stop {
    fn from(error: WriteError) -> Self {
        Stop::internal(error.to_string())
    }
}

/// A whole Parquet file in memory.
pub struct EncodedFile {
    pub content: Bytes,
    pub metadata: ParquetMetaData,
}

/// Encodes batches of the 15 arriving columns, in their order, all of one hour. Blocks for as long as it takes. No rows
/// make no file.
pub fn encode(
    layout: &FileLayout,
    hour: EventHour,
    gold_ingestion_timestamp: Micros,
    rows: &[RecordBatch],
) -> Result<Vec<EncodedFile>, WriteError> {
    let properties = properties(layout, rows.iter().map(RecordBatch::num_rows).sum());
    let mut files = Vec::new();
    let mut open: Option<ArrowWriter<Vec<u8>>> = None;
    for batch in rows.iter().flat_map(slices) {
        check_hour(&batch, hour)?;
        let batch = complete(&batch, &layout.arrow, hour, gold_ingestion_timestamp)?;
        let mut writer = match open.take() {
            Some(writer) => writer,
            None => new_writer(layout, &properties)?,
        };
        writer.write(&batch)?;
        if writer.bytes_written() + writer.in_progress_size() < layout.target_file_bytes {
            open = Some(writer);
        } else {
            files.push(close(writer)?);
        }
    }
    if let Some(writer) = open {
        files.push(close(writer)?);
    }
    Ok(files)
}

/// A file is closed between slices only. Empty batches have none.
fn slices(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> {
    let rows = batch.num_rows();
    (0..rows).step_by(SLICE_ROWS).map(move |at| batch.slice(at, SLICE_ROWS.min(rows - at)))
}

fn new_writer(layout: &FileLayout, properties: &WriterProperties) -> Result<ArrowWriter<Vec<u8>>, ParquetError> {
    let options = ArrowWriterOptions::new().with_properties(properties.clone()).with_skip_arrow_metadata(true);
    ArrowWriter::try_new_with_options(Vec::new(), layout.arrow.clone(), options)
}

fn close(mut writer: ArrowWriter<Vec<u8>>) -> Result<EncodedFile, ParquetError> {
    let metadata = writer.finish()?;
    Ok(EncodedFile { content: std::mem::take(writer.inner_mut()).into(), metadata })
}

fn properties(layout: &FileLayout, rows: usize) -> WriterProperties {
    let message_id = ColumnPath::from(gold::MESSAGE_ID);
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(layout.compression)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_bloom_filter_position(BloomFilterPosition::End)
        .set_key_value_metadata(Some(vec![KeyValue::new("sluice.version".into(), env!("CARGO_PKG_VERSION").to_string())]))
        // Bounds of random ids by page tell a reader nothing.
        .set_column_statistics_enabled(message_id.clone(), EnabledStatistics::Chunk);
    for column in DICTIONARY.iter().filter_map(|name| leaf_path(&layout.arrow, name)) {
        properties = properties.set_column_dictionary_enabled(column, true);
    }
    if layout.bloom_filter {
        properties = properties
            .set_column_bloom_filter_fpp(message_id.clone(), BLOOM_FILTER_FPP)
            .set_column_bloom_filter_ndv(message_id, rows.clamp(1, ROW_GROUP_ROWS) as u64);
    }
    properties.build()
}

fn leaf_path(schema: &SchemaRef, name: &str) -> Option<ColumnPath> {
    let field = schema.field_with_name(name).ok()?;
    Some(match field.data_type() {
        DataType::List(element) => ColumnPath::new(vec![name.into(), "list".into(), element.name().clone()]),
        _ => ColumnPath::from(name),
    })
}

/// A row in the partition of another hour would be looked for where it isn't, and come again.
fn check_hour(batch: &RecordBatch, hour: EventHour) -> Result<(), WriteError> {
    let times = batch
        .column_by_name(gold::TIMESTAMP)
        .and_then(|column| column.as_primitive_opt::<Int64Type>())
        .filter(|times| times.null_count() == 0)
        .ok_or(WriteError::NoEventTime { hour })?;
    let (from, to) = hour.bounds();
    let bounds =
        times.values().iter().fold((Micros::MAX, Micros::MIN), |(least, greatest), &t| (least.min(t), greatest.max(t)));
    if bounds.0 < from || bounds.1 >= to {
        return Err(WriteError::OtherHour { hour, least: bounds.0, greatest: bounds.1 });
    }
    Ok(())
}

/// The arriving columns under the table's own field ids, and the three derived ones behind them.
fn complete(batch: &RecordBatch, schema: &SchemaRef, hour: EventHour, sealed: Micros) -> Result<RecordBatch, ArrowError> {
    let rows = batch.num_rows();
    if batch.num_columns() != ARRIVING {
        let expected = format!("{} columns where {ARRIVING} were expected", batch.num_columns());
        return Err(ArrowError::SchemaError(expected));
    }
    let derived: [ArrayRef; 3] = [
        Arc::new(TimestampMicrosecondArray::from_value(sealed, rows).with_timezone(gold::UTC)),
        Arc::new(Date32Array::from_value(hour.exchange_date(), rows)),
        Arc::new(Int32Array::from_value(hour.exchange_hour(), rows)),
    ];
    let arriving = batch.columns().iter().zip(schema.fields()).map(|(column, field)| under_field(column, field));
    RecordBatch::try_new(schema.clone(), arriving.chain(derived.into_iter().map(Ok)).collect::<Result<_, _>>()?)
}

/// The type of a list names its element field, with its id: the same values are another type there.
fn under_field(column: &ArrayRef, field: &Field) -> Result<ArrayRef, ArrowError> {
    match (column.as_list_opt::<i32>(), field.data_type()) {
        (Some(list), DataType::List(element)) => {
            let (_, offsets, values, nulls) = list.clone().into_parts();
            Ok(Arc::new(ListArray::try_new(element.clone(), offsets, values, nulls)?))
        }
        _ => Ok(column.clone()),
    }
}
