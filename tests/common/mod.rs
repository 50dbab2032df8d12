//! The black box: a real Kafka and registry, the built binary, another engine, and an oracle that knows what was produced.
//!
//! A test builds a [`World`], produces into it, starts [`Instance`]s of the binary, and asks [`World::check`] whether the
//! table is what the records that it produced call for. Nothing here shares code with Sluice.

#[allow(dead_code, reason = "the decoder's tests write in more forms")]
#[path = "../trades/columns.rs"]
pub mod columns;
pub mod config;
pub mod engine;
pub mod expect;
pub mod gold;
pub mod kafka;
pub mod ledger;
pub mod malformed;
pub mod process;
pub mod producer;
pub mod registry;
pub mod stack;
pub mod table;
pub mod trade;
pub mod users;
pub mod volume;
pub mod wait;
pub mod world;

pub use expect::{Expectation, Late};
pub use ledger::{Entry, What};
pub use process::Instance;
pub use producer::Record;
pub use trade::{Draft, HOUR, Id, MINUTE, T0, Writer};
pub use wait::{LONG, wait_until};
pub use world::World;
