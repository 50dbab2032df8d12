//! The deduplication key of every row of a data file, whoever wrote it: message_id and the hour of `timestamp`. Rows
//! without one of them count as nothing.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema as ArrowSchema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;

use crate::sink::file_layout::{FileLayout, KeyColumn};
use crate::sink::parquet_file::{Fetched, ParquetFile, ReadError};
use crate::types::{EventHour, MessageId};

/// Large enough to make the cost of a batch small, small enough for a core's cache.
const BATCH_ROWS: usize = 8192;

/// Where the key columns of a file are.
#[derive(Clone)]
pub struct KeyColumns {
    pub message_id: usize,
    pub timestamp: usize,
    reader: ArrowReaderMetadata,
}

impl KeyColumns {
    /// None where the file lacks one of the columns: then no row of it counts.
    pub fn of(file: &ParquetFile, layout: &FileLayout) -> Result<Option<Self>, ReadError> {
        let message_id = leaf(file, &layout.message_id, PhysicalType::BYTE_ARRAY)?;
        let timestamp = leaf(file, &layout.timestamp, PhysicalType::INT64)?;
        let (Some(message_id), Some(timestamp)) = (message_id, timestamp) else { return Ok(None) };
        let reader = reader_metadata(file, message_id, timestamp).map_err(|e| file.unreadable(e))?;
        Ok(Some(Self { message_id, timestamp, reader }))
    }

    /// Whether the event time of each row must be read: where the hour of the file doesn't say it all.
    pub fn hours(&self, group: &RowGroupMetaData, of_file: Option<EventHour>) -> Hours {
        let times = group.column(self.timestamp);
        match of_file {
            Some(hour) if times.statistics().and_then(|s| s.null_count_opt()) == Some(0) => Hours::AllOf(hour),
            _ => Hours::ByRow,
        }
    }

    /// What must be fetched to [`read`](Self::read) a row group.
    pub fn ranges(&self, file: &ParquetFile, group: usize, hours: Hours) -> Result<Vec<Range<u64>>, ReadError> {
        let columns = match hours {
            Hours::AllOf(_) => &[self.message_id][..],
            Hours::ByRow => &[self.message_id, self.timestamp][..],
        };
        columns.iter().map(|leaf| file.column_range(group, *leaf)).collect()
    }

    /// Calls `visit` for each row of a row group that counts, in the order of the file. Blocks for as long as it takes.
    pub fn read(
        &self,
        fetched: Fetched,
        group: usize,
        hours: Hours,
        mut visit: impl FnMut(MessageId, EventHour),
    ) -> Result<(), ParquetError> {
        // A batch has its columns in the order of the file.
        let (ids_at, times_at) = if self.message_id < self.timestamp { (0, 1) } else { (1, 0) };
        match hours {
            Hours::AllOf(hour) => self.each_batch(fetched, group, &[self.message_id], |batch| {
                let ids = texts(batch.column(0))?;
                ids.iter().flatten().for_each(|id| visit(MessageId::of(id), hour));
                Ok(())
            }),
            Hours::ByRow => self.each_batch(fetched, group, &[self.message_id, self.timestamp], |batch| {
                let (ids, times) = (texts(batch.column(ids_at))?, longs(batch.column(times_at))?);
                for row in ids.iter().zip(times) {
                    if let (Some(id), Some(time)) = row {
                        visit(MessageId::of(id), EventHour::of(time));
                    }
                }
                Ok(())
            }),
        }
    }

    fn each_batch(
        &self,
        fetched: Fetched,
        group: usize,
        leaves: &[usize],
        mut visit: impl FnMut(&RecordBatch) -> Result<(), ParquetError>,
    ) -> Result<(), ParquetError> {
        let columns = ProjectionMask::leaves(self.reader.parquet_schema(), leaves.iter().copied());
        let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(fetched, self.reader.clone())
            .with_row_groups(vec![group])
            .with_projection(columns)
            .with_batch_size(BATCH_ROWS)
            .build()?;
        for batch in batches {
            visit(&batch?)?;
        }
        Ok(())
    }
}

/// How the hour of a row is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hours {
    /// All rows of the row group have an event time, in this hour.
    AllOf(EventHour),
    /// By the row's own event time.
    ByRow,
}

fn leaf(file: &ParquetFile, column: &KeyColumn, expected: PhysicalType) -> Result<Option<usize>, ReadError> {
    let schema = file.metadata().file_metadata().schema_descr();
    let Some(leaf) = column.leaf(schema) else { return Ok(None) };
    let descriptor = schema.column(leaf);
    if descriptor.physical_type() != expected || descriptor.max_rep_level() > 0 {
        let found = descriptor.physical_type();
        return Err(file.unreadable(format!("column {} has the type {found}, expected {expected}", column.name)));
    }
    Ok(Some(leaf))
}

/// Types as Parquet has them, whatever Arrow types the writer noted beside; ids as views of the pages, without a copy.
fn reader_metadata(file: &ParquetFile, message_id: usize, timestamp: usize) -> Result<ArrowReaderMetadata, ParquetError> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let plain = ArrowReaderMetadata::try_new(file.metadata().clone(), options.clone())?;
    let roots = [message_id, timestamp].map(|leaf| plain.parquet_schema().get_column_root_idx(leaf));
    let fields = plain.schema().fields().iter().enumerate().map(|(i, field)| match roots.iter().position(|r| *r == i) {
        Some(0) => Arc::new(Field::clone(field).with_data_type(DataType::Utf8View)),
        Some(_) => Arc::new(Field::clone(field).with_data_type(DataType::Int64)),
        None => field.clone(),
    });
    let schema = ArrowSchema::new(fields.collect::<Vec<_>>());
    ArrowReaderMetadata::try_new(file.metadata().clone(), options.with_schema(schema.into()))
}

fn texts(column: &dyn Array) -> Result<&StringViewArray, ParquetError> {
    column.as_string_view_opt().ok_or_else(|| other_type(column))
}

fn longs(column: &dyn Array) -> Result<&Int64Array, ParquetError> {
    column.as_primitive_opt::<Int64Type>().ok_or_else(|| other_type(column))
}

fn other_type(column: &dyn Array) -> ParquetError {
    ParquetError::General(format!("a key column was decoded as {}", column.data_type()))
}
