//! Gold's rows as any reader of Iceberg sees them: planned and read by the library, position and equality deletes
//! applied, columns found by field id. Nothing of how Sluice writes or probes files is used, so that a fault there shows.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use iceberg::arrow::ArrowReaderBuilder;
use iceberg::io::FileIO;
use iceberg::scan::FileScanTask;
use iceberg::spec::{DataFileFormat, PartitionSpec, Schema, TableMetadata, TableMetadataRef};
use iceberg::table::Table;
use iceberg::{ErrorKind, Runtime, TableIdent};
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaDataReader;

use super::gold;
use crate::core::verify::key::SILVER_COLUMNS;
use crate::core::verify::{FileFacts, FileLoss, LiveRow};
use crate::error::Stop;
use crate::ports::{Down, PortError};
use crate::types::*;

/// Which columns of a file to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Columns {
    /// message_id, timestamp and the two derived ones.
    Keys,
    /// The 15 from Silver.
    Silver,
}

impl Columns {
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Keys => &[gold::MESSAGE_ID, gold::TIMESTAMP, gold::EXCHANGE_DATE, gold::EXCHANGE_HOUR],
            Self::Silver => &SILVER_COLUMNS,
        }
    }
}

/// A live data file of the snapshot, with the delete files that apply to it.
#[derive(Clone, Debug)]
pub struct GoldFile {
    pub facts: FileFacts,
    task: FileScanTask,
}

/// Reads one fixed snapshot.
pub struct GoldReader {
    table: Table,
    snapshot: Option<SnapshotId>,
}

impl GoldReader {
    /// Must be called within a tokio runtime.
    pub fn new(metadata: TableMetadataRef, file_io: FileIO, snapshot: Option<SnapshotId>) -> Result<Self, Stop> {
        let identifier = TableIdent::from_strs(["gold", "verified"]).map_err(|e| Stop::internal(e.to_string()))?;
        let table = Table::builder()
            .metadata(metadata)
            .file_io(file_io)
            .identifier(identifier)
            .readonly(true)
            .runtime(Runtime::try_current().map_err(|e| Stop::internal(e.to_string()))?)
            .build()
            .map_err(|e| Stop::internal(e.to_string()))?;
        Ok(Self { table, snapshot })
    }

    /// The live files of the snapshot, ordered by path; none for a table without a snapshot.
    ///
    /// # Errors
    /// Stops where a manifest can't be read: then nothing can be said of the table.
    pub async fn files(&self) -> Result<Vec<GoldFile>, PortError> {
        let Some(snapshot) = self.snapshot else { return Ok(Vec::new()) };
        let unreadable = |e: iceberg::Error| {
            Stop::inconsistent(
                format!("the files of snapshot {snapshot} can't be listed: {e}"),
                "restore the manifest that is named, or roll the table back to a snapshot that can be read",
            )
        };
        let scan = self.table.scan().snapshot_id(snapshot.0).build().map_err(unreadable)?;
        let tasks: Vec<FileScanTask> =
            scan.plan_files().await.map_err(unreadable)?.try_collect().await.map_err(unreadable)?;
        let spec = only_spec(self.table.metadata());
        let mut files: Vec<GoldFile> = tasks.into_iter().map(|task| gold_file(task, spec)).collect();
        files.sort_by(|a, b| a.facts.path.cmp(&b.facts.path));
        Ok(files)
    }

    /// The live rows of one file, in batches of a few thousand.
    ///
    /// # Errors
    /// The columns are missing from the table: `Stop`. What is wrong with the file itself comes in the stream.
    pub fn rows(
        &self,
        file: &GoldFile,
        columns: Columns,
    ) -> Result<BoxStream<'static, Result<RecordBatch, FileLoss>>, Stop> {
        if file.task.data_file_format != DataFileFormat::Parquet {
            let loss = FileLoss::Unsupported(format!("{} is {:?}", file.facts.path, file.task.data_file_format));
            return Ok(stream::once(async { Err(loss) }).boxed());
        }
        let mut task = file.task.clone();
        task.project_field_ids = field_ids(task.schema(), columns)?;
        let reader = ArrowReaderBuilder::new(self.table.file_io().clone(), Runtime::current())
            .with_data_file_concurrency_limit(1)
            .with_batch_size(8192)
            .build();
        let tasks = stream::once(async { Ok(task) }).boxed();
        let batches = reader.read(tasks).map_err(|e| Stop::internal(e.to_string()))?.stream();
        let path = file.facts.path.clone();
        Ok(batches.map_err(move |e| loss(&path, &e)).boxed())
    }

    /// Why a file that gave an error did so: whether it is there is asked only then.
    ///
    /// # Errors
    /// `Down` where the store doesn't answer that either.
    pub async fn why(&self, file: &GoldFile, loss: FileLoss) -> Result<FileLoss, PortError> {
        let path = &*file.facts.path;
        match self.table.file_io().exists(path).await {
            Ok(true) => Ok(loss),
            Ok(false) => Ok(FileLoss::Missing),
            Err(e) => Err(Down { dependency: "object store", reason: format!("{path}: {e}") }.into()),
        }
    }

    /// Rows that the file holds by its own footer, delete files aside.
    pub async fn rows_by_footer(&self, file: &GoldFile) -> Result<u64, FileLoss> {
        let fault = |e: iceberg::Error| loss(&file.facts.path, &e);
        let size = file.task.file_size_in_bytes;
        let input = self.table.file_io().new_input(&*file.facts.path).map_err(fault)?;
        let reader = input.reader().await.map_err(fault)?;
        let mut tail = size.min(64 << 10);
        loop {
            let bytes = reader.read(size - tail..size).await.map_err(fault)?;
            let mut footer = ParquetMetaDataReader::new();
            match footer.try_parse_sized(&bytes, size).and_then(|()| footer.finish()) {
                Ok(metadata) => return Ok(metadata.file_metadata().num_rows() as u64),
                Err(ParquetError::NeedMoreData(more)) if more as u64 > tail && more as u64 <= size => tail = more as u64,
                Err(e) => return Err(FileLoss::Unreadable(format!("{}: {e}", file.facts.path))),
            }
        }
    }
}

