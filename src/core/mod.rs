//! The protocol. Pure: no IO, no clock, no randomness; its only inputs are events, its only outputs values.
//!
//! [`lane`] reads where a group stands, [`batch`] is what was judged since, [`instance`] is the state machine over both.

pub mod batch;
pub mod breaker;
pub mod coverage;
pub mod event_time;
pub mod identity;
pub mod ids;
pub mod instance;
pub mod invariant;
pub mod lane;
pub mod plan;
pub mod planted;
pub mod reset;
pub mod retire;
pub mod roll;
pub mod rollback;
pub mod table;
pub mod tripwire;
pub mod verify;
