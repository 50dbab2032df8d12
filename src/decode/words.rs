//! Questions to every byte of a text, eight bytes at a time. The texts of trades are short, which leaves the standard
//! library's vectors little to win.

const TOPS: u64 = 0x8080_8080_8080_8080;
const ONES: u64 = 0x0101_0101_0101_0101;

/// The text that these bytes are, if they are UTF-8: ASCII by words, the rest by the standard library.
#[inline(always)]
pub fn utf8(bytes: &[u8]) -> Option<&str> {
    if is_ascii(bytes) {
        // SAFETY: every byte is a character of ASCII, which UTF-8 contains.
        return Some(unsafe { std::str::from_utf8_unchecked(bytes) });
    }
    std::str::from_utf8(bytes).ok()
}

/// Is every byte below 0x80?
#[inline(always)]
fn is_ascii(text: &[u8]) -> bool {
    fold(text, |word| word) & TOPS == 0
}

/// Is there a control character, a quotation mark or a backslash, which JSON escapes?
#[inline(always)]
pub fn needs_escape(text: &[u8]) -> bool {
    let below_space = |word: u64| word.wrapping_sub(ONES * 0x20) & !word;
    let holds = |byte: u8, word: u64| {
        let zero_there = word ^ (ONES * u64::from(byte));
        zero_there.wrapping_sub(ONES) & !zero_there
    };
    let escaped = |word: u64| below_space(word) | holds(b'"', word) | holds(b'\\', word);
    // The top bit of a byte can be wrong only above a byte where it is right and set: "any" is exact.
    fold(text, escaped) & TOPS != 0
}

/// The number that up to eight bytes are, most significant first.
#[inline(always)]
pub fn big_endian(bytes: &[u8]) -> u64 {
    if let Ok(all) = bytes.try_into() {
        return u64::from_be_bytes(all);
    }
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        // They overlap where there are fewer than eight bytes, with the same bits.
        (Some(first), Some(last)) => {
            let (first, last) = (u32::from_be_bytes(*first), u32::from_be_bytes(*last));
            u64::from(first) << (8 * (bytes.len() - 4)) | u64::from(last)
        }
        _ => bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)),
    }
}

/// The first eight bytes as a number, zeros where there are fewer: orders texts as their bytes do, or says equal.
#[inline(always)]
pub fn prefix(text: &[u8]) -> u64 {
    match text.first_chunk() {
        Some(first) => u64::from_be_bytes(*first),
        None if text.is_empty() => 0,
        None => big_endian(text) << (64 - 8 * text.len()),
    }
}

/// The union of `question` over words that hold every byte of the text, some twice, and spaces.
#[inline(always)]
fn fold(text: &[u8], question: impl Fn(u64) -> u64) -> u64 {
    if let Some(last) = text.last_chunk::<8>() {
        let words = text.chunks_exact(8).map(|word| word.try_into().expect("a chunk of 8 bytes"));
        return words.fold(question(u64::from_le_bytes(*last)), |any, word| any | question(u64::from_le_bytes(word)));
    }
    match (text.first_chunk::<4>(), text.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            let (first, last) = (u32::from_le_bytes(*first), u32::from_le_bytes(*last));
            question(u64::from(first) | u64::from(last) << 32)
        }
        _ => question(text.iter().fold(ONES * u64::from(b' '), |word, byte| word << 8 | u64::from(*byte))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_seen() {
        for length in 0..40 {
            let plain = vec![b'x'; length];
            assert!(is_ascii(&plain) && !needs_escape(&plain), "{length}");
            for at in 0..length {
                for byte in 0..=255u8 {
                    let mut text = plain.clone();
                    text[at] = byte;
                    assert_eq!(is_ascii(&text), byte < 0x80, "{byte:#x} at {at} of {length}");
                    let escaped = byte < 0x20 || byte == b'"' || byte == b'\\';
                    assert_eq!(needs_escape(&text), escaped, "{byte:#x} at {at} of {length}");
                }
            }
        }
    }

    #[test]
    fn numbers_and_prefixes_are_those_of_the_bytes() {
        let bytes: Vec<u8> = (0x81..0x8c).collect();
        for length in 0..=bytes.len() {
            let text = &bytes[..length];
            let mut padded = [0; 8];
            padded[..length.min(8)].copy_from_slice(&text[..length.min(8)]);
            assert_eq!(prefix(text), u64::from_be_bytes(padded), "{length}");
            if length <= 8 {
                let number = text.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
                assert_eq!(big_endian(text), number, "{length}");
            }
        }
    }

    #[test]
    fn only_utf8_is_a_text() {
        let long = "0123456789abcdef\u{e9}0123456789\u{1f600}";
        for cut in 0..=long.len() {
            assert_eq!(utf8(&long.as_bytes()[..cut]), std::str::from_utf8(&long.as_bytes()[..cut]).ok(), "{cut}");
        }
        for at in 0..20 {
            let mut bytes = vec![b'x'; 20];
            bytes[at] = 0xff;
            assert_eq!(utf8(&bytes), None, "{at}");
        }
    }

    #[test]
    fn neighbours_don_t_hide_or_make_a_byte() {
        for a in 0..=255u8 {
            for b in 0..=255u8 {
                let escaped = [a, b].iter().any(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\');
                assert_eq!(needs_escape(&[b'x', a, b, b'x', b'x', b'x', b'x', b'x', b'x']), escaped, "{a:#x} {b:#x}");
            }
        }
    }
}
