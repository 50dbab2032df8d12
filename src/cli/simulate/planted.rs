//! The table of planted bugs: what each takes to be seen.

use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cli::Finished;
use crate::cli::output::print;
use crate::core::planted::Bug;
use crate::error::{Exit, Stop};
use crate::sim::planted::{Caught, hunt};

/// `seeds`: within so many each must be seen; one that is harmless must not.
pub fn run(name: &str, first: u64, seeds: u64, threads: usize) -> Finished {
    let bugs: Vec<Bug> = match name {
        "all" => Bug::ALL.into(),
        name => vec![Bug::named(name).ok_or_else(|| unknown(name))?],
    };
    let (next, escaped) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let caught = hunt(*bug, first, seeds);
                    // whoever reads it may have gone
                    let _ = print(&told(&caught));
                    if caught.seen.is_some() != bug.breaks().is_some() {
                        escaped.lock().expect("no holder of this lock panics").push(bug.name());
                    }
                }
            });
        }
    });
    let escaped = escaped.into_inner().expect("no holder of this lock panics");
    match escaped.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Err(Stop::new(Exit::Internal, format!("not as promised: {}", escaped.join(", ")), "see the table above")),
    }
}

fn told(caught: &Caught) -> String {
    let name = caught.bug.name();
    match (&caught.seen, caught.bug.breaks()) {
        (Some((seeds, invariant, what)), Some(_)) => {
            let before = caught.first.filter(|(first, _)| first != seeds);
            let first = before.map(|(first, other)| format!(", {} after {first}", other.name()));
            format!("{name}: {} after {seeds} seeds{}: {what}\n", invariant.name(), first.unwrap_or_default())
        }
        (Some((seeds, invariant, what)), None) => {
            format!("{name}: NOT harmless: {} after {seeds} seeds: {what}\n", invariant.name())
        }
        (None, Some(promised)) => match caught.first {
            Some((first, other)) => {
                format!("{name}: {} NOT SEEN, {} after {first} seeds\n", promised.name(), other.name())
            }
            None => format!("{name}: {} NOT SEEN\n", promised.name()),
        },
        (None, None) => format!("{name}: harmless: {}\n", caught.bug.cost().unwrap_or_default()),
    }
}

fn unknown(name: &str) -> Stop {
    let all: Vec<String> = Bug::ALL.iter().map(|bug| bug.name()).collect();
    Stop::usage(format!("there is no planted bug {name:?}"), format!("all, or one of {}", all.join(", ")))
}
