//! The protocol. Pure: no IO, no clock, no randomness; its only inputs are events, its only outputs values.

pub mod plan;
pub mod reset;
pub mod table;
pub mod verify;
