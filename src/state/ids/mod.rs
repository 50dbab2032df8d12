//! The ids of data files that were seen before, on local disk: saves reading message_id columns after a restart.
//!
//! Keyed by table uuid and file path. A file's content never changes, so an entry can't go stale; whether the file counts
//! is decided by the table alone. Every answer is right or absent: any error, panic, silence or failed checksum means that
//! the cache is lost. It is then deleted and begun anew once, and if that is lost as well within [`REOPEN_AFTER`], the
//! process works without it for so long.

mod generation;
mod guard;
mod record;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use generation::Generation;
pub use guard::CONTAINED_THREADS;
use guard::{Guarded, Loss};
use record::{Damaged, FileKey, HEADERS_FROM, HEADERS_UNTIL, Header, IDS_PER_CHUNK};

use crate::ports::FileIds;
use crate::types::{EventHour, MessageId};

/// Bound on opening: sled goes through its log again, 0.2 s for 40 M ids on an idle machine.
const OPEN_WITHIN: Duration = Duration::from_secs(60);
/// Bound on one job: a few hundred kilobytes read or written.
const JOB_WITHIN: Duration = Duration::from_secs(20);
/// Bound on closing at shutdown.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// A cache that is lost twice within this time isn't begun anew before it has passed.
pub const REOPEN_AFTER: Duration = Duration::from_secs(600);

/// Chunks that travel to or from the database's thread at once.
const CHUNKS_PER_JOB: usize = 64;
/// Extra accesses per chunk, for [`settle`].
const SETTLE: usize = 8;
/// Headers looked at in one step of a sweep.
const HEADERS_PER_JOB: usize = 512;

/// The read-through cache of ids per data file over sled. All methods block, for disk or for another caller: call them
/// from blocking threads, never from the async loop.
pub struct IdStore {
    table: u128,
    /// None: there is no directory to use.
    root: Option<PathBuf>,
    cache_bytes: u64,
    slot: Mutex<Slot>,
    /// One writer at a time: two writings of one file would spoil each other.
    writing: Mutex<()>,
}

enum Slot {
    Open(Arc<Opened>),
    Lost(Lost),
}

/// No database: until when (none: for good), and which directory must not be used again.
#[derive(Default)]
struct Lost {
    retry_at: Option<Instant>,
    after: Option<Generation>,
}

struct Opened {
    database: Guarded,
    place: Generation,
    /// When the cache was lost before this one was begun.
    lost_before: Option<Instant>,
}

impl IdStore {
    /// Opens the cache of `table` under `root`, which belongs to this process alone. Never fails: without a directory, or
    /// with one that can't be used, the store is empty and forgets what it is given. `cache_bytes` bounds what sled holds
    /// in memory (see `state::memory`). Takes as long as reading the cache's log once, 60 s at most.
    pub fn open(root: Option<PathBuf>, table: u128, cache_bytes: u64) -> IdStore {
        let slot = Mutex::new(Slot::Lost(Lost::default()));
        let store = IdStore { table, root, cache_bytes, slot, writing: Mutex::new(()) };
        if let Some(root) = &store.root {
            let slot = store.first_opened(root);
            *store.slot() = slot;
        }
        store
    }

    fn first_opened(&self, root: &Path) -> Slot {
        let place = match Generation::current(root, self.table) {
            Ok(place) => place,
            Err(error) => {
                said_lost(&Loss::from_io(error));
                return Slot::Lost(Lost { retry_at: Some(Instant::now() + REOPEN_AFTER), after: None });
            }
        };
        match self.start(&place, None) {
            Ok(opened) => Slot::Open(Arc::new(opened)),
            Err(loss) => {
                said_lost(&loss);
                self.begin_anew(Some(&place))
            }
        }
    }

    /// Whether there is a database to read from and write to.
    pub fn is_open(&self) -> bool {
        matches!(*self.slot(), Slot::Open(_))
    }

    /// What the database holds in memory at most, estimated: its cache, of which each of sled's 256 shards keeps at least
    /// one page, and its buffers. 0 without one.
    pub fn memory_bytes(&self) -> u64 {
        const SHARDS: u64 = 256;
        const PAGE: u64 = 64 << 10;
        const BUFFERS: u64 = 4 << 20;
        if self.is_open() { self.cache_bytes.max(SHARDS * PAGE) + BUFFERS } else { 0 }
    }

    /// Bytes of the database on disk; 0 without one.
    pub fn disk_bytes(&self) -> u64 {
        self.run(|db| db.size_on_disk()).unwrap_or(0)
    }

