//! The hot set: which data files have all their ids in memory, and those ids. A cache of files and nothing else: what a
//! file holds never changes, whether it counts is decided by the table alone ([`Coverage::retain_live`]).
//!
//! Everything is keyed by event hour. One counter serves all hours: a file carries the count at which it entered, a
//! batch that of its first record, so "checked against this file" is a comparison of two numbers
//! ([`Coverage::checked`]).
//!
//! Per hour a hash table of 4-byte indexes stands over the ids, which lie in the order in which their files entered: a
//! file owns one contiguous range of indexes. 22-28 bytes an id.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::hint::black_box;
use std::mem::size_of;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::core::ids::mix;
use crate::core::table::LiveFiles;
use crate::types::{EventHour, FilePath, MessageId};

/// What an id costs in the middle of the range, for estimates made before a file is loaded: 16 bytes of id, and 5 bytes
/// of table at its mean load.
pub const BYTES_PER_ID: usize = 24;

/// A covered file that holds an id.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Holder<'a> {
    pub path: &'a FilePath,
    /// The count at which the file entered.
    pub entered: u64,
}

/// The ids of whole data files, by event hour. Two coverages are equal when they count alike and hold the same files:
/// what a file holds follows from its path.
#[derive(Clone, Default)]
pub struct Coverage {
    count: u64,
    hours: BTreeMap<EventHour, HourIds>,
}

impl Coverage {
    /// Takes a file in for one hour and raises the counter. `ids` are all ids that the file has in rows of this hour (a
    /// file of a foreign spec is covered hour by hour); repeated ones are kept once. A file that is covered for the hour
    /// keeps the count at which it entered.
    pub fn cover(&mut self, path: FilePath, hour: EventHour, ids: &[MessageId]) {
        let of_hour = self.hours.entry(hour).or_default();
        if of_hour.entered(&path).is_none() {
            self.count += 1;
            of_hour.add(path, self.count, ids);
        }
    }

    pub fn is_covered(&self, path: &str, hour: EventHour) -> bool {
        self.hours.get(&hour).is_some_and(|h| h.entered(path).is_some())
    }

