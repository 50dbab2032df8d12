//! What is printed: tables for people, JSON for programs.

use std::io::Write;
use std::process::ExitCode;

use clap::ValueEnum;
use serde::Serialize;

use super::Finished;
use crate::error::Stop;

/// `--output`
#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Output {
    #[default]
    Table,
    Json,
}

impl Output {
    /// Prints facts, and is done.
    pub fn facts<T: Serialize>(self, facts: &T, table: impl FnOnce() -> String) -> Finished {
        self.print(facts, table)?;
        Ok(ExitCode::SUCCESS)
    }

    /// Prints facts to stdout: `facts` as one JSON document, or `table` as it is.
    pub fn print<T: Serialize>(self, facts: &T, table: impl FnOnce() -> String) -> Result<(), Stop> {
        match self {
            Self::Table => print(&table()),
            Self::Json => {
                let json = serde_json::to_string_pretty(facts)
                    .map_err(|error| Stop::internal(format!("the answer can't be written as JSON: {error}")))?;
                print(&(json + "\n"))
            }
        }
    }
}

/// Writes to stdout. A reader that went away, as `head` does, is no error.
pub fn print(text: &str) -> Result<(), Stop> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Stop::gave_up(format!("stdout can't be written: {error}"), "look where the output goes"))
        }
        _ => Ok(()),
    }
}

/// Columns below their headings, as wide as their widest cell, two spaces apart; numbers stand to the right.
pub fn columns(headings: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = headings
        .iter()
        .enumerate()
        .map(|(i, heading)| rows.iter().map(|row| width(&row[i])).chain([width(heading)]).max().unwrap_or(0))
        .collect();
    let numeric: Vec<bool> =
        (0..headings.len()).map(|i| !rows.is_empty() && rows.iter().all(|row| is_number(&row[i]))).collect();
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().enumerate().map(|(i, cell)| pad(cell, widths[i], numeric[i])).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    rows.iter().fold(line(&headings), |table, row| table + &line(row))
}

/// A cell: the value, or `-`.
pub fn or_none(value: Option<impl ToString>) -> String {
    value.map_or("-".to_string(), |v| v.to_string())
}

/// A cell: milliseconds since 1970 as ISO 8601, UTC.
pub fn time(ms: i64) -> String {
    chrono::DateTime::from_timestamp_millis(ms)
        .map_or(format!("{ms} ms"), |t| t.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// `-` stands for an absent number.
fn is_number(text: &str) -> bool {
    text == "-" || text.parse::<f64>().is_ok()
}

fn pad(text: &str, to: usize, right: bool) -> String {
    let space = " ".repeat(to.saturating_sub(width(text)));
    if right { space + text } else { text.to_owned() + &space }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_numbers_stand_to_the_right() {
        let rows = [vec!["zürich".to_owned(), "7".to_owned()], vec!["b".to_owned(), "-".to_owned()]];
        assert_eq!(columns(&["TOPIC", "LAG"], &rows), "TOPIC   LAG\nzürich    7\nb         -\n");
        assert_eq!(columns(&["A"], &[]), "A\n");
    }
}
