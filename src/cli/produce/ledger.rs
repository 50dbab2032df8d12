//! The ledger: one JSON object a line for every record that Kafka acknowledged, in the order of the acknowledgements.
//!
//! | field | meaning |
//! |---|---|
//! | `number` | counted from 0 in the order of sending; unique |
//! | `topic`, `partition`, `offset` | where the record is |
//! | `timestamp_ms` | its Kafka timestamp |
//! | `kind` | `fresh`, `duplicate`, `late` or `malformed:<way>`: what it was made to be |
//! | `of` | number of the record with the same trade: earlier for a duplicate, later for a late copy; else null |
//! | `message_id`, `event_time` | of the trade; event time in microseconds. Of a malformed record: those it was made from |
//! | `schema`, `schema_id` | the writer's schema: `plain`, `silver` or `lean`, and its id at the registry |
//! | `aborted` | true when its transaction was aborted: no reader of committed records sees it |
//! | `row` | the columns that Gold must hold if this record is the one that is written; null when it is malformed |
//!
//! Copies of one trade in different schemas have different rows: `lean` lacks trade_conditions and vendor_data. Which of
//! them is kept is not promised, so a row of Gold must equal one of the rows of its (message_id, event hour).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use super::generator::{GeneratedRecord, Kind};
use super::trade::Row;
use crate::types::{Micros, Offset};

/// How many acknowledged records may wait for the disk before sending is held back.
const WAITING_MAX: usize = 65_536;

/// A record on its way to Kafka, with what the ledger needs to know of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sent {
    pub record: GeneratedRecord,
    pub schema_id: u32,
}

#[derive(Serialize)]
struct Line<'a> {
    number: u64,
    topic: &'a str,
    partition: i32,
    offset: Offset,
    timestamp_ms: i64,
    kind: &'static str,
    of: Option<u64>,
    message_id: &'a str,
    event_time: Micros,
    schema: &'a str,
    schema_id: u32,
    aborted: bool,
    row: Option<Row<'a>>,
}

/// A line as a reader sees it.
#[derive(Deserialize, Clone, PartialEq, Debug)]
pub struct Entry {
    pub number: u64,
    pub topic: String,
    pub partition: i32,
    pub offset: Offset,
    pub timestamp_ms: i64,
    pub kind: String,
    pub of: Option<u64>,
    pub message_id: String,
    pub event_time: Micros,
    pub schema: String,
    pub schema_id: u32,
    pub aborted: bool,
    pub row: Option<serde_json::Value>,
}

/// Why the ledger could not be kept.
#[derive(Debug, thiserror::Error)]
#[error("the ledger {path} can't be written: {source}")]
pub struct LedgerError {
    pub path: String,
    pub source: std::io::Error,
}

enum Event {
    Acknowledged {
        sent: Box<Sent>,
        offset: Offset,
    },
    TransactionEnded {
        aborted: bool,
    },
    /// Answered when everything before it is in the file.
    Flush(SyncSender<()>),
}

/// Writes on a thread of its own. Dropping the handles of all senders ends it.
pub struct Ledger {
    writer: JoinHandle<Result<u64, LedgerError>>,
}

/// Hands acknowledged records to the ledger's thread.
#[derive(Clone)]
pub struct LedgerSender(SyncSender<Event>);

impl LedgerSender {
    /// False when the ledger's thread has ended, which it does on its own only when it can't write.
    pub fn acknowledged(&self, sent: Box<Sent>, offset: Offset) -> bool {
        self.0.send(Event::Acknowledged { sent, offset }).is_ok()
    }

    /// Waits until everything handed over before is in the file, less what waits for the end of its transaction.
    pub fn flush(&self) -> bool {
        let (done, wait) = sync_channel(1);
        self.0.send(Event::Flush(done)).is_ok() && wait.recv().is_ok()
    }

    /// Everything acknowledged since the last call belongs to one transaction, which ended like this.
    pub fn transaction_ended(&self, aborted: bool) -> bool {
        self.0.send(Event::TransactionEnded { aborted }).is_ok()
    }
}

