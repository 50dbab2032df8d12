//! When two states are one. Names grow with history and are compared with nothing but each other, so each gets the least
//! name that is free in its own name space:
//! - tickets, epochs, batch numbers, counts of the coverage: inside of each instance, after each of its steps
//!   ([`Instance::canonicalize`](crate::core::instance::Instance::canonicalize));
//! - commit ids: by instance, counted over those that it still looks for. One that nobody looks for is [`NOBODYS`] in
//!   requests and snapshots: finding it is all that a commit id is for;
//! - data files: by writer, hour and ids, which makes the name the content; the last number is the least that no file of
//!   the same content has anywhere in the state;
//! - snapshots: the least number that no snapshot has anywhere in the state.
//!
//! The names in use are found by hashing the state: whatever its print depends on passes through a hasher, and so does
//! every name in it. Choosing the least free name is no normal form, so a few states are counted twice; two that differ in
//! more than names are never taken for one.
//!
//! Left out of a state is what no step will read any more: requests that can't land (the tag has moved, or main has and
//! nobody can set it back), and of main's history all but the head, what an instance may still find its commit in, and
//! the nearest snapshot of Sluice, as long as nobody can roll back. Nothing is ever expired here, so no instance needs
//! its memory of what it read last.

use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::core::instance::{Event, Instance, Renamed, Ticket};
use crate::sim::exhaustive::oracle::Truth;
use crate::sim::exhaustive::state::*;
use crate::sim::exhaustive::{Bounds, Key};
use crate::types::*;

/// The commit id that nobody looks for.
pub const NOBODYS: CommitId = CommitId(0);

// ---- prints

/// A part of a state, shared between the states that have it, with its print.
pub struct Printed<T> {
    value: Arc<T>,
    print: u128,
}

impl<T> Clone for Printed<T> {
    fn clone(&self) -> Self {
        Self { value: self.value.clone(), print: self.print }
    }
}

impl<T> Deref for Printed<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Hash + Clone> Printed<T> {
    pub fn new(value: T) -> Self {
        let print = print(&value);
        Self { value: Arc::new(value), print }
    }
    /// To change it. Its print is stale until [`reprint`](Self::reprint).
    pub fn edit(&mut self) -> &mut T {
        Arc::make_mut(&mut self.value)
    }
    pub fn reprint(&mut self) {
        self.print = print(&*self.value);
    }
    pub fn print(&self) -> u128 {
        self.print
    }
}

/// 128 bits of SHA-256 over everything that `value` hashes.
fn print<T: Hash>(value: &T) -> u128 {
    let mut bytes = Bytes(Vec::with_capacity(4096));
    value.hash(&mut bytes);
    u128::from_be_bytes(Sha256::digest(&bytes.0)[..16].try_into().expect("SHA-256 has 32 bytes"))
}

/// Gathered first: most values are a few bytes, and each update of a hash costs more than that.
struct Bytes(Vec<u8>);

impl Hasher for Bytes {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn finish(&self) -> u64 {
        unreachable!("prints have 128 bits")
    }
}

impl State {
    pub fn print(&self) -> u128 {
        let requests: Vec<u128> = self.requests.iter().map(Printed::print).collect();
        let processes: Vec<u128> = self.processes.iter().map(Printed::print).collect();
        print(&(self.table.print(), requests, processes, &self.group, self.mirrored, self.left))
    }
}

// ---- names

const FILE: &str = "file:";
const SNAPSHOTS: i64 = 0x5afe_0000_0000_0000;

pub fn snapshot_id(number: i64) -> SnapshotId {
    SnapshotId(SNAPSHOTS + number)
}

/// Files and snapshots that a state names anywhere.
#[derive(Default)]
pub struct Names {
    files: BTreeSet<Vec<u8>>,
    snapshots: BTreeSet<i64>,
}

impl Hasher for Names {
    fn write(&mut self, bytes: &[u8]) {
        if bytes.starts_with(FILE.as_bytes()) {
            self.files.insert(bytes.to_vec());
        }
    }
    fn write_i64(&mut self, number: i64) {
        if number >= SNAPSHOTS {
            self.snapshots.insert(number);
        }
    }
    fn finish(&self) -> u64 {
        unreachable!("names are looked at")
    }
}

impl Names {
    pub fn of(state: &State) -> Self {
        let mut names = Self::default();
        state.table.value.hash(&mut names);
        state.requests.iter().for_each(|r| r.value.hash(&mut names));
        state.processes.iter().for_each(|p| p.value.hash(&mut names));
        names
    }

    pub fn fresh_snapshot(&self) -> SnapshotId {
        (0..).map(snapshot_id).find(|id| !self.snapshots.contains(&id.0)).expect("numbers don't end")
    }

    /// A path that says who wrote it and what is in it.
    pub fn fresh_file(&mut self, writer: &str, hour: EventHour, ids: &[MessageId]) -> FilePath {
        let ids: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
        let stem = format!("{FILE}{writer}/{}/{}", hour.0, ids.join(","));
        let path = (0..).map(|n| format!("{stem}/{n}")).find(|path| !self.files.contains(path.as_bytes()));
        let path = path.expect("numbers don't end");
        self.files.insert(path.clone().into_bytes());
        path.into()
    }
}

