//! What an operator sees of a running process: log lines, metrics, and the HTTP pages that show them with the status.
//!
//! The pipeline publishes plain values; nothing here decides anything about records.

pub mod http;
pub mod limit;
pub mod logs;
pub mod metrics;
pub mod status;
