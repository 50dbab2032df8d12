//! Kafka topics into an Iceberg table, exactly once, deduplicated.
//!
//! The folders follow the data: [`source`] → [`decode`] → [`core`] → [`state`] → [`sink`], with [`pipeline`] as the loop
//! that carries the core's decisions out through [`ports`]. ARCHITECTURE.md has the guarantees and the map.

pub mod cli;
pub mod config;
pub mod core;
pub mod crash_point;
pub mod decode;
pub mod error;
pub mod pipeline;
pub mod ports;
pub mod sim;
pub mod sink;
pub mod source;
pub mod state;
pub mod telemetry;
pub mod types;