    /// Puts everything on disk and closes, within 5 s. Afterwards the store is empty.
    pub fn close(&self) {
        let slot = std::mem::replace(&mut *self.slot(), Slot::Lost(Lost::default()));
        let Slot::Open(opened) = slot else { return };
        // Another caller may still hold it; then it is closed when that one is done.
        if let Some(opened) = Arc::into_inner(opened)
            && !opened.database.close(CLOSE_WITHIN)
        {
            tracing::warn!(event = "dedup.cache_slow_close", "the id cache was not closed within {CLOSE_WITHIN:?}");
        }
    }

    fn slot(&self) -> MutexGuard<'_, Slot> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, place: &Generation, lost_before: Option<Instant>) -> Result<Opened, Loss> {
        place.opening().map_err(Loss::from_io)?;
        let outcome = Guarded::open(&place.path, self.cache_bytes, OPEN_WITHIN);
        place.opened();
        match outcome {
            Ok(database) => Ok(Opened { database, place: place.clone(), lost_before }),
            Err(loss) => {
                place.remove();
                Err(loss)
            }
        }
    }

    /// A new, empty database after a loss; without one when that fails too.
    fn begin_anew(&self, after: Option<&Generation>) -> Slot {
        let now = Instant::now();
        let Some(root) = &self.root else { return Slot::Lost(Lost::default()) };
        let place = match after {
            Some(old) => old.successor(),
            None => Generation::current(root, self.table),
        };
        let (loss, after) = match place {
            Ok(place) => match self.start(&place, Some(now)) {
                Ok(opened) => return Slot::Open(Arc::new(opened)),
                Err(loss) => (loss, Some(place)),
            },
            Err(error) => (Loss::from_io(error), after.cloned()),
        };
        tracing::warn!(
            event = "dedup.cache_off", exception = %loss, retry_seconds = REOPEN_AFTER.as_secs(),
            "the id cache can't be begun anew: going on without, which costs time at the next start only"
        );
        Slot::Lost(Lost { retry_at: Some(now + REOPEN_AFTER), after })
    }

    /// The database, begun anew where it is time to try again or where its directory was deleted.
    fn opened(&self) -> Option<Arc<Opened>> {
        let mut slot = self.slot();
        if let Slot::Lost(Lost { retry_at: Some(at), after }) = &*slot
            && Instant::now() >= *at
        {
            *slot = self.begin_anew(after.as_ref());
        }
        match &*slot {
            Slot::Open(opened) if opened.place.exists() => Some(opened.clone()),
            Slot::Open(opened) => {
                let gone = opened.clone();
                drop(slot);
                self.lose(&gone, &Loss::Deleted);
                match &*self.slot() {
                    Slot::Open(opened) => Some(opened.clone()),
                    Slot::Lost(_) => None,
                }
            }
            Slot::Lost(_) => None,
        }
    }

    /// Drops a database that failed, deletes its directory and begins anew, unless that was done just before.
    fn lose(&self, failed: &Arc<Opened>, loss: &Loss) {
        let mut slot = self.slot();
        let Slot::Open(current) = &*slot else { return };
        if !Arc::ptr_eq(current, failed) {
            return;
        }
        said_lost(loss);
        failed.place.remove();
        let twice = failed.lost_before.is_some_and(|at| at.elapsed() < REOPEN_AFTER);
        *slot = if twice {
            Slot::Lost(Lost { retry_at: Some(Instant::now() + REOPEN_AFTER), after: Some(failed.place.clone()) })
        } else {
            self.begin_anew(Some(&failed.place))
        };
    }

    fn run<T: Send + 'static>(&self, job: impl FnOnce(&sled::Db) -> Result<T, sled::Error> + Send + 'static) -> Option<T> {
        let opened = self.opened()?;
        opened.database.run(JOB_WITHIN, job).map_err(|loss| self.lose(&opened, &loss)).ok()
    }

    /// What isn't what was put: nothing in the database can be trusted any more.
    fn distrust<T>(&self, answer: Result<T, Damaged>) -> Option<T> {
        answer
            .map_err(|damaged| {
                if let Some(opened) = self.opened() {
                    self.lose(&opened, &Loss::Failed(damaged.to_string()));
                }
            })
            .ok()
    }

    fn header(&self, key: FileKey, path: &str) -> Option<Header> {
        let at = key.header();
        let value = self.run({
            let at = at.clone();
            move |db| db.get(at)
        })??;
        self.distrust(Header::decode(&at, &value)).filter(|header| header.path == path)
    }

    fn chunks(&self, key: FileKey, header: &Header) -> Option<Vec<(MessageId, EventHour)>> {
        let mut ids = Vec::new();
        let mut index = 0;
        while index < header.chunks() {
            let until = header.chunks().min(index + CHUNKS_PER_JOB as u32);
            let values = self.run(move |db| {
                let read = |i| {
                    let at = key.chunk(i);
                    let value = db.get(&at)?;
                    settle(db, &at)?;
                    Ok(value)
                };
                (index..until).map(read).collect::<Result<Vec<_>, sled::Error>>()
            })?;
            if ids.capacity() == 0 {
                ids.reserve_exact(header.ids());
            }
            for value in values {
                let whole = match value {
                    Some(value) => self.distrust(header.decode_chunk(index, &key.chunk(index), &value, &mut ids))?,
                    None => false,
                };
                if !whole {
                    // A kill or a restored copy left a part of the file: it can be put again, and swept.
                    self.write_header(key, &header.clone().unfinished())?;
                    return None;
                }
                index += 1;
            }
        }
        assert_eq!(ids.len(), header.ids(), "chunks of {} hold what its header counts", header.path);
        Some(ids)
    }

    fn write(&self, values: Vec<(Vec<u8>, Vec<u8>)>) -> Option<()> {
        self.run(move |db| {
            values.into_iter().try_for_each(|(key, value)| {
                db.insert(&key, value)?;
                settle(db, &key)
            })
        })
    }

    fn write_header(&self, key: FileKey, header: &Header) -> Option<()> {
        self.write(vec![(key.header(), header.encode(&key.header()))])
    }

    fn put_all(&self, path: &str, ids: &[(MessageId, EventHour)]) -> Option<()> {
        let key = FileKey::of(self.table, path);
        let complete = self.header(key, path).is_some_and(|header| header.finished && header.ids() == ids.len());
        if complete {
            return Some(());
        }
        let header = Header::new(path, ids, rand::random());
        self.write_header(key, &header)?;
        for (first, group) in (0u32..).step_by(CHUNKS_PER_JOB).zip(ids.chunks(CHUNKS_PER_JOB * IDS_PER_CHUNK)) {
            let chunks = (first..).zip(group.chunks(IDS_PER_CHUNK)).map(|(index, part)| {
                let at = key.chunk(index);
                let value = header.encode_chunk(&at, part);
                (at, value)
            });
            self.write(chunks.collect())?;
        }
        self.write_header(key, &header.finished())?;
        self.run(|db| db.flush().map(drop))
    }

    /// Headers behind `after`, at most a step of a sweep.
    fn headers(&self, after: Vec<u8>) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        self.run(move |db| {
            let from = (std::ops::Bound::Excluded(after.as_slice()), std::ops::Bound::Excluded(HEADERS_UNTIL));
            let found = db.range::<&[u8], _>(from).take(HEADERS_PER_JOB);
            found.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec()))).collect()
        })
    }

    /// Chunks first: what is left of an interrupted sweep still has its header.
    fn forget(&self, key: FileKey, header: &Header) -> Option<()> {
        for first in (0..header.chunks()).step_by(CHUNKS_PER_JOB) {
            let until = header.chunks().min(first + CHUNKS_PER_JOB as u32);
            self.run(move |db| (first..until).try_for_each(|index| db.remove(key.chunk(index)).map(drop)))?;
        }
        self.run(move |db| db.remove(key.header()).map(drop))
    }

    fn sweep_all(&self, keep: &dyn Fn(&str) -> bool) -> Option<()> {
        let mut after = HEADERS_FROM.to_vec();
        loop {
            let headers = self.headers(after)?;
            let Some((last, _)) = headers.last() else { return Some(()) };
            after = last.clone();
            for (at, value) in headers {
                let header = self.distrust(Header::decode(&at, &value))?;
                if !keep(&header.path) {
                    self.forget(FileKey::of(self.table, &header.path), &header)?;
                }
            }
        }
    }
}

