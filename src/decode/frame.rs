//! Confluent's framing: one zero byte, the schema id as four bytes big endian, the Avro body.

use crate::decode::error::{Reason, RowError};
use crate::ports::RecordChunk;

const HEADER: usize = 5;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Framed<'a> {
    pub schema_id: u32,
    pub body: &'a [u8],
}

/// Splits a record's value. An empty body is left to the writer's schema: a record without fields has none.
pub fn frame(value: Option<&[u8]>) -> Result<Framed<'_>, RowError> {
    let value = value.ok_or_else(|| RowError::new(Reason::NullValue, "the value is null (a tombstone)"))?;
    match value {
        [] => Err(RowError::new(Reason::EmptyValue, "the value has no bytes")),
        [0, a, b, c, d, body @ ..] => Ok(Framed { schema_id: u32::from_be_bytes([*a, *b, *c, *d]), body }),
        [0, ..] => {
            let message = format!("the value has {} bytes; magic byte and schema id alone take {HEADER}", value.len());
            Err(RowError::new(Reason::Truncated, message))
        }
        [magic, ..] => {
            let message = format!("the value begins with byte {magic:#04x}, Confluent's framing with 0x00");
            Err(RowError::new(Reason::Magic, message))
        }
    }
}

/// The schema ids of a chunk's framed records, ascending, each once.
pub fn schema_ids(chunk: &RecordChunk) -> Vec<u32> {
    let mut ids: Vec<u32> = Vec::new();
    for i in 0..chunk.frames.len() {
        let Some(id) = frame_id(chunk.value(i)) else { continue };
        if ids.last() != Some(&id) {
            ids.push(id);
        }
    }
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn frame_id(value: Option<&[u8]>) -> Option<u32> {
    match value {
        Some([0, a, b, c, d, ..]) => Some(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Frame;

    #[test]
    fn a_frame_gives_its_big_endian_id_and_the_rest() {
        let framed = frame(Some(&[0, 0, 1, 2, 3, 9, 8])).unwrap();
        assert_eq!(framed, Framed { schema_id: 0x00010203, body: &[9, 8] });
        assert_eq!(frame(Some(&[0, 0, 0, 0, 7])).unwrap().body, b"");
    }

    #[test]
    fn what_is_no_frame_says_why() {
        let reason = |value: Option<&[u8]>| frame(value).unwrap_err().reason;
        assert_eq!(reason(None), Reason::NullValue);
        assert_eq!(reason(Some(b"")), Reason::EmptyValue);
        assert_eq!(reason(Some(b"{\"a\":1}")), Reason::Magic);
        for short in 1..5 {
            assert_eq!(reason(Some(&[0; 4][..short])), Reason::Truncated);
        }
    }

    #[test]
    fn the_ids_of_a_chunk_leave_out_what_is_no_frame() {
        let mut chunk = RecordChunk::default();
        for value in
            [Some(&[0u8, 0, 0, 0, 9, 1][..]), None, Some(&[1, 0, 0, 0, 5]), Some(&[0, 0, 0, 0, 2]), Some(&[0, 0, 0, 0, 9])]
        {
            let from = chunk.data.len() as u32;
            chunk.data.extend_from_slice(value.unwrap_or_default());
            let value = value.map(|v| (from, from + v.len() as u32));
            chunk.frames.push(Frame { offset: 0, timestamp_ms: None, leader_epoch: None, key: None, value });
        }
        assert_eq!(schema_ids(&chunk), [2, 9]);
    }
}
