//! Values of flags.

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, SecondsFormat};

use crate::config::units;
use crate::types::Micros;

/// A share of all: 0 to 1.
pub fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("a share is a number between 0 and 1, such as 0.02".into()),
    }
}

/// A number above 0.
pub fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("a number above 0".into()),
    }
}

/// As in the configuration: `500ms`, `30s`, `5m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    units::parse_duration(text).map_err(|error| error.to_string())
}

/// Microseconds since 1970 of an RFC 3339 time, or of one as Kafka's tools take it: `2026-01-01T00:00:00.000`, UTC.
pub fn datetime(text: &str) -> Result<Micros, String> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp_micros())
        .or_else(|_| {
            NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").map(|time| time.and_utc().timestamp_micros())
        })
        .map_err(|_| "a time is written as 2026-01-01T00:00:00Z, or without a zone for UTC".into())
}

/// The other way round, as RFC 3339 in UTC.
pub fn show_datetime(time: Micros) -> String {
    DateTime::from_timestamp_micros(time)
        .map_or_else(|| format!("{time} µs"), |time| time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_with_its_zone_and_as_utc_without_one() {
        let utc = 1_767_225_600_000_000;
        assert_eq!(datetime("2026-01-01T00:00:00Z"), Ok(utc));
        assert_eq!(datetime("2026-01-01T01:00:00+01:00"), Ok(utc));
        assert_eq!(datetime("2026-01-01T00:00:00.250"), Ok(utc + 250_000));
        assert!(datetime("yesterday").is_err());
        assert_eq!(show_datetime(utc), "2026-01-01T00:00:00.000000Z");
    }

    #[test]
    fn shares_and_rates_have_bounds() {
        assert!(share("1.01").is_err() && share("-0.1").is_err() && share("NaN").is_err());
        assert_eq!(share("0.02"), Ok(0.02));
        assert!(positive("0").is_err() && positive("inf").is_err());
    }
}
