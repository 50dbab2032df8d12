//! Values that must never be printed.

use std::collections::BTreeMap;
use std::fmt;

/// What stands in place of a secret wherever settings are printed.
pub const REDACTED: &str = "[redacted]";

/// A password, token or key. Neither `Debug` nor `Display` show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself: for the client that needs it, never for a message.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

/// `kafka.properties` or `iceberg.properties`: names of another system with their values, some of them secret.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Properties(BTreeMap<String, Secret>);

impl Properties {
    /// The value itself, secret or not.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Secret::expose)
    }

    /// Names with the values themselves, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.expose()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Properties {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(properties: I) -> Self {
        Self(properties.into_iter().map(|(name, value)| (name.into(), Secret::new(value))).collect())
    }
}

/// Shows names only: whether a value is secret depends on where it came from, which a plain map no longer knows.
impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(&self.0).finish()
    }
}

/// Parts of property names of librdkafka and Iceberg whose values are credentials.
const SECRET_WORDS: [&str; 13] = [
    "password",
    "passphrase",
    "secret",
    "token",
    "credential",
    "authorization",
    "key.pem",
    "keystore",
    "private",
    "sas-",
    "account-key",
    "api-key",
    "apikey",
];

/// Ends of names that say where something is, not what it is.
const PLACE_WORDS: [&str; 6] = [".location", ".url", "-uri", ".uri", ".type", "-enabled"];

/// Whether a property of another system holds a credential, judged by its name; in doubt it does.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    if PLACE_WORDS.iter().any(|end| name.ends_with(end)) {
        return false;
    }
    SECRET_WORDS.iter().any(|word| name.contains(word)) || name == "sasl.oauthbearer.config"
}

/// `http://user:password@host/` without what stands before the `@`. Anything that is not such a URL is returned as it is.
pub fn without_userinfo(text: &str) -> String {
    let Some(scheme_end) = text.find("://").map(|at| at + 3) else { return text.into() };
    let authority_end = text[scheme_end..].find(['/', '?', '#']).map_or(text.len(), |at| scheme_end + at);
    match text[scheme_end..authority_end].rfind('@') {
        Some(at) => format!("{}{REDACTED}@{}", &text[..scheme_end], &text[scheme_end + at + 1..]),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_debug_nor_display_show_a_secret() {
        let secret = Secret::new("hunter2");
        let properties: Properties = [("sasl.password", "hunter2")].into_iter().collect();
        let shown = format!("{secret} {secret:?} {properties:?}");
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(properties.get("sasl.password"), Some("hunter2"));
    }

    #[test]
    fn names_of_credentials_are_known_and_names_of_places_are_not_taken_for_them() {
        for name in [
            "sasl.password",
            "ssl.key.password",
            "ssl.key.pem",
            "sasl.oauthbearer.client.secret",
            "sasl.oauthbearer.config",
            "credential",
            "token",
            "s3.secret-access-key",
            "s3.session-token",
            "header.Authorization",
            "adls.sas-token.account",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        for name in
            ["security.protocol", "ssl.ca.location", "ssl.key.location", "s3.endpoint", "oauth2-server-uri", "s3.region"]
        {
            assert!(!is_secret_name(name), "{name}");
        }
    }

    #[test]
    fn the_user_part_of_a_url_is_cut_out() {
        assert_eq!(without_userinfo("http://u:p@ss@host:8081/a@b"), "http://[redacted]@host:8081/a@b");
        assert_eq!(without_userinfo("http://host:8081/a@b"), "http://host:8081/a@b");
        assert_eq!(without_userinfo("kafka:9092"), "kafka:9092");
    }
}
