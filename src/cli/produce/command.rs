//! The command itself: what it is asked for, and the loop that sends.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::draw::Draw;
use super::generator::{Generator, Spec, TopicLayout};
use super::ledger::Ledger;
use super::registry::RegistryClient;
use super::sender::Sender;
use super::topics;
use crate::cli::progress::Progress;
use crate::cli::{Finished, Global, arguments, interrupted};

use crate::config::units::micros;
use crate::config::{Kafka, SchemaRegistry};
use crate::error::Stop;
use crate::types::Micros;

const MICROS_PER_SECOND: f64 = 1_000_000.0;

/// Records a second of event time where neither --rate nor --event-rate is given: a backlog of a million is 100 seconds.
const EVENT_RATE: f64 = 10_000.0;

/// Stream of randomness for the fate of transactions; records use smaller numbers.
const TRANSACTIONS: u64 = 100;

/// Write generated trades to the configured topics of a real cluster
///
/// Exchange BINANCE goes to the first topic, KRAKEN to the second, and so on. What is sent follows from --seed and
/// --start-time alone; both are printed. The writers' schemas (as TradeV2, as the Silver layer reorders and extends it,
/// and without the fields that have a default) are registered under <topic>-value.
#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Example:\n  sluice produce --count 1000000 --rate 20000 --duplicates 0.02 --late 0.001 --malformed 0.001 \\\n    --ledger ledger.jsonl --partitions 6\n\nThe ledger holds one JSON object a line: number, topic, partition, offset, timestamp_ms, kind (fresh, duplicate, late,\nmalformed:<way>), of, message_id, event_time, schema, schema_id, aborted, row (the columns that Gold must hold)."
)]
pub struct ProduceArgs {
    /// Records to send
    #[arg(long, value_name = "N", default_value_t = 10_000, conflicts_with = "until_stopped")]
    count: u64,
    /// Go on until interrupted, then finish what is under way
    #[arg(long)]
    until_stopped: bool,
    /// Records a second; as fast as it goes without
    #[arg(long, value_name = "R", value_parser = arguments::positive)]
    rate: Option<f64>,
    /// Share of records that repeat an earlier trade, in the same partition, another one, or another topic
    #[arg(long, value_name = "F", default_value_t = 0.0, value_parser = arguments::share)]
    duplicates: f64,
    /// Share of records that are days late, some of them before the same trade comes on time elsewhere
    #[arg(long, value_name = "F", default_value_t = 0.0, value_parser = arguments::share)]
    late: f64,
    /// Share of records that are no trade, each kind of malformed in turn
    #[arg(long, value_name = "F", default_value_t = 0.0, value_parser = arguments::share)]
    malformed: f64,
    /// Greatest distance by which event times are out of order
    #[arg(long, value_name = "DUR", default_value = "2s", value_parser = arguments::duration)]
    out_of_order: Duration,
    /// What everything is drawn from; a fresh one without
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Where to keep what was acknowledged; must not exist
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
    /// Event time of the first record, RFC 3339; such that the last is now without, or now where a rate or no end is given
    #[arg(long, value_name = "TIME", value_parser = arguments::datetime)]
    start_time: Option<Micros>,
    /// Records a second of event time; --rate, or else 10000, without
    #[arg(long, value_name = "R", value_parser = arguments::positive)]
    event_rate: Option<f64>,
    /// With --late: how far the last partition's event times are behind, so that copies of its trades are late elsewhere
    /// before they are on time there; 0s switches it off
    #[arg(long, value_name = "DUR", default_value = "20m", value_parser = arguments::duration)]
    straggler: Duration,
    /// Create topics that are missing, with so many partitions
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(i32).range(1..=10_000))]
    partitions: Option<i32>,
    /// Send in transactions of so many records
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    transactions: Option<u64>,
    /// Share of transactions that are aborted, with their records in the log
    #[arg(long, value_name = "F", default_value_t = 0.2, value_parser = arguments::share, requires = "transactions")]
    abort: f64,
    /// Keep every transaction open for so long after its last record
    #[arg(long, value_name = "DUR", default_value = "0s", value_parser = arguments::duration, requires = "transactions")]
    hold: Duration,
    /// Put schema ids that the registry doesn't know among the malformed
    #[arg(long)]
    unknown_schema_ids: bool,
}

