//! From single settings, each right for itself, to a configuration that is right as a whole.

use std::net::{Ipv4Addr, SocketAddr};

use super::key::ICEBERG_PROPERTIES;
use super::settings::{Setting, Value, batch_bytes_most};
use super::units::{show_bytes, show_duration};
use super::*;

mod kafka;

use kafka::is_topic_name;
pub use kafka::kafka;

/// Least `limits.memory_max`: below it librdkafka's queues and one batch don't fit together.
pub const MEMORY_FLOOR: u64 = 128 << 20;

type Checked<T> = Result<T, Vec<Problem>>;

/// Collects what is wrong, each with the origin of the setting it is about.
struct Findings<'a> {
    settings: &'a Settings,
    problems: Vec<Problem>,
}

impl<'a> Findings<'a> {
    fn new(settings: &'a Settings) -> Self {
        Self { settings, problems: Vec::new() }
    }

    /// `wrong` is told behind the key and its value.
    fn add(&mut self, name: &str, wrong: &str, fix: impl Into<String>) {
        let problem = match self.settings.get(name) {
            Some(setting) => Problem::new(name, format!("= {:?} {wrong}", setting.shown), fix).at(&setting.origin),
            None => Problem::new(name, wrong, fix),
        };
        self.problems.push(problem);
    }

    fn not_empty(&mut self, name: &str) {
        if self.settings.text(name).trim().is_empty() {
            self.add(name, "is empty", "write a value, or remove the key to have the default if there is one");
        }
    }

    fn above_zero(&mut self, names: &[&str]) {
        for name in names {
            if self.settings.duration(name).is_zero() {
                self.add(name, "must be more than 0", "write a duration such as \"30s\"");
            }
        }
    }

    fn value<T>(self, make: impl FnOnce(&Settings) -> T) -> Checked<T> {
        if self.problems.is_empty() { Ok(make(self.settings)) } else { Err(self.problems) }
    }
}

pub fn config(settings: &Settings) -> Checked<Config> {
    let mut problems = Vec::new();
    let mut keep = |found: Vec<Problem>| problems.extend(found);
    let kafka = kafka(settings).map_err(&mut keep);
    let schema_registry = schema_registry(settings).map_err(&mut keep);
    let iceberg = iceberg(settings).map_err(&mut keep);
    let gold = gold(settings).map_err(&mut keep);
    let event_time = event_time(settings).map_err(&mut keep);
    let dedup = dedup(settings).map_err(&mut keep);
    let dead_letter = dead_letter(settings).map_err(&mut keep);
    let limits = limits(settings).map_err(&mut keep);
    let maintenance = maintenance(settings).map_err(&mut keep);
    let http = http(settings).map_err(&mut keep);
    let log = log(settings).map_err(&mut keep);
    keep(together(settings));
    let whole = (|| {
        Ok::<_, ()>(Config {
            kafka: kafka?,
            schema_registry: schema_registry?,
            iceberg: iceberg?,
            gold: gold?,
            event_time: event_time?,
            dedup: dedup?,
            dead_letter: dead_letter?,
            limits: limits?,
            maintenance: maintenance?,
            http: http?,
            log: log?,
        })
    })();
    match whole {
        Ok(config) if problems.is_empty() => Ok(config),
        _ => Err(problems),
    }
}

/// What no section can judge for itself.
fn together(settings: &Settings) -> Vec<Problem> {
    let mut findings = Findings::new(settings);
    let letters = settings.text("dead_letter.topic");
    if settings.list("kafka.topics").contains(&letters) {
        findings.add(
            "dead_letter.topic",
            "is one of kafka.topics: letters would be read as trades",
            "name a topic of its own",
        );
    }
    let batch = settings.number("gold.batch_bytes_max");
    let memory = settings.number("limits.memory_max");
    let most = batch_bytes_most(memory);
    if memory >= MEMORY_FLOOR && batch > most {
        let fix = format!(
            "at most {}, a quarter of limits.memory_max, which holds two batches and what reads and writes them",
            show_bytes(most)
        );
        findings.add("gold.batch_bytes_max", "is too much for limits.memory_max", fix);
    }
    findings.problems
}

fn properties(settings: &Settings, section: &str) -> Properties {
    let text = |setting: &Setting| match &setting.value {
        Value::Text(text) => text.clone(),
        _ => unreachable!("{} is a property, and properties are texts", setting.name),
    };
    settings.properties(section).map(|(name, setting)| (name, text(setting))).collect()
}

