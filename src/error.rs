//! The one error that an operator sees: what happened, with its values, and what to type.

use std::fmt;

/// Exit codes of every command (INTERFACE: Commands).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[repr(u8)]
pub enum Exit {
    Internal = 1,
    /// Usage or configuration: also refused credentials, a state_dir or a port in use.
    Usage = 2,
    /// A command refused, a commit rejected by the catalog twice, or fenced five times in a row without progress.
    Refused = 3,
    /// Table, lane or source identity don't fit together.
    Inconsistent = 4,
    /// A dependency did not answer a one-shot command, or a stage of the service stalled.
    GaveUp = 5,
    /// An operator must decide about data: lost to retention, or the dead-letter breaker.
    Data = 6,
}

impl Exit {
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// A typed stop: the range or value that is wrong, and the command or change that resolves it.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub struct Stop {
    pub exit: Exit,
    pub what: String,
    pub remedy: String,
}

impl Stop {
    pub fn new(exit: Exit, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { exit, what: what.into(), remedy: remedy.into() }
    }
    pub fn usage(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what, remedy)
    }
    pub fn refused(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Refused, what, remedy)
    }
    pub fn inconsistent(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Inconsistent, what, remedy)
    }
    pub fn gave_up(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::GaveUp, what, remedy)
    }
    pub fn data(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(Exit::Data, what, remedy)
    }
    pub fn internal(what: impl Into<String>) -> Self {
        Self::new(Exit::Internal, what, "this is a fault of Sluice: please report it with the log")
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  what to do: {}", self.what, self.remedy)
    }
}

impl std::error::Error for Stop {}