/// The spec of every file, which the library's scan doesn't tell; none for a table that was ever partitioned otherwise.
fn only_spec(table: &TableMetadata) -> Option<&PartitionSpec> {
    let gold = table.partition_specs_iter().all(|spec| gold::is_gold_spec(spec, table.current_schema()));
    gold.then(|| &**table.default_partition_spec())
}

fn gold_file(mut task: FileScanTask, spec: Option<&PartitionSpec>) -> GoldFile {
    // Without its partition the task gives the columns as the file has them, not as the manifest says they are.
    let tuple = task.partition.take();
    let hour = spec.zip(tuple).and_then(|(spec, tuple)| gold::hour_of_partition(spec, task.schema(), &tuple));
    let facts = FileFacts {
        path: task.data_file_path.as_str().into(),
        hour,
        rows: task.record_count.unwrap_or(0),
        deletes: !task.deletes.is_empty(),
    };
    GoldFile { facts, task }
}

fn field_ids(schema: &Schema, columns: Columns) -> Result<Vec<i32>, Stop> {
    let id = |name: &&str| {
        schema.field_id_by_name(name).ok_or_else(|| {
            Stop::inconsistent(format!("the table has no column {name}"), "compare it with `sluice table describe`")
        })
    };
    columns.names().iter().map(id).collect()
}

fn loss(path: &str, error: &iceberg::Error) -> FileLoss {
    let chain = std::iter::successors(std::error::Error::source(error), |e| e.source());
    let text = chain.fold(format!("{path}: {error}"), |text, cause| format!("{text}: {cause}"));
    match error.kind() {
        ErrorKind::FeatureUnsupported => FileLoss::Unsupported(text),
        _ => FileLoss::Unreadable(text),
    }
}

/// The key columns of a batch, typed.
pub struct KeyRows {
    message_id: ArrayRef,
    timestamp: ArrayRef,
    exchange_date: Option<ArrayRef>,
    exchange_hour: Option<ArrayRef>,
}

impl KeyRows {
    /// # Errors
    /// Names the column that is missing or of another type.
    pub fn of(batch: &RecordBatch) -> Result<Self, String> {
        let column = |name: &str, data_type: DataType| match batch.column_by_name(name) {
            Some(column) if *column.data_type() == data_type => Ok(Some(column.clone())),
            Some(column) => Err(format!("column {name} is {:?}", column.data_type())),
            None => Ok(None),
        };
        let needed = |name: &str, data_type| column(name, data_type)?.ok_or_else(|| format!("column {name} is missing"));
        Ok(Self {
            message_id: needed(gold::MESSAGE_ID, DataType::Utf8)?,
            timestamp: needed(gold::TIMESTAMP, DataType::Int64)?,
            exchange_date: column(gold::EXCHANGE_DATE, DataType::Date32)?,
            exchange_hour: column(gold::EXCHANGE_HOUR, DataType::Int32)?,
        })
    }

    pub fn len(&self) -> usize {
        self.message_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn row(&self, row: usize) -> LiveRow<'_> {
        let ids = self.message_id.as_string::<i32>();
        let times = self.timestamp.as_primitive::<Int64Type>();
        let date = self.exchange_date.as_ref().map(|d| d.as_primitive::<Date32Type>());
        let hour = self.exchange_hour.as_ref().map(|h| h.as_primitive::<Int32Type>());
        LiveRow {
            message_id: ids.is_valid(row).then(|| ids.value(row)),
            event_time: times.is_valid(row).then(|| times.value(row)),
            exchange_date: date.filter(|d| d.is_valid(row)).map(|d| d.value(row)),
            exchange_hour: hour.filter(|h| h.is_valid(row)).map(|h| h.value(row)),
        }
    }
}

/// The metadata that a reader is made for, and the snapshot that `--snapshot` names, or the head of main.
///
/// # Errors
/// The table has no such snapshot: exit 2.
pub fn fixed_snapshot(metadata: &TableMetadataRef, asked: Option<SnapshotId>) -> Result<Option<SnapshotId>, Stop> {
    match asked {
        None => Ok(metadata.current_snapshot_id().map(SnapshotId)),
        Some(id) if metadata.snapshot_by_id(id.0).is_some() => Ok(Some(id)),
        Some(id) => {
            Err(Stop::usage(format!("the table has no snapshot {id}"), "list those that it has: sluice table snapshots"))
        }
    }
}
