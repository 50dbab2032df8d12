//! Named places in the protocol at which a test ends the process. `SLUICE_CRASH_AT=letters.acknowledged:2` kills it with
//! SIGKILL at the second passing of that place, in the very binary that runs in production; without the variable a passing
//! costs one load of an integer.

use std::io::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::error::Stop;

pub const VARIABLE: &str = "SLUICE_CRASH_AT";

macro_rules! points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// In the order of the protocol. The names are what the variable takes.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Point { $($(#[$doc])* $variant,)* }

        impl Point {
            pub const ALL: &[Point] = &[$(Point::$variant,)*];

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

points! {
    /// Nothing was asked yet: Kafka's view, the witness and the table come next. Passed by every load.
    LoadAsked = "load.asked",
    /// Kafka and the tripwire have answered; the table is loaded next.
    LoadWitnessed = "load.witnessed",
    /// A load that no batch waits for is there: the first one, an opening's, a comparison.
    LoadAnswered = "load.answered",
    /// The table is missing and nothing knows it: it is made next.
    CreateAsked = "create.asked",
    CreateAnswered = "create.answered",
    /// The places at which unknown topics are opened are known.
    OpeningPlaced = "opening.placed",
    /// The opening is planned; its snapshot is built and posted next.
    OpeningPosting = "opening.posting",
    OpeningPosted = "opening.posted",
    /// Positions are known; the consumer is given them next.
    AssignmentAnswering = "assignment.answering",
    AssignmentAnswered = "assignment.answered",
    /// What the table is known to hold is kept for the tripwire next.
    StateRemembering = "state.remembering",
    StateRemembered = "state.remembered",
    /// Records are decoded; their verdicts come next.
    RecordsJudging = "records.judging",
    RecordsJudged = "records.judged",
    /// The open batch was closed, to be committed or given up.
    BatchSealed = "batch.sealed",
    /// The base of a batch in flight is there.
    BaseLoaded = "base.loaded",
    /// Ids are looked up in files that the batch hasn't seen next.
    ProbeAsked = "probe.asked",
    ProbeAnswered = "probe.answered",
    LettersSending = "letters.sending",
    LettersAcknowledged = "letters.acknowledged",
    /// A data file is on the disk, not yet under its name.
    DataFileSynced = "data_file.synced",
    DataFileDurable = "data_file.durable",
    /// The ids of a data file are put into the cache next.
    IdsPutting = "ids.putting",
    IdsPut = "ids.put",
    /// Rows turned out to be in the table after their files were written: those are written anew next.
    RewriteBegun = "rewrite.begun",
    RewriteDone = "rewrite.done",
    /// A batch or an anchor is planned; its snapshot is built and posted next.
    PostBegun = "post.begun",
    /// A manifest or manifest list is on the disk, not yet under its name.
    ManifestSynced = "manifest.synced",
    ManifestDurable = "manifest.durable",
    ManifestListDurable = "manifest_list.durable",
    /// A metadata.json is on the disk, not yet under its name.
    MetadataSynced = "metadata.synced",
    MetadataDurable = "metadata.durable",
    /// The catalog's transaction has begun.
    CatalogBegun = "catalog.begun",
    /// The table's row is changed within the transaction.
    CatalogUpdated = "catalog.updated",
    CatalogCommitted = "catalog.committed",
    /// The outcome of the post is there; the core doesn't know it yet.
    PostAnswered = "post.answered",
    /// The post was refused or its outcome isn't known: a pause comes next, then another load.
    PostBackingOff = "post.backing_off",
    MirrorAsked = "mirror.asked",
    MirrorAcknowledged = "mirror.acknowledged",
    /// The table stands elsewhere: the consumer is told to read from there next.
    RepositionAsked = "reposition.asked",
    RepositionSent = "reposition.sent",
    /// The group takes partitions back: what was read of them is committed next.
    RevokeTold = "revoke.told",
    /// That is done, or its time is up; the group is answered next.
    RevokeFlushed = "revoke.flushed",
    RevokeAnswered = "revoke.answered",
    /// The run is to end: what was read is committed next.
    CloseTold = "close.told",
    /// That is done; the group is left next.
    GroupLeaving = "group.leaving",
    GroupLeft = "group.left",
}

const NONE: usize = usize::MAX;
static ARMED: AtomicUsize = AtomicUsize::new(NONE);
static FATAL_PASSING: AtomicU64 = AtomicU64::new(0);
static PASSINGS: AtomicU64 = AtomicU64::new(0);

/// Takes the variable's value, before anything is done.
///
/// # Errors
/// A point of another name, or no number of a passing: a test that would kill nothing must not run.
pub fn arm(value: &str) -> Result<(), Stop> {
    let (point, passing) = parse(value).ok_or_else(|| {
        let names: Vec<&str> = Point::ALL.iter().map(|p| p.name()).collect();
        Stop::usage(
            format!("{VARIABLE}={value:?} is not NAME:PASSING of a crash point"),
            format!("unset it, or name one of: {}", names.join(", ")),
        )
    })?;
    FATAL_PASSING.store(passing, Ordering::SeqCst);
    ARMED.store(point as usize, Ordering::SeqCst);
    Ok(())
}

fn parse(value: &str) -> Option<(Point, u64)> {
    let (name, passing) = value.split_once(':')?;
    let point = Point::ALL.iter().find(|p| p.name() == name)?;
    Some((*point, passing.parse().ok().filter(|n| *n > 0)?))
}

/// The process has come here.
#[inline]
pub fn pass(point: Point) {
    if ARMED.load(Ordering::Relaxed) == point as usize {
        count(point);
    }
}

#[cold]
fn count(point: Point) {
    let passing = PASSINGS.fetch_add(1, Ordering::SeqCst) + 1;
    if passing != FATAL_PASSING.load(Ordering::SeqCst) {
        return;
    }
    let _ = writeln!(std::io::stderr(), "crash point {}, passing {passing}: SIGKILL", point.name());
    // SAFETY: neither call takes a pointer.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    loop {
        std::thread::park();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_is_named_once_and_taken_by_its_name() {
        let mut names: Vec<&str> = Point::ALL.iter().map(|p| p.name()).collect();
        assert!(Point::ALL.iter().all(|p| parse(&format!("{}:3", p.name())) == Some((*p, 3))));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Point::ALL.len());
    }

    #[test]
    fn what_names_no_passing_of_a_point_is_refused_with_all_names() {
        for wrong in ["", "post.begun", "post.begun:0", "post.begun:x", "post.began:1", ":1"] {
            let stop = arm(wrong).unwrap_err();
            assert_eq!(stop.exit, crate::error::Exit::Usage);
            assert!(stop.remedy.contains("load.asked, ") && stop.remedy.contains(", group.left"), "{stop}");
        }
    }
}
