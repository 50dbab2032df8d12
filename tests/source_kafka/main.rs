//! The source on a real Kafka: what librdkafka's in-process cluster can't show.
//!
//! The broker is that of `tools/stack`: of the stack that runs the tests, else of one that is started for them.

mod asking;
mod harness;
mod letters;
mod reading;
mod rebalancing;
mod security;
#[path = "../common/stack.rs"]
#[allow(dead_code, reason = "shared with other test programs")]
mod stack;
mod storm;
#[path = "../common/users.rs"]
#[allow(dead_code, reason = "shared with other test programs")]
mod users;
#[path = "../common/wait.rs"]
mod wait;
