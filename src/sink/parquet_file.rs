//! A Parquet file behind the object store: its footer with one or two reads, and just those ranges of it that are asked
//! for. Decoding is synchronous, over what was fetched before.

use std::io::Read;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes, buf};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};

use crate::error::Stop;
use crate::ports::PortError;
use crate::sink::storage::{ObjectStore, StorageError};
use crate::types::FilePath;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// It is there and isn't what its place in the table says.
    #[error("{path} can't be read as a data file of the table: {reason}")]
    Unreadable { path: FilePath, reason: String },
}

impl ReadError {
    /// Whether asking again at once may answer otherwise without the store having been down: bytes that arrived wrong, a
    /// file that is not yet seen everywhere.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreadable { .. } | Self::Storage(StorageError::NotFound { .. }))
    }
}

impl From<ReadError> for PortError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Storage(error) => error.into(),
            ReadError::Unreadable { .. } => Stop::inconsistent(
                error.to_string(),
                "restore the file, or take it out of the table: roll back to a snapshot without it, or delete it with the \
                 engine that wrote it",
            )
            .into(),
        }
    }
}

/// Read speculatively from the end: the footer of a file of some twenty row groups.
const TAIL_BYTES: u64 = 64 << 10;

/// Row groups of one file that are fetched and decoded at once.
pub const READ_AHEAD: usize = 2;

/// Ranges with no more than this between them are fetched as one.
const GAP_BYTES: u64 = 64 << 10;

#[derive(Clone)]
pub struct ParquetFile {
    store: Arc<dyn ObjectStore>,
    path: FilePath,
    length: u64,
    metadata: Arc<ParquetMetaData>,
    tail: Part,
}

impl ParquetFile {
    /// `listed_bytes` is the length that the manifest gives; a manifest that is wrong about it costs another read.
    pub async fn open(store: Arc<dyn ObjectStore>, path: &FilePath, listed_bytes: u64) -> Result<Self, ReadError> {
        match Self::open_sized(&store, path, listed_bytes).await {
            Err(ReadError::Unreadable { path, reason }) => match store.size(&path).await? {
                None => Err(StorageError::NotFound { path: path.to_string() }.into()),
                Some(bytes) if bytes != listed_bytes => Self::open_sized(&store, &path, bytes).await,
                Some(_) => Err(ReadError::Unreadable { path, reason }),
            },
            opened => opened,
        }
    }

    async fn open_sized(store: &Arc<dyn ObjectStore>, path: &FilePath, length: u64) -> Result<Self, ReadError> {
        let mut wanted = TAIL_BYTES.min(length);
        loop {
            let tail = fetch(store.as_ref(), path, length - wanted..length).await?;
            let mut reader = ParquetMetaDataReader::new();
            match reader.try_parse_sized(&tail.bytes, length) {
                Ok(()) => {
                    let metadata = reader.finish().map_err(|e| unreadable(path, e))?;
                    return Ok(Self { store: store.clone(), path: path.clone(), length, metadata: metadata.into(), tail });
                }
                Err(ParquetError::NeedMoreData(bytes)) if (wanted + 1..=length).contains(&(bytes as u64)) => {
                    wanted = bytes as u64;
                }
                Err(error) => return Err(unreadable(path, error)),
            }
        }
    }

    pub fn metadata(&self) -> &Arc<ParquetMetaData> {
        &self.metadata
    }

    pub fn unreadable(&self, reason: impl ToString) -> ReadError {
        unreadable(&self.path, reason)
    }

    /// Where the pages of a column are. What a footer says is checked, not believed.
    pub fn column_range(&self, group: usize, leaf: usize) -> Result<Range<u64>, ReadError> {
        let column = self.metadata.row_group(group).column(leaf);
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset()).min(column.data_page_offset());
        let range = || {
            let (start, length) = (u64::try_from(start).ok()?, u64::try_from(column.compressed_size()).ok()?);
            start.checked_add(length).filter(|end| *end <= self.length).map(|end| start..end)
        };
        range().ok_or_else(|| {
            let bytes = column.compressed_size();
            self.unreadable(format!("its footer has {bytes} bytes at {start} for a column of a file of {}", self.length))
        })
    }

    /// Decodes on a thread of its own, where it holds nobody up: it takes a core for milliseconds. A decoder that panics
    /// has met a file that it can't read.
    pub async fn decode<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, ParquetError> + Send + 'static,
    ) -> Result<T, ReadError> {
        match tokio::task::spawn_blocking(work).await {
            Ok(decoded) => decoded.map_err(|e| self.unreadable(e)),
            Err(_) => Err(self.unreadable("the decoder panicked on its content")),
        }
    }

    /// Reads these ranges; the order doesn't matter, neighbours are read together.
    pub async fn fetch(&self, mut ranges: Vec<Range<u64>>) -> Result<Fetched, ReadError> {
        ranges.sort_by_key(|r| r.start);
        let mut merged: Vec<Range<u64>> = Vec::new();
        for range in ranges.into_iter().filter(|r| r.start < self.tail.start) {
            let end = range.end.min(self.tail.start);
            match merged.last_mut() {
                Some(last) if range.start <= last.end + GAP_BYTES => last.end = last.end.max(end),
                _ => merged.push(range.start..end),
            }
        }
        let reads = merged.into_iter().map(|range| fetch(self.store.as_ref(), &self.path, range));
        let mut parts = futures::future::try_join_all(reads).await?;
        match parts.last_mut() {
            // A range that reaches into the tail must be found in one piece.
            Some(last) if last.end() == self.tail.start => {
                *last = Part { start: last.start, bytes: [&last.bytes[..], &self.tail.bytes[..]].concat().into() };
            }
            _ => parts.push(self.tail.clone()),
        }
        Ok(Fetched { length: self.length, parts })
    }
}

fn unreadable(path: &FilePath, reason: impl ToString) -> ReadError {
    ReadError::Unreadable { path: path.clone(), reason: reason.to_string() }
}

async fn fetch(store: &dyn ObjectStore, path: &FilePath, range: Range<u64>) -> Result<Part, ReadError> {
    let expected = range.end - range.start;
    let bytes = store.get_range(path, range.clone()).await?;
    if bytes.len() as u64 != expected {
        return Err(unreadable(path, format!("bytes {} to {} are {} bytes", range.start, range.end, bytes.len())));
    }
    Ok(Part { start: range.start, bytes })
}

#[derive(Clone)]
struct Part {
    start: u64,
    bytes: Bytes,
}

impl Part {
    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// A file of which some ranges are here.
#[derive(Clone)]
pub struct Fetched {
    length: u64,
    /// Ascending, apart from each other.
    parts: Vec<Part>,
}

impl Fetched {
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let after = self.parts.partition_point(|p| p.start <= start);
        let part = self.parts[..after].last().filter(|p| start < p.end());
        let part = part.ok_or_else(|| ParquetError::EOF(format!("byte {start} lies outside the column's own range")))?;
        Ok(part.bytes.slice((start - part.start) as usize..))
    }
}

impl Length for Fetched {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Fetched {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let reader: buf::Reader<Bytes> = self.from(start)?.reader();
        Ok(Box::new(reader))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!("{length} bytes at {start} lie outside the column's own range")));
        }
        Ok(bytes.slice(..length))
    }
}
