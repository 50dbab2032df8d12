//! The group coordinator of one lane: who is a member, what each holds, and how partitions change hands. Eager and
//! cooperative; a member that isn't heard of loses what it holds.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::*;

/// One incarnation of one instance.
pub type MemberId = u64;

/// How long a member may be silent.
const SESSION_MS: u64 = 10_000;
/// How long a rebalance waits for an answer: `max.poll.interval.ms`.
const ANSWER_MS: u64 = 120_000;

/// What a member is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Told {
    Assign(BTreeSet<TopicPartition>),
    Revoke { partitions: BTreeSet<TopicPartition>, lost: bool },
}

#[derive(Clone, Debug)]
struct Member {
    held: BTreeSet<TopicPartition>,
    /// Told and not answered yet, since when.
    waiting: Option<(Told, u64)>,
    heard_ms: u64,
}

#[derive(Default)]
pub struct Group {
    pub eager: bool,
    /// The partitions of the topics that the members subscribe.
    pub partitions: BTreeSet<TopicPartition>,
    members: BTreeMap<MemberId, Member>,
    mail: BTreeMap<MemberId, Vec<Told>>,
    /// Eager: everything is being revoked before it is handed out anew.
    revoking: bool,
    dirty: bool,
}

impl Group {
    pub fn new(eager: bool) -> Self {
        Self { eager, ..Self::default() }
    }

    pub fn join(&mut self, member: MemberId, now_ms: u64) {
        self.members.insert(member, Member { held: BTreeSet::new(), waiting: None, heard_ms: now_ms });
        self.dirty = true;
    }

    pub fn leave(&mut self, member: MemberId) {
        self.dirty |= self.members.remove(&member).is_some();
        self.mail.remove(&member);
    }

    pub fn is_member(&self, member: MemberId) -> bool {
        self.members.contains_key(&member)
    }

    pub fn members(&self) -> impl Iterator<Item = MemberId> + '_ {
        self.members.keys().copied()
    }

    pub fn held(&self, member: MemberId) -> BTreeSet<TopicPartition> {
        self.members.get(&member).map(|m| m.held.clone()).unwrap_or_default()
    }

    pub fn heartbeat(&mut self, member: MemberId, now_ms: u64) {
        if let Some(member) = self.members.get_mut(&member) {
            member.heard_ms = now_ms;
        }
    }

    pub fn mail_of(&mut self, member: MemberId) -> Vec<Told> {
        self.mail.remove(&member).unwrap_or_default()
    }

    /// The member has done what it was told.
    pub fn answered(&mut self, member: MemberId) {
        let Some(member) = self.members.get_mut(&member) else { return };
        match member.waiting.take() {
            Some((Told::Assign(partitions), _)) => member.held.extend(partitions),
            Some((Told::Revoke { partitions, .. }, _)) => {
                member.held.retain(|p| !partitions.contains(p));
                self.dirty = true;
            }
            None => {}
        }
    }

    /// The group gives a member up: what it holds is somebody else's from now on. It is told that it has lost it when it
    /// is heard of again.
    pub fn expel(&mut self, member: MemberId) {
        self.leave(member);
    }

    pub fn subscribe(&mut self, partitions: BTreeSet<TopicPartition>) {
        self.dirty |= self.partitions != partitions;
        self.partitions = partitions;
    }

    /// Members that were silent for too long, or didn't answer, are expelled; partitions change hands.
    pub fn tick(&mut self, now_ms: u64) {
        let overdue = |m: &Member| {
            m.heard_ms + SESSION_MS < now_ms || m.waiting.as_ref().is_some_and(|(_, since)| since + ANSWER_MS < now_ms)
        };
        let expelled: Vec<MemberId> = self.members.iter().filter(|(_, m)| overdue(m)).map(|(id, _)| *id).collect();
        for member in expelled {
            self.expel(member);
        }
        if self.eager { self.tick_eager(now_ms) } else { self.tick_cooperative(now_ms) }
    }

    fn quiet(&self) -> bool {
        self.members.values().all(|m| m.waiting.is_none())
    }

    fn tick_eager(&mut self, now_ms: u64) {
        if std::mem::take(&mut self.dirty) {
            self.revoking = true;
        }
        if !self.revoking || !self.quiet() {
            return;
        }
        let holders: Vec<MemberId> = self.members.iter().filter(|(_, m)| !m.held.is_empty()).map(|(id, _)| *id).collect();
        if holders.is_empty() {
            self.revoking = false;
            self.dirty = false;
            for (member, partitions) in self.target() {
                self.tell(member, Told::Assign(partitions), now_ms);
            }
            return;
        }
        for member in holders {
            let partitions = self.members[&member].held.clone();
            self.tell(member, Told::Revoke { partitions, lost: false }, now_ms);
        }
    }

    fn tick_cooperative(&mut self, now_ms: u64) {
        if !self.dirty || !self.quiet() {
            return;
        }
        let target = self.target();
        let mut revoked = false;
        for (member, wanted) in &target {
            let partitions: BTreeSet<_> = self.members[member].held.difference(wanted).cloned().collect();
            if !partitions.is_empty() {
                revoked = true;
                self.tell(*member, Told::Revoke { partitions, lost: false }, now_ms);
            }
        }
        if revoked {
            return;
        }
        self.dirty = false;
        for (member, wanted) in target {
            let more: BTreeSet<_> = wanted.difference(&self.members[&member].held).cloned().collect();
            self.tell(member, Told::Assign(more), now_ms);
        }
    }

    /// Partitions dealt out in turn, those that a member holds stay with it as far as the shares allow.
    fn target(&self) -> BTreeMap<MemberId, BTreeSet<TopicPartition>> {
        let mut target: BTreeMap<MemberId, BTreeSet<TopicPartition>> =
            self.members.keys().map(|id| (*id, BTreeSet::new())).collect();
        if target.is_empty() {
            return target;
        }
        let share = self.partitions.len().div_ceil(target.len());
        let mut left = Vec::new();
        for partition in &self.partitions {
            let holder = self.members.iter().find(|(_, m)| m.held.contains(partition)).map(|(id, _)| *id);
            match holder.filter(|id| target[id].len() < share) {
                Some(holder) => drop(target.get_mut(&holder).expect("a member").insert(partition.clone())),
                None => left.push(partition.clone()),
            }
        }
        for partition in left {
            let (_, least) = target.iter_mut().min_by_key(|(_, held)| held.len()).expect("not empty");
            least.insert(partition);
        }
        target
    }

    fn tell(&mut self, member: MemberId, told: Told, now_ms: u64) {
        self.members.get_mut(&member).expect("a member").waiting = Some((told.clone(), now_ms));
        self.mail.entry(member).or_default().push(told);
    }
}
