//! `sluice run`: what it is asked for.

use clap::Args;

/// Read Silver, write Gold: the service
///
/// The table says where to go on. SIGTERM and SIGINT finish the batch within limits.shutdown_timeout, commit, leave the
/// group and end with 0; a second one ends at once.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = "Example:\n  sluice run --config /etc/sluice/sluice.toml\n  sluice run --until-caught-up")]
pub struct RunArgs {
    /// End when everything is in the table that Kafka held at the start
    #[arg(long)]
    pub until_caught_up: bool,
}
