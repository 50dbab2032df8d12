//! What is wrong with the configuration, told with the key, where it was set, the value and what to write instead.

use std::fmt;

use super::layer::Origin;
use crate::error::Stop;

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// The key, or what stands in place of one (a file that can't be read).
    pub key: String,
    pub origin: Option<Origin>,
    /// What is wrong, with the value where it is no secret.
    pub wrong: String,
    /// What to write or do.
    pub fix: String,
}

impl Problem {
    pub fn new(key: impl Into<String>, wrong: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { key: key.into(), origin: None, wrong: wrong.into(), fix: fix.into() }
    }

    pub fn at(mut self, origin: &Origin) -> Self {
        self.origin = Some(origin.clone());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{} ({origin}) {}", self.key, self.wrong),
            None => write!(f, "{} {}", self.key, self.wrong),
        }
    }
}

/// Everything that is wrong, in the order of the keys: an operator mends it in one go. Never empty.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}", self.told())]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    fn told(&self) -> String {
        self.0.iter().map(|problem| format!("{problem}: {}", problem.fix)).collect::<Vec<_>>().join("\n")
    }
}

impl From<Problems> for Stop {
    fn from(Problems(problems): Problems) -> Stop {
        if let [only] = problems.as_slice() {
            return Stop::usage(only.to_string(), only.fix.clone());
        }
        let what = problems.iter().map(|p| format!("\n  {p}")).collect::<String>();
        let remedy = problems.iter().map(|p| format!("\n  {}: {}", p.key, p.fix)).collect::<String>();
        Stop::usage(format!("{} settings are wrong:{what}", problems.len()), remedy)
    }
}
