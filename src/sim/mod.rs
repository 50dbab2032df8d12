//! The simulator: production's pipeline, core, decoder and assignment under a seeded world, in virtual time.
pub mod actors;
pub mod campaign;
pub mod chance;
pub mod client;
pub mod exhaustive;
pub mod group;
pub mod history;
pub mod incidents;
pub mod kafka;
pub mod lake;
pub mod life;
pub mod operator;
pub mod oracle;
#[cfg(feature = "planted-bugs")]
pub mod planted;
pub mod ports;
pub mod process;
pub mod run;
pub mod scenario;
pub mod shrink;
pub mod trace;
pub mod workload;
pub mod world;

#[cfg(test)]
mod tests;
