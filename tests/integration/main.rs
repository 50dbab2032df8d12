//! The main job as an operator sees it: the built binary on a real Kafka and schema registry, judged by an oracle that
//! knows what was produced, by foreign readers of the table, and by `sluice verify --deep`.
//!
//! One program, so that it is linked once; the modules are the themes.

#[path = "../common/mod.rs"]
mod common;

mod clean;
mod crash_points;
mod engines;
mod groups;
mod kills;
mod lake;
mod late;
mod letters;
mod outages;
mod security;
mod starts;
mod telemetry;
mod transactions;
mod verify;

mod harness;
