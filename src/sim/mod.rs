//! The simulated world, and the judge of what happened in it.

pub mod history;
pub mod oracle;