pub fn schema_registry(settings: &Settings) -> Checked<SchemaRegistry> {
    let mut findings = Findings::new(settings);
    let url = url::Url::parse(&settings.text("schema_registry.url")).expect("the key takes addresses only");
    if !url.username().is_empty() || url.password().is_some() {
        findings.add("schema_registry.url", "holds credentials", "write username and password_file instead");
    }
    let username = settings.optional_text("schema_registry.username");
    let password = settings.optional_secret("schema_registry.password_file");
    let bearer_token = settings.optional_secret("schema_registry.bearer_token_file");
    match (&username, &password) {
        (Some(_), None) => findings.add("schema_registry.username", "has no password", "write password_file too"),
        (None, Some(_)) => findings.add("schema_registry.password_file", "has no username", "write username too"),
        _ => {}
    }
    if bearer_token.is_some() && username.is_some() {
        findings.add("schema_registry.bearer_token_file", "stands beside username", "keep one of the two");
    }
    check_ca_file(&mut findings, "schema_registry.ca_file");
    findings.value(|s| SchemaRegistry {
        url,
        username,
        password,
        bearer_token,
        ca_file: s.optional_path("schema_registry.ca_file"),
    })
}

fn check_ca_file(findings: &mut Findings<'_>, name: &str) {
    let Some(path) = findings.settings.optional_path(name) else { return };
    if let Err(error) = std::fs::File::open(&path) {
        findings.add(name, &format!("can't be read: {error}"), "name a PEM file that this user may read");
    }
}

fn iceberg(settings: &Settings) -> Checked<Iceberg> {
    let mut findings = Findings::new(settings);
    if settings.text("iceberg.catalog") == "rest" {
        findings.add("iceberg.catalog", "is not built yet", "write catalog = \"sqlite\" under [iceberg]");
    }
    findings.not_empty("iceberg.uri");
    findings.not_empty("iceberg.warehouse");
    for name in ["iceberg.uri", "iceberg.warehouse"] {
        let text = settings.text(name);
        if text.contains("://") && local_path(&text).contains("://") {
            findings.add(
                name,
                "is not a local path, which catalog = \"sqlite\" needs",
                "write the path of a file or folder",
            );
        }
    }
    check_ca_file(&mut findings, "iceberg.ca_file");
    let table = table_name(&settings.text("iceberg.table"));
    if table.is_none() {
        findings.add(
            "iceberg.table",
            "is not a namespace and a name",
            "write for instance \"market_data.gold_crypto_trades\"",
        );
    }
    findings.value(|s| Iceberg {
        catalog: Catalog::Sqlite,
        uri: local_path(&s.text("iceberg.uri")).into(),
        warehouse: local_path(&s.text("iceberg.warehouse")).into(),
        ca_file: s.optional_path("iceberg.ca_file"),
        table: table.expect("its absence is among the problems"),
        properties: properties(s, ICEBERG_PROPERTIES),
    })
}

/// As pyiceberg's users write them: `sqlite:///rel.db`, `sqlite:////abs.db`, `file:///folder`.
fn local_path(text: &str) -> &str {
    text.strip_prefix("sqlite:///").or_else(|| text.strip_prefix("file://")).unwrap_or(text)
}

fn table_name(text: &str) -> Option<TableName> {
    let mut parts: Vec<String> = text.split('.').map(str::to_owned).collect();
    let legal = |part: &String| !part.is_empty() && !part.contains(['/', '\\', '\0', '\u{1f}']) && part.trim() == part;
    if parts.len() < 2 || !parts.iter().all(legal) {
        return None;
    }
    let name = parts.pop()?;
    Some(TableName { namespace: parts, name })
}

fn gold(settings: &Settings) -> Checked<Gold> {
    let mut findings = Findings::new(settings);
    findings.above_zero(&["gold.commit_interval", "gold.idle_commit_interval"]);
    if settings.number("gold.batch_rows_max") == 0 {
        findings.add("gold.batch_rows_max", "must be more than 0", "write for instance 1000000");
    }
    if settings.number("gold.batch_bytes_max") < 1 << 20 {
        findings.add("gold.batch_bytes_max", "is too small", "at least 1MiB");
    }
    findings.value(|s| Gold {
        commit_interval: s.duration("gold.commit_interval"),
        idle_commit_interval: s.duration("gold.idle_commit_interval"),
        batch_rows_max: s.number("gold.batch_rows_max"),
        batch_bytes_max: s.number("gold.batch_bytes_max"),
    })
}

