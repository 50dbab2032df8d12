use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use sluice::cli::{self, Cli};
use sluice::crash_point;
use sluice::error::Stop;

fn main() -> ExitCode {
    // Prints help, version and usage errors itself; the latter end with 2, as every wrong use does.
    let cli = Cli::parse();
    if let Some(at) = std::env::var_os(crash_point::VARIABLE)
        && let Err(stop) = crash_point::arm(&at.to_string_lossy())
    {
        return stopped(&stop);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the process can't start its threads: {error}\nwhat to do: raise the limits of this user");
            return ExitCode::from(1);
        }
    };
    let finished = runtime.block_on(cli::run(cli));
    // A thread that still waits for an answer that nobody wants any more holds the process up no longer than this.
    runtime.shutdown_timeout(Duration::from_secs(1));
    match finished {
        Ok(code) => code,
        Err(stop) => stopped(&stop),
    }
}

fn stopped(stop: &Stop) -> ExitCode {
    eprintln!("error: {}\nwhat to do: {}", stop.what, stop.remedy);
    ExitCode::from(stop.exit.code())
}
