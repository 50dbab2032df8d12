//! Reading a lane: where one group stands, by the history of main and nothing else. A roll-back, by whatever engine,
//! moves the head, and so moves what is read here.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::planted::{Bug, planted};
use crate::core::table::*;
use crate::core::tripwire::Witness;
use crate::types::*;

/// What this process read last: it may go on over a history that was expired down to that head.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Memory {
    pub head: SnapshotId,
    pub lanes: BTreeMap<LaneName, Lane>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Reading {
    Known {
        lane: Lane,
        /// The head isn't Sluice's, or the property is missing or differs: a commit, even one without files, mends it.
        needs_anchor: bool,
    },
    /// No trace of the lane anywhere.
    New,
    Stop(LaneStop),
}

/// Why a lane's progress can't be known. Nothing may be committed to it, and nothing guessed.
#[derive(Clone, PartialEq, Eq, Hash, Debug, thiserror::Error)]
pub enum LaneStop {
    #[error(
        "the table stands before topics {topics:?} joined lane {lane}, which its property {property} still knows: \
         the table was rolled back to before they were opened"
    )]
    PropertyKnowsMoreTopics { lane: LaneName, topics: BTreeSet<Topic>, property: String },
    #[error(
        "lane {lane} can't be read: the history of main ends at snapshot {missing}, which is gone, {evidence}. Either \
         another engine's maintenance expired it, or the table was rolled back and then maintained"
    )]
    HistoryMissing { lane: LaneName, missing: SnapshotId, evidence: String },
    #[error(
        "the history of main doesn't carry lane {lane}, but {witness} knows it: the table was rolled back to before the \
         lane was opened, another engine expired its snapshots, or it is a copy"
    )]
    RolledBackBeforeLane { lane: LaneName, witness: String },
    #[error("lane {lane} can't be read: {why}")]
    Unreadable { lane: LaneName, why: String },
}

/// How the walk from the head ended without finding the lane.
enum WalkEnd {
    /// Rule (b): an expired parent.
    Missing(SnapshotId),
    /// Rule (c): a Sluice snapshot that doesn't carry the lane, or retires it.
    NotCarried,
    /// Rule (c): the root, without meeting any Sluice snapshot.
    Root,
}

enum Walk<'a> {
    Found(&'a Lane, SnapshotId),
    Unreadable(&'a str),
    End { end: WalkEnd, passed_memory: bool },
}

fn walk<'a>(table: &'a TableView, name: &LaneName, memory: Option<&Memory>) -> Walk<'a> {
    let mut passed_memory = false;
    for step in table.ancestry() {
        let id = match step {
            Ok(snapshot) => {
                match snapshot.sluice.as_deref() {
                    None => {}
                    Some(keys) if keys.retired.contains(name) => {
                        return Walk::End { end: WalkEnd::NotCarried, passed_memory };
                    }
                    Some(keys) => {
                        return match keys.lanes.get(name) {
                            Some(Ok(entry)) => Walk::Found(&entry.lane, snapshot.id),
                            Some(Err(why)) => Walk::Unreadable(why),
                            None => Walk::End { end: WalkEnd::NotCarried, passed_memory },
                        };
                    }
                }
                snapshot.id
            }
            Err(missing) => missing,
        };
        passed_memory |= memory.is_some_and(|m| m.head == id);
        if !table.snapshots.contains_key(&id) {
            return Walk::End { end: WalkEnd::Missing(id), passed_memory };
        }
    }
    Walk::End { end: WalkEnd::Root, passed_memory }
}

/// Reads lane `name`. `memory`: what this process read last; `witness`: what outside the table knows the lane (the
/// tripwire), which can stop but never gives a position.
pub fn read(table: &TableView, name: &LaneName, memory: Option<&Memory>, witness: Option<&Witness>) -> Reading {
    let property = match table.properties.get(name) {
        Some(Err(why)) => {
            return Reading::Stop(LaneStop::Unreadable { lane: name.clone(), why: format!("property sluice.state: {why}") });
        }
        Some(Ok(property)) => Some(property),
        None => None,
    };
    match walk(table, name, memory) {
        Walk::Unreadable(why) => Reading::Stop(LaneStop::Unreadable { lane: name.clone(), why: why.into() }),
        Walk::Found(lane, at) => {
            let differs = property.is_none_or(|p| !same_progress(&p.lane, lane));
            known(name, lane, property, differs || table.head != Some(at))
        }
        Walk::End { end: WalkEnd::Missing(missing), passed_memory } => {
            over_expired_history(table, name, missing, property, memory.filter(|_| passed_memory), witness)
        }
        // What this process read at a head of this very history still stands, since nothing of Sluice came after it. Some
        // engines erase the parent of the oldest snapshot that they keep: the history then seems to begin there.
        Walk::End { end: WalkEnd::Root, passed_memory: true } if remembered(memory, name).is_some() => {
            known(name, remembered(memory, name).expect("just seen"), property, true)
        }
        Walk::End { end, .. } => {
            let tag = table.tag.filter(|_| matches!(end, WalkEnd::Root));
            match (property, witness, tag, remembered(memory, name).is_some()) {
                (None, None, None, false) => Reading::New,
                (Some(p), ..) => before_lane(name, format!("property sluice.state.{name} of snapshot {}", p.snapshot)),
                (_, Some(witness), ..) => before_lane(name, witness.to_string()),
                (_, _, Some(tag), _) => before_lane(name, format!("the tag `sluice` at snapshot {tag}")),
                (.., true) => before_lane(name, "this process, which has read it".into()),
            }
        }
    }
}