    /// The counter: the count of the file that entered last, whether it is still here or not.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// A covered file that holds this id in this hour; of several the one that entered first.
    pub fn lookup(&self, hour: EventHour, id: MessageId) -> Option<Holder<'_>> {
        self.lookup_in(hour, id, |_, _| true)
    }

    /// The same among the files whose count is above `count`: those that a batch of that count wasn't checked against.
    pub fn lookup_entered_after(&self, hour: EventHour, id: MessageId, count: u64) -> Option<Holder<'_>> {
        self.lookup_in(hour, id, |_, entered| entered > count)
    }

    /// The same among the files that `counts` accepts by path and count.
    pub fn lookup_in(&self, hour: EventHour, id: MessageId, counts: impl Fn(&FilePath, u64) -> bool) -> Option<Holder<'_>> {
        self.hours.get(&hour)?.lookup(id, counts)
    }

    /// [`lookup`](Self::lookup) for many ids of one hour, several times as fast where most are held: `found` is called
    /// with the index in `ids` and the holder, in order, for those that a covered file holds.
    pub fn lookup_all<'a>(&'a self, hour: EventHour, ids: &[MessageId], mut found: impl FnMut(usize, Holder<'a>)) {
        let Some(of_hour) = self.hours.get(&hour) else { return };
        for (block, ids) in ids.chunks(HourIds::BLOCK).enumerate() {
            of_hour.lookup_block(ids, |i, holder| found(block * HourIds::BLOCK + i, holder));
        }
    }

    /// The files of the hour that were covered when the counter stood at `since`, in the order in which they entered.
    pub fn checked(&self, hour: EventHour, since: u64) -> impl Iterator<Item = &FilePath> {
        self.files(hour).take_while(move |f| f.entered <= since).map(|f| f.path)
    }

    /// The covered files of an hour, in the order in which they entered.
    pub fn files(&self, hour: EventHour) -> impl Iterator<Item = Holder<'_>> {
        let files = self.hours.get(&hour).map_or(&[][..], |h| &h.files);
        files.iter().map(|f| Holder { path: &f.path, entered: f.entered })
    }

    /// Uncovers every file that isn't live: after a roll-back, or another engine's rewrite.
    pub fn retain_live(&mut self, live: &LiveFiles) {
        self.hours.retain(|_, of_hour| {
            of_hour.retain(|file| live.is_seen(&file.path));
            !of_hour.files.is_empty()
        });
    }

    /// Uncovers whole files, oldest event hour first and within an hour those that entered first, until
    /// [`bytes`](Self::bytes) is within the budget. Returns what went, in that order. An hour that is cut is cut a little
    /// deeper, so that the next files to enter don't rebuild it each time.
    pub fn evict_to(&mut self, budget_bytes: usize) -> Vec<(EventHour, FilePath)> {
        let mut evicted = Vec::new();
        let mut bytes = self.bytes();
        while bytes > budget_bytes {
            let mut oldest = self.hours.first_entry().expect("an empty coverage has no bytes, so no budget is passed");
            let hour = *oldest.key();
            let others = bytes - oldest.get().bytes();
            let room = budget_bytes.saturating_sub(others);
            evicted.extend(oldest.get_mut().evict_to(room).into_iter().map(|path| (hour, path)));
            bytes = others + oldest.get().bytes();
            if oldest.get().files.is_empty() {
                bytes = others;
                oldest.remove();
            }
        }
        evicted
    }

    /// Bytes held, from the sizes of the allocations. While an hour's table doubles, the old one is held as well.
    pub fn bytes(&self) -> usize {
        self.hours.values().map(HourIds::bytes).sum()
    }

    /// Ids of covered files; one that several files hold counts for each.
    pub fn ids(&self) -> usize {
        self.hours.values().map(|h| h.live_ids).sum()
    }

    /// Hours with covered files, oldest first.
    pub fn hours(&self) -> impl DoubleEndedIterator<Item = EventHour> {
        self.hours.keys().copied()
    }

    /// Counts the files anew from one, in the order in which they entered, for whoever enumerates states. Returns the
    /// count that separates the same files as `since` did.
    pub fn recount(&mut self, since: u64) -> u64 {
        let mut entered: Vec<u64> = self.identity().map(|(.., entered)| entered).collect();
        entered.sort_unstable();
        let rank = |count: u64| entered.partition_point(|e| *e <= count) as u64;
        for file in self.hours.values_mut().flat_map(|h| &mut h.files) {
            file.entered = rank(file.entered);
        }
        for count in self.hours.values_mut().flat_map(|h| h.by_path.values_mut()) {
            *count = rank(*count);
        }
        self.count = entered.len() as u64;
        rank(since)
    }

    fn identity(&self) -> impl Iterator<Item = (EventHour, &FilePath, u64)> {
        self.hours.iter().flat_map(|(hour, h)| h.files.iter().map(|f| (*hour, &f.path, f.entered)))
    }
}

impl PartialEq for Coverage {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.identity().eq(other.identity())
    }
}

impl Eq for Coverage {}

impl Hash for Coverage {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.count.hash(state);
        for file in self.identity() {
            file.hash(state);
        }
    }
}

impl fmt::Debug for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Coverage at {} ", self.count)?;
        f.debug_list().entries(self.identity()).finish()
    }
}

/// A file that is covered for the hour; its ids have the indexes `start..end`.
#[derive(Clone, Debug)]
struct CoveredFile {
    path: FilePath,
    entered: u64,
    start: u32,
    end: u32,
}

impl CoveredFile {
    fn ids(&self) -> usize {
        (self.end - self.start) as usize
    }
}

/// One hour. `files` ascend by count and by index; indexes between their ranges belong to files that are gone and are
/// dead until the hour is rebuilt.
#[derive(Clone, Default)]
struct HourIds {
    files: Vec<CoveredFile>,
    by_path: BTreeMap<FilePath, u64>,
    path_bytes: usize,
    ids: IdList,
    table: HashTable<u32>,
    live_ids: usize,
}

impl HourIds {
    /// Lookups that wait for memory together: more than a core keeps on their way, few enough to stay in its first cache.
    const BLOCK: usize = 32;

