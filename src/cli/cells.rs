//! Values on their way into a table for people.

/// The value, or `-`.
pub fn or_none(value: Option<impl ToString>) -> String {
    value.map_or("-".to_string(), |v| v.to_string())
}

/// Milliseconds since 1970 as ISO 8601, UTC.
pub fn time(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms)
        .map_or(format!("{ms} ms"), |t| t.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}
