//! `sluice run`: the service.

use std::process::ExitCode;
use std::sync::Arc;

use tokio::sync::watch;

use super::parts::{self, Lake, SystemClock, SystemRandom};
use super::{Finished, Global, interrupted};
use crate::config::{Config, Late, LogFormat, Start as ConfiguredStart};
use crate::core::breaker::BreakerRules;
use crate::core::event_time::{EventTimeRules, LatePolicy};
use crate::core::instance::{Settings, Start};
use crate::core::roll::RollRules;
use crate::decode::Plans;
use crate::decode::registry::Registry;
use crate::error::Stop;
use crate::pipeline::{End, Health, Names, Options, Pipeline, Ports, Telemetry};
use crate::ports::{Clock, Random, Source, SourceAdmin};
use crate::source::admin::KafkaAdmin;
use crate::source::consumer::{KafkaSource, SourceConfig};
use crate::source::dead_letters::KafkaDeadLetters;
use crate::source::settings::client_id;
use crate::state::dir::StateDir;
use crate::state::memory::{Account, Budget, Part, resident_bytes};
use crate::state::{IdsOfTable, NotesOnDisk};
use crate::telemetry::http::{Server, Sources, serve};
use crate::telemetry::logs::redact::Secrets;
use crate::telemetry::logs::{Format, Logging, init, nested};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::status::Board;

/// How often the service looks at its durations: well below the shortest commit interval.
const TICK_MS: u64 = 50;
/// `max.poll.interval.ms` of the client unless the configuration says otherwise.
const MAX_POLL_INTERVAL_MS: u64 = 300_000;
/// An assignment is answered, a revoke flushed, within this at most.
const ANSWER_WITHIN_MS: u64 = 30_000;

/// Reads the Silver topics into the Gold table until it is told to stop
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Example:\n  sluice run --config sluice.toml\n  sluice run --until-caught-up   # commits what is stable now, then ends"
)]
pub struct RunArgs {
    /// End when everything that was in the topics at the start is in the table
    #[arg(long)]
    pub until_caught_up: bool,
}

impl RunArgs {
    pub async fn run(self, global: &Global) -> Finished {
        // Before anything else: a signal that comes while the configuration is read finds its handler.
        let mut closing = closing();
        let (config, _) = Config::load(&global.sources())?;
        start_logging(&config)?;
        let prepared = tokio::select! {
            prepared = Service::prepare(&config, self.until_caught_up) => prepared,
            _ = closing.changed() => {
                tracing::info!(event = "service.stop", exit = 0, "stopped before anything was read");
                return Ok(ExitCode::SUCCESS);
            }
        };
        prepared.map_err(told)?.run(closing).await
    }
}

/// Turns to true at the first SIGINT or SIGTERM; a second one ends the process at once.
fn closing() -> watch::Receiver<bool> {
    let (close, closing) = watch::channel(false);
    let mut signals = interrupted::Signals::listen();
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("stopping: what was read is committed first");
        // nobody listens any more: the pipeline has ended
        let _ = close.send(true);
        signals.next().await;
        std::process::exit(interrupted::EXIT_CODE.into());
    });
    closing
}

fn start_logging(config: &Config) -> Result<(), Stop> {
    let logging = Logging {
        format: match config.log.format {
            LogFormat::Json => Format::Json,
            LogFormat::Text => Format::Text,
        },
        level: config.log.level.clone(),
        job: config.log.job.clone(),
        secrets: Secrets::new(parts::secrets(config)),
        contained_threads: crate::state::ids::CONTAINED_THREADS.to_vec(),
    };
    init(&logging).map_err(|error| Stop::usage(error.to_string(), "write a level, such as \"info\""))
}

/// Says a stop in the log as well: that is what a person looks at.
fn told(stop: Stop) -> Stop {
    tracing::error!(event = "service.stop", exit = stop.exit.code(), what = stop.what, remedy = stop.remedy, "stopped");
    stop
}

