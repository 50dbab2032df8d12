//! `sluice demo`: the main job with nothing installed, told as it happens.

pub mod cluster;
pub mod expectation;
pub mod folder;
pub mod lake;
pub mod pacing;
mod play;
pub mod registry;
pub mod service;
pub mod story;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use clap::Args;

use self::cluster::Cluster;
use self::expectation::{Expectation, Gold};
use self::folder::{DEAD_LETTERS, Folder, TOPICS, free_port};
use self::play::{Plan, Play};
use self::registry::Registry;
use self::service::{Launch, Service};
use self::story::{Happened, Story};
use super::Finished;
use super::produce::generator::{Generator, Spec, TopicLayout};
use super::produce::ledger::Ledger;
use super::produce::registry::RegistryClient;
use super::produce::sender::Sender;
use super::{arguments, interrupted};
use crate::config::{Config, Sources};
use crate::error::Stop;
use crate::types::{Offset, TopicPartition};

/// Shares of the records, small enough that the dead-letter breaker stays closed.
const DUPLICATES: f64 = 0.03;
const LATE: f64 = 0.01;
const MALFORMED: f64 = 0.005;

/// The service has this long to end after SIGTERM: more than its own `limits.shutdown_timeout`.
const STOP_WITHIN: Duration = Duration::from_secs(40);

/// Records a second while `--serve` waits.
const SERVE_RATE: f64 = 100.0;

/// The main job with nothing installed: Kafka, registry, catalog and warehouse on this machine, a SIGKILL half-way, a proof
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  sluice demo\n  sluice demo --records 200000 --rate 20000 --dir ./demo --serve")]
pub struct DemoArgs {
    /// Records to send
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(100..))]
    records: u64,
    /// Records a second
    #[arg(long, value_name = "R", default_value_t = 4_000.0, value_parser = arguments::positive)]
    rate: f64,
    /// Where to keep everything; must be empty, a fresh temporary folder without
    #[arg(long, value_name = "D")]
    dir: Option<PathBuf>,
    /// Leave the service alive
    #[arg(long)]
    no_crash: bool,
    /// Go on with a few records a second until interrupted, for /status and /metrics
    #[arg(long)]
    serve: bool,
}

/// The table, as the demo looks at it.
#[async_trait]
pub trait Lake: Send + Sync {
    /// Next offset of every partition of the lane `folder::GROUP`; empty while there is no table or no lane.
    async fn settled(&self) -> Result<BTreeMap<TopicPartition, Offset>, Stop>;

    /// Rows as a reader sees them, the lane's totals, what `verify` finds.
    async fn gold(&self) -> Result<Gold, Stop>;
}

/// Opens the table of a configuration. It need not exist yet.
pub type OpenLake = dyn Fn(&Config) -> Result<Box<dyn Lake>, Stop>;

impl DemoArgs {
    /// Plays it with this very program as the service.
    pub async fn run(self, open: &OpenLake) -> Finished {
        let program = std::env::current_exe()
            .map_err(|error| Stop::internal(format!("the path of this program is not known: {error}")))?;
        let launch = move |config: &Path| {
            let (program, config) = (program.clone(), config.to_path_buf());
            let launch: Launch = Box::new(move || {
                let mut command = Command::new(&program);
                command.arg("run").arg("--config").arg(&config);
                // Settings of the caller's environment are meant for another service.
                for (name, _) in std::env::vars_os() {
                    if name.to_string_lossy().starts_with(crate::config::layer::ENV_PREFIX) {
                        command.env_remove(name);
                    }
                }
                command
            });
            launch
        };
        let interrupted = interrupted::flag();
        self.play(&launch, open, &mut Story::on_stdout(), &interrupted).await
    }

