//! `sluice table create`, `describe` and `snapshots`.

pub mod describe;

use std::sync::Arc;

use clap::Subcommand;

use self::describe::{FileTotals, TableDescription};
use super::parts::{Lake, SystemClock, once};
use super::{Finished, Global};
use crate::config::Config;
use crate::error::Stop;
use crate::ports::Table;
use crate::sink::catalog::LoadedTable;
use crate::sink::listing;
use crate::types::SnapshotId;

#[derive(Subcommand, Clone, Debug)]
pub enum TableCommand {
    /// Make the Gold table; no error where it is there already and is a Gold table
    #[command(after_help = "Example:\n  sluice table create")]
    Create,
    /// Show schema, partitions, properties, files and lanes
    #[command(after_help = "Example:\n  sluice table describe --output json")]
    Describe,
    /// List the history of main, newest first
    #[command(after_help = "Example:\n  sluice table snapshots")]
    Snapshots,
}

impl TableCommand {
    pub async fn run(self, global: &Global) -> Finished {
        let (config, _) = Config::load(&global.sources())?;
        let lake = Lake::of(&config, Arc::new(SystemClock::default()))?;
        match self {
            Self::Create => {
                once(|| lake.table.create()).await?;
                global.output.facts(&described(&lake, &config).await?, || format!("{} is there\n", config.iceberg.table))
            }
            Self::Describe => {
                let description = described(&lake, &config).await?;
                global.output.facts(&description, || description.text())
            }
            Self::Snapshots => {
                let loaded = existing(&lake, &config).await?;
                let list = describe::snapshots(&loaded.metadata);
                global.output.facts(&list, || list.text())
            }
        }
    }
}

/// The table, which must be there.
pub async fn existing(lake: &Lake, config: &Config) -> Result<LoadedTable, Stop> {
    once(|| lake.table.metadata()).await?.ok_or_else(|| {
        Stop::inconsistent(
            format!("table {} doesn't exist in {}", config.iceberg.table, config.iceberg.uri),
            "make it with `sluice table create`, or check iceberg.uri and iceberg.table",
        )
    })
}

async fn described(lake: &Lake, config: &Config) -> Result<TableDescription, Stop> {
    let loaded = existing(lake, config).await?;
    let mut totals = FileTotals::default();
    if let Some(head) = loaded.metadata.current_snapshot_id() {
        let files = once(|| listing::files_of(&*lake.store, &loaded.metadata, SnapshotId(head))).await?;
        for file in &files.data {
            totals.files += 1;
            totals.rows += file.file.record_count();
            totals.bytes += file.file.file_size_in_bytes();
        }
    }
    Ok(describe::describe(&config.iceberg.table.to_string(), &loaded.metadata, Some(totals)))
}
