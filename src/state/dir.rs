//! The state directory: one instance at a time, and what it remembers from one start to the next.
//!
//! ```text
//! lock            held by the running instance, with its pid
//! sluice.format   the format of everything below
//! known.json      what this directory knows about table and lane, for the tripwire
//! stop.json       why the last run stopped, until there is progress again
//! ids/            the cache of ids per data file (see `state::ids`)
//! ```
//!
//! Everything is safe to delete at any time. A directory that can't be used is said once, and the service runs without it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fs4::fs_std::FileExt;
use serde::{Deserialize, Serialize};

use super::atomic_file;
use crate::core::table::FORMAT;
use crate::crash_point::{self, Point};
use crate::error::{Exit, Stop};
use crate::ports::Known;

const LOCK: &str = "lock";
const FORMAT_FILE: &str = "sluice.format";
const KNOWN: &str = "known.json";
const STOP: &str = "stop.json";
const IDS: &str = "ids";

/// A killed process still holds its lock while the kernel frees its memory: 2 s are waited for that.
const LOCK_WAITS: u32 = 40;
const LOCK_RETRY: Duration = Duration::from_millis(50);

/// What a directory knows, without taking its lock: for commands beside a running service. None when there is nothing, or
/// nothing that can be read.
pub fn read_known(root: &Path) -> Option<Known> {
    read_json(&root.join(KNOWN))
}

/// The typed stop that ended a run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LastStop {
    pub stop: Stop,
    /// Milliseconds since 1970.
    pub at_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct StopFile {
    exit: u8,
    what: String,
    remedy: String,
    at_ms: i64,
}

impl LastStop {
    /// The stop kept in a directory, without taking its lock: for `offsets describe`.
    pub fn read(root: &Path) -> Option<LastStop> {
        let file: StopFile = read_json(&root.join(STOP))?;
        let exit = [Exit::Internal, Exit::Usage, Exit::Refused, Exit::Inconsistent, Exit::GaveUp, Exit::Data]
            .into_iter()
            .find(|e| e.code() == file.exit)?;
        Some(LastStop { stop: Stop::new(exit, file.what, file.remedy), at_ms: file.at_ms })
    }
}

/// The directory of a running instance, locked for as long as this value lives.
pub struct StateDir {
    root: PathBuf,
    /// None while the directory can't be used.
    lock: Mutex<Option<File>>,
    /// A failure is said once, and again after a success in between.
    complained: AtomicBool,
}

/// What taking the directory came to.
enum Taken {
    Ours(File),
    HeldBy(Option<u32>),
}

impl StateDir {
    /// Makes and locks the directory. One that can't be made, written or locked for any other reason than another
    /// instance is a warning, and the value works without it.
    ///
    /// # Errors
    /// Another instance holds it and goes on doing so: exit 2 with its pid. A newer Sluice wrote it: exit 4.
    pub fn open(root: impl Into<PathBuf>) -> Result<StateDir, Stop> {
        let root = root.into();
        let taken =
            fs::create_dir_all(&root).and_then(|()| take_when_let_go(&root, LOCK_WAITS, || std::thread::sleep(LOCK_RETRY)));
        let lock = match taken {
            Ok(Taken::Ours(file)) => Some(file),
            Ok(Taken::HeldBy(pid)) => return Err(held(&root, pid)),
            Err(_) => None,
        };
        let dir = StateDir { root, lock: Mutex::new(lock), complained: AtomicBool::new(false) };
        check_format(&dir.root)?;
        if let Err(error) = dir.usable().and_then(|()| mark_format(&dir.root)) {
            dir.complain("open", &error);
            *dir.holder() = None;
        }
        Ok(dir)
    }

    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Where the cache of ids belongs; none while the directory can't be used.
    pub fn ids(&self) -> Option<PathBuf> {
        self.holder().is_some().then(|| self.root.join(IDS))
    }

    /// Whether the directory is held and was written to at the last try.
    pub fn is_usable(&self) -> bool {
        self.holder().is_some() && !self.complained.load(Ordering::Relaxed)
    }

    /// What the directory knows of the table; also from a directory that can only be read.
    pub fn known(&self) -> Option<Known> {
        read_known(&self.root)
    }

    /// Replaces what the directory knows, durably. Blocks for the syncs of a file and a folder.
    pub fn remember(&self, known: &Known) {
        crash_point::pass(Point::StateRemembering);
        self.keep(KNOWN, known);
        crash_point::pass(Point::StateRemembered);
    }

    /// Keeps a stop for `offsets describe`.
    pub fn record_stop(&self, stop: &Stop, at_ms: i64) {
        let file = StopFile { exit: stop.exit.code(), what: stop.what.clone(), remedy: stop.remedy.clone(), at_ms };
        self.keep(STOP, &file);
    }

    pub fn last_stop(&self) -> Option<LastStop> {
        LastStop::read(&self.root)
    }

