//! Facts in aligned columns, as Kafka's and Iceberg's own tools print them.

/// What stands where a value isn't known.
pub const NONE: &str = "-";

/// Right-aligned where every value of the column is a number or unknown, left-aligned elsewhere.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let columns = header.len();
    for row in rows {
        assert_eq!(row.len(), columns, "a row has as many cells as the header: {row:?}");
    }
    let cells = |at: usize| rows.iter().map(move |row| row[at].as_str());
    let widths: Vec<usize> =
        (0..columns).map(|at| cells(at).chain([header[at]]).map(|c| c.chars().count()).max().unwrap_or(0)).collect();
    let numeric: Vec<bool> = (0..columns).map(|at| !rows.is_empty() && cells(at).all(is_number)).collect();
    let mut out = String::new();
    let header: Vec<String> = header.iter().map(ToString::to_string).collect();
    for row in std::iter::once(&header).chain(rows) {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let gap = " ".repeat(widths[at] - cell.chars().count());
            let (before, after) = if numeric[at] { (gap.as_str(), "") } else { ("", gap.as_str()) };
            line.push_str(&format!("{before}{cell}{after}  "));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn is_number(cell: &str) -> bool {
    cell == NONE || cell.parse::<f64>().is_ok()
}

/// The value, or `-`.
pub fn or_none(value: Option<impl ToString>) -> String {
    value.map_or(NONE.to_string(), |v| v.to_string())
}

/// Milliseconds since 1970 as ISO 8601, UTC.
pub fn time(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms)
        .map_or(format!("{ms} ms"), |t| t.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_right_and_text_left() {
        let rows = [vec!["a".into(), "1".into(), "-".into()], vec!["longer".into(), "1000".into(), "x".into()]];
        let expected = "NAME    COUNT  NOTE\na           1  -\nlonger   1000  x\n";
        assert_eq!(table(&["NAME", "COUNT", "NOTE"], &rows), expected);
        assert_eq!(table(&["NAME"], &[]), "NAME\n");
    }
}
