//! Every history of a small world: the production core, [`Instance`](crate::core::instance::Instance), in each of its
//! processes, and around it a log, a group, a catalog and a network that do whatever they may. From one beginning every
//! choice is taken in every order, breadth first, so that a violation comes with its shortest history; every snapshot
//! that lands is judged by a fold over the log that shares nothing with the core; and from every state the end must be
//! within reach without another fault (a livelock passes every other check).
//!
//! # What is chosen
//! Which process reads its next record, or the end behind it. When a batch is old enough to be sealed, when a comparison or
//! an anchor is due: time is no number here, a timer is due when the choice says so. When the table is loaded, ids are
//! looked up in files, an opening asks for the log, ids of files come into memory. When a request lands. And within
//! [`Faults`]: crashes, requests that nobody answers and that land later or never, partitions that move, answers that come
//! late, processes that are asked to end, other engines that roll back, delete, compact.
//!
//! # What isn't, and why nothing is lost by it
//! - A load is taken and answered in one step, unless a fault delays it. In between the instance sees nothing of the
//!   table, so whatever it does in between it could as well have done before; only a rebalance that follows from
//!   somebody else's commit can't be put before it, and for that there is [`Faults::delayed`]. The same for the answer
//!   to a request that landed.
//! - Files are written, pauses end and refusals are heard at once: they touch the commit in flight and nothing else, and
//!   nobody but the instance sees them. A file that no request names is as if it had never been written.
//! - Records are delivered one by one, when they are judged: the log doesn't change, so a queue before the core is the
//!   same as a log that is read later. What is read under an old epoch is dropped by the source here, not by the core.
//! - Which of two files with the same id answers first is decided by names that carry no order in production either.
//!
//! What isn't in this world at all: idle flags and everything else that needs lengths of time, the breaker, a rejected
//! request, a change of topic or cluster ids, several lanes, expired snapshots, wanted files that come into memory one by
//! one (here all at once, or not yet), more than one topic. Those are for random histories.
//!
//! # States
//! [`canonical`] says when two states are one. A state is known by 128 bits of SHA-256 over everything in it: with ten
//! million states two of them share a print with odds of about 10^-25.

mod bounds;
mod canonical;
mod catalog;
mod choices;
mod effects;
mod oracle;
mod search;
mod state;
mod steps;
#[cfg(test)]
mod tests;
mod trace;

use std::collections::BTreeMap;
use std::time::Duration;

pub use choices::Choice;
pub use oracle::Violation;
pub use search::explore;
pub use trace::Trace;

use crate::core::event_time::LatePolicy;
use crate::types::{EventHour, MessageId};

/// What a row is in Gold: the deduplication key.
pub type Key = (EventHour, MessageId);

/// How large a world is explored.
#[derive(Clone, Debug)]
pub struct Bounds {
    pub name: &'static str,
    /// Per partition what was sent; none is a control record. All partitions are of one topic.
    pub logs: Vec<Vec<Option<Key>>>,
    pub instances: u8,
    /// The table is there and the lane opened. Otherwise both have to be made first.
    pub opened: bool,
    pub late: LatePolicy,
    /// Ids of files are kept in memory once they were read. Otherwise every lookup goes to the files.
    pub hot: bool,
    pub faults: Faults,
    /// Stop without an answer after this time, or with more states than that.
    pub limit: Duration,
    pub states_max: usize,
    /// Remember every transition, to see that the end is within reach of every state: 8 bytes each.
    pub reach: bool,
    pub broken: Option<BrokenPromise>,
}

/// How often each may happen in one history.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Faults {
    /// A process is killed and starts again without anything of before.
    pub crashes: u8,
    /// An instance hears nothing of a request, which lands later or never.
    pub unanswered: u8,
    /// A partition goes to another instance: at once, unknown to the one before, or when that lets it go.
    pub moves: u8,
    /// A load, or the answer to a request that landed, is on its way while other things happen.
    pub delayed: u8,
    /// A rebalance, or the end, isn't answered within its bound.
    pub overdue: u8,
    /// A process is asked to end: it flushes, leaves, and starts again.
    pub closes: u8,
    /// Another engine sets main back to an earlier snapshot.
    pub roll_backs: u8,
    /// Another engine deletes a data file with its rows.
    pub deletes: u8,
    /// Another engine rewrites the files of an hour as one.
    pub compactions: u8,
}

/// A world that doesn't keep its word: the explorer must notice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BrokenPromise {
    /// The catalog puts a snapshot on whatever head there is.
    CatalogIgnoresBase,
    /// A file that can't be looked up is taken for one without the ids.
    FailedProbeIsNo,
    /// The end of a log is reported while a record before it is still on its way.
    EndBeforeRecord,
    /// The consumer goes on where it is when it is told to start elsewhere.
    ConsumerIgnoresReposition,
    /// The pause before another attempt never ends.
    PauseNeverEnds,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Explored {
    pub states: usize,
    pub transitions: usize,
    /// Steps to the state that is farthest from the beginning.
    pub depth: usize,
    pub took: Duration,
    /// Every state within the bounds was seen. False where a limit or a violation came first.
    pub complete: bool,
    /// In how many transitions each of these happened, by name: what never happened wasn't tried.
    pub happened: BTreeMap<&'static str, usize>,
    pub violation: Option<Trace>,
}