impl Ledger {
    /// Creates the file, which must not exist. `transactional`: lines are held back until it is known how their
    /// transaction ended.
    pub fn create(path: &Path, topics: Vec<String>, transactional: bool) -> Result<(Self, LedgerSender), LedgerError> {
        let failed = |source| LedgerError { path: path.display().to_string(), source };
        let file = File::create_new(path).map_err(failed)?;
        let (sender, events) = sync_channel(WAITING_MAX);
        let lines = Lines { out: BufWriter::with_capacity(1 << 20, file), path: path.into(), topics, lines: 0 };
        let writer = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || lines.write_all(&events, transactional))
            .map_err(failed)?;
        Ok((Self { writer }, LedgerSender(sender)))
    }

    /// Waits until every line is in the file. All senders must be gone. Returns the number of lines.
    pub fn close(self) -> Result<u64, LedgerError> {
        match self.writer.join() {
            Ok(lines) => lines,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

struct Lines {
    out: BufWriter<File>,
    path: PathBuf,
    topics: Vec<String>,
    lines: u64,
}

impl Lines {
    fn write_all(mut self, events: &Receiver<Event>, transactional: bool) -> Result<u64, LedgerError> {
        let path = self.path.display().to_string();
        self.drain(events, transactional).map_err(|source| LedgerError { path, source })?;
        Ok(self.lines)
    }

    fn drain(&mut self, events: &Receiver<Event>, transactional: bool) -> std::io::Result<()> {
        let mut open = Vec::new();
        loop {
            let event = match events.try_recv() {
                Ok(event) => event,
                Err(TryRecvError::Disconnected) => return self.out.flush(),
                // A reader that follows the file sees whole lines as soon as nothing more is waiting.
                Err(TryRecvError::Empty) => {
                    self.out.flush()?;
                    match events.recv() {
                        Ok(event) => event,
                        Err(_) => return Ok(()),
                    }
                }
            };
            match event {
                Event::Acknowledged { sent, offset } if transactional => open.push((sent, offset)),
                Event::Acknowledged { sent, offset } => self.line(&sent, offset, false)?,
                Event::TransactionEnded { aborted } => {
                    for (sent, offset) in open.drain(..) {
                        self.line(&sent, offset, aborted)?;
                    }
                }
                Event::Flush(done) => {
                    self.out.flush()?;
                    // Whoever asked may have given up waiting.
                    let _ = done.send(());
                }
            }
        }
    }

    fn line(&mut self, Sent { record, schema_id }: &Sent, offset: Offset, aborted: bool) -> std::io::Result<()> {
        let row = match record.kind {
            Kind::Malformed(_) => None,
            Kind::Fresh | Kind::Duplicate | Kind::Late => Some(record.trade.row(record.version.has_optional_fields())),
        };
        let line = Line {
            number: record.number,
            topic: &self.topics[record.topic],
            partition: record.partition,
            offset,
            timestamp_ms: record.timestamp_ms,
            kind: record.kind.name(),
            of: record.of,
            message_id: &record.trade.message_id,
            event_time: record.trade.timestamp,
            schema: record.version.name(),
            schema_id: *schema_id,
            aborted,
            row,
        };
        serde_json::to_writer(&mut self.out, &line)?;
        self.out.write_all(b"\n")?;
        self.lines += 1;
        Ok(())
    }
}

/// Reads a ledger line by line. An error names the line, counted from 1.
pub fn read(path: &Path) -> std::io::Result<impl Iterator<Item = std::io::Result<Entry>>> {
    use std::io::BufRead;
    let lines = std::io::BufReader::new(File::open(path)?).lines();
    Ok(lines.enumerate().map(|(i, line)| {
        serde_json::from_str(&line?).map_err(|error| std::io::Error::other(format!("line {}: {error}", i + 1)))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::produce::generator::{Generator, Spec, TopicLayout};

    fn generator() -> Generator {
        Generator::new(Spec {
            seed: 5,
            topics: vec![TopicLayout { name: "silver.binance.trades".into(), partitions: 2 }],
            start: 1_767_225_600_000_000,
            step_nanos: 1_000_000,
            duplicates: 0.1,
            late: 0.1,
            malformed: 0.1,
            unknown_schema_ids: false,
            out_of_order: 0,
            straggler: 0,
        })
    }

    fn written(transactional: bool, with: impl FnOnce(&LedgerSender, Vec<GeneratedRecord>)) -> Vec<Entry> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.jsonl");
        let (ledger, sender) = Ledger::create(&path, vec!["silver.binance.trades".into()], transactional).unwrap();
        let generator = generator();
        with(&sender, (0..500).map(|number| generator.record(number)).collect());
        drop(sender);
        let lines = ledger.close().unwrap();
        let entries: Vec<Entry> = read(&path).unwrap().map(Result::unwrap).collect();
        assert_eq!(entries.len() as u64, lines);
        entries
    }

    #[test]
    fn a_line_tells_place_kind_and_the_row_that_gold_must_hold() {
        let entries = written(false, |sender, records| {
            for (offset, record) in records.into_iter().enumerate() {
                assert!(sender.acknowledged(Box::new(Sent { record, schema_id: 9 }), offset as Offset));
            }
        });
        assert_eq!(entries.len(), 500);
        for (entry, record) in entries.iter().zip((0..500).map(|number| generator().record(number))) {
            assert_eq!((entry.number, entry.offset), (record.number, record.number as Offset));
            assert_eq!((entry.partition, entry.schema_id, entry.aborted), (record.partition, 9, false));
            assert_eq!(entry.row.is_none(), entry.kind.starts_with("malformed:"), "{entry:?}");
            let Some(row) = &entry.row else { continue };
            assert_eq!(row["message_id"], entry.message_id.as_str());
            assert_eq!(row["exchange"], "BINANCE");
            assert_eq!(row.as_object().unwrap().len(), 17);
        }
    }

    #[test]
    fn lines_wait_for_the_end_of_their_transaction() {
        let entries = written(true, |sender, records| {
            for (i, record) in records.into_iter().enumerate() {
                sender.acknowledged(Box::new(Sent { record, schema_id: 1 }), i as Offset);
                match i {
                    99 => sender.transaction_ended(false),
                    199 => sender.transaction_ended(true),
                    _ => true,
                };
            }
        });
        // Whatever was in no ended transaction is not known to be readable, and not written down.
        assert_eq!(entries.len(), 200);
        assert!(entries[..100].iter().all(|entry| !entry.aborted) && entries[100..].iter().all(|entry| entry.aborted));
    }

    #[test]
    fn an_existing_ledger_is_not_overwritten() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(Ledger::create(file.path(), vec![], false).is_err());
    }
}
