//! Durations and byte sizes as people write them.

use std::time::Duration;

const DURATION_UNITS: [(&str, u64); 6] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000)];

/// Longest duration that is accepted: a hundred years. Sums of event times and durations stay far from the ends of an i64.
pub const DURATION_MAX: Duration = Duration::from_secs(36_525 * 86_400);

const BYTE_UNITS: [(&str, u64); 9] = [
    ("b", 1),
    ("kb", 1_000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("tb", 1_000_000_000_000),
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("tib", 1 << 40),
];

/// Why a text is not a duration or a byte size; says how one is written.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UnitError {
    #[error("a duration is a number with its unit, such as \"500ms\", \"30s\", \"5m\", \"12h\" or \"3650d\"")]
    NotADuration,
    #[error("a duration of more than a hundred years")]
    DurationTooLong,
    #[error("a size is a number with its unit, such as \"64MiB\", \"512MiB\" or \"1GB\"")]
    NotASize,
    #[error("a size that no machine has")]
    SizeTooLarge,
}

/// `500ms`, `30s`, `1.5h`, `1m30s`: decimal numbers, each with a unit out of ms, s, m, h, d, w. `0s` is a duration.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let mut rest = text.trim();
    let mut total = 0f64;
    if rest.is_empty() {
        return Err(UnitError::NotADuration);
    }
    while !rest.is_empty() {
        let (number, unit, after) = number_and_unit(rest).ok_or(UnitError::NotADuration)?;
        let (_, millis) = DURATION_UNITS.iter().find(|(name, _)| *name == unit).ok_or(UnitError::NotADuration)?;
        total += number * *millis as f64;
        rest = after;
    }
    if total > DURATION_MAX.as_millis() as f64 {
        return Err(UnitError::DurationTooLong);
    }
    // Whole milliseconds: finer than any timer here, and what every consumer of a setting counts in.
    let millis = total.round() as u64;
    if millis == 0 && total > 0.0 {
        return Err(UnitError::NotADuration);
    }
    Ok(Duration::from_millis(millis))
}

/// A duration as event times are counted: microseconds.
pub fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).expect("durations are bounded to a hundred years")
}

/// `64MiB` (powers of 1024), `1GB` (powers of 1000), `1048576` and `1048576B`; case doesn't matter.
pub fn parse_bytes(text: &str) -> Result<u64, UnitError> {
    let text = text.trim();
    if let Ok(bytes) = text.parse::<u64>() {
        return Ok(bytes);
    }
    let (number, unit, rest) = number_and_unit(text).ok_or(UnitError::NotASize)?;
    if !rest.is_empty() {
        return Err(UnitError::NotASize);
    }
    let unit = unit.to_ascii_lowercase();
    let (_, factor) = BYTE_UNITS.iter().find(|(name, _)| *name == unit).ok_or(UnitError::NotASize)?;
    let bytes = number * *factor as f64;
    if bytes > (1u64 << 53) as f64 {
        return Err(UnitError::SizeTooLarge);
    }
    Ok(bytes.round() as u64)
}

fn number_and_unit(text: &str) -> Option<(f64, &str, &str)> {
    let number_end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number = text[..number_end].parse::<f64>().ok()?;
    let tail = text[number_end..].trim_start();
    let unit_end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
    Some((number, &tail[..unit_end], tail[unit_end..].trim_start()))
}

/// The shortest exact way to write it: `30s`, `5m`, `3650d`, `1500ms`.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let (unit, factor) = ["d", "h", "m", "s"]
        .into_iter()
        .filter_map(|name| DURATION_UNITS.iter().find(|(unit, _)| *unit == name))
        .map(|(unit, factor)| (*unit, u128::from(*factor)))
        .find(|(_, factor)| millis != 0 && millis.is_multiple_of(*factor))
        .unwrap_or(if millis == 0 { ("s", 1) } else { ("ms", 1) });
    format!("{}{unit}", millis / factor)
}

/// The shortest exact way to write it: `64MiB`, `1GB`, `1500B`.
pub fn show_bytes(bytes: u64) -> String {
    let units = [
        ("TiB", 1u64 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
        ("GB", 1_000_000_000),
        ("MB", 1_000_000),
        ("KB", 1_000),
    ];
    match units.iter().find(|(_, factor)| bytes != 0 && bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => format!("{bytes}B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_shown_as_they_are_written() {
        for (text, millis) in
            [("500ms", 500), ("30s", 30_000), ("5m", 300_000), ("12h", 43_200_000), ("3650d", 315_360_000_000), ("0s", 0)]
        {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration.as_millis(), millis, "{text}");
            assert_eq!(show_duration(duration), text, "{text}");
        }
        assert_eq!(parse_duration("1m30s").unwrap(), Duration::from_secs(90));
        assert_eq!(parse_duration("1.5h").unwrap(), Duration::from_secs(5_400));
        assert_eq!(parse_duration(" 2 s ").unwrap(), Duration::from_secs(2));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "30", "s", "-5s", "30 sec", "1e3s", "0.1ms", "5M", "30s garbage", "..s", "NaNs"] {
            assert_eq!(parse_duration(text), Err(UnitError::NotADuration), "{text}");
        }
        assert_eq!(parse_duration("40000d"), Err(UnitError::DurationTooLong));
        assert_eq!(parse_duration(&format!("{}d", "9".repeat(400))), Err(UnitError::DurationTooLong));
    }

    #[test]
    fn sizes_are_read_and_shown_as_they_are_written() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("512MiB", 512 << 20),
            ("1GiB", 1 << 30),
            ("1GB", 1_000_000_000),
            ("1500B", 1_500),
            ("0B", 0),
        ] {
            assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
            assert_eq!(show_bytes(bytes), text);
        }
        assert_eq!(parse_bytes("64mib").unwrap(), 64 << 20);
        assert_eq!(parse_bytes("1048576").unwrap(), 1 << 20);
        assert_eq!(parse_bytes("0.5 GiB").unwrap(), 512 << 20);
        for text in ["", "MiB", "64 Mebibytes", "-1B", "1MiB1KiB"] {
            assert_eq!(parse_bytes(text), Err(UnitError::NotASize), "{text}");
        }
        assert_eq!(parse_bytes("9999999TiB"), Err(UnitError::SizeTooLarge));
    }
}
