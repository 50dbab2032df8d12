//! What the demo tells: one screen, line by line as it happens.

use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::Instant;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};

use super::expectation::{Expectation, Gold};
use super::folder::{Folder, TABLE, TOPICS};

/// Something that happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Happened {
    Started { pid: u32 },
    FirstCommit { settled: u64 },
    Killed { pid: u32, sent: u64, settled: u64 },
    Restarted { pid: u32 },
    WentOn { from: u64, after_ms: u64 },
    AllSettled { records: u64 },
    Stopped,
}

/// Characters of a difference that are told.
const DIFFERENCE_SHOWN: usize = 160;

pub struct Story {
    out: Box<dyn Write + Send>,
    since: Instant,
    bold: bool,
    /// On a terminal only.
    bar: Option<ProgressBar>,
    /// Quarters that were told where there is no bar.
    quarters: u64,
}

impl Story {
    /// On stdout; bold headings and a bar on a terminal, unless NO_COLOR is set.
    pub fn on_stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let bar = (terminal && std::io::stderr().is_terminal()).then(|| ProgressBar::new(0).with_style(bar_style()));
        Self { bold: terminal && !plain, bar, ..Self::to(Box::new(std::io::stdout())) }
    }

    /// Plain lines.
    pub fn to(out: Box<dyn Write + Send>) -> Self {
        Self { out, since: Instant::now(), bold: false, bar: None, quarters: 0 }
    }

    pub fn opening(&mut self, folder: &Folder, bootstrap_servers: &str, registry: &str, records: u64, crash: bool) {
        let crash = if crash { ", with a SIGKILL half-way" } else { "" };
        self.heading(&format!("{} trades from Kafka into an Iceberg table, each once{crash}", HumanCount(records)));
        let topics: Vec<String> =
            TOPICS.iter().map(|(topic, partitions)| format!("{topic} ({partitions} partitions)")).collect();
        self.line(&format!("  folder    {}", folder.path().display()));
        self.line(&format!("  kafka     {bootstrap_servers}, a mock in this process: {}", topics.join(", ")));
        self.line(&format!("  registry  {registry}, in this process too"));
        self.line("");
        self.since = Instant::now();
        if let Some(bar) = &self.bar {
            bar.set_length(records);
        }
    }

    pub fn happened(&mut self, what: &Happened) {
        let text = match what {
            Happened::Started { pid } => format!("the service starts: `sluice run`, process {pid}"),
            Happened::FirstCommit { settled } => format!("first commit: the table is past {} records", HumanCount(*settled)),
            Happened::Killed { pid, sent, settled } => format!(
                "SIGKILL to process {pid}: {} records sent, {} in the table, what it held in memory is gone",
                HumanCount(*sent),
                HumanCount(*settled)
            ),
            Happened::Restarted { pid } => format!("started again, process {pid}: the table says where to go on"),
            Happened::WentOn { from, after_ms } => format!(
                "the table moves on from {}, {:.1} s after the kill (a dead member keeps its partitions for 3 s, then the group rebalances)",
                HumanCount(*from),
                *after_ms as f64 / 1_000.0
            ),
            Happened::AllSettled { records } => {
                format!("all {} records have their verdict in the table", HumanCount(*records))
            }
            Happened::Stopped => "SIGTERM: the service committed, left the group and ended with 0".into(),
        };
        let line = format!("{:6.1} s  {text}", self.since.elapsed().as_secs_f64());
        self.line(&line);
    }

    /// How far the table is.
    pub fn progress(&mut self, settled: u64, records: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(settled);
            return;
        }
        let quarter = settled * 4 / records.max(1);
        if quarter > self.quarters && quarter < 4 {
            self.quarters = quarter;
            let line = format!(
                "{:6.1} s  {} of {} records in the table",
                self.since.elapsed().as_secs_f64(),
                HumanCount(settled),
                HumanCount(records)
            );
            self.line(&line);
        }
    }

    pub fn proof(&mut self, expectation: &Expectation, gold: &Gold, differences: &[String]) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.line("");
        self.heading("The proof: the producer's ledger against the table");
        let Expectation { records, trades, duplicates, malformed } = expectation;
        self.line(&format!("  {:>9} records sent", HumanCount(*records).to_string()));
        for (expected, found, what) in [
            (*trades, gold.rows, "trades, each one row of Gold"),
            (*duplicates, gold.duplicate, "duplicates, none of them a row"),
            (*malformed, gold.dead_lettered, "malformed, in the dead-letter topic"),
        ] {
            self.line(&format!("  {:>9} {what}: {}", HumanCount(expected).to_string(), HumanCount(found)));
        }
        for difference in differences {
            let shown: String = difference.chars().take(DIFFERENCE_SHOWN).collect();
            let more = if shown.len() < difference.len() { " …; all of it: sluice verify" } else { "" };
            self.line(&format!("  WRONG: {shown}{more}"));
        }
        if differences.is_empty() {
            let verified = "nothing lost, nothing twice; `sluice verify` finds no violation";
            self.line(&format!("  {verified} in {} snapshots", HumanCount(gold.snapshots)));
        }
    }

    /// How to open the table with other engines.
    pub fn next(&mut self, folder: &Folder, metadata_location: &str) {
        self.line("");
        self.heading("What to type next");
        for line in openings(folder, metadata_location) {
            self.line(&format!("  {line}"));
        }
    }

    pub fn serving(&mut self, listen: &str) {
        self.line("");
        self.heading(&format!("Serving at http://{listen}/ - /status /metrics /readyz; Ctrl-C ends it"));
    }

    fn heading(&mut self, text: &str) {
        match self.bold {
            true => self.line(&format!("\u{1b}[1m{text}\u{1b}[0m")),
            false => self.line(text),
        }
    }

    fn line(&mut self, text: &str) {
        let out = &mut self.out;
        // Who closes the terminal in the middle of the story doesn't want the rest of it.
        let mut write = || drop(writeln!(out, "{text}").and_then(|()| out.flush()));
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("          {bar:40} {human_pos} of {human_len} records in the table").expect("well-formed")
}

