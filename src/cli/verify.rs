//! `sluice verify`: what it is asked for, and how its findings are printed.

use clap::Args;
use serde::Serialize;

use super::output::{Output, columns};
use crate::error::Stop;

/// Judge one snapshot and its lineage: ranges, counts, duplicates, files; with --deep against Kafka, record by record
///
/// A violation ends with 4. What can't be proven any more (expired history, records past retention, another engine's
/// deletes) is listed and ends with 0, or with 4 under --strict.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = "Example:\n  sluice verify\n  sluice verify --deep --strict --output json")]
pub struct VerifyArgs {
    /// Read Kafka again and compare record by record
    #[arg(long)]
    pub deep: bool,
    /// The snapshot to judge; the head of main without
    #[arg(long, value_name = "ID")]
    pub snapshot: Option<i64>,
    /// Count what can't be proven as a violation
    #[arg(long)]
    pub strict: bool,
}

/// One finding, as it is printed.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct FindingRow {
    /// `violation` or `unprovable`.
    pub weight: String,
    /// A stable short name.
    pub check: String,
    /// Lane, snapshot, partition, offset, file, as far as they apply.
    pub place: String,
    pub text: String,
}

/// The whole answer, as it is printed.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct Verified {
    /// None: the table has no snapshot.
    pub snapshot: Option<i64>,
    /// How much was looked at, by what it is: a clean answer over nothing proves nothing.
    pub scope: Vec<(String, u64)>,
    pub violations: u64,
    pub unprovable: u64,
    pub findings: Vec<FindingRow>,
}

impl Verified {
    pub fn print(&self, output: Output) -> Result<(), Stop> {
        output.print(self, || self.table())
    }

    fn table(&self) -> String {
        let scope: Vec<String> = self.scope.iter().map(|(what, count)| format!("{count} {what}")).collect();
        let snapshot = self.snapshot.map_or_else(|| "no snapshot".into(), |id| format!("snapshot {id}"));
        let mut text = format!("{snapshot}: looked at {}\n", scope.join(", "));
        if !self.findings.is_empty() {
            let rows: Vec<Vec<String>> = self
                .findings
                .iter()
                .map(|found| vec![found.weight.clone(), found.check.clone(), found.place.clone(), found.text.clone()])
                .collect();
            text += &columns(&["WEIGHT", "CHECK", "PLACE", "FINDING"], &rows);
        }
        text + &format!("{} violations, {} unprovable\n", self.violations, self.unprovable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clean_answer_says_how_much_it_stands_on() {
        let scope = vec![("snapshots".into(), 3), ("rows".into(), 20)];
        let clean = Verified { snapshot: Some(7), scope, violations: 0, unprovable: 0, findings: vec![] };
        assert_eq!(clean.table(), "snapshot 7: looked at 3 snapshots, 20 rows\n0 violations, 0 unprovable\n");
    }
}