fn event_time(settings: &Settings) -> Checked<EventTime> {
    let mut findings = Findings::new(settings);
    findings.above_zero(&["event_time.idle_timeout", "event_time.future_max", "event_time.past_max"]);
    let delay = settings.duration("event_time.watermark_delay");
    let past = settings.duration("event_time.past_max");
    if past <= delay {
        let fix = format!("more than event_time.watermark_delay, which is {}", show_duration(delay));
        findings.add("event_time.past_max", "would refuse records that aren't even late", fix);
    }
    findings.value(|s| EventTime {
        watermark_delay: delay,
        late: match s.text("event_time.late").as_str() {
            "drop" => Late::Drop,
            "dead-letter" => Late::DeadLetter,
            _ => Late::Admit,
        },
        idle_timeout: s.duration("event_time.idle_timeout"),
        future_max: s.duration("event_time.future_max"),
        past_max: past,
    })
}

fn dedup(settings: &Settings) -> Checked<Dedup> {
    let mut findings = Findings::new(settings);
    findings.not_empty("dedup.state_dir");
    findings.value(|s| Dedup { state_dir: s.text("dedup.state_dir").into() })
}

fn dead_letter(settings: &Settings) -> Checked<DeadLetter> {
    let mut findings = Findings::new(settings);
    let topic = settings.text("dead_letter.topic");
    if !is_topic_name(&topic) {
        findings.add("dead_letter.topic", "can't be a topic", "letters, digits, '.', '_' and '-'");
    }
    findings.value(|s| DeadLetter {
        topic: topic.into(),
        rate_max: s.fraction("dead_letter.rate_max"),
        rate_min: s.number("dead_letter.rate_min"),
    })
}

fn limits(settings: &Settings) -> Checked<Limits> {
    let mut findings = Findings::new(settings);
    findings.above_zero(&["limits.stall_timeout", "limits.shutdown_timeout"]);
    if settings.number("limits.memory_max") < MEMORY_FLOOR {
        findings.add("limits.memory_max", "is too little to work with", format!("at least {}", show_bytes(MEMORY_FLOOR)));
    }
    findings.value(|s| Limits {
        memory_max: s.number("limits.memory_max"),
        stall_timeout: s.duration("limits.stall_timeout"),
        shutdown_timeout: s.duration("limits.shutdown_timeout"),
    })
}

fn maintenance(settings: &Settings) -> Checked<Maintenance> {
    let mut findings = Findings::new(settings);
    findings.above_zero(&["maintenance.orphan_age"]);
    findings.value(|s| Maintenance {
        enabled: s.switch("maintenance.enabled"),
        orphan_age: s.duration("maintenance.orphan_age"),
    })
}

pub fn http(settings: &Settings) -> Checked<Http> {
    let mut findings = Findings::new(settings);
    let text = settings.text("http.listen");
    let listen = listen_address(&text);
    if listen.is_none() && !text.is_empty() {
        findings.add(
            "http.listen",
            "is not an address and a port",
            "write for instance \"0.0.0.0:9464\", or \"\" to switch it off",
        );
    }
    findings.value(|_| Http { listen })
}

/// `address:port`, or `localhost:port`. None where it is neither.
fn listen_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => port.parse().ok().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
        None => text.parse().ok(),
    }
}

fn log(settings: &Settings) -> Checked<Log> {
    let mut findings = Findings::new(settings);
    let level = settings.text("log.level");
    if !level.split(',').all(is_level_directive) {
        findings.add(
            "log.level",
            "is not a level",
            "one of error, warn, info, debug, trace; by module: \"info,sluice::source=debug\"",
        );
    }
    findings.value(|s| Log {
        format: if s.text("log.format") == "text" { LogFormat::Text } else { LogFormat::Json },
        level,
        job: s.text("log.job"),
    })
}

fn is_level_directive(directive: &str) -> bool {
    let level = match directive.split_once('=') {
        Some((module, level)) if !module.trim().is_empty() => level,
        Some(_) => return false,
        None => directive,
    };
    matches!(level.trim(), "off" | "error" | "warn" | "info" | "debug" | "trace")
}
