//! `sluice config check` and `sluice config show`.

use clap::Subcommand;
use serde::Serialize;

use super::output::columns;
use super::{Finished, Global, parts};
use crate::config::{Config, Kafka, shown};
use crate::error::Stop;
use crate::source::settings::{Role, client_config};

#[derive(Subcommand, Clone, Debug)]
pub enum ConfigCommand {
    /// Read and check the configuration, touching nothing
    #[command(after_help = "Example:\n  sluice config check --config /etc/sluice/sluice.toml")]
    Check,
    /// Print the effective settings with their origin, secrets redacted
    #[command(after_help = "Example:\n  SLUICE__GOLD__COMMIT_INTERVAL=10s sluice config show --output json")]
    Show,
}

impl ConfigCommand {
    pub fn run(self, global: &Global) -> Finished {
        let (config, settings) = Config::load(&global.sources())?;
        match self {
            Self::Check => {
                check_kafka_properties(&config.kafka)?;
                #[derive(Serialize)]
                struct Checked {
                    ok: bool,
                }
                global.output.facts(&Checked { ok: true }, || "OK\n".into())
            }
            Self::Show => {
                let lines = shown(&settings);
                global.output.facts(&lines, || {
                    let rows: Vec<Vec<String>> = lines
                        .iter()
                        .map(|line| {
                            let note = line.without_effect.as_ref().map(|why| format!("no effect: {why}"));
                            vec![line.key.clone(), line.value.clone(), line.origin.clone(), note.unwrap_or_default()]
                        })
                        .collect();
                    columns(&["KEY", "VALUE", "ORIGIN", "NOTE"], &rows)
                })
            }
        }
    }
}

/// What librdkafka itself says to its properties, and which of them would break a guarantee; nothing is connected.
fn check_kafka_properties(kafka: &Kafka) -> Result<(), Stop> {
    let connection = parts::connection(kafka);
    for role in [Role::Consumer { group_id: &kafka.group_id }, Role::Admin, Role::DeadLetters] {
        client_config(&connection, role)?;
    }
    Ok(())
}