/// What was sent, as it is printed.
#[derive(Serialize, Debug)]
struct Summary {
    records: u64,
    aborted: u64,
    seconds: f64,
    records_per_second: f64,
    seed: u64,
    start_time: String,
    kinds: BTreeMap<&'static str, u64>,
}

impl ProduceArgs {
    pub async fn run(self, global: &Global) -> Finished {
        if self.duplicates + self.late + self.malformed > 1.0 {
            return Err(Stop::usage("--duplicates, --late and --malformed are more than 1 together", "lower one of them"));
        }
        let settings = global.sources().settings(&["kafka", "schema_registry"])?;
        let (kafka, registry) = (Kafka::read(&settings)?, SchemaRegistry::read(&settings)?);
        let topics = topics::layout(&kafka, self.partitions).await?;
        let client = RegistryClient::new(&registry)?;
        let mut schema_ids = Vec::new();
        for topic in &topics {
            schema_ids.push(client.register(&topic.name).await?);
        }
        let generator = Generator::new(self.spec(topics));
        let stopped = interrupted::flag();
        let work = tokio::task::spawn_blocking(move || self.send_all(&kafka, generator, schema_ids, &stopped));
        let summary = work.await.map_err(|error| Stop::internal(format!("sending panicked: {error}")))??;
        summary.print(global)
    }

    fn spec(&self, topics: Vec<TopicLayout>) -> Spec {
        let event_rate = self.event_rate.or(self.rate).unwrap_or(EVENT_RATE);
        let now = chrono::Utc::now().timestamp_micros();
        let ends_now = self.rate.is_none() && !self.until_stopped;
        let length = if ends_now { self.count as f64 / event_rate * MICROS_PER_SECOND } else { 0.0 };
        Spec {
            seed: self.seed.unwrap_or_else(rand::random),
            topics,
            start: self.start_time.unwrap_or(now - length as Micros),
            step_nanos: ((1_000_000_000.0 / event_rate) as u64).max(1),
            duplicates: self.duplicates,
            late: self.late,
            malformed: self.malformed,
            unknown_schema_ids: self.unknown_schema_ids,
            out_of_order: micros(self.out_of_order),
            straggler: micros(self.straggler),
        }
    }

    fn send_all(
        &self,
        kafka: &Kafka,
        generator: Generator,
        schema_ids: Vec<super::encode::SchemaIds>,
        stopped: &Arc<AtomicBool>,
    ) -> Result<Summary, Stop> {
        let spec = generator.spec().clone();
        let names = spec.topics.iter().map(|topic| topic.name.clone()).collect();
        let (ledger, lines) = match &self.ledger {
            Some(path) => {
                let remedy = "name a file that doesn't exist, in a folder where this user may write";
                let made = Ledger::create(path, names, self.transactions.is_some());
                let (ledger, lines) = made.map_err(|error| Stop::usage(error.to_string(), remedy))?;
                (Some(ledger), Some(lines))
            }
            None => (None, None),
        };
        let transactional_id = self.transactions.map(|_| format!("sluice-produce-{}", spec.seed));
        let sender = Sender::new(kafka, generator, schema_ids, lines, transactional_id.as_deref())?;
        let count = if self.until_stopped { None } else { Some(self.count) };
        let mut run = Run {
            sender,
            stopped,
            count,
            pace: Pace::new(self.rate),
            progress: Progress::new("records", count),
            next: 0,
            aborted: 0,
            kinds: BTreeMap::new(),
        };
        let started = Instant::now();
        let sent = match self.transactions {
            Some(size) => run.in_transactions(size, self.abort, self.hold, spec.seed),
            None => run.plainly(u64::MAX).and_then(|()| run.sender.flush()),
        };
        let (records, aborted, kinds) = run.finish();
        let closed = ledger.map(Ledger::close).transpose();
        sent?;
        closed.map_err(|error| Stop::gave_up(error.to_string(), "make room, or name another file"))?;
        let seconds = started.elapsed().as_secs_f64();
        Ok(Summary {
            records,
            aborted,
            seconds,
            records_per_second: records as f64 / seconds.max(1e-6),
            seed: spec.seed,
            start_time: arguments::show_datetime(spec.start),
            kinds,
        })
    }
}

