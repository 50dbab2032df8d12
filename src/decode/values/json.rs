//! `vendor_data` in Gold: a JSON object of strings, without white space, keys ascending by their UTF-8 bytes.

use serde::de::IgnoredAny;

use crate::decode::words;

/// A map's entries, collected to be sorted. Kept between rows so that none allocates.
#[derive(Default)]
pub struct Entries {
    entries: Vec<Entry>,
}

/// Entries for which memory is kept from row to row.
const KEPT_MAX: usize = 4_096;

/// Key and value as byte ranges of the record's body.
#[derive(Clone, Copy)]
struct Entry {
    /// Decides most comparisons of keys.
    prefix: u64,
    key: (u32, u32),
    value: (u32, u32),
}

impl Entries {
    /// Memory that one huge map took is given back.
    pub fn clear(&mut self) {
        match self.entries.capacity() > KEPT_MAX {
            true => *self = Self::default(),
            false => self.entries.clear(),
        }
    }

    /// `key` and `value` end at these positions of the body, which is below 4 GiB.
    #[inline]
    pub fn push(&mut self, (key_end, key): (usize, &str), (value_end, value): (usize, &str)) {
        let range = |end: usize, text: &str| ((end - text.len()) as u32, end as u32);
        let prefix = words::prefix(key.as_bytes());
        self.entries.push(Entry { prefix, key: range(key_end, key), value: range(value_end, value) });
    }

    /// Appends the object. Of a key that came more than once, the last value counts.
    pub fn write(&mut self, body: &[u8], out: &mut Vec<u8>) {
        let bytes = |(from, to): (u32, u32)| &body[from as usize..to as usize];
        let order = |a: &Entry, b: &Entry| a.prefix.cmp(&b.prefix).then_with(|| bytes(a.key).cmp(bytes(b.key)));
        if !self.entries.is_sorted_by(|a, b| order(a, b).is_lt()) {
            self.entries.sort_unstable_by(|a, b| order(a, b).then(a.key.0.cmp(&b.key.0)));
            self.entries.dedup_by(|later, earlier| {
                let same = order(later, earlier).is_eq();
                if same {
                    *earlier = *later;
                }
                same
            });
        }
        out.push(b'{');
        for (i, entry) in self.entries.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            string(bytes(entry.key), out);
            out.push(b':');
            string(bytes(entry.value), out);
        }
        out.push(b'}');
    }
}

/// A JSON string of UTF-8 bytes, escaped as serde_json does.
#[inline]
fn string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    match words::needs_escape(text) {
        false => out.extend_from_slice(text),
        true => escaped(text, out),
    }
    out.push(b'"');
}

fn escaped(text: &[u8], out: &mut Vec<u8>) {
    let mut plain = 0;
    for (i, &byte) in text.iter().enumerate().filter(|(_, byte)| matches!(byte, ..0x20 | b'"' | b'\\')) {
        out.extend_from_slice(&text[plain..i]);
        escape(byte, out);
        plain = i + 1;
    }
    out.extend_from_slice(&text[plain..]);
}

fn escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' | b'\\' => byte,
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        _ => {
            let hex = |digit: u8| b"0123456789abcdef"[usize::from(digit)];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte & 0xf)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Is this text one JSON object, whatever is in it?
pub fn is_object(text: &str) -> bool {
    let begins = text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{');
    begins && serde_json::from_str::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn object(pairs: &[(&str, &str)]) -> String {
        let (mut body, mut entries) = (Vec::new(), Entries::default());
        for (key, value) in pairs {
            body.extend_from_slice(key.as_bytes());
            let key_end = body.len();
            body.extend_from_slice(value.as_bytes());
            entries.push((key_end, key), (body.len(), value));
        }
        let mut out = Vec::new();
        entries.write(&body, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_character_is_escaped_as_serde_json_does() {
        let all: String = (0..0x250).chain(0x2020..0x2030).chain([0x1f600]).filter_map(char::from_u32).collect();
        let expected = serde_json::to_string(&BTreeMap::from([(all.as_str(), all.as_str())])).unwrap();
        assert_eq!(object(&[(&all, &all)]), expected);
    }

    #[test]
    fn keys_are_sorted_and_the_last_of_equal_keys_counts() {
        assert_eq!(object(&[]), "{}");
        let long = [("a long key, second", "1"), ("a long key, first", "2"), ("a long k", "3"), ("a", "4"), ("a\0", "5")];
        let sorted = r#"{"a":"4","a\u0000":"5","a long k":"3","a long key, first":"2","a long key, second":"1"}"#;
        assert_eq!(object(&long), sorted);
        let pairs = [("b", "1"), ("a", "2"), ("é", "3"), ("b", "4"), ("", "5"), ("ab", "6"), ("b", "7")];
        assert_eq!(object(&pairs), r#"{"":"5","a":"2","ab":"6","b":"7","é":"3"}"#);
        assert_eq!(object(&[("a", "1"), ("a", "2")]), r#"{"a":"2"}"#);
    }

    #[test]
    fn only_a_whole_json_object_is_one() {
        for yes in ["{}", " \n{\"a\":[1,{\"b\":null}]}\t", r#"{"a":"\u00e9"}"#] {
            assert!(is_object(yes), "{yes}");
        }
        for no in ["", "null", "[]", "\"{}\"", "{", "{}x", "{}{}", "{a:1}", "{\"a\":NaN}", "{\"a\":1,}"] {
            assert!(!is_object(no), "{no}");
        }
        assert!(!is_object(&"{\"a\":".repeat(1_000_000)));
    }
}
