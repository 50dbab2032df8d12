//! The simulator: the production service under histories of faults, in virtual time on one thread, judged at every
//! snapshot. The same seed is the same history.
//!
//! What runs is production's: [`pipeline`](crate::pipeline) with the core in it, [`decode`](crate::decode) on real Avro
//! bytes, the consumer's [`assignment`](crate::source::consumer::assignment), the codec of summaries and properties. Around
//! it the world is simulated, and acts through the ports:
//!
//! | who | acts through | file |
//! |---|---|---|
//! | client library, group coordinator | `Source`: events and commands | [`client`], [`group`] |
//! | brokers: logs, transactions, retention, offsets | `SourceAdmin`, and what the client fetches | [`kafka`] |
//! | catalog and other engines | `Table` | [`catalog`], [`lake`] |
//! | object store | `DataFiles` | [`ports`] |
//! | id cache, state directory | `DedupStore`, `Notes` | [`ports`] |
//! | dead-letter topic, registry | `DeadLetters`, `Schemas` | [`ports`] |
//! | host | `Clock`, `Random`; kills, stops and starts of processes | [`life`], [`process`] |
//! | operator | `core::reset`, `core::rollback`, `core::retire` | [`operator`] |
//!
//! A [`scenario`] is what a seed stands for; [`run`] plays it, [`oracle`] judges it, [`campaign`] plays many, [`shrink`]
//! makes one short. [`exhaustive`] is another way: every history of a small world around the core alone.

pub mod actors;
pub mod campaign;
pub mod catalog;
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
