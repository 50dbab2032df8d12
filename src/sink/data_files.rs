//! The data files of the Gold table, behind [`ports::DataFiles`](crate::ports::DataFiles): written, probed, read for their
//! ids. Nothing here is kept between calls but what the table's metadata says about files.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use parquet::errors::ParquetError;

use crate::core::table::LiveFile;
use crate::crash_point::{self, Point};
use crate::error::Stop;
use crate::ports::{DataFiles, PortError, ProbeId, Probed, WrittenFile};
use crate::sink::file_layout::FileLayout;
use crate::sink::foreign::RowHours;
use crate::sink::ids::{Hours, KeyColumns};
use crate::sink::parquet_file::{Fetched, ParquetFile, READ_AHEAD, ReadError};
use crate::sink::parquet_writer::{EncodedFile, encode};
use crate::sink::probe::probe;
use crate::sink::storage::ObjectStore;
use crate::sink::{FILE_PREFIX, file_metrics, gold};
use crate::types::{EventHour, FilePath, MessageId, Micros};

/// Pauses before a file that couldn't be read is read again; after the last one it is given up.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(1000)];

pub struct GoldFiles {
    store: Arc<dyn ObjectStore>,
    layout: RwLock<Option<Arc<FileLayout>>>,
    pauses: [Duration; 2],
}

impl GoldFiles {
    /// Not usable before [`use_layout`](Self::use_layout).
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, layout: RwLock::new(None), pauses: PAUSES }
    }

    /// Told at every load of the table: columns, folder and properties may have changed.
    pub fn use_layout(&self, layout: FileLayout) {
        *self.layout.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(Arc::new(layout));
    }

    fn layout(&self) -> Result<Arc<FileLayout>, Stop> {
        let layout = self.layout.read().unwrap_or_else(|poisoned| poisoned.into_inner());
        layout.clone().ok_or_else(|| Stop::internal("data files were used before the table was loaded"))
    }

    /// A file that is bad is read anew before it is given up. A store that is down is the caller's to wait for.
    async fn retried<T, F: Future<Output = Result<T, ReadError>>>(&self, attempt: impl Fn() -> F) -> Result<T, ReadError> {
        for pause in self.pauses {
            match attempt().await {
                Err(error) if error.may_pass() => {
                    tracing::warn!(event = "data_file.unreadable", %error, "reading a data file again");
                    tokio::time::sleep(pause).await;
                }
                answer => return answer,
            }
        }
        attempt().await
    }

    /// Runs `read` over the row groups of a file, some at once; answers in their order. Nothing where the file lacks a key
    /// column: no row of it counts.
    async fn each_group<T, F>(&self, file: &LiveFile, layout: &FileLayout, read: F) -> Result<Vec<T>, ReadError>
    where
        T: Send + 'static,
        F: Fn(&KeyColumns, Fetched, usize) -> Result<T, ParquetError> + Clone + Send + 'static,
    {
        let opened = ParquetFile::open(self.store.clone(), &file.path, file.bytes).await?;
        let Some(columns) = KeyColumns::of(&opened, layout)? else { return Ok(Vec::new()) };
        let groups = 0..opened.metadata().num_row_groups();
        stream::iter(groups)
            .map(|group| {
                let (opened, columns, read) = (&opened, columns.clone(), read.clone());
                async move {
                    let fetched = opened.fetch(columns.ranges(opened, group, Hours::ByRow)?).await?;
                    opened.decode(move || read(&columns, fetched, group)).await
                }
            })
            .buffered(READ_AHEAD)
            .try_collect()
            .await
    }

    async fn store(
        &self,
        layout: &FileLayout,
        hour: EventHour,
        path: String,
        file: EncodedFile,
    ) -> Result<WrittenFile, PortError> {
        let bytes = file.content.len() as u64;
        let data_file = file_metrics::data_file(
            &path,
            bytes,
            &file.metadata,
            &layout.schema,
            layout.partition_spec_id,
            gold::partition_values(hour),
        );
        self.store.put(&path, file.content).await?;
        crash_point::pass(Point::DataFileDurable);
        Ok(WrittenFile { path: FilePath::from(path), hour, rows: data_file.record_count(), bytes, data_file })
    }
}

