//! `sluice offsets describe` and `sluice offsets reset`: arguments, and results as text and JSON.

pub mod command;
pub mod describe;
pub mod reset;