impl IdStore {
    /// None for a file that isn't held whole.
    pub fn get(&self, path: &str) -> Option<FileIds> {
        let key = FileKey::of(self.table, path);
        let header = self.header(key, path).filter(|header| header.finished)?;
        self.chunks(key, &header)
    }

    /// On disk when it returns.
    pub fn put(&self, path: &str, ids: &[(MessageId, EventHour)]) {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.put_all(path, ids);
    }

    /// Forgets every file that `keep` refuses.
    pub fn sweep(&self, keep: &dyn Fn(&str) -> bool) {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.sweep_all(keep);
    }
}

impl Loss {
    fn from_io(error: std::io::Error) -> Loss {
        Loss::Failed(error.to_string())
    }
}

/// Makes sled keep to its cache size. It counts accesses in 256 shards and evicts from a shard only once 64 more have
/// gathered there (`lru.rs`), so that large pages stay however small the cache. A leaf holds 8 to 16 chunks: so many
/// accesses for each of them make a shard count with every leaf.
fn settle(db: &sled::Db, key: &[u8]) -> Result<(), sled::Error> {
    (0..SETTLE).try_for_each(|_| db.contains_key(key).map(drop))
}

fn said_lost(loss: &Loss) {
    tracing::warn!(
        event = "dedup.cache_lost",
        exception = %loss,
        "the id cache is lost: ids are read from the data files where they are needed"
    );
}

#[cfg(test)]
mod tests;
