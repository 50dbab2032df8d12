//! Kafka: records and log ends come in, group offsets and dead letters go out.
//!
//! - [`settings`]: what the client library is told, and which of the operator's properties are refused
//! - [`consumer`]: the group's consumer (port `Source`): one thread polls, assigns and copies records
//! - [`admin`]: identity, partitions, log and group offsets, members (port `SourceAdmin`)
//! - [`dead_letters`]: the producer of the dead-letter topic (port `DeadLetters`)
//! - `trouble`: what an error of the client means to an operator

pub mod admin;
pub mod consumer;
pub mod dead_letters;
mod ffi;
mod library_log;
pub mod settings;
mod trouble;