fn remembered<'a>(memory: Option<&'a Memory>, name: &LaneName) -> Option<&'a Lane> {
    memory.and_then(|m| m.lanes.get(name))
}

fn before_lane(name: &LaneName, witness: String) -> Reading {
    Reading::Stop(LaneStop::RolledBackBeforeLane { lane: name.clone(), witness })
}

/// The property has no watermark: offsets, event times, totals and source decide.
fn same_progress(a: &Lane, b: &Lane) -> bool {
    a.partitions == b.partitions && a.totals == b.totals && a.source == b.source
}

fn known(name: &LaneName, lane: &Lane, property: Option<&LaneProperty>, needs_anchor: bool) -> Reading {
    let topics = lane.topics();
    let more: BTreeSet<Topic> = property.map(|p| p.lane.topics().difference(&topics).cloned().collect()).unwrap_or_default();
    if more.is_empty() || planted(Bug::UnknownTopicMended) {
        return Reading::Known { lane: lane.clone(), needs_anchor };
    }
    let property = format!("sluice.state.{name} of snapshot {}", property.expect("it names topics").snapshot);
    Reading::Stop(LaneStop::PropertyKnowsMoreTopics { lane: name.clone(), topics: more, property })
}

/// Rule (b). The property counts only if the missing parent is the very snapshot that it was written with; a running
/// instance also goes on from the head that it read last.
fn over_expired_history(
    table: &TableView,
    name: &LaneName,
    missing: SnapshotId,
    property: Option<&LaneProperty>,
    memory: Option<&Memory>,
    witness: Option<&Witness>,
) -> Reading {
    if let Some(property) = property.filter(|p| p.snapshot == missing || planted(Bug::PropertyBelieved)) {
        return known(name, &property.lane, None, true);
    }
    if let Some(lane) = remembered(memory, name) {
        return known(name, lane, property, true);
    }
    if property.is_none() && table.tag.is_none() && witness.is_none() {
        return Reading::New;
    }
    let mut evidence = Vec::new();
    match property {
        Some(p) => evidence.push(format!("and property sluice.state.{name} was written with snapshot {}", p.snapshot)),
        None => evidence.push(format!("and there is no property sluice.state.{name}")),
    }
    if let Some(tag) = table.tag {
        let on_main = table.ancestry().any(|s| s.is_ok_and(|s| s.id == tag));
        let there = if table.snapshots.contains_key(&tag) { "kept" } else { "gone" };
        let side = if on_main { "on main" } else { "not on main, which speaks for a roll-back" };
        evidence.push(format!("the tag `sluice` is at snapshot {tag} ({there}, {side})"));
    }
    evidence.extend(witness.map(|w| format!("{w} knows the lane")));
    Reading::Stop(LaneStop::HistoryMissing { lane: name.clone(), missing, evidence: evidence.join(", ") })
}

/// The lanes of a base: those in the summary of its nearest Sluice ancestor and those with a property, each as far as it
/// can be read. One that can't be is neither carried nor its property touched: it stops its own group only.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Lanes {
    pub readable: BTreeMap<LaneName, Lane>,
    pub stopped: BTreeMap<LaneName, LaneStop>,
}

pub fn read_all(table: &TableView, memory: Option<&Memory>) -> Lanes {
    let known = names(table);
    let remembered = memory.into_iter().flat_map(|m| m.lanes.keys());
    let mut lanes = Lanes::default();
    for name in known.iter().copied().chain(remembered.filter(|name| !known.contains(name))) {
        match read(table, name, memory, None) {
            Reading::Known { lane, .. } => drop(lanes.readable.insert(name.clone(), lane)),
            // The table itself has no trace of it, as after its retirement: that stops its own group, and isn't ours to tell.
            Reading::Stop(LaneStop::RolledBackBeforeLane { .. }) if !known.contains(name) => {}
            Reading::Stop(stop) => drop(lanes.stopped.insert(name.clone(), stop)),
            Reading::New => {}
        }
    }
    lanes
}

/// The lanes of a base by name: those in the summary of its nearest Sluice ancestor, and those with a property.
pub fn names(table: &TableView) -> BTreeSet<&LaneName> {
    let nearest = table.nearest_sluice().into_iter().flat_map(|(_, keys)| keys.lanes.keys());
    table.properties.keys().chain(nearest).collect()
}

#[cfg(test)]
#[path = "lane_tests.rs"]
mod tests;