struct Run<'a> {
    sender: Sender,
    stopped: &'a AtomicBool,
    count: Option<u64>,
    pace: Pace,
    progress: Progress,
    /// Number of the next record.
    next: u64,
    aborted: u64,
    kinds: BTreeMap<&'static str, u64>,
}

impl Run<'_> {
    fn goes_on(&self) -> bool {
        self.count.is_none_or(|count| self.next < count) && !self.stopped.load(Ordering::Relaxed)
    }

    /// Sends at most `most` records.
    fn plainly(&mut self, most: u64) -> Result<(), Stop> {
        let first = self.next;
        while self.next - first < most && self.goes_on() {
            self.pace.wait();
            let (kind, _) = self.sender.send(self.next)?;
            *self.kinds.entry(kind.name()).or_default() += 1;
            self.next += 1;
            if self.next.is_multiple_of(256) {
                self.progress.at(self.next);
            }
        }
        Ok(())
    }

    fn in_transactions(&mut self, size: u64, abort: f64, hold: Duration, seed: u64) -> Result<(), Stop> {
        let mut transaction = 0;
        while self.goes_on() {
            let before = self.next;
            self.sender.begin()?;
            self.plainly(size)?;
            self.hold_open(hold)?;
            let aborts = Draw::of(seed, TRANSACTIONS, transaction).unit() < abort;
            self.sender.end(aborts)?;
            self.aborted += if aborts { self.next - before } else { 0 };
            transaction += 1;
        }
        Ok(())
    }

    /// Waits with the transaction's records in the log, unless interrupted.
    fn hold_open(&self, hold: Duration) -> Result<(), Stop> {
        if hold.is_zero() {
            return Ok(());
        }
        self.sender.flush()?;
        let since = Instant::now();
        while since.elapsed() < hold && !self.stopped.load(Ordering::Relaxed) {
            std::thread::sleep(hold.saturating_sub(since.elapsed()).min(Duration::from_millis(20)));
        }
        Ok(())
    }

    /// Closes the producer, which lets go of the ledger. Returns records, aborted ones among them, and how many of each kind.
    fn finish(self) -> (u64, u64, BTreeMap<&'static str, u64>) {
        self.progress.done();
        drop(self.sender);
        (self.next, self.aborted, self.kinds)
    }
}

/// A fixed schedule: what was held up is caught up with.
struct Pace {
    rate: Option<f64>,
    since: Instant,
    sent: u64,
}

impl Pace {
    /// Shorter waits are left to the next record.
    const SHORTEST: Duration = Duration::from_millis(1);

    fn new(rate: Option<f64>) -> Self {
        Self { rate, since: Instant::now(), sent: 0 }
    }

    fn wait(&mut self) {
        if let Some(rate) = self.rate {
            let due = Duration::from_secs_f64(self.sent as f64 / rate);
            let ahead = due.saturating_sub(self.since.elapsed());
            if ahead >= Self::SHORTEST {
                std::thread::sleep(ahead);
            }
        }
        self.sent += 1;
    }
}

impl Summary {
    fn print(&self, global: &Global) -> Finished {
        global.output.facts(self, || {
            let mut text = format!(
                "{} records in {:.1} s ({:.0} a second), seed {}, event time from {}\n",
                self.records, self.seconds, self.records_per_second, self.seed, self.start_time
            );
            for (kind, count) in &self.kinds {
                text += &format!("  {count:>10} {kind}\n");
            }
            if self.aborted > 0 {
                text += &format!("  {:>10} of them in aborted transactions\n", self.aborted);
            }
            text
        })
    }
}
