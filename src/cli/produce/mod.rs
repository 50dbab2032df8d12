//! `sluice produce`: trades for a real cluster, with everything in them that a Silver topic can hold, and a ledger of what
//! was sent.

mod command;
mod draw;
pub mod encode;
pub mod generator;
pub mod ledger;
pub mod registry;
pub mod sender;
pub mod topics;
pub mod trade;

pub use command::ProduceArgs;
