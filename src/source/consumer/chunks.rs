//! Records on their way from the client library into chunks, one open chunk per partition.

use crate::ports::{Frame, Header, RecordChunk};
use crate::types::*;

/// A chunk is closed when it has so many rows…
pub(super) const CHUNK_ROWS_MAX: usize = 4096;
/// …or so many bytes of keys and values. One record can be larger: it then fills a chunk of its own.
pub(super) const CHUNK_BYTES_MAX: usize = 1 << 20;

/// One record as the client library shows it; the slices live as long as its event.
pub(super) struct Record<'a> {
    pub offset: Offset,
    pub timestamp_ms: Option<i64>,
    pub leader_epoch: Option<i32>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Vec<Header>,
}

#[derive(Default)]
pub(super) struct OpenChunks {
    open: Vec<RecordChunk>,
    /// Those with records, in the order of their first one.
    touched: Vec<usize>,
}

impl OpenChunks {
    /// Copies the record into the chunk of its slot. A chunk that is full by that, or that the record would overflow, is
    /// given back, to be sent before anything else of this slot.
    pub fn push(&mut self, slot: usize, record: Record<'_>) -> Option<RecordChunk> {
        if self.open.len() <= slot {
            self.open.resize_with(slot + 1, RecordChunk::default);
        }
        let size = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        let chunk = &mut self.open[slot];
        let full =
            !chunk.frames.is_empty() && (chunk.frames.len() >= CHUNK_ROWS_MAX || chunk.data.len() + size > CHUNK_BYTES_MAX);
        let sealed = full.then(|| std::mem::take(chunk));
        if chunk.frames.is_empty() && sealed.is_none() {
            self.touched.push(slot);
        }
        append(chunk, record);
        sealed
    }

    /// The open chunk of this slot, if it has records.
    pub fn seal(&mut self, slot: usize) -> Option<RecordChunk> {
        let at = self.touched.iter().position(|touched| *touched == slot)?;
        self.touched.remove(at);
        Some(std::mem::take(&mut self.open[slot]))
    }

    /// Every open chunk with records.
    pub fn seal_all(&mut self) -> Vec<(usize, RecordChunk)> {
        let open = &mut self.open;
        self.touched.drain(..).map(|slot| (slot, std::mem::take(&mut open[slot]))).collect()
    }
}

fn append(chunk: &mut RecordChunk, record: Record<'_>) {
    let mut keep = |bytes: Option<&[u8]>| {
        bytes.map(|bytes| {
            let from = chunk.data.len();
            chunk.data.extend_from_slice(bytes);
            (short(from), short(chunk.data.len()))
        })
    };
    let (key, value) = (keep(record.key), keep(record.value));
    if !record.headers.is_empty() {
        chunk.headers.push((chunk.frames.len(), record.headers));
    }
    let Record { offset, timestamp_ms, leader_epoch, .. } = record;
    chunk.frames.push(Frame { offset, timestamp_ms, leader_epoch, key, value });
}

fn short(position: usize) -> u32 {
    u32::try_from(position).expect("a chunk holds at most CHUNK_BYTES_MAX and one record of less than 2 GiB")
}

/// What a chunk costs in memory.
pub(super) fn chunk_bytes(chunk: &RecordChunk) -> u64 {
    let headers: usize = chunk
        .headers
        .iter()
        .flat_map(|(_, headers)| headers)
        .map(|(name, value)| 72 + name.len() + value.as_ref().map_or(0, Vec::len))
        .sum();
    (chunk.data.capacity() + chunk.frames.capacity() * size_of::<Frame>() + headers) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(offset: Offset, key: Option<&'a [u8]>, value: Option<&'a [u8]>) -> Record<'a> {
        Record { offset, timestamp_ms: Some(offset * 10), leader_epoch: Some(3), key, value, headers: Vec::new() }
    }

    #[test]
    fn null_and_empty_keys_and_values_stay_what_they_are() {
        let mut chunks = OpenChunks::default();
        chunks.push(0, record(5, None, Some(b"v")));
        chunks.push(0, record(9, Some(b""), None));
        chunks.push(0, record(10, Some(b"key"), Some(b"")));
        let chunk = chunks.seal(0).unwrap();
        assert_eq!(chunk.frames.iter().map(|f| f.offset).collect::<Vec<_>>(), [5, 9, 10]);
        assert_eq!((chunk.key(0), chunk.value(0)), (None, Some(&b"v"[..])));
        assert_eq!((chunk.key(1), chunk.value(1)), (Some(&b""[..]), None));
        assert_eq!((chunk.key(2), chunk.value(2)), (Some(&b"key"[..]), Some(&b""[..])));
        assert_eq!((chunk.frames[1].timestamp_ms, chunk.frames[1].leader_epoch), (Some(90), Some(3)));
    }

    #[test]
    fn headers_belong_to_their_record() {
        let mut chunks = OpenChunks::default();
        chunks.push(0, record(0, None, None));
        let headers = vec![("a".to_owned(), Some(b"1".to_vec())), ("a".to_owned(), None)];
        chunks.push(0, Record { headers: headers.clone(), ..record(1, None, None) });
        let chunk = chunks.seal(0).unwrap();
        assert_eq!(chunk.headers(0), &[]);
        assert_eq!(chunk.headers(1), &headers[..]);
    }

    #[test]
    fn a_full_chunk_is_given_back_before_the_next_record_goes_in() {
        let mut chunks = OpenChunks::default();
        let value = vec![1u8; CHUNK_BYTES_MAX - 1];
        assert!(chunks.push(0, record(0, None, Some(&value))).is_none());
        let sealed = chunks.push(0, record(1, None, Some(b"ab"))).expect("the second would overflow it");
        assert_eq!((sealed.frames.len(), sealed.frames[0].offset), (1, 0));
        assert_eq!(chunks.seal(0).unwrap().value(0), Some(&b"ab"[..]));

        for offset in 0..CHUNK_ROWS_MAX as i64 {
            assert!(chunks.push(1, record(offset, None, None)).is_none());
        }
        assert_eq!(chunks.push(1, record(-1, None, None)).unwrap().frames.len(), CHUNK_ROWS_MAX);
    }

    #[test]
    fn slots_are_sealed_once_and_in_the_order_of_their_first_record() {
        let mut chunks = OpenChunks::default();
        for slot in [2, 0, 2, 1] {
            chunks.push(slot, record(0, None, None));
        }
        assert!(chunks.seal(0).is_some());
        assert!(chunks.seal(0).is_none());
        let rest: Vec<_> = chunks.seal_all().into_iter().map(|(slot, chunk)| (slot, chunk.frames.len())).collect();
        assert_eq!(rest, [(2, 2), (1, 1)]);
        assert!(chunks.seal_all().is_empty());
    }
}
