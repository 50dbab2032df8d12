//! `sluice produce`: trades for a real cluster, with everything in them that a Silver topic can hold, and a ledger of what
//! was sent.

pub mod draw;
pub mod encode;
pub mod generator;
pub mod trade;