    /// Plays it with any program as the service.
    async fn play(
        &self,
        launch: &dyn Fn(&Path) -> Launch,
        open: &OpenLake,
        story: &mut Story,
        interrupted: &AtomicBool,
    ) -> Finished {
        let folder = Folder::prepare(self.dir.clone())?;
        let topics = [TOPICS.as_slice(), &[(DEAD_LETTERS, 1)]].concat();
        let cluster =
            Cluster::start(&topics).map_err(|error| Stop::internal(format!("the mock cluster does not start: {error}")))?;
        let registry =
            Registry::start().await.map_err(|error| Stop::internal(format!("the registry does not start: {error}")))?;
        let listen = free_port()?;
        folder.write_config(&cluster.bootstrap_servers(), &registry.url(), listen)?;
        let (config, _) = Config::load(&Sources { file: Some(folder.config()), ..Sources::default() })?;
        let lake = open(&config)?;
        let (sender, ledger) = self.producer(&config, &folder).await?;
        story.opening(&folder, &cluster.bootstrap_servers(), &registry.url(), self.records, !self.no_crash);

        let (launch, log) = (launch(&folder.config()), folder.log());
        let plan = Plan { records: self.records, rate: self.rate, crash: !self.no_crash };
        let play = Play::begin(plan, sender, lake.as_ref(), &launch, &log, story, interrupted)?;
        let Some((service, sender)) = play.run().await? else {
            return Ok(ExitCode::from(interrupted::EXIT_CODE));
        };
        let running = if self.serve {
            Some((service, sender))
        } else {
            drop(sender);
            service.stop(STOP_WITHIN).await?;
            story.happened(&Happened::Stopped);
            None
        };
        let proven = prove(&folder, lake.as_ref(), story).await?;
        if let Some((service, sender)) = running {
            story.serving(&listen.to_string());
            self.serve(service, sender, lake.as_ref(), interrupted).await?;
        }
        ledger.close().map_err(|error| Stop::internal(error.to_string()))?;
        Ok(if proven { ExitCode::SUCCESS } else { ExitCode::from(crate::error::Exit::Inconsistent.code()) })
    }

    async fn producer(&self, config: &Config, folder: &Folder) -> Result<(Sender, Ledger), Stop> {
        let topics: Vec<TopicLayout> =
            TOPICS.iter().map(|(name, partitions)| TopicLayout { name: (*name).into(), partitions: *partitions }).collect();
        let client = RegistryClient::new(&config.schema_registry)?;
        let mut schema_ids = Vec::new();
        for topic in &topics {
            schema_ids.push(client.register(&topic.name).await?);
        }
        let names = topics.iter().map(|topic| topic.name.clone()).collect();
        let (ledger, lines) =
            Ledger::create(&folder.ledger(), names, false).map_err(|error| Stop::usage(error.to_string(), "make room"))?;
        let generator = Generator::new(Spec {
            seed: rand::random(),
            topics,
            start: chrono::Utc::now().timestamp_micros(),
            step_nanos: ((1_000_000_000.0 / self.rate) as u64).max(1),
            duplicates: DUPLICATES,
            late: LATE,
            malformed: MALFORMED,
            unknown_schema_ids: false,
            out_of_order: 2_000_000,
            straggler: 1_200_000_000,
        });
        Ok((Sender::new(&config.kafka, generator, schema_ids, Some(lines), None)?, ledger))
    }

    /// Sends a little all the while, as far as the table follows.
    async fn serve(
        &self,
        mut service: Service,
        mut sender: Sender,
        lake: &dyn Lake,
        interrupted: &AtomicBool,
    ) -> Result<(), Stop> {
        let mut next = self.records;
        let mut ticks = tokio::time::interval(Duration::from_secs_f64(1.0 / SERVE_RATE));
        let mut settled: u64 = self.records;
        while !interrupted.load(Ordering::Relaxed) {
            ticks.tick().await;
            service.check()?;
            if next - settled < pacing::UNSETTLED_MAX {
                sender.send(next)?;
                next += 1;
            }
            if next.is_multiple_of(SERVE_RATE as u64) || next - settled >= pacing::UNSETTLED_MAX {
                settled = lake.settled().await?.values().map(|next| next.unsigned_abs()).sum();
            }
        }
        sender.flush()?;
        drop(sender);
        // On a terminal the signal went to the service as well: then it is already on its way out.
        match service.check() {
            Ok(()) => service.stop(STOP_WITHIN).await,
            Err(_) => Ok(()),
        }
    }
}

/// Tells the proof and what comes next. False when the table is not what the ledger says.
async fn prove(folder: &Folder, lake: &dyn Lake, story: &mut Story) -> Result<bool, Stop> {
    let expectation = Expectation::of_ledger(&folder.ledger())?;
    let gold = lake.gold().await?;
    let differences = expectation.differences(&gold);
    story.proof(&expectation, &gold, &differences);
    story.next(folder, &gold.metadata_location);
    Ok(differences.is_empty())
}

#[cfg(test)]
mod tests;
