//! Log lines: one JSON object a line on stderr (INTERFACE: Logs), or text for people.
//!
//! Sluice's own code logs through `tracing`; libraries that use the `log` crate (librdkafka, sled) come out the same way.
//! Whatever goes out passes [`redact::Secrets`] first.

mod line;
mod nested;
mod panics;
pub mod redact;
mod subscribe;

pub use line::chain;
pub use nested::nested;
pub use subscribe::{BadFilter, Format, Logging, init};
