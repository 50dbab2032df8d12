//! How the ids of one data file lie in the store: a header and numbered chunks, each bound to its key by a checksum.
//!
//! Little endian throughout. Every value ends with the crc32 of its key and of all before.
//!
//! ```text
//! key    'h' <file key: 16>             header   'c' <file key: 16> <index: u32 big endian>   chunk
//! header format u8 · state u8 · stamp u64 · ids u64 · chunks u32 · hours u8 · base hour i64 · path (rest)
//! chunk  stamp u64 · ids, 16 bytes each · their hours as the header says
//! ```
//!
//! The file key is a hash of table uuid and path, so that a value of another table is never found; the path stands in the
//! header as well, so that not even a collision is believed. The stamp is drawn for each time a file is put: chunks of two
//! writings never mix. A header is written before its chunks, as unfinished, and again after them.

use sha2::{Digest, Sha256};

use crate::types::{EventHour, MessageId};

/// Ids per chunk, all but the last full.
pub(super) const IDS_PER_CHUNK: usize = 448;

const FORMAT: u8 = 1;
const CRC: usize = 4;
const ID: usize = 16;
const STAMP: usize = 8;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FileKey([u8; 16]);

pub(super) const HEADERS_FROM: &[u8] = b"h";
pub(super) const HEADERS_UNTIL: &[u8] = b"i";

impl FileKey {
    pub(super) fn of(table: u128, path: &str) -> FileKey {
        let digest = Sha256::new().chain_update(table.to_be_bytes()).chain_update(path.as_bytes()).finalize();
        FileKey(digest[..16].try_into().expect("SHA-256 has 32 bytes"))
    }

    pub(super) fn header(&self) -> Vec<u8> {
        [b"h", &self.0[..]].concat()
    }

    pub(super) fn chunk(&self, index: u32) -> Vec<u8> {
        [b"c", &self.0[..], &index.to_be_bytes()].concat()
    }
}

/// How the hours of a file's ids are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hours {
    /// All ids are of this hour: nothing per id.
    One(i64),
    /// Two bytes an id: hours after this one.
    Near(i64),
    /// Eight bytes an id.
    Any,
}

impl Hours {
    fn of(ids: &[(MessageId, EventHour)]) -> Hours {
        let hours = ids.iter().map(|(_, hour)| hour.0);
        let (Some(least), Some(most)) = (hours.clone().min(), hours.max()) else { return Hours::One(0) };
        match most.checked_sub(least) {
            Some(0) => Hours::One(least),
            Some(spread) if spread <= i64::from(u16::MAX) => Hours::Near(least),
            _ => Hours::Any,
        }
    }

    fn bytes_per_id(self) -> usize {
        match self {
            Hours::One(_) => 0,
            Hours::Near(_) => 2,
            Hours::Any => 8,
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) finished: bool,
    stamp: u64,
    ids: u64,
    hours: Hours,
    pub(super) path: String,
}

/// A value that isn't what was put: the store can't be trusted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a value of {len} bytes fails its checksum or has no known form")]
pub(super) struct Damaged {
    len: usize,
}

impl Header {
    pub(super) fn new(path: &str, ids: &[(MessageId, EventHour)], stamp: u64) -> Header {
        Header { finished: false, stamp, ids: ids.len() as u64, hours: Hours::of(ids), path: path.into() }
    }

    pub(super) fn finished(self) -> Header {
        Header { finished: true, ..self }
    }

    pub(super) fn unfinished(self) -> Header {
        Header { finished: false, ..self }
    }

    pub(super) fn ids(&self) -> usize {
        usize::try_from(self.ids).expect("a count of ids that were in memory")
    }

    pub(super) fn chunks(&self) -> u32 {
        u32::try_from(self.ids().div_ceil(IDS_PER_CHUNK)).expect("2^32 chunks are more than a file holds")
    }

    pub(super) fn encode(&self, key: &[u8]) -> Vec<u8> {
        let (mode, base) = match self.hours {
            Hours::One(hour) => (0u8, hour),
            Hours::Near(base) => (1, base),
            Hours::Any => (2, 0),
        };
        let mut value = vec![FORMAT, u8::from(self.finished)];
        value.extend(self.stamp.to_le_bytes());
        value.extend(self.ids.to_le_bytes());
        value.extend(self.chunks().to_le_bytes());
        value.push(mode);
        value.extend(base.to_le_bytes());
        value.extend(self.path.as_bytes());
        sealed(key, value)
    }

    pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<Header, Damaged> {
        Self::parse(key, value).ok_or(Damaged { len: value.len() })
    }

    fn parse(key: &[u8], value: &[u8]) -> Option<Header> {
        let body = opened(key, value)?;
        let ([FORMAT, state @ (0 | 1)], body) = body.split_first_chunk::<2>()? else { return None };
        let (stamp, body) = body.split_first_chunk::<8>()?;
        let (ids, body) = body.split_first_chunk::<8>()?;
        let (chunks, body) = body.split_first_chunk::<4>()?;
        let ([mode], body) = body.split_first_chunk::<1>()?;
        let (base, path) = body.split_first_chunk::<8>()?;
        let base = i64::from_le_bytes(*base);
        let hours = match mode {
            0 => Hours::One(base),
            1 => Hours::Near(base),
            2 => Hours::Any,
            _ => return None,
        };
        let ids = u64::from_le_bytes(*ids);
        let expected = u32::try_from(ids.div_ceil(IDS_PER_CHUNK as u64)).ok()?;
        (expected == u32::from_le_bytes(*chunks)).then_some(())?;
        let path = std::str::from_utf8(path).ok()?.into();
        Some(Header { finished: *state == 1, stamp: u64::from_le_bytes(*stamp), ids, hours, path })
    }

    /// The value of one chunk: at most [`IDS_PER_CHUNK`] ids, with this header's stamp.
    pub(super) fn encode_chunk(&self, key: &[u8], ids: &[(MessageId, EventHour)]) -> Vec<u8> {
        let mut value = Vec::with_capacity(STAMP + ids.len() * (ID + self.hours.bytes_per_id()) + CRC);
        value.extend(self.stamp.to_le_bytes());
        for (id, _) in ids {
            value.extend(id.0.to_le_bytes());
        }
        match self.hours {
            Hours::One(_) => {}
            Hours::Near(base) => ids.iter().for_each(|(_, hour)| {
                let after = u16::try_from(hour.0 - base).expect("hours of the file span at most 65,535");
                value.extend(after.to_le_bytes());
            }),
            Hours::Any => ids.iter().for_each(|(_, hour)| value.extend(hour.0.to_le_bytes())),
        }
        sealed(key, value)
    }

