//! What the group gave us, what we read of it and from where. Pure: events and commands go in, native calls come out.
//!
//! Two lists are easily confused: what we *own* is decided by the group and told in rebalance events; what we *read* is
//! what librdkafka was told to fetch, and only this file's steps change it. A partition can be owned and not read (its
//! assignment isn't answered yet), never the other way round.
//!
//! A reposition is an unassign and an assign, and so is the answer to a rebalance event: librdkafka would take the one for
//! the other. So while an event waits for its answer, or the assignment is lost, repositions are held back. One race is
//! left: the group can begin a rebalance between our look and our call. Its event then is already in the queue, we answer
//! it when it comes, and the answer names partitions by what we read at that time; what the group takes away early is
//! somebody else's a moment sooner than our last commit, which the commit's comparison with the table fences.

use std::collections::{BTreeMap, VecDeque};

use super::reading::{Reading, Slot};
use crate::ports::{SourceEvent, StartAt};
use crate::types::*;

/// How the group's assignor hands partitions over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Protocol {
    /// Everything is revoked and assigned anew: range, roundrobin.
    Eager,
    /// Only differences are told: cooperative-sticky.
    Cooperative,
}

/// Where librdkafka is to fetch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FetchAt {
    Offset(Offset),
    LogEnd,
}

/// A native call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// Cooperative: add. Empty is an answer too.
    Add(Vec<(TopicPartition, FetchAt)>),
    /// Cooperative: take away. Empty is an answer too.
    Remove(Vec<TopicPartition>),
    /// Eager: this and nothing else.
    Replace(Vec<(TopicPartition, FetchAt)>),
    /// Nothing at all; while closing also the answer to any rebalance event.
    Clear,
    Pause(Vec<TopicPartition>),
    Resume(Vec<TopicPartition>),
}

/// A rebalance event of the group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Rebalance {
    Assign(Vec<TopicPartition>),
    Revoke { partitions: Vec<TopicPartition>, lost: bool },
}

/// What to do, and then what to tell.
#[derive(Default, Debug)]
pub(crate) struct Outcome {
    pub steps: Vec<Step>,
    pub tell: Vec<SourceEvent>,
}

pub(crate) type Placement = (TopicPartition, Epoch, StartAt);

#[derive(Default)]
pub(crate) struct Assignment {
    slots: Vec<Slot>,
    by_name: BTreeMap<TopicPartition, usize>,
    /// Rebalance events without an answer, oldest first; the first one has been told.
    pending: VecDeque<Rebalance>,
    /// Repositions that wait for the answer.
    held: BTreeMap<TopicPartition, (Epoch, StartAt)>,
    /// Everything is paused because the pipeline doesn't keep up.
    backpressure: bool,
}

impl Assignment {
    pub fn on_rebalance(&mut self, rebalance: Rebalance, protocol: Protocol) -> Outcome {
        self.pending.push_back(rebalance);
        let mut outcome = Outcome::default();
        if self.pending.len() == 1 {
            self.present(protocol, &mut outcome);
        }
        outcome
    }

