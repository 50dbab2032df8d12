//! `sluice.toml` of a test: short intervals, SQLite catalog, a folder as warehouse.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::users::Login;

#[derive(Clone)]
pub struct Config {
    root: Table,
}

impl Config {
    pub fn new(bootstrap: &str, registry: &str, dir: &Path) -> Self {
        let text = |path: PathBuf| Value::String(path.to_str().expect("a path in UTF-8").to_owned());
        let config = Self { root: Table::new() }
            .set("kafka.bootstrap_servers", bootstrap)
            // Sessions end soon, so that a killed process doesn't hold its partitions for long.
            .set_in(&["kafka", "properties", "session.timeout.ms"], "3000")
            .set_in(&["kafka", "properties", "heartbeat.interval.ms"], "500")
            .set("schema_registry.url", registry)
            .set("iceberg.catalog", "sqlite")
            .set("iceberg.uri", text(dir.join("catalog.db")))
            .set("iceberg.warehouse", text(dir.join("warehouse")))
            .set("gold.commit_interval", "1s")
            .set("gold.idle_commit_interval", "2s")
            .set("limits.memory_max", "512MiB")
            .set("log.level", "info");
        config.instance(dir, 0)
    }

    /// What each instance has for itself: state folder and HTTP port.
    pub fn instance(self, dir: &Path, number: usize) -> Self {
        let state = dir.join(format!("state-{number}"));
        self.set("dedup.state_dir", state.to_str().expect("a path in UTF-8"))
            .set("http.listen", format!("127.0.0.1:{}", port()))
    }

    /// Sets `section.key`.
    pub fn set(self, path: &str, value: impl Into<Value>) -> Self {
        self.set_in(&path.split('.').collect::<Vec<_>>(), value)
    }

    pub fn set_in(mut self, path: &[&str], value: impl Into<Value>) -> Self {
        let (key, sections) = path.split_last().expect("a key");
        let mut table = &mut self.root;
        for section in sections {
            let entry = table.entry(*section).or_insert_with(|| Value::Table(Table::new()));
            table = entry.as_table_mut().expect("a section");
        }
        table.insert((*key).to_owned(), value.into());
        self
    }

    /// Kafka as this user.
    pub fn log_in(self, login: &Login) -> Self {
        let config = self.set("kafka.bootstrap_servers", login.bootstrap_servers.as_str());
        let set = |config: Self, (key, value): &(&str, String)| config.set_in(&["kafka", "properties", key], value.as_str());
        login.properties.iter().fold(config, set)
    }

    pub fn get(&self, path: &str) -> &str {
        let found = path.split('.').try_fold(None, |at: Option<&Value>, key| {
            let table = at.map_or(Some(&self.root), Value::as_table)?;
            Some(Some(table.get(key)?))
        });
        found.flatten().and_then(Value::as_str).unwrap_or_else(|| panic!("no text at {path}"))
    }

    /// `kafka.topics`.
    pub fn topics(&self) -> Vec<String> {
        let topics = self.root["kafka"]["topics"].as_array().expect("topics are a list");
        topics.iter().map(|t| t.as_str().expect("a topic is a text").to_owned()).collect()
    }

    pub fn write(&self, path: &Path) {
        std::fs::write(path, self.root.to_string()).expect("the configuration is written");
    }
}

/// A port that nobody listens on, below those that the kernel gives to outgoing connections.
fn port() -> u16 {
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 22_000 + (std::process::id() % 700) as u16 * 10;
    loop {
        let port = base + NEXT.fetch_add(1, Ordering::Relaxed) % 3000;
        if std::net::TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
