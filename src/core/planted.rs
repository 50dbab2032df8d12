//! Bugs to be found. With the feature `planted-bugs` one of them can be switched on for a thread, and a simulation has to
//! catch it; without the feature none of them exists.
//!
//! Each hook stands where its rule is implemented, and each bug is what somebody could have written there.

use crate::core::invariant::Invariant;

/// What the planted mistake is, one line a bug. [`Bug::rule`] has the rule that it leaves out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Bug {
    /// A batch goes on any base that knows its partitions.
    NoFence,
    /// A batch ahead of the table counts as standing where the table stands.
    AtLeastForEqual,
    /// After a conflict the request is posted again on the new head, without steps 1 to 4.
    LibraryRebase,
    /// What is covered when the commit is built counts as checked.
    CoveragePerInstance,
    /// A duplicate verdict outlives the file that it rests on.
    DuplicatesNotLookedUpAgain,
    /// A verdict that rests on a pending id of the batch before stands without being looked up.
    VerdictOnPendingKept,
    /// A row that a probe took out stays out, whatever the next base holds.
    ProbeHitKept,
    /// Step 4 is done for the first attempt only.
    FirstProbeKept,
    /// A file that can't be probed holds none of the ids.
    ProbeErrorIsNotFound,
    /// Where the history is expired, any property is believed.
    PropertyBelieved,
    /// Another attempt posts the lanes that were merged for the first.
    LanesOfOlderBase,
    /// The files of a batch that is given up are deleted with it.
    DiscardedFilesDeleted,
    /// Rows of an hour that are written again take the path of the first time.
    FileRewrittenInPlace,
    /// A partition that no batch holds isn't compared with the table.
    OnlyBatchPartitionsCompared,
    /// Ids count as seen once their file is written, and still do after a restart.
    SeenBeforeCommit,
    /// A record, or an end, that doesn't follow at once is passed over.
    ContiguityDemanded,
    /// Where the table is missing or empty, nobody asks what knew it.
    MissingTableSkipped,
    /// A record is late against the host's clock.
    LatenessFromWallClock,
    /// A record is late against the newest event time of all partitions that the instance owns.
    LatenessFromOtherPartitions,
    /// Reading begins at the group's offset where that is further than the table's.
    GroupOffsetIsTruth,
    /// Letters are sent once their offsets are committed.
    DeadLetterAfterCommit,
    /// A commit moves offsets and leaves the greatest event times as they were.
    MaximaNotPersisted,
    /// The greatest event times live beside the positions: neither rewound nor compared with them.
    MaximaNotRewound,
    /// A commit writes the greatest event times that have been read by then.
    MaximaAheadOfOffsets,
    /// In a known lane, a partition that isn't in the map stands at 0.
    MissingPartitionIsZero,
    /// At an end of partition the position is the log end as Kafka answers it now.
    LogEndIsPosition,
    /// An end of partition counts whatever epoch it was read under.
    OldEpochEofBelieved,
    /// Records count as read from the topic that Kafka has now.
    IdentityAskedAnew,
    /// A recreated topic may be reset partition by partition.
    PartialResetAccepted,
    /// A topic that only the property knows is opened again.
    UnknownTopicMended,
    /// A commit requires main where it was, and nothing of the tag.
    TagNotRequired,
    /// The table is loaded first and the tripwire read second; a hit stops at once.
    TripwireAfterTable,
    /// An id counts as about to be written although its record is late and won't be.
    LateEntersPending,
    /// A commit rewrites the property of its own lane only.
    OnlyOwnPropertyMoved,
    /// The keys of any summary count, whichever snapshot they name.
    CopiedSummaryBelieved,
    /// The next batch takes over the commit ids of the one that was given up.
    DiscardedIdSettles,
    /// A record is looked up in the hours beside its own as well.
    KeyWidenedToNeighbours,
    /// Step 1 looks at the head and not behind it.
    CommitIdInHeadOnly,
    /// When the batch in flight is fenced, the open one is compared with the table by itself.
    OpenBatchKept,
}

impl Bug {
    pub const ALL: [Bug; 39] = [
        Bug::NoFence,
        Bug::AtLeastForEqual,
        Bug::LibraryRebase,
        Bug::CoveragePerInstance,
        Bug::DuplicatesNotLookedUpAgain,
        Bug::VerdictOnPendingKept,
        Bug::ProbeHitKept,
        Bug::FirstProbeKept,
        Bug::ProbeErrorIsNotFound,
        Bug::PropertyBelieved,
        Bug::LanesOfOlderBase,
        Bug::DiscardedFilesDeleted,
        Bug::FileRewrittenInPlace,
        Bug::OnlyBatchPartitionsCompared,
        Bug::SeenBeforeCommit,
        Bug::ContiguityDemanded,
        Bug::MissingTableSkipped,
        Bug::LatenessFromWallClock,
        Bug::LatenessFromOtherPartitions,
        Bug::GroupOffsetIsTruth,
        Bug::DeadLetterAfterCommit,
        Bug::MaximaNotPersisted,
        Bug::MaximaNotRewound,
        Bug::MaximaAheadOfOffsets,
        Bug::MissingPartitionIsZero,
        Bug::LogEndIsPosition,
        Bug::OldEpochEofBelieved,
        Bug::IdentityAskedAnew,
        Bug::PartialResetAccepted,
        Bug::UnknownTopicMended,
        Bug::TagNotRequired,
        Bug::TripwireAfterTable,
        Bug::LateEntersPending,
        Bug::OnlyOwnPropertyMoved,
        Bug::CopiedSummaryBelieved,
        Bug::DiscardedIdSettles,
        Bug::KeyWidenedToNeighbours,
        Bug::CommitIdInHeadOnly,
        Bug::OpenBatchKept,
    ];