    fn entered(&self, path: &str) -> Option<u64> {
        self.by_path.get(path).copied()
    }

    fn add(&mut self, path: FilePath, entered: u64, ids: &[MessageId]) {
        let start = self.ids.end();
        let Self { table, ids: list, .. } = self;
        table.reserve(ids.len(), |&at| mix(list.get(at)));
        for &id in ids {
            let of_this_file = |&at: &u32| at >= start && list.get(at) == id;
            if let Entry::Vacant(slot) = table.entry(mix(id), of_this_file, |&at| mix(list.get(at))) {
                slot.insert(list.end());
                list.push(id);
            }
        }
        let file = CoveredFile { path, entered, start, end: self.ids.end() };
        self.live_ids += file.ids();
        self.path_bytes += file.path.len();
        self.by_path.insert(file.path.clone(), entered);
        self.files.push(file);
    }

    fn lookup(&self, id: MessageId, counts: impl Fn(&FilePath, u64) -> bool) -> Option<Holder<'_>> {
        let mut first: Option<&CoveredFile> = None;
        // Asked for all entries of the hash: the order of the table must not choose among several holders.
        self.table.find(mix(id), |&at| {
            if self.ids.get(at) == id
                && let Some(file) = self.file_of(at)
                && first.is_none_or(|f| file.entered < f.entered)
                && counts(&file.path, file.entered)
            {
                first = Some(file);
            }
            false
        });
        first.map(|f| Holder { path: &f.path, entered: f.entered })
    }

    /// A lookup that hits reads three places far apart: table, index, id. Made step by step over a block, the first two
    /// passes have the processor wait for many of them at once; the third finds everything near.
    fn lookup_block<'a>(&'a self, ids: &[MessageId], mut found: impl FnMut(usize, Holder<'a>)) {
        let mut candidates = [None; Self::BLOCK];
        for (candidate, id) in candidates.iter_mut().zip(ids) {
            *candidate = self.table.find(mix(*id), |_| true).copied();
        }
        for (candidate, id) in candidates.iter().zip(ids) {
            // The answer isn't needed yet, and may not be dropped for that.
            black_box(candidate.is_some_and(|at| self.ids.get(at) == *id));
        }
        for (i, id) in ids.iter().enumerate() {
            if candidates[i].is_some()
                && let Some(holder) = self.lookup(*id, |_, _| true)
            {
                found(i, holder);
            }
        }
    }

    /// None for a dead entry.
    fn file_of(&self, at: u32) -> Option<&CoveredFile> {
        let after = self.files.partition_point(|f| f.start <= at);
        self.files[..after].last().filter(|f| at < f.end)
    }

    fn retain(&mut self, keep: impl Fn(&CoveredFile) -> bool) {
        self.release(keep);
        if self.live_ids * 2 < self.ids.len() {
            self.rebuild();
        }
    }

    /// Takes files out; their entries are dead from now on.
    fn release(&mut self, keep: impl Fn(&CoveredFile) -> bool) {
        self.files.retain(|file| {
            let kept = keep(file);
            if !kept {
                self.by_path.remove(&file.path);
                self.path_bytes -= file.path.len();
                self.live_ids -= file.ids();
            }
            kept
        });
    }

    /// Drops the dead entries, then files, first entered first, until the hour is within `room` or empty. What will be
    /// held is an estimate: the caller looks again.
    fn evict_to(&mut self, room: usize) -> Vec<FilePath> {
        if self.live_ids < self.ids.len() {
            self.rebuild();
            if self.bytes() <= room {
                return Vec::new();
            }
        }
        let target = room - room / 8;
        let mut kept_ids = self.live_ids;
        let too_many = self.files.iter().take_while(|file| {
            let too_much = self.bytes_without_ids() + bytes_of_ids(kept_ids) > target;
            kept_ids -= file.ids();
            too_much
        });
        let goes = too_many.count().max(1);
        let gone: Vec<FilePath> = self.files[..goes].iter().map(|f| f.path.clone()).collect();
        let last_gone = self.files[goes - 1].entered;
        self.release(|file| file.entered > last_gone);
        self.rebuild();
        gone
    }

    /// Drops the dead entries. In place, so that a rebuild made for want of memory needs none.
    fn rebuild(&mut self) {
        self.table = HashTable::new();
        let mut end = 0;
        for file in &mut self.files {
            let start = end;
            for at in file.start..file.end {
                self.ids.set(end, self.ids.get(at));
                end += 1;
            }
            (file.start, file.end) = (start, end);
        }
        self.ids.truncate(end);
        self.files.shrink_to_fit();
        self.table.reserve(end as usize, |&at| mix(self.ids.get(at)));
        for at in 0..end {
            self.table.insert_unique(mix(self.ids.get(at)), at, |&at| mix(self.ids.get(at)));
        }
        assert_eq!(self.live_ids, self.ids.len(), "ids of the files against ids of the hour");
    }

    fn bytes(&self) -> usize {
        self.ids.bytes() + self.table.allocation_size() + self.bytes_without_ids()
    }

    fn bytes_without_ids(&self) -> usize {
        size_of::<(EventHour, Self)>()
            + self.files.capacity() * size_of::<CoveredFile>()
            + self.by_path.len() * size_of::<(FilePath, u64)>()
            + self.path_bytes
    }
}

