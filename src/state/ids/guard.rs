//! sled behind glass: a thread of its own that alone touches the database, with a bound on every wait.
//!
//! sled 0.34.7 can panic or answer an error on a damaged directory (its issues 1387, 1527, 1533), and by its source it can
//! also wait for ever: on a log write that failed, and in `Drop` when its flush thread has died. So nobody calls it
//! directly. A job that fails, panics or doesn't answer ends the database for this process; in the worst case its thread
//! is left behind.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Names of threads in which a panic is contained here and costs the cache only.
pub const CONTAINED_THREADS: [&str; 3] = [THREAD, "sled-io", "log flusher"];

const THREAD: &str = "sluice-ids";

/// After a bound has passed the job gets this much more: the whole process may have been stopped meanwhile.
const GRACE: Duration = Duration::from_secs(1);

const LOCKED_MAX: Duration = Duration::from_secs(5);
const LOCKED_RETRY: Duration = Duration::from_millis(20);

const FLUSH_EVERY_MS: u64 = 1_000;

/// Why the database is no longer used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Loss {
    #[error("{0}")]
    Failed(String),
    #[error("panicked: {0}")]
    Panicked(String),
    #[error("no answer within {0:?}")]
    Silent(Duration),
    #[error("its thread could not be started: {0}")]
    NoThread(std::io::Error),
    #[error("its directory was deleted")]
    Deleted,
    #[error("ended before")]
    Ended,
}

impl From<sled::Error> for Loss {
    fn from(error: sled::Error) -> Loss {
        Loss::Failed(error.to_string())
    }
}

type Job = Box<dyn FnOnce(&sled::Db) -> Next + Send>;

enum Next {
    Go,
    End,
}

/// An open database. Dropping it closes the database in its thread, without waiting.
pub(super) struct Guarded {
    jobs: Sender<Job>,
    closed: Mutex<Receiver<()>>,
}

impl Guarded {
    /// Opens or makes the database in `dir`, waiting `within` at most.
    pub(super) fn open(dir: &Path, cache_bytes: u64, within: Duration) -> Result<Guarded, Loss> {
        let config = sled::Config::new().path(dir).cache_capacity(cache_bytes).flush_every_ms(Some(FLUSH_EVERY_MS));
        let (jobs, queue) = mpsc::channel::<Job>();
        let (opened, answer) = mpsc::sync_channel(1);
        let (closing, closed) = mpsc::sync_channel(1);
        std::thread::Builder::new()
            .name(THREAD.into())
            .spawn(move || {
                serve(&config, &opened, queue);
                drop(config);
                let _ = closing.try_send(());
            })
            .map_err(Loss::NoThread)?;
        wait(&answer, within)??;
        Ok(Guarded { jobs, closed: Mutex::new(closed) })
    }

    /// Runs one job in the database's thread. After any `Err` the database is gone.
    pub(super) fn run<T: Send + 'static>(
        &self,
        within: Duration,
        job: impl FnOnce(&sled::Db) -> Result<T, sled::Error> + Send + 'static,
    ) -> Result<T, Loss> {
        let (reply, answer) = mpsc::sync_channel(1);
        let job: Job = Box::new(move |db| {
            let outcome = contained(|| job(db).map_err(Loss::from));
            let next = if outcome.is_ok() { Next::Go } else { Next::End };
            let _ = reply.try_send(outcome);
            next
        });
        // Never more jobs wait than there are callers, each for one answer.
        self.jobs.send(job).map_err(|_| Loss::Ended)?;
        wait(&answer, within)?
    }

    /// Closes the database, so that everything is on disk; false when that took longer than `within`.
    pub(super) fn close(self, within: Duration) -> bool {
        drop(self.jobs);
        let closed = self.closed.into_inner().unwrap_or_else(PoisonError::into_inner);
        !matches!(closed.recv_timeout(within), Err(RecvTimeoutError::Timeout))
    }
}

/// Opens once the file lock is free: an IO thread of a database that was closed before can hold it for a moment longer.
fn open_unlocked(config: &sled::Config) -> Result<sled::Db, Loss> {
    let started = Instant::now();
    loop {
        match config.open() {
            Err(sled::Error::Io(error)) if is_lock(&error) && started.elapsed() < LOCKED_MAX => {
                std::thread::sleep(LOCKED_RETRY);
            }
            outcome => return outcome.map_err(Loss::from),
        }
    }
}

