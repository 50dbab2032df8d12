//! Which of these ids does a data file hold? First the bloom filters, which say no for nearly all; then the message_id
//! column of the row groups that are left.

use std::ops::Range;

use futures::{StreamExt, TryStreamExt, stream};
use hashbrown::HashSet;
use parquet::bloom_filter::Sbbf;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::ChunkReader;

use crate::ports::{ProbeId, Probed};
use crate::sink::file_layout::FileLayout;
use crate::sink::ids::KeyColumns;
use crate::sink::parquet_file::{Fetched, ParquetFile, READ_AHEAD, ReadError};
use crate::types::{EventHour, MessageId};

/// The ids that the file holds in rows of `hour`, in the order in which they were asked, each once. `of_file` is the hour of
/// the file's partition; none for a file of another spec.
///
/// A filter is used where the file gives its place and length (writers of before parquet-format 2.10 leave the length
/// out: their columns are read).
pub async fn probe(
    file: &ParquetFile,
    layout: &FileLayout,
    of_file: Option<EventHour>,
    hour: EventHour,
    ids: &[ProbeId],
) -> Result<Probed, ReadError> {
    let Some(columns) = KeyColumns::of(file, layout)? else { return Ok(Probed::default()) };
    let suspects = suspects(file, &columns, ids).await?;
    let read = suspects.iter().flatten().collect::<HashSet<_>>().len();
    let suspects = suspects.into_iter().enumerate().filter(|(_, ids)| !ids.is_empty());
    let searches = stream::iter(suspects).map(|(group, ids)| search(file, &columns, group, of_file, hour, ids));
    let found: Vec<Vec<MessageId>> = searches.buffered(READ_AHEAD).try_collect().await?;
    let mut found: HashSet<MessageId> = found.into_iter().flatten().collect();
    let mut hits = Vec::new();
    for id in ids {
        if found.remove(&id.id) {
            hits.push(id.id);
        }
    }
    Ok(Probed { hits, read })
}

/// Per row group the ids that may be in it.
async fn suspects(file: &ParquetFile, columns: &KeyColumns, ids: &[ProbeId]) -> Result<Vec<Vec<MessageId>>, ReadError> {
    let groups = file.metadata().row_groups();
    let of_filters = |group: &RowGroupMetaData| filter_range(group.column(columns.message_id));
    let wanted: Vec<Range<u64>> =
        if ids.iter().any(|id| id.text.is_some()) { groups.iter().filter_map(of_filters).collect() } else { Vec::new() };
    let fetched = file.fetch(wanted).await?;
    groups.iter().map(|group| suspects_of_group(file, &fetched, group.column(columns.message_id), ids)).collect()
}

fn suspects_of_group(
    file: &ParquetFile,
    fetched: &Fetched,
    column: &ColumnChunkMetaData,
    ids: &[ProbeId],
) -> Result<Vec<MessageId>, ReadError> {
    let by_text = ids.iter().any(|id| id.text.is_some());
    let filter = match filter_range(column) {
        Some(range) if by_text => Some(filter(fetched, range).map_err(|e| file.unreadable(e))?),
        _ => None,
    };
    let may_hold = |id: &&ProbeId| match (&filter, &id.text) {
        (Some(filter), Some(text)) => filter.check(text.as_ref()),
        _ => true,
    };
    Ok(ids.iter().filter(may_hold).map(|id| id.id).collect())
}

/// A filter that isn't whole would say no to ids that are there.
fn filter(fetched: &Fetched, range: Range<u64>) -> Result<Sbbf, ParquetError> {
    let filter = Sbbf::from_bytes(&fetched.get_bytes(range.start, (range.end - range.start) as usize)?)?;
    if filter.num_blocks() == 0 {
        return Err(ParquetError::General("a bloom filter of no bytes".into()));
    }
    Ok(filter)
}

fn filter_range(column: &ColumnChunkMetaData) -> Option<Range<u64>> {
    let start = u64::try_from(column.bloom_filter_offset()?).ok()?;
    let length = u64::try_from(column.bloom_filter_length()?).ok()?;
    Some(start..start.checked_add(length)?)
}

async fn search(
    file: &ParquetFile,
    columns: &KeyColumns,
    group: usize,
    of_file: Option<EventHour>,
    hour: EventHour,
    suspects: Vec<MessageId>,
) -> Result<Vec<MessageId>, ReadError> {
    let hours = columns.hours(file.metadata().row_group(group), of_file);
    let fetched = file.fetch(columns.ranges(file, group, hours)?).await?;
    let columns = columns.clone();
    file.decode(move || {
        let suspects: HashSet<MessageId> = suspects.into_iter().collect();
        let mut found = Vec::new();
        columns.read(fetched, group, hours, |id, of_row| {
            if of_row == hour && suspects.contains(&id) {
                found.push(id);
            }
        })?;
        Ok(found)
    })
    .await
}