/// What is in a file.
pub fn keys_of(path: &str) -> Vec<Key> {
    let mut parts = path.split('/').skip(1);
    let hour = parts.next().and_then(|hour| hour.parse().ok()).expect("a path says its hour");
    let ids = parts.next().expect("a path says its ids");
    ids.split(',').map(|id| (EventHour(hour), MessageId(id.parse().expect("an id is a number")))).collect()
}

// ---- the least form

impl State {
    /// Brings everything that a step changed into its least form. `stepped`: whose instances did something.
    pub fn canonicalize(&mut self, bounds: &Bounds, stepped: &BTreeSet<u8>) {
        for i in stepped {
            let request = self.requests.iter().position(|r| r.waits.is_some_and(|(who, _)| who == *i));
            let renamed = self.processes[usize::from(*i)].edit().canonicalize();
            if let Some(request) = request.map(|at| &mut self.requests[at]) {
                let ticket = request.waits.expect("just seen").1;
                let waits = renamed.tickets.get(&ticket).map(|now| (*i, *now));
                if request.waits != waits {
                    request.edit().waits = waits;
                }
            }
        }
        let looked_for: BTreeSet<CommitId> = self.processes.iter().flat_map(|p| p.core.unsettled_commits()).collect();
        self.drop_dead_requests(bounds, &looked_for);
        self.shorten_history(&looked_for);
        for i in stepped {
            let process = &mut self.processes[usize::from(*i)];
            process.edit().core.recount_commits();
            process.reprint();
        }
    }

    fn drop_dead_requests(&mut self, bounds: &Bounds, looked_for: &BTreeSet<CommitId>) {
        let mut requests = std::mem::take(&mut self.requests);
        let may_go_back = self.left.roll_backs > 0;
        requests.retain(|r| r.waits.is_some() || self.can_land(bounds, r) || may_go_back && r.base_tag == self.table.tag);
        for request in &mut requests {
            let id = request.plan.commit_id;
            if id != NOBODYS && !looked_for.contains(&id) {
                request.edit().plan.commit_id = NOBODYS;
            }
            request.reprint();
        }
        requests.sort_by_key(|r| (r.waits, r.print()));
        requests.dedup_by_key(|r| r.print());
        self.requests = requests;
    }

    fn shorten_history(&mut self, looked_for: &BTreeSet<CommitId>) {
        let lost = |s: &Snapshot| commit_of(s).is_some_and(|id| id != NOBODYS && !looked_for.contains(&id));
        if self.table.line.iter().any(lost) {
            for snapshot in self.table.edit().line.iter_mut().filter(|s| lost(s)) {
                let keys = snapshot.view.sluice.as_mut().expect("it has a commit id");
                Arc::make_mut(keys).commit_id = NOBODYS;
            }
        }
        if self.left.roll_backs == 0 {
            let line = &self.table.line;
            let last = line.len().saturating_sub(1);
            let nearest = line.iter().rposition(|s| s.view.sluice.is_some());
            let kept = |(at, s): (usize, &Snapshot)| {
                at == last || Some(at) == nearest || commit_of(s).is_some_and(|id| id != NOBODYS)
            };
            let kept: Vec<usize> = line.iter().enumerate().filter(|s| kept(*s)).map(|(at, _)| at).collect();
            let is_short = |s: &Snapshot| s.live.is_empty() && s.truth == Truth::default();
            if kept.len() < line.len() || !line[..last].iter().all(is_short) {
                self.keep_of_history(&kept);
            }
        }
        self.table.reprint();
    }

    fn keep_of_history(&mut self, kept: &[usize]) {
        let table = self.table.edit();
        let mut line: Vec<Snapshot> = kept.iter().map(|at| table.line[*at].clone()).collect();
        let head = line.len() - 1;
        let mut parent = None;
        for (at, snapshot) in line.iter_mut().enumerate() {
            snapshot.view.parent = parent.replace(snapshot.view.id);
            if at < head {
                (snapshot.live, snapshot.truth) = Default::default();
            }
        }
        table.line = line;
    }
}

fn commit_of(snapshot: &Snapshot) -> Option<CommitId> {
    snapshot.view.sluice.as_ref().map(|keys| keys.commit_id)
}

impl Process {
    fn canonicalize(&mut self) -> Renamed {
        self.core.forget_memory();
        let renamed = self.core.canonicalize(NOW);
        let wants = |ticket: &mut Ticket| match renamed.tickets.get(ticket) {
            Some(now) => {
                *ticket = *now;
                true
            }
            None => false,
        };
        self.asked.retain_mut(|asked| wants(asked.ticket()));
        self.delayed.retain_mut(|event| match event {
            Event::Loaded { ticket, .. } | Event::Answered { ticket, .. } => wants(ticket),
            _ => true,
        });
        for (epoch, _) in self.reading.values_mut() {
            *epoch = renamed.epochs.get(epoch).copied().unwrap_or(Instance::OLD_EPOCH);
        }
        let live = self.core.live().clone();
        self.wanted.retain(|file| live.contains(&file.path));
        let batch = |number: &_| renamed.batches.get(number).copied();
        self.rows = std::mem::take(&mut self.rows).into_iter().filter_map(|(b, rows)| Some((batch(&b)?, rows))).collect();
        self.rows.values_mut().for_each(|rows| rows.sort());
        self.taken_out =
            std::mem::take(&mut self.taken_out).into_iter().filter_map(|(b, ids)| Some((batch(&b)?, ids))).collect();
        renamed
    }
}