/// sled wraps the error of its try for the lock into a text of its own.
fn is_lock(error: &std::io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// Opens, answers, and works until a job fails or nobody asks any more; then closes, which can take for ever.
fn serve(config: &sled::Config, opened: &SyncSender<Result<(), Loss>>, queue: Receiver<Job>) {
    let db = match contained(|| open_unlocked(config)) {
        Ok(db) => db,
        Err(loss) => {
            let _ = opened.try_send(Err(loss));
            return;
        }
    };
    let _ = opened.try_send(Ok(()));
    while let Ok(job) = queue.recv() {
        if let Next::End = job(&db) {
            break;
        }
    }
    drop(queue);
    let _ = contained(|| {
        drop(db);
        Ok(())
    });
}

fn contained<T>(work: impl FnOnce() -> Result<T, Loss>) -> Result<T, Loss> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Loss::Panicked(said(panic.as_ref()))))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("without a message").into()
}

fn wait<T>(answer: &Receiver<T>, within: Duration) -> Result<T, Loss> {
    answer.recv_timeout(within).or_else(|_| answer.recv_timeout(GRACE)).map_err(|error| match error {
        RecvTimeoutError::Timeout => Loss::Silent(within),
        RecvTimeoutError::Disconnected => Loss::Ended,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[test]
    fn a_panic_in_a_job_is_an_answer_and_ends_the_database() {
        let dir = tempfile::tempdir().unwrap();
        let db = Guarded::open(dir.path(), 1 << 20, SOON).unwrap();
        db.run(SOON, |db| db.insert("k", "v").map(drop)).unwrap();
        let loss = db.run(SOON, |_| -> Result<(), sled::Error> { panic!("as sled does") }).unwrap_err();
        assert!(matches!(&loss, Loss::Panicked(what) if what == "as sled does"), "{loss}");
        assert!(matches!(db.run(SOON, |_| Ok(())), Err(Loss::Ended)));
    }

    #[test]
    fn an_error_in_a_job_ends_the_database() {
        let dir = tempfile::tempdir().unwrap();
        let db = Guarded::open(dir.path(), 1 << 20, SOON).unwrap();
        let fails = |_: &sled::Db| Err::<(), _>(sled::Error::Unsupported("as sled does".into()));
        assert!(matches!(db.run(SOON, fails), Err(Loss::Failed(_))));
        assert!(matches!(db.run(SOON, |_| Ok(())), Err(Loss::Ended)));
    }

    #[test]
    fn a_job_that_never_answers_holds_its_caller_for_the_bound_only() {
        let dir = tempfile::tempdir().unwrap();
        let db = Guarded::open(dir.path(), 1 << 20, SOON).unwrap();
        let (release, held) = mpsc::channel::<()>();
        let bound = Duration::from_millis(10);
        let stuck = db.run(bound, move |_| {
            let _ = held.recv();
            Ok(())
        });
        assert!(matches!(stuck, Err(Loss::Silent(b)) if b == bound));
        drop(release);
        assert!(db.close(SOON));
    }

    #[test]
    fn a_file_lock_that_is_still_held_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Guarded::open(dir.path(), 1 << 20, SOON).unwrap().close(SOON));
        let file = std::fs::File::open(dir.path().join("db")).unwrap();
        fs4::fs_std::FileExt::lock_exclusive(&file).unwrap();
        std::thread::scope(|scope| {
            let opening = scope.spawn(|| Guarded::open(dir.path(), 1 << 20, SOON).map(drop));
            // However late the other thread begins, it either waits for the lock or finds it free.
            std::thread::sleep(LOCKED_RETRY * 2);
            drop(file);
            opening.join().unwrap().unwrap();
        });
    }

    #[test]
    fn what_was_written_is_there_after_a_close() {
        let dir = tempfile::tempdir().unwrap();
        let db = Guarded::open(dir.path(), 1 << 20, SOON).unwrap();
        db.run(SOON, |db| db.insert("k", "v").map(drop)).unwrap();
        assert!(db.close(SOON));
        let db = Guarded::open(dir.path(), 1 << 20, SOON).unwrap();
        assert_eq!(db.run(SOON, |db| db.get("k")).unwrap().unwrap(), "v".as_bytes());
    }
}