    /// There is progress again: the kept stop no longer says anything.
    pub fn clear_stop(&self) {
        match fs::remove_file(self.root.join(STOP)) {
            Err(error) if error.kind() != ErrorKind::NotFound => self.complain("clear the last stop", &error),
            _ => {}
        }
    }

    fn keep(&self, name: &str, value: &impl Serialize) {
        let bytes = serde_json::to_vec_pretty(value).expect("strings, numbers and lists are always JSON");
        let kept = self.usable().and_then(|()| atomic_file::write(&self.root.join(name), &bytes));
        match kept {
            Ok(()) => self.complained.store(false, Ordering::Relaxed),
            Err(error) => self.complain(name, &error),
        }
    }

    /// Takes the directory again where it was deleted meanwhile, or couldn't be used before.
    fn usable(&self) -> io::Result<()> {
        let mut lock = self.holder();
        if lock.as_ref().is_some_and(|held| is_still(held, &self.root.join(LOCK))) {
            return Ok(());
        }
        *lock = None;
        fs::create_dir_all(&self.root)?;
        match take(&self.root)? {
            Taken::Ours(file) => *lock = Some(file),
            Taken::HeldBy(pid) => return Err(io::Error::other(format!("it was deleted and taken by {}", named(pid)))),
        }
        drop(lock);
        mark_format(&self.root)
    }

    fn holder(&self) -> MutexGuard<'_, Option<File>> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complain(&self, doing: &str, error: &io::Error) {
        if !self.complained.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                event = "state_dir.unusable",
                path = %self.root.display(),
                doing,
                exception = %error,
                "the state directory can't be used: going on without, which costs time at the next start only"
            );
        }
    }
}

/// Takes the directory, after `waits` of a holder that may be on its way out.
fn take_when_let_go(root: &Path, waits: u32, mut wait: impl FnMut()) -> io::Result<Taken> {
    for _ in 0..waits {
        match take(root)? {
            Taken::HeldBy(_) => wait(),
            ours => return Ok(ours),
        }
    }
    take(root)
}

/// Locks the directory and writes our pid, or tells who holds it. A directory that can only be read is locked all the
/// same where it has a lock file.
fn take(root: &Path) -> io::Result<Taken> {
    let path = root.join(LOCK);
    let mut file = match OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path) {
        Ok(file) => file,
        Err(error) => match File::open(&path) {
            Ok(file) if !file.try_lock_exclusive()? => return Ok(Taken::HeldBy(pid_in(&file))),
            _ => return Err(error),
        },
    };
    if !file.try_lock_exclusive()? {
        return Ok(Taken::HeldBy(pid_in(&file)));
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(Taken::Ours(file))
}

fn pid_in(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn named(pid: Option<u32>) -> String {
    match pid {
        Some(pid) => format!("process {pid}"),
        None => "another process".into(),
    }
}

fn held(root: &Path, pid: Option<u32>) -> Stop {
    Stop::usage(
        format!("dedup.state_dir {} is in use by {}", root.display(), named(pid)),
        "stop the other instance, or give this one a state_dir of its own",
    )
}

/// Whether the locked file is the one that the path names now.
fn is_still(held: &File, path: &Path) -> bool {
    match (held.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// A greater format stops; one that can't be read is what a damaged directory looks like, and is written anew.
fn check_format(root: &Path) -> Result<(), Stop> {
    let Ok(text) = fs::read_to_string(root.join(FORMAT_FILE)) else { return Ok(()) };
    match text.trim().parse::<u32>() {
        Ok(found) if found > FORMAT => Err(Stop::inconsistent(
            format!("dedup.state_dir {} has sluice.format {found}, and this build knows {FORMAT}", root.display()),
            "run the newer Sluice that wrote it, or delete the directory: that costs time only",
        )),
        _ => Ok(()),
    }
}

fn mark_format(root: &Path) -> io::Result<()> {
    let path = root.join(FORMAT_FILE);
    let ours = format!("{FORMAT}\n");
    if fs::read(&path).is_ok_and(|there| there == ours.as_bytes()) {
        return Ok(());
    }
    atomic_file::write(&path, ours.as_bytes())
}

fn read_json<T: for<'a> Deserialize<'a>>(path: &Path) -> Option<T> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return None,
        Err(error) => return unreadable(path, &error),
    };
    match serde_json::from_slice(&bytes) {
        Ok(value) => Some(value),
        Err(error) => unreadable(path, &error),
    }
}

fn unreadable<T>(path: &Path, error: &dyn std::error::Error) -> Option<T> {
    tracing::warn!(
        event = "state_dir.unreadable", path = %path.display(), exception = %error,
        "a file of the state directory can't be read: going on without"
    );
    None
}

#[cfg(test)]
#[path = "dir_tests.rs"]
mod tests;
