//! The schema registry: what it answers, what is kept on disk, and when an unknown id is final.

mod client;
mod disk;
#[cfg(test)]
mod tests;
pub mod unknown;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::decode::registry::client::{Answer, Client, Registered};
use crate::decode::registry::disk::Disk;
use crate::decode::registry::unknown::{ASKED_MS, Asked, Control, UnknownIds, Verdict, judge};
use crate::error::Stop;
use crate::ports::{Clock, Down, PortError, SchemaAnswer, Schemas};

/// So many ids that were known before, the greatest of them, are asked for before an unknown one is believed.
const CONTROLS: usize = 3;

/// Section `schema_registry` of the configuration, with secrets already read.
#[derive(Clone)]
pub struct RegistryConfig {
    /// Base URL of a Confluent-compatible API, without credentials; a path is kept.
    pub url: String,
    pub credentials: Credentials,
    /// PEM certificates that are trusted besides the system's.
    pub ca_file: Option<PathBuf>,
    /// `dedup.state_dir`; none for no cache on disk.
    pub state_dir: Option<PathBuf>,
}

#[derive(Clone)]
pub enum Credentials {
    None,
    Basic { username: String, password: String },
    Bearer { token: String },
}

/// Requests by outcome, since the start: `sluice_registry_requests_total`.
#[derive(Default, Debug)]
pub struct RegistryRequests {
    pub known: AtomicU64,
    pub unknown: AtomicU64,
    pub failed: AtomicU64,
}

pub struct Registry {
    client: Client,
    disk: Option<Disk>,
    clock: Arc<dyn Clock>,
    unknown: Mutex<UnknownIds>,
    /// Ids that the registry knew, on disk or in this process.
    known: Mutex<BTreeSet<u32>>,
    /// An answer has been had: from now on refused credentials are a fault that may pass.
    answered: AtomicBool,
    requests: Arc<RegistryRequests>,
}

impl Registry {
    /// Asks for nothing yet. Stops with the key that is wrong.
    pub fn new(config: &RegistryConfig, clock: Arc<dyn Clock>) -> Result<Self, Stop> {
        let client = Client::new(config)?;
        let disk = config.state_dir.as_deref().map(|dir| Disk::new(dir, config.url.trim_end_matches('/')));
        let known = disk.iter().flat_map(Disk::ids).collect();
        Ok(Self {
            client,
            disk,
            clock,
            unknown: Mutex::default(),
            known: Mutex::new(known),
            answered: AtomicBool::new(false),
            requests: Arc::default(),
        })
    }

    pub fn requests(&self) -> Arc<RegistryRequests> {
        self.requests.clone()
    }

    async fn ask(&self, id: u32) -> Result<SchemaAnswer, PortError> {
        match self.client.schema(id).await {
            Answer::Schema(registered) => {
                self.count(&self.requests.known);
                self.answered.store(true, Ordering::Relaxed);
                self.unknown.lock().expect("no holder of this lock panics").known(id);
                self.known.lock().expect("no holder of this lock panics").insert(id);
                if let Some(disk) = &self.disk {
                    disk.write(id, &registered);
                }
                Ok(answer(registered))
            }
            Answer::Unknown => {
                self.count(&self.requests.unknown);
                self.answered.store(true, Ordering::Relaxed);
                self.judge_unknown(id).await
            }
            Answer::CredentialsRefused(reason) => {
                self.count(&self.requests.failed);
                match self.answered.load(Ordering::Relaxed) {
                    true => Err(down(reason)),
                    false => Err(credentials_refused(&reason).into()),
                }
            }
            Answer::Down(reason) => {
                self.count(&self.requests.failed);
                Err(down(reason))
            }
        }
    }

    async fn judge_unknown(&self, id: u32) -> Result<SchemaAnswer, PortError> {
        let now = self.clock.monotonic_ms();
        let asked = self.unknown.lock().expect("no holder of this lock panics").unknown(id, now);
        if let Asked::TooShort { for_ms } = asked {
            return Err(down(format!("it doesn't know schema id {id}; asked for {for_ms} ms of {ASKED_MS}")));
        }
        match judge(self.control().await?) {
            Verdict::DeadLetter => Ok(SchemaAnswer::Unknown),
            Verdict::RegistryLostData { cached } => {
                let place = self.disk.as_ref().map(|disk| format!(" under {}", disk.folder().display()));
                Err(down(format!(
                    "it doesn't know schema id {id}, and no longer knows id {cached} either, which it had before: it has lost \
                     data. Restore it; if {cached} was deleted on purpose, remove {cached}.json{} and restart",
                    place.unwrap_or_default()
                )))
            }
        }
    }

    async fn control(&self) -> Result<Control, PortError> {
        let ids: Vec<u32> = {
            let known = self.known.lock().expect("no holder of this lock panics");
            known.iter().rev().take(CONTROLS).copied().collect()
        };
        for id in &ids {
            match self.client.knows(*id).await {
                Ok(true) => self.count(&self.requests.known),
                Ok(false) => {
                    self.count(&self.requests.unknown);
                    return Ok(Control::Lost(*id));
                }
                Err(reason) => {
                    self.count(&self.requests.failed);
                    return Err(down(reason));
                }
            }
        }
        Ok(if ids.is_empty() { Control::NothingToAsk } else { Control::StillKnown })
    }

    fn count(&self, outcome: &AtomicU64) {
        outcome.fetch_add(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Schemas for Registry {
    /// From disk, else from the registry. `Unknown` is final for now: it was asked for long enough, and the registry still
    /// knows what it knew. Until then `Down`.
    async fn schema(&self, id: u32) -> Result<SchemaAnswer, PortError> {
        match self.disk.as_ref().and_then(|disk| disk.read(id)) {
            Some(registered) => Ok(answer(registered)),
            None => self.ask(id).await,
        }
    }
}

fn answer(registered: Registered) -> SchemaAnswer {
    match registered.schema_type.as_str() {
        "AVRO" => SchemaAnswer::Known { schema: registered.schema, references: registered.references },
        other => SchemaAnswer::NotAvro { schema_type: other.into() },
    }
}

fn down(reason: String) -> PortError {
    Down { dependency: "schema registry", reason }.into()
}

fn credentials_refused(reason: &str) -> Stop {
    Stop::usage(
        format!("the schema registry refuses the credentials: {reason}"),
        "check schema_registry.username and password_file, or bearer_token_file",
    )
}
