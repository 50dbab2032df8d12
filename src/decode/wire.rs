//! Avro's binary encoding, read with every length bounded by the bytes that are left.
//! Source of the format: Apache Avro 1.12 specification, "Binary encoding".

use crate::decode::error::Reason;
use crate::decode::words;

/// What is wrong with a body, without a text: cheap to pass up, worded once by [`Fault::message`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    Truncated {
        needed: u64,
        left: usize,
    },
    NegativeLength(i64),
    /// More elements than bytes are left.
    ElementCount {
        count: u64,
        left: usize,
    },
    BlockSize {
        said: u64,
        is: usize,
    },
    LongVarint,
    IntRange(i64),
    Utf8,
    EnumIndex {
        index: i64,
        symbols: usize,
    },
    UnionIndex {
        index: i64,
        branches: usize,
    },
    UnionBranch {
        index: usize,
    },
    Boolean(u8),
    Depth(usize),
    TooLarge {
        limit: usize,
    },
    Trailing(usize),
    Null,
    EmptyDecimal,
    DecimalDigits,
    DecimalScale {
        scale: usize,
    },
    TimestampRange(i64),
    NotJsonObject,
    EmptyMessageId,
}

impl Fault {
    pub fn reason(self) -> Reason {
        match self {
            Fault::Truncated { .. } => Reason::Truncated,
            Fault::NegativeLength(_) | Fault::ElementCount { .. } => Reason::Length,
            Fault::BlockSize { .. } => Reason::BlockSize,
            Fault::LongVarint | Fault::IntRange(_) => Reason::Varint,
            Fault::Utf8 => Reason::Utf8,
            Fault::EnumIndex { .. } => Reason::EnumIndex,
            Fault::UnionIndex { .. } => Reason::UnionIndex,
            Fault::UnionBranch { .. } => Reason::UnionBranch,
            Fault::Boolean(_) => Reason::Boolean,
            Fault::Depth(_) => Reason::Depth,
            Fault::TooLarge { .. } => Reason::TooLarge,
            Fault::Trailing(_) => Reason::Trailing,
            Fault::Null => Reason::NullField,
            Fault::EmptyDecimal | Fault::DecimalDigits | Fault::DecimalScale { .. } => Reason::Decimal,
            Fault::TimestampRange(_) => Reason::Timestamp,
            Fault::NotJsonObject => Reason::VendorData,
            Fault::EmptyMessageId => Reason::EmptyMessageId,
        }
    }

    pub fn message(self) -> String {
        match self {
            Fault::Truncated { needed, left } => format!("needs {needed} bytes, {left} are left"),
            Fault::NegativeLength(length) => format!("length {length} is negative"),
            Fault::ElementCount { count, left } => format!("{count} elements in the {left} bytes that are left"),
            Fault::BlockSize { said, is } => format!("a block of {is} bytes says that it has {said}"),
            Fault::LongVarint => "an integer of more than 64 bits".into(),
            Fault::IntRange(value) => format!("{value} doesn't fit the schema's int"),
            Fault::Utf8 => "the text is not UTF-8".into(),
            Fault::EnumIndex { index, symbols } => format!("enum index {index}, the schema has {symbols} symbols"),
            Fault::UnionIndex { index, branches } => format!("union branch {index}, the schema has {branches}"),
            Fault::UnionBranch { index } => format!("union branch {index} is of a type that the field can't be read from"),
            Fault::Boolean(byte) => format!("a boolean of byte {byte:#04x}"),
            Fault::Depth(limit) => format!("nested deeper than {limit}"),
            Fault::TooLarge { limit } => format!("the decoded row is above {limit} bytes"),
            Fault::Trailing(bytes) => format!("{bytes} bytes follow the record"),
            Fault::Null => "null, and TradeV2 has no null here".into(),
            Fault::EmptyDecimal => "a decimal without bytes".into(),
            Fault::DecimalDigits => "the decimal doesn't fit decimal(18,8)".into(),
            Fault::DecimalScale { scale } => format!("a decimal of scale {scale} that isn't exact at scale 8"),
            Fault::TimestampRange(millis) => format!("{millis} ms don't fit 64 bits of microseconds"),
            Fault::NotJsonObject => "the string is not a JSON object".into(),
            Fault::EmptyMessageId => "message_id is empty".into(),
        }
    }
}