struct Service {
    pipeline: Pipeline,
    events: tokio::sync::mpsc::Receiver<crate::ports::SourceEvent>,
    state: Arc<StateDir>,
    store: Arc<IdsOfTable>,
    server: Option<Server>,
    clock: Arc<dyn Clock>,
}

impl Service {
    /// Everything that can be wrong with the configuration shows here, before the group is joined.
    async fn prepare(config: &Config, until_caught_up: bool) -> Result<Self, Stop> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let random: Arc<dyn Random> = Arc::new(SystemRandom);
        let budget = Budget::of(config.limits.memory_max)
            .map_err(|error| Stop::usage(error.to_string(), "raise limits.memory_max"))?;
        let state = Arc::new(StateDir::open(config.dedup.state_dir.clone())?);
        let store = Arc::new(IdsOfTable::new(state.ids(), budget.shares.get(Part::IdCache)));
        let telemetry = Telemetry {
            metrics: Arc::new(Metrics::new(env!("CARGO_PKG_VERSION"))),
            board: Arc::new(Board::default()),
            account: Arc::new(Account::default()),
            budget,
            resident: resident_bytes,
        };
        let server = serve(
            &config.http.listen.map(|listen| listen.to_string()).unwrap_or_default(),
            Sources {
                board: telemetry.board.clone(),
                metrics: telemetry.metrics.clone(),
                clock: clock.clone(),
                secrets: Secrets::new(parts::secrets(config)),
                version: env!("CARGO_PKG_VERSION"),
            },
        )
        .await?;
        let connection = parts::connection(&config.kafka);
        let group = &config.kafka.group_id;
        let admin: Arc<dyn SourceAdmin> = Arc::new(KafkaAdmin::new(&connection, group)?);
        let letters = KafkaDeadLetters::new(&connection, config.dead_letter.topic.clone(), group)?;
        let lake = Lake::of(config, clock.clone())?;
        let registry: Registry = parts::registry(config, clock.clone())?;
        let requests = registry.requests();
        let health = Arc::new(Health::new(clock.clone()));
        let ports = Ports {
            admin,
            letters: Arc::new(letters),
            table: lake.table.clone(),
            files: lake.files.clone(),
            store: store.clone(),
            clock: clock.clone(),
            random: random.clone(),
            notes: Arc::new(NotesOnDisk(state.clone())),
            health,
        };
        said_start(config, until_caught_up);
        check_topics(config, &ports).await?;
        let source_config = SourceConfig {
            connection,
            group_id: group.to_string(),
            buffer_bytes_max: budget.shares.get(Part::KafkaBuffers) / 2,
        };
        let (source, events) = KafkaSource::start(source_config, &config.kafka.topics)?;
        let source: Arc<dyn Source> = Arc::new(source);
        let plans = Arc::new(Plans::new(Arc::new(registry), clock.clone()));
        let pipeline = Pipeline::new(
            settings(config, &budget, random.u128()),
            options(config, until_caught_up),
            ports,
            source,
            plans,
            telemetry.with_registry(requests),
        );
        Ok(Self { pipeline, events, state, store, server, clock })
    }

    async fn run(self, closing: watch::Receiver<bool>) -> Finished {
        let ended = self.pipeline.run(self.events, closing).await;
        let finished = match ended {
            Ok(End::Done) => Ok(ExitCode::SUCCESS),
            Ok(End::Unknown(commits)) => {
                let commits: Vec<String> = commits.iter().map(ToString::to_string).collect();
                tracing::warn!(
                    commits = nested(&commits),
                    "the outcome of these commits isn't known: the next start finds it out"
                );
                Ok(ExitCode::SUCCESS)
            }
            Err(stop) => {
                self.state.record_stop(&stop, self.clock.wall_ms());
                Err(told(stop))
            }
        };
        if finished.is_ok() {
            tracing::info!(event = "service.stop", exit = 0, "stopped");
        }
        self.store.close();
        if let Some(server) = self.server {
            server.shutdown(std::time::Duration::from_secs(1)).await;
        }
        finished
    }
}