#[async_trait]
impl DataFiles for GoldFiles {
    async fn write(
        &self,
        hour: EventHour,
        name: &str,
        gold_ingestion_timestamp: Micros,
        rows: Vec<RecordBatch>,
    ) -> Result<Vec<WrittenFile>, PortError> {
        let layout = self.layout()?;
        let used = layout.clone();
        let encoded = tokio::task::spawn_blocking(move || encode(&used, hour, gold_ingestion_timestamp, &rows));
        let encoded = match encoded.await {
            Ok(encoded) => encoded.map_err(Stop::from)?,
            Err(error) => return Err(Stop::internal(format!("rows of {hour} could not be encoded: {error}")).into()),
        };
        let folder = hour_folder(&layout.folder, hour);
        let mut written = Vec::with_capacity(encoded.len());
        for (n, file) in encoded.into_iter().enumerate() {
            written.push(self.store(&layout, hour, format!("{folder}/{FILE_PREFIX}{name}-{n}.parquet"), file).await?);
        }
        Ok(written)
    }

    async fn probe(&self, file: &LiveFile, hour: EventHour, ids: &[ProbeId]) -> Result<Probed, PortError> {
        let layout = self.layout()?;
        let answer = self.retried(|| async {
            let opened = ParquetFile::open(self.store.clone(), &file.path, file.bytes).await?;
            probe(&opened, &layout, file.hour, hour, ids).await
        });
        Ok(answer.await?)
    }

    async fn read_ids(&self, file: &LiveFile) -> Result<Vec<(MessageId, EventHour)>, PortError> {
        let layout = self.layout()?;
        let read = self.retried(|| async {
            let groups = self.each_group(file, &layout, |columns, fetched, group| {
                let mut ids = Vec::new();
                columns.read(fetched, group, Hours::ByRow, |id, hour| ids.push((id, hour)))?;
                Ok(ids)
            });
            groups.await
        });
        Ok(read.await?.concat())
    }

    async fn exists(&self, path: &str) -> Result<bool, PortError> {
        Ok(self.store.size(path).await?.is_some())
    }

    #[cfg(feature = "planted-bugs")]
    async fn delete(&self, path: &str) -> Result<(), PortError> {
        Ok(self.store.delete(path).await?)
    }
}

/// The hours as the rows have them, whatever the file's partition says: that is what is in question.
#[async_trait]
impl RowHours for GoldFiles {
    async fn hours(&self, file: &LiveFile) -> Result<BTreeSet<EventHour>, PortError> {
        let layout = self.layout()?;
        let read = self.retried(|| async {
            let groups = self.each_group(file, &layout, |columns, fetched, group| {
                let mut hours = BTreeSet::new();
                let mut last = None;
                columns.read(fetched, group, Hours::ByRow, |_, hour| {
                    if last.replace(hour) != Some(hour) {
                        hours.insert(hour);
                    }
                })?;
                Ok(hours)
            });
            groups.await
        });
        Ok(read.await?.into_iter().flatten().collect())
    }
}

/// As Iceberg's own writers lay partitions out; nothing is ever read from the name.
fn hour_folder(folder: &str, hour: EventHour) -> String {
    let date = chrono::DateTime::from_timestamp(i64::from(hour.exchange_date()) * 86_400, 0);
    let date = date.map_or_else(|| hour.exchange_date().to_string(), |date| date.format("%Y-%m-%d").to_string());
    format!("{folder}/{}={date}/{}={}", gold::EXCHANGE_DATE, gold::EXCHANGE_HOUR, hour.exchange_hour())
}

#[cfg(test)]
#[path = "data_files_tests/mod.rs"]
mod tests;
