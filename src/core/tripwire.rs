//! The tripwire: what outside the table knows that a lane, or a topic of it, was opened before. It can stop a start on a
//! table that lost its memory; it never gives a position, because everything in it may be old.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::types::*;

/// Where we found a trace of our own.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Trace {
    /// A group offset whose metadata Sluice wrote. Kafka forgets it after a while.
    GroupOffsets,
    /// The state directory, for the same table name and group.
    StateDir,
    /// This process read the lane before.
    ThisProcess,
}

/// The topics of the lane that something of ours knows.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Witness {
    pub topics: BTreeMap<Topic, BTreeSet<Trace>>,
}

impl Witness {
    pub fn add(&mut self, topic: Topic, trace: Trace) {
        self.topics.entry(topic).or_default().insert(trace);
    }

    /// None when nothing of ours knows anything.
    pub fn seen(self) -> Option<Self> {
        (!self.topics.is_empty()).then_some(self)
    }

    /// The topics among these that something knows.
    pub fn knows<'a>(&self, topics: impl IntoIterator<Item = &'a Topic>) -> Witness {
        let hits = topics.into_iter().filter_map(|t| self.topics.get(t).map(|traces| (t.clone(), traces.clone())));
        Witness { topics: hits.collect() }
    }
}

impl fmt::Display for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let traces: BTreeSet<Trace> = self.topics.values().flatten().copied().collect();
        for (i, trace) in traces.iter().enumerate() {
            let and = if i == 0 { "" } else { " and " };
            let name = match trace {
                Trace::GroupOffsets => "the Kafka group's offset",
                Trace::StateDir => "the state directory",
                Trace::ThisProcess => "this process",
            };
            write!(f, "{and}{name}")?;
        }
        let topics: Vec<&str> = self.topics.keys().map(|t| &**t).collect();
        write!(f, " (topics {})", topics.join(", "))
    }
}