fn said_start(config: &Config, until_caught_up: bool) {
    let topics: Vec<&str> = config.kafka.topics.iter().map(|t| &**t).collect();
    tracing::info!(
        event = "service.start", version = env!("CARGO_PKG_VERSION"), group = %config.kafka.group_id, topics = nested(&topics),
        table = %config.iceberg.table, until_caught_up, "starting"
    );
    let event_time = &config.event_time;
    tracing::info!(
        event = "event_time.configured",
        watermark_delay_ms = parts::millis(event_time.watermark_delay),
        late = event_time.late.as_str(),
        idle_timeout_ms = parts::millis(event_time.idle_timeout),
        "event time configured"
    );
}

/// A missing dead-letter topic is found before anything is read. A missing Silver topic is judged by the lane: unknown to
/// it, a mistake; known to it, gone.
async fn check_topics(config: &Config, ports: &Ports) -> Result<(), Stop> {
    let topic = &config.dead_letter.topic;
    let asked = [topic.clone()];
    let found = ports.until_up(|| ports.admin.partitions(&asked)).await?;
    if found.contains_key(topic) {
        return Ok(());
    }
    Err(Stop::usage(
        format!("the dead-letter topic {topic} doesn't exist"),
        format!(
            "create it: kafka-topics.sh --bootstrap-server {} --create --topic {topic} --partitions 1",
            config.kafka.bootstrap_servers
        ),
    ))
}

fn settings(config: &Config, budget: &Budget, nonce: u128) -> Settings {
    let (gold, event_time) = (&config.gold, &config.event_time);
    let poll_interval =
        config.kafka.properties.get("max.poll.interval.ms").and_then(|v| v.parse().ok()).unwrap_or(MAX_POLL_INTERVAL_MS);
    Settings {
        lane: config.kafka.group_id.clone(),
        topics: config.kafka.topics.iter().cloned().collect(),
        start: match (config.kafka.start, config.kafka.start_is_written) {
            (ConfiguredStart::Latest, _) => Start::Latest,
            (ConfiguredStart::Earliest, true) => Start::Earliest,
            (ConfiguredStart::Earliest, false) => Start::EarliestByDefault,
        },
        event_time: EventTimeRules {
            watermark_delay: parts::micros(event_time.watermark_delay),
            late: late(config),
            idle_timeout_ms: parts::millis(event_time.idle_timeout),
        },
        roll: RollRules {
            commit_interval_ms: parts::millis(gold.commit_interval),
            idle_commit_interval_ms: parts::millis(gold.idle_commit_interval),
            batch_rows_max: gold.batch_rows_max,
            batch_bytes_max: gold.batch_bytes_max.min(budget.shares.get(Part::OpenBatch)),
        },
        breaker: BreakerRules { rate_max: config.dead_letter.rate_max, rate_min: config.dead_letter.rate_min },
        answer_within_ms: ANSWER_WITHIN_MS.min(poll_interval / 4),
        hot_bytes_max: budget.shares.get(Part::HotIds) as usize,
        nonce,
    }
}

fn late(config: &Config) -> LatePolicy {
    match config.event_time.late {
        Late::Admit => LatePolicy::Admit,
        Late::DeadLetter => LatePolicy::DeadLetter,
        Late::Drop => LatePolicy::Drop,
    }
}

fn options(config: &Config, until_caught_up: bool) -> Options {
    Options {
        names: Names {
            topics: config.kafka.topics.clone(),
            lane: config.kafka.group_id.clone(),
            table: config.iceberg.table.to_string(),
            client_id: client_id(&parts::connection(&config.kafka)).to_owned(),
        },
        late: late(config),
        bounds: parts::bounds(&config.event_time),
        shutdown_timeout_ms: parts::millis(config.limits.shutdown_timeout),
        stall_timeout_ms: parts::millis(config.limits.stall_timeout),
        until_caught_up,
        tick_ms: TICK_MS,
    }
}
