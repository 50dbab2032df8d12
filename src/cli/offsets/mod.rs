//! `sluice offsets …`: what is asked for, and how the answers are printed.

mod describe;
mod reset;

use std::path::PathBuf;

use clap::Subcommand;

pub use describe::{DescribedOffsets, PartitionRow, WentBack, read_earlier, went_back};
pub use reset::{MoveRow, PlannedReset, ResetArgs, ResetScope, ResetTo};

#[derive(Subcommand, Clone, Debug)]
pub enum OffsetsCommand {
    /// Per partition: log start and end, group offset, table offset, lag, owner
    #[command(
        after_help = "Example:\n  sluice offsets describe --output json > before.json\n  sluice offsets describe --compare before.json"
    )]
    Describe {
        /// An earlier answer as JSON: exit 0 only if no table offset went back
        #[arg(long, value_name = "FILE")]
        compare: Option<PathBuf>,
    },
    Reset(ResetArgs),
}
