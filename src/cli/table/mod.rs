//! `sluice table …`: what is asked for, and how the answers are printed.

mod describe;
mod snapshots;

use clap::Subcommand;

pub use describe::{Description, LaneRow, describe};
pub use snapshots::{SnapshotRow, print_snapshots, snapshots};

#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub enum TableCommand {
    /// Make the Gold table; done already when it exists and is the right one, refused with the difference when it isn't
    #[command(after_help = "Example:\n  sluice table create --config sluice.toml")]
    Create,
    /// What the table holds, and the lanes of its groups
    #[command(after_help = "Example:\n  sluice table describe --output json")]
    Describe,
    /// The history of main, newest first
    #[command(after_help = "Example:\n  sluice table snapshots --limit 20")]
    Snapshots {
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
}
