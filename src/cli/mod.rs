//! Commands: the only place where concrete parts meet.

pub mod arguments;
mod config;
pub mod demo;
mod healthcheck;
mod interrupted;
pub mod offsets;
pub mod output;
pub mod parts;
pub mod produce;
pub mod progress;
mod run;
mod simulate;
pub mod table;
pub mod verify;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::Sources;
use crate::error::Stop;
use output::Output;

/// How a command ends: with an exit code of its own choice, or with a stop that is told on stderr.
pub type Finished = Result<ExitCode, Stop>;

/// Kafka topics into an Iceberg table, exactly once, deduplicated
#[derive(Parser)]
#[command(
    name = "sluice",
    version,
    propagate_version = true,
    after_help = "Every command has an example: sluice COMMAND --help"
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Args, Clone)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Configuration; else ./sluice.toml, else /etc/sluice/sluice.toml
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Override a setting, such as gold.commit_interval=10s (repeatable; above SLUICE__… variables)
    #[arg(long = "set", global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// How facts are printed
    #[arg(long, global = true, value_enum, default_value_t)]
    pub output: Output,
}

impl Global {
    /// Where settings come from: the named file, this process's variables, `--set`.
    pub fn sources(&self) -> Sources {
        Sources::of_process(self.config.clone(), self.set.clone())
    }
}

#[derive(Subcommand)]
pub enum Command {
    Demo(demo::DemoArgs),
    Run(run::RunArgs),
    /// Make, describe and list the Gold table
    #[command(subcommand)]
    Table(table::TableCommand),
    /// Show and move the offsets that the table holds
    #[command(subcommand)]
    Offsets(offsets::command::OffsetsCommand),
    Verify(verify::VerifyArgs),
    Produce(produce::ProduceArgs),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(config::ConfigCommand),
    Healthcheck(healthcheck::HealthcheckArgs),
    Simulate(simulate::SimulateArgs),
    /// Print a completion script
    #[command(after_help = "Example:\n  sluice completions bash > /usr/share/bash-completion/completions/sluice")]
    Completions {
        shell: Shell,
    },
}

/// What lies under an error that says little itself, as HTTP clients' errors do: `Connection refused (os error 111)`.
pub fn deepest_cause(error: &dyn std::error::Error) -> String {
    let mut deepest = error;
    while let Some(cause) = deepest.source() {
        deepest = cause;
    }
    deepest.to_string()
}

/// Runs a command to its end.
pub async fn run(cli: Cli) -> Finished {
    let Cli { global, command } = cli;
    match command {
        Command::Demo(args) => args.run(&*demo::lake::opener()).await,
        Command::Run(args) => args.run(&global).await,
        Command::Table(command) => command.run(&global).await,
        Command::Offsets(command) => command.run(&global).await,
        Command::Verify(args) => args.run(&global).await,
        Command::Produce(args) => args.run(&global).await,
        Command::Config(command) => command.run(&global),
        Command::Healthcheck(args) => args.run(&global).await,
        Command::Simulate(args) => tokio::task::block_in_place(|| args.run(global.output)),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "sluice", &mut script);
            output::print(&String::from_utf8_lossy(&script))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_well_formed_and_has_an_example() {
        let mut cli = Cli::command();
        cli.build();
        cli.clone().debug_assert();
        let mut waiting: Vec<clap::Command> = cli.get_subcommands().filter(|c| c.get_name() != "help").cloned().collect();
        while let Some(mut command) = waiting.pop() {
            let inner: Vec<clap::Command> = command.get_subcommands().filter(|c| c.get_name() != "help").cloned().collect();
            if inner.is_empty() {
                let help = command.render_long_help().to_string();
                assert!(help.contains("Example:"), "{} has no example", command.get_name());
            }
            waiting.extend(inner);
        }
    }
}
