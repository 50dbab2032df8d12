//! The protocol. Pure: no IO, no clock, no randomness; its only inputs are events, its only outputs values.

pub mod plan;
pub mod table;
pub mod verify;
