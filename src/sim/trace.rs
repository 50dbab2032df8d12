//! What happened, line by line. The lines are always hashed, so that two runs of a seed can be held against each other;
//! they are kept only where somebody wants to read them.

use std::hash::Hasher;

use crate::sim::chance::stable_hasher;

pub struct Trace {
    hasher: Box<dyn Hasher + Send>,
    lines: Option<Vec<String>>,
}

impl Trace {
    pub fn new(keep: bool) -> Self {
        Self { hasher: Box::new(stable_hasher()), lines: keep.then(Vec::new) }
    }

    pub fn note(&mut self, now_ms: u64, what: impl FnOnce() -> String) {
        let line = what();
        self.hasher.write_u64(now_ms);
        self.hasher.write(line.as_bytes());
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{:>8.3} s  {line}", now_ms as f64 / 1e3));
        }
    }

    pub fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    pub fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default()
    }
}