    /// The variant in kebab-case.
    pub fn name(self) -> String {
        let mut name = String::new();
        for letter in format!("{self:?}").chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.push(letter.to_ascii_lowercase());
        }
        name
    }

    pub fn named(name: &str) -> Option<Bug> {
        Self::ALL.into_iter().find(|bug| bug.name() == name)
    }

    /// What must be seen broken; none of a harmless one, which has a [`cost`](Self::cost) instead.
    pub fn breaks(self) -> Option<Invariant> {
        Some(match self {
            Bug::CommitIdInHeadOnly | Bug::OpenBatchKept => return None,
            Bug::NoFence
            | Bug::AtLeastForEqual
            | Bug::MissingPartitionIsZero
            | Bug::IdentityAskedAnew
            | Bug::PartialResetAccepted => Invariant::RangesContiguous,
            Bug::CoveragePerInstance | Bug::FirstProbeKept | Bug::ProbeErrorIsNotFound => Invariant::EachKeyOnce,
            Bug::DuplicatesNotLookedUpAgain
            | Bug::VerdictOnPendingKept
            | Bug::ProbeHitKept
            | Bug::SeenBeforeCommit
            | Bug::LateEntersPending
            | Bug::KeyWidenedToNeighbours => Invariant::NothingLost,
            Bug::LanesOfOlderBase => Invariant::LaneIsItsHistory,
            Bug::OnlyOwnPropertyMoved => Invariant::OtherLanesKept,
            Bug::DiscardedFilesDeleted | Bug::LibraryRebase => Invariant::FilesThere,
            Bug::OnlyBatchPartitionsCompared | Bug::ContiguityDemanded => Invariant::Converges,
            Bug::MissingTableSkipped | Bug::UnknownTopicMended | Bug::TagNotRequired => Invariant::StopsWhenItMust,
            Bug::TripwireAfterTable => Invariant::Asserted,
            Bug::DeadLetterAfterCommit => Invariant::LettersBeforeCommit,
            Bug::MaximaNotPersisted | Bug::MaximaAheadOfOffsets | Bug::PropertyBelieved | Bug::CopiedSummaryBelieved => {
                Invariant::MaximaAreTheLogs
            }
            // late, or passed over: what the commit says of its ranges isn't what the log holds there
            Bug::LatenessFromWallClock
            | Bug::LatenessFromOtherPartitions
            | Bug::MaximaNotRewound
            | Bug::GroupOffsetIsTruth
            | Bug::LogEndIsPosition
            | Bug::OldEpochEofBelieved
            | Bug::FileRewrittenInPlace => Invariant::CountsBalance,
            Bug::DiscardedIdSettles => Invariant::MirrorFollowsTable,
        })
    }

    /// What a harmless one costs.
    pub fn cost(self) -> Option<&'static str> {
        match self {
            Bug::CommitIdInHeadOnly => Some(
                "a commit that landed below somebody else's is taken for one that didn't: its batch is fenced by its own \
                 offsets, and what was open behind it is read again",
            ),
            Bug::OpenBatchKept => Some(
                "where the open batch has other partitions it goes on, and is fenced at its own commit if a verdict of it \
                 rested on the fallen one: a load and a fence more, and records read in vain meanwhile",
            ),
            _ => None,
        }
    }

    /// The rule of DESIGN that is left out.
    pub fn rule(self) -> &'static str {
        match self {
            Bug::NoFence => "a batch goes only where the table stands at its start",
            Bug::AtLeastForEqual => "places are compared with equality: >= hides gaps",
            Bug::LibraryRebase => "every attempt goes through steps 1 to 5 on a freshly loaded base",
            Bug::CoveragePerInstance => "ids are probed against live files minus `checked`, never minus what is covered now",
            Bug::DuplicatesNotLookedUpAgain => "a duplicate verdict whose file isn't live on the base is looked up again",
            Bug::VerdictOnPendingKept => "a verdict that rested on a pending id of the batch before is looked up again",
            Bug::ProbeHitKept => "the hits of a probe join the duplicates, which have to stand on every later base",
            Bug::FirstProbeKept => "every base is probed for what wasn't checked yet",
            Bug::ProbeErrorIsNotFound => "a probe says yes, no, or fails, and a failure never counts as no",
            Bug::PropertyBelieved => "the property counts only if the missing parent is the snapshot it was written with",
            Bug::LanesOfOlderBase => "lane maps are merged from the base of this very attempt",
            Bug::DiscardedFilesDeleted => "the writer deletes no data file that was ever named in a POST",
            Bug::FileRewrittenInPlace => "rows are written again under a new path: what a path holds never changes",
            Bug::OnlyBatchPartitionsCompared => "all assigned partitions are compared with the table, with or without input",
            Bug::SeenBeforeCommit => "the ids that were seen are those in live data files, and nothing else",
            Bug::ContiguityDemanded => {
                "control records and holes take offsets: the next record is at or behind the position"
            }
            Bug::MissingTableSkipped => "a missing table or an empty lane that something of ours knows is a stop",
            Bug::LatenessFromWallClock => "lateness is a function of the partition's log, never of the clock",
            Bug::LatenessFromOtherPartitions => "lateness is a function of the record's own partition",
            Bug::GroupOffsetIsTruth => "group offsets are written for monitors and the tripwire, never read for a position",
            Bug::DeadLetterAfterCommit => "letters are acknowledged before the commit",
            Bug::MaximaNotPersisted => "offsets and greatest event times are one value, written to one snapshot",
            Bug::MaximaNotRewound => "a reposition takes offset and greatest event time from the table, one value",
            Bug::MaximaAheadOfOffsets => "the maxima written with a commit are those at its end offsets",
            Bug::MissingPartitionIsZero => "a partition missing from the map is opened on record, never 0 by default",
            Bug::LogEndIsPosition => "an end of partition carries its own offset; no log end is used for a position",
            Bug::OldEpochEofBelieved => "what was delivered under an older epoch is dropped, ends of partitions too",
            Bug::IdentityAskedAnew => "the identity asked before an epoch's first fetch is never replaced by a later answer",
            Bug::PartialResetAccepted => "a reset that changes a topic's id names all its partitions",
            Bug::UnknownTopicMended => "a property that names a topic which the lane doesn't know is a stop",
            Bug::TagNotRequired => "a commit requires the tag where its base had it: a roll-back moves main, not the tag",
            Bug::TripwireAfterTable => "the tripwire is read before the table, and on a hit the table is loaded once more",
            Bug::LateEntersPending => "only records that will be written enter the pending ids",
            Bug::OnlyOwnPropertyMoved => "every snapshot rewrites the property of every lane that it carries",
            Bug::CopiedSummaryBelieved => "a summary that names another snapshot, or none, is a copy and passed over",
            Bug::DiscardedIdSettles => "the commit id of a discarded batch never settles another",
            Bug::KeyWidenedToNeighbours => "the key is (message id, event hour): lookups see the record's own hour only",
            Bug::CommitIdInHeadOnly => "the own commit id is looked for in the whole ancestry",
            Bug::OpenBatchKept => "discarding a batch discards every later one",
        }
    }
}