/// What so many ids will hold in an hour that is rebuilt.
fn bytes_of_ids(ids: usize) -> usize {
    let buckets = (ids * 8).div_ceil(7).next_power_of_two();
    ids.next_multiple_of(IdList::CHUNK.min(ids.max(1))) * size_of::<MessageId>() + buckets * (size_of::<u32>() + 1)
}

/// Ids by index, in chunks: it grows without copying what it has.
#[derive(Clone, Default)]
struct IdList {
    chunks: Vec<Vec<MessageId>>,
}

impl IdList {
    const CHUNK: usize = 8192;

    fn len(&self) -> usize {
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * Self::CHUNK + last.len())
    }

    fn end(&self) -> u32 {
        u32::try_from(self.len()).expect("4 billion ids of one hour would be 64 GiB, beyond any budget")
    }

    fn get(&self, at: u32) -> MessageId {
        let at = at as usize;
        self.chunks[at / Self::CHUNK][at % Self::CHUNK]
    }

    fn set(&mut self, at: u32, id: MessageId) {
        let at = at as usize;
        self.chunks[at / Self::CHUNK][at % Self::CHUNK] = id;
    }

    fn push(&mut self, id: MessageId) {
        match self.chunks.last_mut() {
            Some(last) if last.len() < Self::CHUNK => last.push(id),
            None => self.chunks.push(vec![id]),
            Some(_) => {
                let mut chunk = Vec::with_capacity(Self::CHUNK);
                chunk.push(id);
                self.chunks.push(chunk);
            }
        }
    }

    fn truncate(&mut self, len: u32) {
        let len = len as usize;
        self.chunks.truncate(len.div_ceil(Self::CHUNK));
        if let Some(last) = self.chunks.last_mut() {
            last.truncate((len - 1) % Self::CHUNK + 1);
            last.shrink_to_fit();
        }
        self.chunks.shrink_to_fit();
    }

    fn bytes(&self) -> usize {
        let rest = self.chunks.len().saturating_sub(1) * Self::CHUNK;
        let last = self.chunks.last().map_or(0, Vec::capacity);
        (rest + last) * size_of::<MessageId>() + self.chunks.capacity() * size_of::<Vec<MessageId>>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::core::table::LiveFile;

    const H: EventHour = EventHour(490_000);

    fn ids(of: std::ops::Range<u128>) -> Vec<MessageId> {
        of.map(MessageId).collect()
    }

    fn live(paths: &[&str]) -> LiveFiles {
        paths.iter().map(|p| LiveFile { path: (*p).into(), hour: Some(H), rows: 1, bytes: 1 }).collect()
    }

    fn holder(found: Option<Holder<'_>>) -> Option<(String, u64)> {
        found.map(|h| (h.path.to_string(), h.entered))
    }

    #[test]
    fn a_file_is_checked_by_the_batches_that_began_after_it_entered() {
        let mut coverage = Coverage::default();
        coverage.cover("a".into(), H, &ids(0..3));
        let batch = coverage.count();
        coverage.cover("b".into(), H, &ids(3..6));
        coverage.cover("c".into(), EventHour(1), &ids(3..6));
        assert_eq!(coverage.checked(H, batch).map(|p| &**p).collect::<Vec<_>>(), ["a"]);
        assert_eq!(coverage.checked(H, coverage.count()).map(|p| &**p).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(coverage.checked(H, 0).count(), 0);
        assert_eq!(holder(coverage.lookup_entered_after(H, MessageId(4), batch)), Some(("b".into(), 2)));
        assert_eq!(coverage.lookup_entered_after(H, MessageId(1), batch), None);
    }

    #[test]
    fn an_id_is_looked_up_in_its_own_hour_only() {
        let mut coverage = Coverage::default();
        coverage.cover("a".into(), H, &ids(0..3));
        assert!(coverage.lookup(H, MessageId(2)).is_some());
        assert_eq!(coverage.lookup(EventHour(H.0 + 1), MessageId(2)), None);
        assert!(!coverage.is_covered("a", EventHour(H.0 + 1)));
    }

    #[test]
    fn a_covered_file_keeps_its_count() {
        let mut coverage = Coverage::default();
        coverage.cover("a".into(), H, &ids(0..3));
        coverage.cover("b".into(), H, &ids(3..6));
        coverage.cover("a".into(), H, &ids(0..3));
        assert_eq!(coverage.count(), 2);
        assert_eq!(coverage.files(H).map(|f| f.entered).collect::<Vec<_>>(), [1, 2]);
        // Gone and back, it is a new entry: a batch of before must probe it.
        coverage.retain_live(&live(&["b"]));
        coverage.cover("a".into(), H, &ids(0..3));
        assert_eq!(holder(coverage.lookup(H, MessageId(0))), Some(("a".into(), 3)));
    }

    #[test]
    fn counted_anew_the_same_files_are_on_either_side_of_a_batch() {
        let mut coverage = Coverage::default();
        for (path, hour) in [("gone", H), ("a", H), ("b", EventHour(1)), ("c", H)] {
            coverage.cover(path.into(), hour, &ids(0..3));
        }
        let since = 3;
        coverage.retain_live(&live(&["a", "b", "c"]));
        let checked: Vec<FilePath> = coverage.checked(H, since).cloned().collect();
        let since = coverage.recount(since);
        assert_eq!((coverage.count(), since), (3, 2));
        assert_eq!(coverage.checked(H, since).cloned().collect::<Vec<_>>(), checked);
        assert_eq!(holder(coverage.lookup_entered_after(H, MessageId(1), since)), Some(("c".into(), 3)));
        coverage.cover("d".into(), H, &ids(0..3));
        assert_eq!(coverage.files(H).map(|f| f.entered).collect::<Vec<_>>(), [1, 3, 4]);
    }

    #[test]
    fn a_file_without_ids_of_the_hour_is_covered_all_the_same() {
        let mut coverage = Coverage::default();
        coverage.cover("empty".into(), H, &[]);
        coverage.cover("a".into(), H, &ids(0..1));
        assert!(coverage.is_covered("empty", H));
        assert_eq!(holder(coverage.lookup(H, MessageId(0))), Some(("a".into(), 2)));
    }

    #[test]
    fn of_several_holders_the_first_entered_answers_and_a_dead_one_never() {
        let mut coverage = Coverage::default();
        for path in ["z", "m", "a"] {
            coverage.cover(path.into(), H, &ids(0..100));
        }
        assert_eq!(holder(coverage.lookup(H, MessageId(7))), Some(("z".into(), 1)));
        coverage.retain_live(&live(&["m", "a"]));
        assert_eq!(holder(coverage.lookup(H, MessageId(7))), Some(("m".into(), 2)));
        coverage.retain_live(&live(&[]));
        assert_eq!(coverage.lookup(H, MessageId(7)), None);
        assert_eq!((coverage.ids(), coverage.bytes(), coverage.hours().count()), (0, 0, 0));
    }

    #[test]
    fn the_oldest_hour_leaves_first_and_in_it_the_file_that_entered_first() {
        let mut coverage = Coverage::default();
        for (i, (path, hour)) in [("new1", 9), ("old1", 3), ("new2", 9), ("old2", 3), ("new3", 9)].iter().enumerate() {
            let from = i as u128 * 50_000;
            coverage.cover((*path).into(), EventHour(*hour), &ids(from..from + 50_000));
        }
        let all = coverage.bytes();
        let went = coverage.evict_to(all - 1);
        assert_eq!(went, [(EventHour(3), "old1".into())]);
        let went = coverage.evict_to(coverage.bytes() / 3);
        let went: Vec<_> = went.iter().map(|(h, p)| (h.0, &**p)).collect();
        assert_eq!(went[..2], [(3, "old2"), (9, "new1")]);
        assert!(coverage.is_covered("new3", EventHour(9)));
        assert!(coverage.lookup(EventHour(9), MessageId(200_000)).is_some());
        assert_eq!(coverage.lookup(EventHour(9), MessageId(0)), None);
        coverage.evict_to(0);
        assert_eq!(coverage.bytes(), 0);
    }

    #[test]
    fn the_files_of_a_compaction_do_not_pile_up() {
        let mut coverage = Coverage::default();
        for round in 0..20 {
            let path = format!("f{round}");
            coverage.cover(path.as_str().into(), H, &ids(0..20_000));
            coverage.retain_live(&live(&[&path]));
        }
        assert!(coverage.bytes() < 3 * 20_000 * 28, "{} bytes", coverage.bytes());
    }

    #[test]
    fn one_id_in_every_row_costs_one_entry() {
        let mut coverage = Coverage::default();
        coverage.cover("constant".into(), H, &vec![MessageId(7); 1_000_000]);
        assert_eq!(coverage.ids(), 1);
    }

    #[test]
    fn an_id_costs_what_is_promised() {
        for n in [100_000u128, 458_000, 459_000, 900_000] {
            let mut coverage = Coverage::default();
            coverage.cover("a".into(), H, &ids(0..n));
            let each = coverage.bytes() as f64 / n as f64;
            assert!((20.0..29.0).contains(&each), "{each} bytes an id at {n}");
            let estimate = bytes_of_ids(n as usize) as f64 / n as f64;
            assert!((each - estimate).abs() < 0.5, "estimated {estimate}, held {each}");
        }
    }

    #[test]
    fn ids_that_differ_in_few_bits_are_spread() {
        // 65,536 version 7 ids of one millisecond that differ in their last 16 bits, and as many that differ in the first.
        let base = 0x0190_0000_0000_7000_8000_0000_0000_0000u128;
        for shift in [0, 48, 64, 112] {
            let buckets: BTreeSet<u64> = (0..65_536u128).map(|i| mix(MessageId(base ^ (i << shift))) & 0xffff).collect();
            // As many balls as boxes: 63 % of the boxes are hit.
            assert!((40_000..43_000).contains(&buckets.len()), "{} of 65536 at bit {shift}", buckets.len());
        }
    }

    /// The promise in the plainest form: files with their counts and ids.
    #[derive(Default)]
    struct Model {
        count: u64,
        files: BTreeMap<(EventHour, u64), (FilePath, BTreeSet<MessageId>)>,
    }

    impl Model {
        fn cover(&mut self, path: &FilePath, hour: EventHour, ids: &[MessageId]) {
            if !self.files.iter().any(|((h, _), (p, _))| *h == hour && p == path) {
                self.count += 1;
                self.files.insert((hour, self.count), (path.clone(), ids.iter().copied().collect()));
            }
        }
        fn lookup(&self, hour: EventHour, id: MessageId, after: u64) -> Option<(String, u64)> {
            let of_hour = self.files.range((hour, after + 1)..=(hour, u64::MAX));
            of_hour.filter(|(_, (_, ids))| ids.contains(&id)).map(|((_, count), (p, _))| (p.to_string(), *count)).next()
        }
    }

    #[test]
    fn any_history_answers_like_plain_sets() {
        for seed in 0..60 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let (mut coverage, mut model) = (Coverage::default(), Model::default());
            let universe = [20u128, 400, 20_000][seed as usize % 3];
            for _ in 0..120 {
                step(&mut rng, &mut coverage, &mut model, universe);
                compare(&mut rng, &coverage, &model, universe);
            }
        }
    }

    fn step(rng: &mut SmallRng, coverage: &mut Coverage, model: &mut Model, universe: u128) {
        match rng.random_range(0..10) {
            0..=6 => {
                let path: FilePath = format!("f{}", rng.random_range(0..40)).into();
                let hour = EventHour(rng.random_range(0..4));
                let n = rng.random_range(0..universe);
                let ids: Vec<_> = (0..n).map(|_| MessageId(rng.random_range(0..universe))).collect();
                coverage.cover(path.clone(), hour, &ids);
                model.cover(&path, hour, &ids);
            }
            7 | 8 => {
                let share = rng.random_range(0.3..1.0);
                let paths: Vec<String> = (0..40).filter(|_| rng.random_bool(share)).map(|i| format!("f{i}")).collect();
                let live = live(&paths.iter().map(String::as_str).collect::<Vec<_>>());
                coverage.retain_live(&live);
                model.files.retain(|_, (path, _)| live.contains(path));
            }
            _ => {
                let budget = coverage.bytes() * rng.random_range(0..12) / 10;
                for (hour, path) in coverage.evict_to(budget) {
                    let first = model.files.keys().next().copied().unwrap();
                    assert_eq!((first.0, &model.files[&first].0), (hour, &path), "oldest hour, first entered");
                    model.files.remove(&first);
                }
                assert!(coverage.bytes() <= budget, "{} of {budget}", coverage.bytes());
            }
        }
    }

    fn compare(rng: &mut SmallRng, coverage: &Coverage, model: &Model, universe: u128) {
        assert_eq!(coverage.count(), model.count);
        assert_eq!(coverage.ids(), model.files.values().map(|(_, ids)| ids.len()).sum::<usize>());
        let files: Vec<_> = coverage.identity().map(|(h, p, c)| ((h, c), p.clone())).collect();
        assert_eq!(files, model.files.iter().map(|(k, (p, _))| (*k, p.clone())).collect::<Vec<_>>());
        for _ in 0..40 {
            let (hour, id) = (EventHour(rng.random_range(0..5)), MessageId(rng.random_range(0..universe)));
            let after = rng.random_range(0..=model.count);
            assert_eq!(holder(coverage.lookup(hour, id)), model.lookup(hour, id, 0));
            assert_eq!(holder(coverage.lookup_entered_after(hour, id, after)), model.lookup(hour, id, after));
            let path = format!("f{}", rng.random_range(0..40));
            let known = model.files.iter().any(|((h, _), (p, _))| *h == hour && **p == *path);
            assert_eq!(coverage.is_covered(&path, hour), known);
        }
    }

    #[test]
    fn all_at_once_answers_like_one_by_one() {
        let mut coverage = Coverage::default();
        for (path, held) in [("a", 0..1000), ("b", 500..1500), ("c", 3000..3001)] {
            coverage.cover(path.into(), H, &ids(held));
        }
        coverage.retain_live(&live(&["b", "c"]));
        let asked = ids(0..3100);
        let mut found = Vec::new();
        coverage.lookup_all(H, &asked, |i, holder| found.push((i, holder)));
        let one_by_one = asked.iter().enumerate().filter_map(|(i, id)| Some((i, coverage.lookup(H, *id)?)));
        assert_eq!(found, one_by_one.collect::<Vec<_>>());
        assert_eq!(found.len(), 1001);
        coverage.lookup_all(EventHour(0), &asked, |_, _| panic!("an hour that isn't covered"));
    }

    #[test]
    fn equal_is_equal_files_at_equal_counts_whatever_came_between() {
        let mut a = Coverage::default();
        a.cover("x".into(), H, &ids(0..10));
        let mut b = a.clone();
        b.cover("y".into(), H, &ids(0..10));
        assert_ne!(a, b);
        a.cover("y".into(), EventHour(1), &ids(0..10));
        assert_ne!(a, b);
        b.retain_live(&live(&["x"]));
        a.retain_live(&live(&["x"]));
        assert_eq!(a, b);
    }
}