    /// The pipeline's answer to `Assigned`. Partitions that weren't given are ignored, those that the answer leaves out
    /// are owned and not read until they are repositioned.
    pub fn assign(&mut self, answer: Vec<Placement>, protocol: Protocol) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(Rebalance::Assign(given)) = self.pending.front().cloned() else { return outcome };
        self.pending.pop_front();
        self.own(&given, protocol);
        let answer: Vec<_> = answer.into_iter().filter(|(partition, ..)| given.contains(partition)).collect();
        let read = self.start(answer);
        outcome.steps.push(match protocol {
            Protocol::Cooperative => Step::Add(self.places(&read)),
            Protocol::Eager => Step::Replace(self.all_places()),
        });
        self.pauses(&read, &mut outcome);
        self.present(protocol, &mut outcome);
        outcome
    }

    /// The pipeline's answer to `Revoked`: what the event named is given back, whatever the answer names.
    pub fn unassign(&mut self, protocol: Protocol) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(Rebalance::Revoke { partitions, .. }) = self.pending.front().cloned() else { return outcome };
        self.pending.pop_front();
        let removed = self.disown(&partitions);
        outcome.steps.push(match protocol {
            Protocol::Cooperative => Step::Remove(removed),
            Protocol::Eager => Step::Clear,
        });
        self.present(protocol, &mut outcome);
        outcome
    }

    /// `lost`: librdkafka holds the assignment for lost, its event is still to come.
    pub fn reposition(&mut self, places: Vec<Placement>, protocol: Protocol, lost: bool) -> Outcome {
        let mut outcome = Outcome::default();
        for (partition, epoch, start) in places {
            self.held.insert(partition, (epoch, start));
        }
        if self.pending.is_empty() && !lost {
            self.release(protocol, &mut outcome);
        }
        outcome
    }

    /// Reads on from where the slot is, under its epoch: a fetch that stopped is started again.
    pub fn restart(&mut self, slot: usize, protocol: Protocol) -> Outcome {
        let mut outcome = Outcome::default();
        if self.pending.is_empty() && self.slots[slot].reading.is_some() {
            self.replace(&[slot], &[self.slots[slot].partition.clone()], protocol, &mut outcome);
        }
        outcome
    }

    /// Repositions that wait for nothing any more: those that came while the assignment was lost.
    pub fn release_held(&mut self, protocol: Protocol) -> Outcome {
        let mut outcome = Outcome::default();
        if self.pending.is_empty() {
            self.release(protocol, &mut outcome);
        }
        outcome
    }

    pub fn has_held(&self) -> bool {
        self.pending.is_empty() && !self.held.is_empty()
    }

    /// The consumer closes: whatever waits for an answer gets it.
    pub fn close(&mut self) -> Outcome {
        let waiting = !self.pending.is_empty();
        self.pending.clear();
        self.held.clear();
        for slot in &mut self.slots {
            slot.disown();
        }
        Outcome { steps: if waiting { vec![Step::Clear] } else { Vec::new() }, tell: Vec::new() }
    }

    /// A pause lasts until `resume` or until the partition is given back, over repositions too.
    pub fn pause(&mut self, partitions: &[TopicPartition]) -> Outcome {
        self.change_pauses(partitions, |slot| slot.paused = true)
    }

    pub fn resume(&mut self, partitions: &[TopicPartition]) -> Outcome {
        self.change_pauses(partitions, |slot| slot.paused = false)
    }

    pub fn set_backpressure(&mut self, on: bool) -> Outcome {
        let before: Vec<bool> = self.slots.iter().map(|slot| self.is_paused(slot)).collect();
        self.backpressure = on;
        self.differences(&before)
    }

    pub fn slot_of(&self, partition: &TopicPartition) -> Option<usize> {
        self.by_name.get(partition).copied()
    }

    pub fn slot(&mut self, slot: usize) -> &mut Slot {
        &mut self.slots[slot]
    }

    /// Is this the epoch under which the partition is read now, and not about to be taken away?
    pub fn is_current(&self, partition: &TopicPartition, epoch: Epoch) -> bool {
        let revoked = self.pending.iter().any(|event| match event {
            Rebalance::Revoke { partitions, .. } => partitions.contains(partition),
            Rebalance::Assign(_) => false,
        });
        let reading = self.slot_of(partition).and_then(|slot| self.slots[slot].reading.as_ref());
        !revoked && reading.is_some_and(|reading| reading.epoch == epoch)
    }

    /// Tells the first rebalance event; answers those that concern no partition; with none left, carries out what was held.
    fn present(&mut self, protocol: Protocol, outcome: &mut Outcome) {
        loop {
            match self.pending.front() {
                Some(Rebalance::Assign(partitions)) if partitions.is_empty() => {
                    self.pending.pop_front();
                    outcome.tell.push(SourceEvent::Assigned { partitions: Vec::new() });
                    match protocol {
                        Protocol::Cooperative => outcome.steps.push(Step::Add(Vec::new())),
                        Protocol::Eager => {
                            self.own(&[], protocol);
                            outcome.steps.push(Step::Replace(Vec::new()));
                        }
                    }
                }
                Some(Rebalance::Revoke { partitions, .. }) if partitions.is_empty() => {
                    self.pending.pop_front();
                    outcome.steps.push(match protocol {
                        Protocol::Cooperative => Step::Remove(Vec::new()),
                        Protocol::Eager => Step::Clear,
                    });
                }
                Some(Rebalance::Assign(partitions)) => {
                    return outcome.tell.push(SourceEvent::Assigned { partitions: partitions.clone() });
                }
                Some(Rebalance::Revoke { partitions, lost }) => {
                    let (partitions, lost) = (partitions.clone(), *lost);
                    return outcome.tell.push(SourceEvent::Revoked { partitions, lost });
                }
                None => return self.release(protocol, outcome),
            }
        }
    }

    fn own(&mut self, given: &[TopicPartition], protocol: Protocol) {
        if protocol == Protocol::Eager {
            for slot in &mut self.slots {
                slot.disown();
            }
        }
        for partition in given {
            let slot = *self.by_name.entry(partition.clone()).or_insert_with(|| {
                self.slots.push(Slot::new(partition.clone()));
                self.slots.len() - 1
            });
            self.slots[slot].disown();
            self.slots[slot].owned = true;
        }
    }

    /// Which of these were read.
    fn disown(&mut self, partitions: &[TopicPartition]) -> Vec<TopicPartition> {
        let mut were_read = Vec::new();
        for partition in partitions {
            self.held.remove(partition);
            if let Some(slot) = self.slot_of(partition) {
                if self.slots[slot].reading.is_some() {
                    were_read.push(partition.clone());
                }
                self.slots[slot].disown();
            }
        }
        were_read
    }

    /// Notes where owned partitions are read from now on; the slots of those.
    fn start(&mut self, places: Vec<Placement>) -> Vec<usize> {
        let mut started = Vec::new();
        for (partition, epoch, start) in places {
            let Some(slot) = self.slot_of(&partition) else { continue };
            if self.slots[slot].owned {
                self.slots[slot].reading = Some(Reading::new(epoch, start));
                started.push(slot);
            }
        }
        started
    }

    fn release(&mut self, protocol: Protocol, outcome: &mut Outcome) {
        let held = std::mem::take(&mut self.held);
        let places: Vec<_> = held.into_iter().map(|(partition, (epoch, start))| (partition, epoch, start)).collect();
        let were_read: Vec<_> = places.iter().map(|(p, ..)| p).filter(|p| self.is_read(p)).cloned().collect();
        let started = self.start(places);
        if !started.is_empty() {
            self.replace(&started, &were_read, protocol, outcome);
        }
    }

    fn replace(&mut self, slots: &[usize], were_read: &[TopicPartition], protocol: Protocol, outcome: &mut Outcome) {
        match protocol {
            Protocol::Cooperative => {
                if !were_read.is_empty() {
                    outcome.steps.push(Step::Remove(were_read.to_vec()));
                }
                outcome.steps.push(Step::Add(self.places(slots)));
                self.pauses(slots, outcome);
            }
            Protocol::Eager => {
                outcome.steps.push(Step::Replace(self.all_places()));
                let all: Vec<_> = (0..self.slots.len()).filter(|slot| self.slots[*slot].reading.is_some()).collect();
                self.pauses(&all, outcome);
            }
        }
    }

    fn is_read(&self, partition: &TopicPartition) -> bool {
        self.slot_of(partition).is_some_and(|slot| self.slots[slot].reading.is_some())
    }

    fn places(&self, slots: &[usize]) -> Vec<(TopicPartition, FetchAt)> {
        let place = |slot: &usize| self.slots[*slot].place();
        slots.iter().filter_map(place).collect()
    }

    fn all_places(&self) -> Vec<(TopicPartition, FetchAt)> {
        self.slots.iter().filter_map(Slot::place).collect()
    }

    fn is_paused(&self, slot: &Slot) -> bool {
        slot.reading.is_some() && (self.backpressure || slot.is_paused())
    }

    /// After an assign: librdkafka may or may not have kept a pause from before, so each is said.
    fn pauses(&self, slots: &[usize], outcome: &mut Outcome) {
        let (paused, read): (Vec<_>, Vec<_>) =
            slots.iter().map(|slot| &self.slots[*slot]).partition(|slot| self.is_paused(slot));
        let names = |slots: Vec<&Slot>| slots.into_iter().map(|slot| slot.partition.clone()).collect::<Vec<_>>();
        if !paused.is_empty() {
            outcome.steps.push(Step::Pause(names(paused)));
        }
        if !read.is_empty() {
            outcome.steps.push(Step::Resume(names(read)));
        }
    }

    fn change_pauses(&mut self, partitions: &[TopicPartition], change: impl Fn(&mut Slot)) -> Outcome {
        let before: Vec<bool> = self.slots.iter().map(|slot| self.is_paused(slot)).collect();
        for partition in partitions {
            if let Some(slot) = self.slot_of(partition)
                && self.slots[slot].owned
            {
                change(&mut self.slots[slot]);
            }
        }
        self.differences(&before)
    }

    fn differences(&self, before: &[bool]) -> Outcome {
        let mut outcome = Outcome::default();
        let changed = |to: bool| {
            let slots = self.slots.iter().zip(before);
            let slots = slots.filter(|(slot, was)| slot.reading.is_some() && **was != to && self.is_paused(slot) == to);
            slots.map(|(slot, _)| slot.partition.clone()).collect::<Vec<_>>()
        };
        for (partitions, step) in [(changed(true), Step::Pause as fn(_) -> _), (changed(false), Step::Resume as fn(_) -> _)]
        {
            if !partitions.is_empty() {
                outcome.steps.push(step(partitions));
            }
        }
        outcome
    }
}

#[cfg(test)]
#[path = "assignment_tests.rs"]
mod tests;
