//! Small worlds, explored to the end.

use std::process::ExitCode;

use clap::ValueEnum;

use crate::cli::Finished;
use crate::cli::output::print;
use crate::error::{Exit, Stop};
use crate::sim::exhaustive::{Bounds, Explored, explore};

#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Extent {
    Short,
    Long,
    Largest,
}

pub fn run(extent: Extent) -> Finished {
    let all = match extent {
        Extent::Short => Bounds::short(),
        Extent::Long => Bounds::long(),
        Extent::Largest => vec![Bounds::largest()],
    };
    for bounds in all {
        let explored = explore(&bounds);
        print(&told(bounds.name, &explored))?;
        if let Some(trace) = explored.violation {
            return Err(Stop::new(Exit::Internal, format!("{}: {trace}", bounds.name), "the history above is the shortest"));
        }
        if !explored.complete {
            let what = format!("{}: not all states were seen within {:?}", bounds.name, bounds.limit);
            return Err(Stop::gave_up(what, "give it a quieter machine, or smaller bounds"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn told(name: &str, explored: &Explored) -> String {
    let Explored { states, transitions, depth, took, .. } = explored;
    format!("{name}: {states} states, {transitions} transitions, depth {depth}, {:.1} s\n", took.as_secs_f64())
}
