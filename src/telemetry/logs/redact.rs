//! Nothing secret leaves through a log line or a status page.

use std::borrow::Cow;
use std::sync::{Arc, PoisonError, RwLock};

pub(super) const HIDDEN: &str = "***";

/// Shorter values would hide ordinary words.
const SECRET_LEN_MIN: usize = 4;

/// The secrets of the configuration. Shared: secrets that are read again later are added while lines are written.
#[derive(Clone, Default)]
pub struct Secrets(Arc<RwLock<Vec<String>>>);

impl Secrets {
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Secrets {
        let all = Secrets::default();
        secrets.into_iter().for_each(|secret| all.add(secret));
        all
    }

    /// From now on this value is hidden. Values below four bytes are not: they would hide ordinary words.
    pub fn add(&self, secret: String) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if secret.len() >= SECRET_LEN_MIN && !known.contains(&secret) {
            known.push(secret);
            // The longest first: one may be part of another.
            known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        }
    }

    /// `text` with known secrets, the user part of URLs, and what follows words such as `password=` or `Bearer` hidden.
    pub fn hide<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut text = Cow::Borrowed(text);
        for secret in self.0.read().unwrap_or_else(PoisonError::into_inner).iter() {
            if text.contains(secret.as_str()) {
                text = Cow::Owned(text.replace(secret.as_str(), HIDDEN));
            }
        }
        for hide in [url_user, named_values] {
            if let Some(hidden) = hide(&text) {
                text = Cow::Owned(hidden);
            }
        }
        text
    }
}

/// A field of an event whose value is hidden whatever it is.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "passwd", "secret", "credential", "authorization", "token"].iter().any(|word| name.ends_with(word))
}

/// `scheme://user:password@host` as `scheme://***@host`; none when there is nothing to hide.
fn url_user(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text;
    let mut found = false;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || "/?#\"'<>".contains(c)).unwrap_or(after.len());
        rest = match after[..end].rfind('@') {
            Some(user) => {
                found = true;
                out.push_str(HIDDEN);
                &after[user..]
            }
            None => after,
        };
    }
    out.push_str(rest);
    found.then_some(out)
}

/// `password=…`, `token: …`, `Bearer …`, also with quotes around name or value; none when there is nothing to hide.
fn named_values(text: &str) -> Option<String> {
    const NAMES: [&str; 10] = [
        "password",
        "passwd",
        "secret",
        "secret-access-key",
        "secret_access_key",
        "credential",
        "token",
        "authorization",
        "bearer",
        "basic",
    ];
    // Offsets stay those of `text`: only ASCII letters change.
    let lower = text.to_ascii_lowercase();
    let mut out = String::new();
    let mut copied = 0;
    let mut from = 0;
    while let Some((at, name)) = NAMES
        .iter()
        .filter_map(|n| lower[from..].find(n).map(|at| (from + at, n)))
        .min_by_key(|(at, n)| (*at, std::cmp::Reverse(n.len())))
    {
        from = at + name.len();
        if let Some((start, end)) = value_after(text, from, matches!(*name, "bearer" | "basic")) {
            out.push_str(&text[copied..start]);
            out.push_str(HIDDEN);
            (copied, from) = (end, end);
        }
    }
    out.push_str(&text[copied..]);
    (copied > 0).then_some(out)
}

/// Byte range of the value that belongs to a name that ends at `from`: behind `=` or `:`, or behind a blank for a scheme.
/// A value of `***` was hidden before.
fn value_after(text: &str, from: usize, scheme: bool) -> Option<(usize, usize)> {
    let quotes = ['"', '\'', '\\'];
    let rest = text[from..].trim_start_matches(quotes);
    let value = if scheme { rest.strip_prefix(' ')? } else { rest.trim_start_matches(' ').strip_prefix(['=', ':'])? };
    let value = value.trim_start_matches(' ').trim_start_matches(quotes);
    let value = ["Bearer ", "bearer ", "Basic ", "basic "].iter().find_map(|s| value.strip_prefix(s)).unwrap_or(value);
    let start = text.len() - value.len();
    let end = value.find(|c: char| c.is_whitespace() || ",;&\"'\\)}]<>".contains(c)).map_or(text.len(), |len| start + len);
    // "Basic usage" is no credential: a scheme's value is long.
    let long_enough = end - start >= if scheme { 8 } else { 1 };
    (long_enough && &text[start..end] != HIDDEN).then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_secrets_are_hidden_wherever_they_stand() {
        let secrets = Secrets::new(["hunter2".into(), "hunter2-long".into(), "abc".into()]);
        assert_eq!(secrets.hide("login hunter2-long failed, hunter2 too"), "login *** failed, *** too");
        assert_eq!(secrets.hide("abc is too short to be one"), "abc is too short to be one");
        secrets.clone().add("rotated".into());
        assert_eq!(secrets.hide("now rotated"), "now ***", "added through any copy");
    }

    #[test]
    fn what_looks_like_a_secret_is_hidden() {
        let secrets = Secrets::default();
        for (text, expected) in [
            ("GET http://user:pa:ss@registry:8081/schemas", "GET http://***@registry:8081/schemas"),
            ("http://a@b/x and https://c:d@e?f=g@h", "http://***@b/x and https://***@e?f=g@h"),
            ("s3://bucket/path@2x", "s3://bucket/path@2x"),
            ("sasl.password=abc sasl.username=u", "sasl.password=*** sasl.username=u"),
            ("{\"password\": \"abc\",\"a\":1}", "{\"password\": \"***\",\"a\":1}"),
            ("{\\\"token\\\":\\\"abc\\\"}", "{\\\"token\\\":\\\"***\\\"}"),
            ("Authorization: Bearer eyJhbGciOi.x.y", "Authorization: Bearer ***"),
            ("sent Bearer eyJhbGciOi.x.y to it", "sent Bearer *** to it"),
            ("s3.secret-access-key=wJalr/K7+x&b=1", "s3.secret-access-key=***&b=1"),
            ("?access_token=t1&client_secret=t2", "?access_token=***&client_secret=***"),
            ("basic usage: a token is needed", "basic usage: a token is needed"),
            ("Passwort: für ä = 'ö'", "Passwort: für ä = 'ö'"),
            ("password=ä, weiter", "password=***, weiter"),
            ("password=", "password="),
        ] {
            assert_eq!(secrets.hide(text), expected);
            assert_eq!(secrets.hide(expected), expected, "hiding twice changes nothing");
        }
    }

    #[test]
    fn fields_with_a_secret_name_are_known() {
        for name in ["password", "sasl_password", "client_secret", "Authorization", "bearer_token"] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["topic", "tokens_left", "secretary", "path"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
