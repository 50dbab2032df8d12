//! Avro decimals to decimal(18,8).

use crate::decode::wire::Fault;
use crate::decode::words;

/// Digits before the point and after it.
pub const PRECISION: u8 = 18;
pub const SCALE: u8 = 8;

const LIMIT: i128 = 10i128.pow(PRECISION as u32);

/// How the writer's scale becomes 8.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rescale {
    Same,
    /// A smaller scale: times this power of ten.
    Times(i128),
    /// A greater scale: divided by this power of ten, when that is exact.
    Divided {
        by: i128,
        scale: usize,
    },
    /// A scale so great that only zero is exact.
    OnlyZero {
        scale: usize,
    },
}

impl Rescale {
    pub fn from_scale(scale: usize) -> Self {
        let power = |digits: usize| u32::try_from(digits).ok().and_then(|digits| 10i128.checked_pow(digits));
        match scale.cmp(&usize::from(SCALE)) {
            std::cmp::Ordering::Equal => Rescale::Same,
            std::cmp::Ordering::Less => Rescale::Times(10i128.pow(u32::from(SCALE) - scale as u32)),
            std::cmp::Ordering::Greater => match power(scale - usize::from(SCALE)) {
                Some(by) => Rescale::Divided { by, scale },
                None => Rescale::OnlyZero { scale },
            },
        }
    }
}

/// The unscaled value at scale 8 of big-endian two's complement bytes, any number of them.
#[inline]
pub fn read(bytes: &[u8], rescale: Rescale) -> Result<i128, Fault> {
    let value = match bytes.len() {
        0 => return Err(Fault::EmptyDecimal),
        1..=8 => i128::from(short(bytes)),
        _ => long(bytes)?,
    };
    let value = match rescale {
        Rescale::Same => value,
        Rescale::Times(by) => value.checked_mul(by).ok_or(Fault::DecimalDigits)?,
        Rescale::Divided { by, scale } if value % by != 0 => return Err(Fault::DecimalScale { scale }),
        Rescale::Divided { by, .. } => value / by,
        Rescale::OnlyZero { scale } if value != 0 => return Err(Fault::DecimalScale { scale }),
        Rescale::OnlyZero { .. } => 0,
    };
    match value > -LIMIT && value < LIMIT {
        true => Ok(value),
        false => Err(Fault::DecimalDigits),
    }
}

/// 1 to 8 bytes.
#[inline(always)]
fn short(bytes: &[u8]) -> i64 {
    let above = 64 - 8 * bytes.len() as u32;
    (words::big_endian(bytes) << above) as i64 >> above
}

/// 9 bytes and more: what stands before the last 16 must be sign only.
fn long(bytes: &[u8]) -> Result<i128, Fault> {
    let (head, tail) = bytes.split_at(bytes.len().saturating_sub(16));
    let mut value = if tail[0] & 0x80 == 0 { 0i128 } else { -1 };
    for &byte in tail {
        value = value << 8 | i128::from(byte);
    }
    let sign = if value < 0 { 0xff } else { 0x00 };
    match head.iter().all(|&byte| byte == sign) {
        true => Ok(value),
        false => Err(Fault::DecimalDigits),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_gives_the_same_value() {
        for value in [0i128, 1, -1, 127, -128, 128, LIMIT - 1, 1 - LIMIT] {
            let bytes = value.to_be_bytes();
            let mut padded = vec![if value < 0 { 0xff } else { 0 }; 40];
            padded.extend_from_slice(&bytes);
            for from in 0..padded.len() {
                let cut = &padded[from..];
                let keeps = cut.len() >= 16
                    || i128::from(i64::MIN) <= value && {
                        let bits = 8 * cut.len() as u32 - 1;
                        value >= -(1i128 << bits) && value < 1i128 << bits
                    };
                if keeps {
                    assert_eq!(read(cut, Rescale::Same), Ok(value), "{value} in {} bytes", cut.len());
                }
            }
        }
    }

    #[test]
    fn more_than_18_digits_are_refused_at_any_length() {
        for value in [LIMIT, -LIMIT, i128::MAX, i128::MIN] {
            assert_eq!(read(&value.to_be_bytes(), Rescale::Same), Err(Fault::DecimalDigits), "{value}");
        }
        let mut wide = vec![1u8];
        wide.extend_from_slice(&[0; 16]);
        assert_eq!(read(&wide, Rescale::Same), Err(Fault::DecimalDigits));
        assert_eq!(read(&[], Rescale::Same), Err(Fault::EmptyDecimal));
    }

    #[test]
    fn another_scale_is_rescaled_when_exact_and_refused_else() {
        let at = |value: i128, scale| read(&value.to_be_bytes(), Rescale::from_scale(scale));
        assert_eq!(at(12_345, 2), Ok(12_345_000_000));
        assert_eq!(at(12_345, 8), Ok(12_345));
        assert_eq!(at(12_300, 10), Ok(123));
        assert_eq!(at(-12_300, 10), Ok(-123));
        assert_eq!(at(12_345, 10), Err(Fault::DecimalScale { scale: 10 }));
        assert_eq!(at(10_000_000_000, 0), Err(Fault::DecimalDigits));
        assert_eq!(at(i128::MAX, 0), Err(Fault::DecimalDigits));
        assert_eq!(at(0, 60), Ok(0));
        assert_eq!(at(1, 60), Err(Fault::DecimalScale { scale: 60 }));
    }
}