fn openings(folder: &Folder, metadata_location: &str) -> Vec<String> {
    let shown = |path: &Path| path.display().to_string();
    let (catalog, warehouse, config) = (shown(&folder.catalog()), shown(&folder.warehouse()), shown(&folder.config()));
    // The binary needn't be on the PATH of whoever copies the line.
    let sluice = std::env::current_exe().map_or_else(|_| "sluice".to_owned(), |path| shown(&path));
    vec![
        format!("{sluice} table describe --config {config}"),
        format!("{sluice} verify --config {config}"),
        "           (`verify --deep` and `offsets describe` need this demo's Kafka, which ends with it; `demo --serve` keeps it)".into(),
        "DuckDB     INSTALL iceberg; LOAD iceberg;".into(),
        format!("           SELECT exchange, count(*) FROM iceberg_scan('{metadata_location}') GROUP BY 1;"),
        "pyiceberg  from pyiceberg.catalog.sql import SqlCatalog".into(),
        format!("           t = SqlCatalog('sluice', uri='sqlite:///{catalog}', warehouse='file://{warehouse}').load_table('{TABLE}')"),
        "           t.scan().to_arrow()".into(),
        "Spark      spark-sql --packages org.apache.iceberg:iceberg-spark-runtime-3.5_2.12:1.10.0,org.xerial:sqlite-jdbc:3.50.3.0 \\"
            .into(),
        "             --conf spark.sql.catalog.sluice=org.apache.iceberg.spark.SparkCatalog --conf spark.sql.catalog.sluice.type=jdbc \\"
            .into(),
        format!(
            "             --conf spark.sql.catalog.sluice.uri=jdbc:sqlite:{catalog} --conf spark.sql.catalog.sluice.warehouse={warehouse} \\"
        ),
        format!("             -e 'SELECT exchange, count(*) FROM sluice.{TABLE} GROUP BY 1'"),
    ]
}