/// A place in a body. Nothing here allocates.
#[derive(Clone, Copy)]
pub struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    #[inline(always)]
    pub fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0 }
    }

    /// Bytes read so far.
    #[inline(always)]
    pub fn position(&self) -> usize {
        self.at
    }

    #[inline(always)]
    pub fn left(&self) -> usize {
        self.body.len() - self.at
    }

    /// An Avro long: zigzag, 7 bits a byte, at most 10 bytes.
    #[inline(always)]
    pub fn long(&mut self) -> Result<i64, Fault> {
        match self.body.get(self.at) {
            Some(&byte) if byte < 0x80 => {
                self.at += 1;
                Ok(unzigzag(u64::from(byte)))
            }
            _ => self.long_of_several_bytes(),
        }
    }

    #[inline(always)]
    fn long_of_several_bytes(&mut self) -> Result<i64, Fault> {
        if let Some(word) = self.body[self.at..].first_chunk() {
            let word = u64::from_le_bytes(*word);
            // The top bit of every byte that doesn't go on.
            let ends = !word & 0x8080_8080_8080_8080;
            if ends != 0 {
                let bits = ends.trailing_zeros() + 1;
                self.at += (bits / 8) as usize;
                return Ok(unzigzag(sevens(word & (u64::MAX >> (64 - bits)))));
            }
        }
        self.long_at_the_end_or_of_9_bytes()
    }

    #[inline(never)]
    fn long_at_the_end_or_of_9_bytes(&mut self) -> Result<i64, Fault> {
        let mut value = 0u64;
        for (i, &byte) in self.body[self.at..].iter().take(10).enumerate() {
            if i == 9 && byte > 1 {
                return Err(Fault::LongVarint);
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.at += i + 1;
                return Ok(unzigzag(value));
            }
        }
        Err(Fault::Truncated { needed: self.left() as u64 + 1, left: self.left() })
    }

    #[inline(always)]
    pub fn int(&mut self) -> Result<i32, Fault> {
        let value = self.long()?;
        i32::try_from(value).map_err(|_| Fault::IntRange(value))
    }

    #[inline(always)]
    pub fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let left = self.left();
        if length > left {
            return Err(Fault::Truncated { needed: length as u64, left });
        }
        let bytes = &self.body[self.at..self.at + length];
        self.at += length;
        Ok(bytes)
    }

    /// Length-prefixed bytes.
    #[inline(always)]
    pub fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = self.long()?;
        let length = u64::try_from(length).map_err(|_| Fault::NegativeLength(length))?;
        match usize::try_from(length) {
            Ok(length) => self.take(length),
            Err(_) => Err(Fault::Truncated { needed: length, left: self.left() }),
        }
    }

    /// A length-prefixed string.
    #[inline(always)]
    pub fn text(&mut self) -> Result<&'a str, Fault> {
        words::utf8(self.bytes()?).ok_or(Fault::Utf8)
    }

    pub fn boolean(&mut self) -> Result<bool, Fault> {
        match self.take(1)?[0] {
            0 => Ok(false),
            1 => Ok(true),
            byte => Err(Fault::Boolean(byte)),
        }
    }

    /// The index of an enum's symbol or of a union's branch; `limit` of them are there.
    #[inline(always)]
    pub fn index(&mut self, limit: usize, out_of_range: impl Fn(i64, usize) -> Fault) -> Result<usize, Fault> {
        let index = self.long()?;
        match usize::try_from(index) {
            Ok(i) if i < limit => Ok(i),
            _ => Err(out_of_range(index, limit)),
        }
    }

    #[inline(always)]
    pub fn symbol(&mut self, symbols: usize) -> Result<usize, Fault> {
        self.index(symbols, |index, symbols| Fault::EnumIndex { index, symbols })
    }

    #[inline(always)]
    pub fn branch(&mut self, branches: usize) -> Result<usize, Fault> {
        self.index(branches, |index, branches| Fault::UnionIndex { index, branches })
    }

    /// The head of the next block of an array or map; none at the end of the sequence.
    #[inline(always)]
    pub fn block(&mut self) -> Result<Option<Block>, Fault> {
        let count = self.long()?;
        if count == 0 {
            return Ok(None);
        }
        let size = match count {
            ..0 => {
                let size = self.long()?;
                Some(u64::try_from(size).map_err(|_| Fault::NegativeLength(size))?)
            }
            _ => None,
        };
        Ok(Some(Block { count: count.unsigned_abs(), size, start: self.at }))
    }
}

/// Some elements of an array or map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Block {
    pub count: u64,
    /// Bytes of the elements, where the writer said it.
    size: Option<u64>,
    start: usize,
}

impl Block {
    /// Each element takes a byte at least, so that a count above the bytes left is refused before it is believed.
    #[inline(always)]
    pub fn bounded(self, cursor: &Cursor<'_>) -> Result<Self, Fault> {
        let left = cursor.left();
        match self.count <= left as u64 {
            true => Ok(self),
            false => Err(Fault::ElementCount { count: self.count, left }),
        }
    }

