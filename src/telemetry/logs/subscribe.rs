//! Where log lines come from, which of them count, and where they go.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use super::line::{Line, Said};
use super::panics;
use super::redact::Secrets;

/// `log.format`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    #[default]
    Json,
    /// For people; coloured on a terminal unless `NO_COLOR` is set.
    Text,
}

/// How to log: `[log]` of the configuration, and what must not be seen.
#[derive(Clone)]
pub struct Logging {
    pub format: Format,
    /// A level (`info`), which for libraries is `info` at most, or directives as `tracing` reads them
    /// (`info,sluice::sink=debug,librdkafka=debug`).
    pub level: String,
    /// The field `job` of every line.
    pub job: String,
    pub secrets: Secrets,
    /// Threads whose panics are caught and handled where they happen: logged as warnings. A name counts by its beginning.
    pub contained_threads: Vec<&'static str>,
}

#[derive(Debug, thiserror::Error)]
#[error("log.level {given:?} is neither a level (error, warn, info, debug, trace, off) nor a list of directives: {why}")]
pub struct BadFilter {
    given: String,
    why: String,
}

/// Sends all lines of this process to stderr from now on, panics included. A second call changes nothing.
///
/// # Errors
/// `level` can't be read.
pub fn init(logging: &Logging) -> Result<(), BadFilter> {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let out = Arc::new(Out::new(logging, colour, Box::new(std::io::stderr()))?);
    if tracing::subscriber::set_global_default(subscriber(out.clone())).is_ok() {
        panics::log_them(out.clone(), logging.contained_threads.clone());
        log::set_max_level(out.max_level());
        // Another logger of the process's can only have been set by its embedder, and stays.
        let _ = log::set_logger(Box::leak(Box::new(Bridge(out))));
    }
    Ok(())
}

/// Which lines go out, in which form, and where to.
pub(super) struct Out {
    format: Format,
    colour: bool,
    job: String,
    secrets: Secrets,
    filter: Targets,
    writer: Mutex<Box<dyn Write + Send>>,
}

impl Out {
    pub(super) fn new(logging: &Logging, colour: bool, writer: Box<dyn Write + Send>) -> Result<Out, BadFilter> {
        Ok(Out {
            format: logging.format,
            colour,
            job: logging.job.clone(),
            secrets: logging.secrets.clone(),
            filter: filter(&logging.level)?,
            writer: Mutex::new(writer),
        })
    }

    fn wants(&self, target: &str, level: tracing::Level) -> bool {
        self.filter.would_enable(target, &level)
    }

    /// One write per line, so that lines of several processes on one terminal don't mix. A reader that went away is no
    /// reason to stop.
    pub(super) fn write(&self, line: &Line) {
        let text = match self.format {
            Format::Json => line.json(&self.job, &self.secrets),
            Format::Text => line.text(self.colour, &self.secrets),
        };
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = writer.write_all(text.as_bytes()).and_then(|()| writer.flush());
    }

    fn most_verbose(&self) -> LevelFilter {
        let levels = self.filter.iter().map(|(_, level)| level).chain(self.filter.default_level());
        levels.max().unwrap_or(LevelFilter::OFF)
    }

    fn max_level(&self) -> log::LevelFilter {
        match self.most_verbose() {
            LevelFilter::OFF => log::LevelFilter::Off,
            LevelFilter::ERROR => log::LevelFilter::Error,
            LevelFilter::WARN => log::LevelFilter::Warn,
            LevelFilter::INFO => log::LevelFilter::Info,
            LevelFilter::DEBUG => log::LevelFilter::Debug,
            _ => log::LevelFilter::Trace,
        }
    }
}

fn filter(level: &str) -> Result<Targets, BadFilter> {
    if let Ok(level) = level.trim().parse::<LevelFilter>() {
        return Ok(Targets::new().with_default(level.min(LevelFilter::INFO)).with_target("sluice", level));
    }
    level
        .parse()
        .map_err(|why: tracing_subscriber::filter::ParseError| BadFilter { given: level.into(), why: why.to_string() })
}

pub(super) fn subscriber(out: Arc<Out>) -> impl Subscriber + Send + Sync {
    tracing_subscriber::registry().with(Lines(out))
}

/// Events of `tracing` as lines.
struct Lines(Arc<Out>);

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.0.wants(metadata.target(), *metadata.level())
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0.most_verbose())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = Said::default();
        event.record(&mut said);
        let metadata = event.metadata();
        self.0.write(&Line::now(*metadata.level(), metadata.target(), said));
    }
}

/// Records of the `log` crate as lines: librdkafka's and sled's.
pub(super) struct Bridge(pub(super) Arc<Out>);

impl log::Log for Bridge {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        self.0.wants(metadata.target(), level_of(metadata))
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let said = Said { message: record.args().to_string(), ..Said::default() };
            self.0.write(&Line::now(level_of(record.metadata()), record.target(), said));
        }
    }

    fn flush(&self) {}
}

/// The level a record gets here. An error inside sled costs its cache and calls for nobody.
fn level_of(metadata: &log::Metadata<'_>) -> tracing::Level {
    match metadata.level() {
        log::Level::Error if metadata.target().starts_with("sled") => tracing::Level::WARN,
        log::Level::Error => tracing::Level::ERROR,
        log::Level::Warn => tracing::Level::WARN,
        log::Level::Info => tracing::Level::INFO,
        log::Level::Debug => tracing::Level::DEBUG,
        log::Level::Trace => tracing::Level::TRACE,
    }
}

#[cfg(test)]
#[path = "subscribe_tests.rs"]
pub(super) mod tests;
