//! Concrete parts from a configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::config::{self, Config};
use crate::decode::EventTimeBounds;
use crate::decode::registry::{Credentials, Registry, RegistryConfig};
use crate::error::Stop;
use crate::ports::{Clock, Down, PortError, Random};
use crate::sink::catalog::{Catalog, TableName, sqlite::SqliteCatalog};
use crate::sink::data_files::GoldFiles;
use crate::sink::file_layout::FileLayout;
use crate::sink::local_fs::{LocalFs, folder_uri};
use crate::sink::proven_store::ProvenStore;
use crate::sink::storage::ObjectStore;
use crate::sink::table::IcebergTable;
use crate::source::settings::Connection;
use crate::types::Micros;

pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn monotonic_ms(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }
    fn wall_ms(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => since.as_millis() as i64,
            Err(before) => -(before.duration().as_millis() as i64),
        }
    }
}

pub struct SystemRandom;

impl Random for SystemRandom {
    fn u64(&self) -> u64 {
        rand::random()
    }
    fn u128(&self) -> u128 {
        rand::random()
    }
}

/// The table and its files.
pub struct Lake {
    pub store: Arc<dyn ObjectStore>,
    pub catalog: Arc<dyn Catalog>,
    pub files: Arc<GoldFiles>,
    pub table: Arc<IcebergTable>,
}

impl Lake {
    /// Asks for nothing yet.
    pub fn of(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, Stop> {
        let iceberg = &config.iceberg;
        let name: TableName = iceberg.table.to_string().parse().map_err(|error| {
            Stop::usage(
                format!("iceberg.table: {error}"),
                "write namespace.table, such as \"market_data.gold_crypto_trades\"",
            )
        })?;
        let warehouse = folder_uri(&iceberg.warehouse).map_err(|error| {
            Stop::usage(
                format!("iceberg.warehouse = {:?}: {error}", iceberg.warehouse),
                "name a folder that can be created or written to",
            )
        })?;
        let store: Arc<dyn ObjectStore> = Arc::new(ProvenStore::new(LocalFs));
        let catalog: Arc<dyn Catalog> =
            Arc::new(SqliteCatalog::new(name, PathBuf::from(&iceberg.uri), warehouse, store.clone()));
        let files = Arc::new(GoldFiles::new(store.clone()));
        let random = Arc::new(SystemRandom);
        let (laid_out, name) = (files.clone(), iceberg.table.to_string());
        let table = IcebergTable::new(catalog.clone(), store.clone(), files.clone(), clock, random);
        let table = table.telling(move |metadata| {
            laid_out.use_layout(FileLayout::of(metadata).map_err(|error| error.into_stop(&name))?);
            Ok(())
        });
        Ok(Self { store, catalog, files, table: Arc::new(table) })
    }
}

pub fn connection(kafka: &config::Kafka) -> Connection {
    let properties: BTreeMap<String, String> =
        kafka.properties.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    Connection { bootstrap_servers: kafka.bootstrap_servers.clone(), properties }
}

pub fn registry(config: &Config, clock: Arc<dyn Clock>) -> Result<Registry, Stop> {
    let settings = &config.schema_registry;
    let credentials = match (&settings.username, &settings.password, &settings.bearer_token) {
        (Some(username), Some(password), _) => {
            Credentials::Basic { username: username.clone(), password: password.expose().into() }
        }
        (_, _, Some(token)) => Credentials::Bearer { token: token.expose().into() },
        _ => Credentials::None,
    };
    let registry = RegistryConfig {
        url: settings.url.to_string(),
        credentials,
        ca_file: settings.ca_file.clone(),
        state_dir: Some(config.dedup.state_dir.clone()),
    };
    Registry::new(&registry, clock)
}

/// Every secret of a configuration: none may ever be in a log line or on a page.
pub fn secrets(config: &Config) -> Vec<String> {
    let registry = &config.schema_registry;
    let mut secrets: Vec<String> =
        [&registry.password, &registry.bearer_token].into_iter().flatten().map(|s| s.expose().to_string()).collect();
    for properties in [&config.kafka.properties, &config.iceberg.properties] {
        let secret = properties.iter().filter(|(name, _)| config::secret::is_secret_name(name));
        secrets.extend(secret.map(|(_, value)| value.to_string()));
    }
    secrets
}

pub fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub fn bounds(event_time: &config::EventTime) -> EventTimeBounds {
    EventTimeBounds { future_max: micros(event_time.future_max), past_max: micros(event_time.past_max) }
}

/// How long a one-shot command waits for a dependency that doesn't answer: enough for one request to time out and for a
/// second try.
const PATIENCE: Duration = Duration::from_secs(12);
/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Asks a dependency for a command that ends: again and again while it doesn't answer, then gives up (exit 5). What is still
/// being asked then is left alone.
pub async fn once<T, F>(attempt: impl Fn() -> F) -> Result<T, Stop>
where
    F: Future<Output = Result<T, PortError>>,
{
    let mut last = None;
    let asking = async {
        loop {
            match attempt().await {
                Ok(value) => return Ok(value),
                Err(PortError::Stop(stop)) => return Err(stop),
                Err(PortError::Down(down)) => last = Some(down),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(given_up(last)),
    }
}

fn given_up(last: Option<Down>) -> Stop {
    let Some(down) = last else {
        return Stop::gave_up(format!("no answer within {} s", PATIENCE.as_secs()), "see what hangs, then try again");
    };
    let remedy = format!("see that the {} answers, then try again", down.dependency);
    Stop::gave_up(down.to_string(), remedy)
}