    /// After the last element: the size that the writer said must be true, since other readers skip by it.
    #[inline(always)]
    pub fn close(self, cursor: &Cursor<'_>) -> Result<(), Fault> {
        let is = cursor.position() - self.start;
        match self.size {
            Some(said) if said != is as u64 => Err(Fault::BlockSize { said, is }),
            _ => Ok(()),
        }
    }
}

/// The low seven bits of each byte, side by side.
#[inline(always)]
fn sevens(word: u64) -> u64 {
    let word = word & 0x7f7f_7f7f_7f7f_7f7f;
    let word = word & 0x007f_007f_007f_007f | (word & 0x7f00_7f00_7f00_7f00) >> 1;
    let word = word & 0x0000_3fff_0000_3fff | (word & 0x3fff_0000_3fff_0000) >> 2;
    word & 0x0000_0000_0fff_ffff | (word & 0x0fff_ffff_0000_0000) >> 4
}

#[inline(always)]
fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longs_are_read_to_both_ends_and_no_further() {
        let max = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let min = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Cursor::new(&max).long(), Ok(i64::MAX));
        assert_eq!(Cursor::new(&min).long(), Ok(i64::MIN));
        assert_eq!(Cursor::new(&[0x01]).long(), Ok(-1));
        for length in 0..max.len() {
            assert!(matches!(Cursor::new(&max[..length]).long(), Err(Fault::Truncated { .. })), "{length}");
        }
        let mut wide = max;
        wide[9] = 0x02;
        assert_eq!(Cursor::new(&wide).long(), Err(Fault::LongVarint));
        assert_eq!(Cursor::new(&[0x80; 11]).long(), Err(Fault::LongVarint));
    }

    #[test]
    fn every_length_of_a_long_is_read_with_and_without_bytes_behind_it() {
        for bits in 0..64 {
            for value in [1i64 << bits, (1i64 << bits).wrapping_sub(1), (1i64 << bits).wrapping_neg()] {
                let mut bytes = Vec::new();
                let mut rest = (value << 1 ^ value >> 63) as u64;
                while rest >= 0x80 {
                    bytes.push(rest as u8 | 0x80);
                    rest >>= 7;
                }
                bytes.push(rest as u8);
                for behind in 0..12 {
                    let mut body = bytes.clone();
                    body.extend(std::iter::repeat_n(0xff, behind));
                    let mut cursor = Cursor::new(&body);
                    assert_eq!(cursor.long(), Ok(value), "{value} before {behind}");
                    assert_eq!(cursor.position(), bytes.len(), "{value} before {behind}");
                }
            }
        }
    }

    #[test]
    fn an_int_outside_32_bits_is_refused() {
        let mut cursor = Cursor::new(&[0xfe, 0xff, 0xff, 0xff, 0x0f, 0x80, 0x80, 0x80, 0x80, 0x10]);
        assert_eq!(cursor.int(), Ok(i32::MAX));
        assert_eq!(cursor.int(), Err(Fault::IntRange(1 << 31)));
    }

    #[test]
    fn a_length_is_never_believed_beyond_the_body() {
        assert_eq!(Cursor::new(&[0x08, b'a']).bytes(), Err(Fault::Truncated { needed: 4, left: 1 }));
        assert_eq!(Cursor::new(&[0x01]).bytes(), Err(Fault::NegativeLength(-1)));
        let huge = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(Cursor::new(&huge).bytes(), Err(Fault::Truncated { needed: i64::MAX as u64, left: 0 }));
    }

    #[test]
    fn a_block_count_is_bounded_and_its_size_must_be_true() {
        let mut ten_million = Cursor::new(&[0x80, 0xda, 0xc4, 0x09, 0x00]);
        let block = ten_million.block().unwrap().unwrap();
        assert_eq!(block.count, 10_000_000);
        assert_eq!(block.bounded(&ten_million), Err(Fault::ElementCount { count: 10_000_000, left: 1 }));
        let mut sized = Cursor::new(&[0x03, 0x04, 0x00, 0x00, 0x00]);
        let block = sized.block().unwrap().unwrap();
        assert_eq!(block.count, 2);
        sized.take(1).unwrap();
        assert_eq!(block.close(&sized), Err(Fault::BlockSize { said: 2, is: 1 }));
        sized.take(1).unwrap();
        assert_eq!(block.close(&sized), Ok(()));
        assert_eq!(sized.block(), Ok(None));
        let least = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x00];
        let mut least = Cursor::new(&least);
        assert_eq!(least.block().unwrap().unwrap().count, 1 << 63);
    }
}
