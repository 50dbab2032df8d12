//! Settings: a TOML file, overridden by `SLUICE__…` variables, overridden by flags. Read once, checked whole, handed out as
//! plain values.

mod check;
pub mod key;
pub mod layer;
mod problem;
mod reference;
pub mod secret;
pub mod settings;
mod show;
pub mod units;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use problem::{Problem, Problems};
pub use secret::{Properties, Secret};
pub use settings::Settings;
pub use show::{ShownSetting, shown};

use crate::types::Topic;

/// Where the file is looked for when nobody names one.
pub const STANDARD_FILES: [&str; 2] = ["./sluice.toml", "/etc/sluice/sluice.toml"];

/// Everything that is asked for when settings are read.
#[derive(Clone, Default)]
pub struct Sources {
    /// `--config`; must exist. None: the first of `STANDARD_FILES` that exists, or no file at all.
    pub file: Option<PathBuf>,
    /// Variables of the process: those that begin with `SLUICE__` are settings, all can be referred to.
    pub environment: BTreeMap<String, String>,
    /// `--set KEY=VALUE`, in order.
    pub flags: Vec<String>,
}

/// Variables and flags can hold secrets: only names are shown.
impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let flags: Vec<&str> = self.flags.iter().filter_map(|flag| flag.split('=').next()).collect();
        f.debug_struct("Sources").field("file", &self.file).field("flags", &flags).finish_non_exhaustive()
    }
}

impl Sources {
    /// With the variables of this process. A variable that is not UTF-8 is no setting.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<String>) -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { file, environment, flags }
    }

    /// The effective settings. Required keys are asked for in `sections` only.
    pub fn settings(&self, sections: &[&str]) -> Result<Settings, Problems> {
        let file = self.read_file().map_err(|problem| Problems(vec![problem]))?;
        let no_file = file.is_none();
        let flags = layer::from_flags(&self.flags).map_err(|problem| Problems(vec![problem]))?;
        let environment = layer::from_environment(self.environment.clone());
        let layers = vec![file.unwrap_or_default(), environment, flags];
        Settings::resolve(layers, sections, &self.environment).map_err(|mut problems| {
            if no_file {
                let looked_for = STANDARD_FILES.join(" and ");
                problems.push(Problem::new(
                    "--config",
                    format!("names no file, and {looked_for} don't exist"),
                    "name the file",
                ));
            }
            Problems(problems)
        })
    }

    fn read_file(&self) -> Result<Option<Vec<layer::Entry>>, Problem> {
        let named = self.file.is_some();
        let candidates = match &self.file {
            Some(path) => vec![path.clone()],
            None => STANDARD_FILES.iter().map(PathBuf::from).collect(),
        };
        for path in candidates {
            match std::fs::read_to_string(&path) {
                Ok(text) => return layer::from_file(&path, &text).map(Some),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && !named => {}
                Err(error) => return Err(unreadable(&path, &error)),
            }
        }
        Ok(None)
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Problem {
    Problem::new(
        path.display().to_string(),
        format!("can't be read: {error}"),
        "name a file that exists and that this user may read with --config",
    )
}

/// All settings, checked.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    pub kafka: Kafka,
    pub schema_registry: SchemaRegistry,
    pub iceberg: Iceberg,
    pub gold: Gold,
    pub event_time: EventTime,
    pub dedup: Dedup,
    pub dead_letter: DeadLetter,
    pub limits: Limits,
    pub maintenance: Maintenance,
    pub http: Http,
    pub log: Log,
}

/// Every section: what `Config` needs.
pub const ALL_SECTIONS: [&str; 11] = [
    "kafka",
    "schema_registry",
    "iceberg",
    "gold",
    "event_time",
    "dedup",
    "dead_letter",
    "limits",
    "maintenance",
    "http",
    "log",
];

impl Config {
    /// Reads and checks everything; the settings as they were found come along for `config show`.
    pub fn load(sources: &Sources) -> Result<(Self, Settings), Problems> {
        let settings = sources.settings(&ALL_SECTIONS)?;
        let config = check::config(&settings).map_err(Problems)?;
        Ok((config, settings))
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kafka {
    pub bootstrap_servers: String,
    /// In the order of the configuration: the first topic's first partition is the one whose owner maintains the table.
    pub topics: Vec<Topic>,
    /// Also the name of the lane in the table.
    pub group_id: Arc<str>,
    pub start: Start,
    /// Somebody wrote `start`: a new group on a table where another lane covers one of the topics needs that.
    pub start_is_written: bool,
    pub group_protocol: GroupProtocol,
    /// librdkafka's names, verbatim.
    pub properties: Properties,
}

impl Kafka {
    pub fn read(settings: &Settings) -> Result<Self, Problems> {
        check::kafka(settings).map_err(Problems)
    }
}

/// Where a topic begins that the lane doesn't know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Start {
    Earliest,
    Latest,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GroupProtocol {
    Classic,
    /// KIP-848.
    Consumer,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SchemaRegistry {
    /// Without credentials. It can have a path, which a client must keep.
    pub url: url::Url,
    /// Both or none.
    pub username: Option<String>,
    pub password: Option<Secret>,
    pub bearer_token: Option<Secret>,
    /// PEM, in addition to the system's roots.
    pub ca_file: Option<PathBuf>,
}

impl SchemaRegistry {
    pub fn read(settings: &Settings) -> Result<Self, Problems> {
        check::schema_registry(settings).map_err(Problems)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Iceberg {
    pub catalog: Catalog,
    /// `sqlite`: a path. `rest`: an address.
    pub uri: String,
    /// `sqlite`: a folder. `rest`: the catalog's name of the warehouse.
    pub warehouse: String,
    pub ca_file: Option<PathBuf>,
    pub table: TableName,
    /// Iceberg's names, verbatim.
    pub properties: Properties,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Catalog {
    Rest,
    Sqlite,
}

/// `market_data.gold_crypto_trades`: the last part is the table, all before it the namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TableName {
    /// Never empty.
    pub namespace: Vec<String>,
    pub name: String,
}

impl std::fmt::Display for TableName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.namespace.join("."), self.name)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Gold {
    pub commit_interval: Duration,
    pub idle_commit_interval: Duration,
    pub batch_rows_max: u64,
    pub batch_bytes_max: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EventTime {
    pub watermark_delay: Duration,
    pub late: Late,
    pub idle_timeout: Duration,
    pub future_max: Duration,
    pub past_max: Duration,
}

/// What becomes of a record that is late and no duplicate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Late {
    Admit,
    DeadLetter,
    Drop,
}

impl Late {
    /// As it is written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admit => "admit",
            Self::DeadLetter => "dead-letter",
            Self::Drop => "drop",
        }
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dedup {
    pub state_dir: PathBuf,
}

#[derive(Clone, PartialEq, Debug)]
pub struct DeadLetter {
    pub topic: Topic,
    /// 0 to 1.
    pub rate_max: f64,
    pub rate_min: u64,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes, for the whole process.
    pub memory_max: u64,
    pub stall_timeout: Duration,
    pub shutdown_timeout: Duration,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Maintenance {
    pub enabled: bool,
    pub orphan_age: Duration,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Http {
    /// None: switched off.
    pub listen: Option<SocketAddr>,
}

impl Http {
    pub fn read(settings: &Settings) -> Result<Self, Problems> {
        check::http(settings).map_err(Problems)
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Log {
    pub format: LogFormat,
    /// A level, or levels by module: `info,sluice::source=debug`.
    pub level: String,
    /// The field `job` of every line.
    pub job: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    Json,
    Text,
}

#[cfg(test)]
mod tests;