    /// Appends the ids of chunk `index` to `ids`. `Ok(false)`: a chunk of another writing of the file.
    pub(super) fn decode_chunk(
        &self,
        index: u32,
        key: &[u8],
        value: &[u8],
        ids: &mut Vec<(MessageId, EventHour)>,
    ) -> Result<bool, Damaged> {
        let damaged = Damaged { len: value.len() };
        let (stamp, body) = opened(key, value).and_then(|b| b.split_first_chunk::<STAMP>()).ok_or(damaged)?;
        if u64::from_le_bytes(*stamp) != self.stamp {
            return Ok(false);
        }
        let before = index as usize * IDS_PER_CHUNK;
        let count = self.ids().saturating_sub(before).min(IDS_PER_CHUNK);
        if body.len() != count * (ID + self.hours.bytes_per_id()) {
            return Err(damaged);
        }
        let (packed, hours) = body.split_at(count * ID);
        let packed = packed.chunks_exact(ID).map(|id| MessageId(u128::from_le_bytes(id.try_into().expect("16 bytes"))));
        match self.hours {
            Hours::One(hour) => ids.extend(packed.map(|id| (id, EventHour(hour)))),
            Hours::Near(base) => ids.extend(packed.zip(hours.chunks_exact(2)).map(|(id, after)| {
                (id, EventHour(base + i64::from(u16::from_le_bytes(after.try_into().expect("2 bytes")))))
            })),
            Hours::Any => ids.extend(
                packed
                    .zip(hours.chunks_exact(8))
                    .map(|(id, hour)| (id, EventHour(i64::from_le_bytes(hour.try_into().expect("8 bytes"))))),
            ),
        }
        Ok(true)
    }
}

fn checksum(key: &[u8], content: &[u8]) -> [u8; CRC] {
    let mut crc = crc32fast::Hasher::new();
    crc.update(key);
    crc.update(content);
    crc.finalize().to_le_bytes()
}

fn sealed(key: &[u8], mut content: Vec<u8>) -> Vec<u8> {
    let crc = checksum(key, &content);
    content.extend(crc);
    content
}

fn opened<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (content, crc) = value.split_last_chunk::<CRC>()?;
    (checksum(key, content) == *crc).then_some(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(ids: &[(MessageId, EventHour)]) -> (Header, usize) {
        let key = FileKey::of(1, "s3://lake/a.parquet");
        let header = Header::new("s3://lake/a.parquet", ids, 42).finished();
        let value = header.encode(&key.header());
        assert_eq!(Header::decode(&key.header(), &value), Ok(header.clone()));
        let (mut back, mut bytes) = (vec![], value.len());
        for (index, part) in (0u32..).zip(ids.chunks(IDS_PER_CHUNK)) {
            let value = header.encode_chunk(&key.chunk(index), part);
            bytes += value.len();
            assert_eq!(header.decode_chunk(index, &key.chunk(index), &value, &mut back), Ok(true));
        }
        assert_eq!(back, ids);
        (header, bytes)
    }

    fn ids(n: u64, hour: impl Fn(u64) -> i64) -> Vec<(MessageId, EventHour)> {
        (0..n).map(|i| (MessageId::of(&i.to_string()), EventHour(hour(i)))).collect()
    }

    #[test]
    fn ids_and_hours_come_back_in_order_whatever_their_spread() {
        assert_eq!(round_trip(&[]).0.chunks(), 0);
        assert_eq!(round_trip(&ids(1, |_| 7)).0.hours, Hours::One(7));
        let full = IDS_PER_CHUNK as u64;
        assert_eq!(round_trip(&ids(full, |_| -3)).0.chunks(), 1);
        assert_eq!(round_trip(&ids(full + 1, |i| i as i64 % 5 - 2)).0.hours, Hours::Near(-2));
        assert_eq!(round_trip(&ids(full * 3, |i| i as i64 * 65_535 % 131_070)).0.hours, Hours::Near(0));
        assert_eq!(round_trip(&ids(10, |i| i as i64 * 65_536)).0.hours, Hours::Any);
        let extremes = vec![(MessageId(0), EventHour(i64::MIN)), (MessageId(u128::MAX), EventHour(i64::MAX))];
        assert_eq!(round_trip(&extremes).0.hours, Hours::Any);
    }

    #[test]
    fn an_id_of_one_hour_costs_little_more_than_its_16_bytes() {
        let n = 100_000;
        assert!(round_trip(&ids(n, |_| 490_000)).1 as f64 / n as f64 <= 16.1);
        assert!(round_trip(&ids(n, |i| 490_000 + i as i64 % 24)).1 as f64 / n as f64 <= 18.1);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let key = FileKey::of(1, "p");
        let ids = ids(9, |i| i as i64);
        let header = Header::new("p", &ids, 5);
        let values =
            [(key.header(), header.encode(&key.header())), (key.chunk(0), header.encode_chunk(&key.chunk(0), &ids))];
        let accepted = |i: usize, value: &[u8]| match i {
            0 => Header::decode(&values[0].0, value).is_ok(),
            _ => header.decode_chunk(0, &values[1].0, value, &mut vec![]).is_ok(),
        };
        for (i, (_, value)) in values.iter().enumerate() {
            assert!(accepted(i, value));
            for bit in 0..value.len() * 8 {
                let mut flipped = value.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(!accepted(i, &flipped), "value {i}, bit {bit}");
            }
            for len in 0..value.len() {
                assert!(!accepted(i, &value[..len]), "value {i} cut to {len}");
            }
        }
    }

    #[test]
    fn a_value_under_another_key_is_not_believed() {
        let (ours, other) = (FileKey::of(1, "p"), FileKey::of(2, "p"));
        assert_ne!(ours, other, "the table is part of the key");
        let ids = ids(3, |_| 0);
        let header = Header::new("p", &ids, 5);
        assert!(Header::decode(&other.header(), &header.encode(&ours.header())).is_err());
        let chunk = header.encode_chunk(&ours.chunk(0), &ids);
        assert!(header.decode_chunk(0, &ours.chunk(1), &chunk, &mut vec![]).is_err());
    }

    #[test]
    fn a_chunk_of_another_writing_of_the_file_is_told_apart() {
        let key = FileKey::of(1, "p");
        let ids = ids(3, |_| 0);
        let chunk = Header::new("p", &ids, 5).encode_chunk(&key.chunk(0), &ids);
        assert_eq!(Header::new("p", &ids, 6).decode_chunk(0, &key.chunk(0), &chunk, &mut vec![]), Ok(false));
    }
}