#[cfg(not(feature = "planted-bugs"))]
pub const fn planted(_: Bug) -> bool {
    false
}

#[cfg(feature = "planted-bugs")]
pub use switch::{plant, planted};

#[cfg(feature = "planted-bugs")]
mod switch {
    use std::cell::Cell;

    use super::Bug;

    thread_local! {
        static ON: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Is this the bug that is on?
    pub fn planted(bug: Bug) -> bool {
        ON.get() == Some(bug)
    }

    /// Switches one bug on for this thread, or all of them off.
    pub fn plant(bug: Option<Bug>) {
        ON.set(bug);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bug_is_on_by_itself() {
        for bug in Bug::ALL {
            assert!(!planted(bug), "{}", bug.name());
        }
    }

    #[test]
    fn no_build_has_the_bugs_unless_it_asks_for_them() {
        let manifest: toml::Table = include_str!("../../Cargo.toml").parse().expect("TOML");
        let features = manifest["features"].as_table().expect("a table");
        assert!(features.contains_key("planted-bugs"));
        let others = features.iter().filter(|(name, _)| *name != "planted-bugs");
        for (name, also) in others {
            assert!(!also.to_string().contains("planted-bugs"), "{name} switches them on");
        }
    }

    #[test]
    fn each_bug_is_found_by_its_name_and_breaks_something_or_has_a_cost() {
        for bug in Bug::ALL {
            assert_eq!(Bug::named(&bug.name()), Some(bug));
            assert!(bug.breaks().is_some() != bug.cost().is_some(), "{}", bug.name());
        }
        assert_eq!(Bug::OldEpochEofBelieved.name(), "old-epoch-eof-believed");
        let distinct: std::collections::BTreeSet<&str> = Bug::ALL.map(Bug::rule).into();
        assert_eq!(distinct.len(), Bug::ALL.len(), "each leaves out a rule of its own");
    }
}
