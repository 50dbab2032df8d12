//! Values with parts in log lines. `tracing` hands on plain values only, so a nested one travels as the bytes of its JSON.

use serde::Serialize;
use serde_json::Value;

use super::redact::{HIDDEN, Secrets, is_secret_name};

/// A list or map as the field of an event: in a line of JSON it is JSON, not a string of it.
///
/// # Panics
/// When a key is no string.
pub fn nested(value: &impl Serialize) -> Box<[u8]> {
    serde_json::to_vec(value).expect("keys are strings, and values plain").into()
}

/// What was given to [`nested`]; other bytes, which only a library could log, as text.
pub(super) fn of_bytes(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into())
}

/// The same without secrets, at any depth.
pub(super) fn hidden(value: &Value, secrets: &Secrets) -> Value {
    match value {
        Value::String(text) => secrets.hide(text).into_owned().into(),
        Value::Array(all) => all.iter().map(|value| hidden(value, secrets)).collect(),
        Value::Object(all) => {
            let pairs = all.iter().map(|(name, value)| match is_secret_name(name) {
                true => (name.clone(), HIDDEN.into()),
                false => (secrets.hide(name).into_owned(), hidden(value, secrets)),
            });
            Value::Object(pairs.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}
