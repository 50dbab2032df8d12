//! `sluice config check` and `sluice config show`.

use clap::Subcommand;
use serde::Serialize;

use super::output::columns;
use super::{Finished, Global};
use crate::config::{Config, shown};

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
        let (_, settings) = Config::load(&global.sources())?;
        match self {
            Self::Check => {
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
