//! Progress of long work on stderr: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Between two plain lines.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

pub struct Progress {
    shown: Shown,
    what: &'static str,
    of: Option<u64>,
}

enum Shown {
    Bar(ProgressBar),
    Lines { last: Instant },
}

impl Progress {
    /// `what` is counted: "records". Without `of` the end isn't known.
    pub fn new(what: &'static str, of: Option<u64>) -> Self {
        let shown =
            if std::io::stderr().is_terminal() { Shown::Bar(bar(what, of)) } else { Shown::Lines { last: Instant::now() } };
        Self { shown, what, of }
    }

    pub fn at(&mut self, count: u64) {
        match &mut self.shown {
            Shown::Bar(bar) => bar.set_position(count),
            Shown::Lines { last } if last.elapsed() >= LINE_INTERVAL => {
                *last = Instant::now();
                match self.of {
                    Some(of) => eprintln!("{count} of {of} {}", self.what),
                    None => eprintln!("{count} {}", self.what),
                }
            }
            Shown::Lines { .. } => {}
        }
    }

    pub fn done(self) {
        if let Shown::Bar(bar) = self.shown {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &str, of: Option<u64>) -> ProgressBar {
    let template = match of {
        Some(_) => format!("{{bar:40}} {{human_pos}} of {{human_len}} {what}, {{per_sec}}, {{eta}} left"),
        None => format!("{{spinner}} {{human_pos}} {what}, {{per_sec}}, {{elapsed}}"),
    };
    let style = ProgressStyle::with_template(&template).expect("the template is well-formed");
    of.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_style(style)
}
