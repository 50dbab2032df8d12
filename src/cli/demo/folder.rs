//! The folder of one demo: configuration, catalog, warehouse, state, ledger, log.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use crate::error::Stop;

pub const GROUP: &str = "sluice-demo";
pub const TABLE: &str = "market_data.gold_crypto_trades";
pub const DEAD_LETTERS: &str = "silver.trades.dlq";
/// Topics with their partitions.
pub const TOPICS: [(&str, i32); 2] = [("silver.binance.trades", 3), ("silver.kraken.trades", 3)];

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A folder that holds nothing yet; made where it is missing, a fresh temporary one where none is named. One that is
    /// used is refused: its table knows offsets of a cluster that is gone.
    pub fn prepare(named: Option<PathBuf>) -> Result<Self, Stop> {
        let path = named.unwrap_or_else(fresh);
        let unusable = |error: std::io::Error| {
            Stop::usage(
                format!("{} can't be used: {error}", path.display()),
                "name a folder where this user may write with --dir",
            )
        };
        std::fs::create_dir_all(&path).map_err(unusable)?;
        if std::fs::read_dir(&path).map_err(unusable)?.next().is_some() {
            return Err(Stop::usage(
                format!(
                    "{} is not empty: the Kafka of an earlier demo is gone, and its table can't go on with another",
                    path.display()
                ),
                "name an empty folder with --dir, or leave it out",
            ));
        }
        // Everything derived from it must mean the same to a child process and to whoever copies a line of the story.
        Ok(Self(path.canonicalize().map_err(unusable)?))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn config(&self) -> PathBuf {
        self.0.join("sluice.toml")
    }

    pub fn catalog(&self) -> PathBuf {
        self.0.join("catalog.db")
    }

    pub fn warehouse(&self) -> PathBuf {
        self.0.join("warehouse")
    }

    pub fn ledger(&self) -> PathBuf {
        self.0.join("ledger.jsonl")
    }

    pub fn log(&self) -> PathBuf {
        self.0.join("run.log")
    }

    /// Writes the configuration of the service.
    pub fn write_config(&self, bootstrap_servers: &str, registry: &str, listen: SocketAddr) -> Result<(), Stop> {
        let text = self.config_text(bootstrap_servers, registry, listen);
        let path = self.config();
        std::fs::write(&path, text).map_err(|error| {
            Stop::usage(format!("{} can't be written: {error}", path.display()), "make room, or name another --dir")
        })
    }

    fn config_text(&self, bootstrap_servers: &str, registry: &str, listen: SocketAddr) -> String {
        let quoted = |path: PathBuf| toml_text(&path.display().to_string());
        let topics: Vec<String> = TOPICS.iter().map(|(topic, _)| toml_text(topic)).collect();
        let mut text = String::new();
        let mut section = |name: &str, lines: &[(&str, String)]| {
            writeln!(text, "[{name}]").expect("a String takes everything");
            for (key, value) in lines {
                writeln!(text, "{key} = {value}").expect("a String takes everything");
            }
            text.push('\n');
        };
        section(
            "kafka",
            &[
                ("bootstrap_servers", toml_text(bootstrap_servers)),
                ("topics", format!("[{}]", topics.join(", "))),
                ("group_id", toml_text(GROUP)),
            ],
        );
        // A killed process gives its partitions back after the session: short, since the demo waits for it.
        section(
            "kafka.properties",
            &[("\"session.timeout.ms\"", "3000".into()), ("\"heartbeat.interval.ms\"", "500".into())],
        );
        section("schema_registry", &[("url", toml_text(registry))]);
        section(
            "iceberg",
            &[
                ("catalog", toml_text("sqlite")),
                ("uri", quoted(self.catalog())),
                ("warehouse", quoted(self.warehouse())),
                ("table", toml_text(TABLE)),
            ],
        );
        section("gold", &[("commit_interval", toml_text("1s"))]);
        section("dedup", &[("state_dir", quoted(self.0.join("state")))]);
        section("dead_letter", &[("topic", toml_text(DEAD_LETTERS))]);
        section("http", &[("listen", toml_text(&listen.to_string()))]);
        text
    }
}

/// A basic string: what JSON escapes, TOML reads.
fn toml_text(text: &str) -> String {
    serde_json::to_string(text).expect("texts are JSON")
}

fn fresh() -> PathBuf {
    let now = chrono::Utc::now().format("%Y%m%d-%H%M%S");
    std::env::temp_dir().join(format!("sluice-demo-{now}-{}", std::process::id()))
}

/// A loopback port that nobody listens on now.
pub fn free_port() -> Result<SocketAddr, Stop> {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map_err(|error| Stop::usage(format!("no port of 127.0.0.1 is free: {error}"), "end what holds them"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    #[test]
    fn the_configuration_of_the_demo_is_one_that_sluice_takes() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::prepare(Some(dir.path().join("de \"mo\" é"))).unwrap();
        folder.write_config("127.0.0.1:9092", "http://127.0.0.1:8081", "127.0.0.1:9464".parse().unwrap()).unwrap();
        let (config, _) = Config::load(&Sources { file: Some(folder.config()), ..Sources::default() }).unwrap();
        assert_eq!(config.iceberg.uri, folder.catalog().display().to_string());
        assert_eq!(config.kafka.topics.len(), 2);
        assert_eq!(config.iceberg.table.to_string(), TABLE);
    }

    #[test]
    fn a_used_folder_is_refused_and_a_fresh_one_made() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/demo");
        let folder = Folder::prepare(Some(path.clone())).unwrap();
        Folder::prepare(Some(path.clone())).expect("still empty");
        std::fs::write(folder.catalog(), "").unwrap();
        let stop = Folder::prepare(Some(path)).unwrap_err();
        assert!(stop.exit.code() == 2 && stop.what.contains("is not empty"), "{stop}");
    }
}
