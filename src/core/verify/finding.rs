//! What verify has to say: a promise that is broken, or one that can't be judged any more.

use std::collections::BTreeMap;

use crate::core::table::LaneName;
use crate::types::*;

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Weight {
    /// A promise is broken: exit 4.
    Violation,
    /// The evidence is gone, or what is seen is another engine's doing: listed, exit 0 without `--strict`.
    Unprovable,
}

impl Weight {
    pub fn name(self) -> &'static str {
        match self {
            Self::Violation => "violation",
            Self::Unprovable => "unprovable",
        }
    }
}

macro_rules! checks {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Which promise a finding is about; the names are stable.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum Check { $($(#[$doc])* $variant,)* }

        impl Check {
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

checks! {
    /// Snapshots of the lineage were expired: what lay before can't be judged.
    HistoryExpired = "history-expired",
    /// One commit id in two snapshots: a batch landed twice.
    CommitTwice = "commit-twice",
    /// A lane's keys can't be read.
    LaneUnreadable = "lane-unreadable",
    /// A lane began without an opening on record.
    LaneUnopened = "lane-unopened",
    /// A Sluice snapshot doesn't carry a lane of the one before it, and doesn't retire it.
    LaneDropped = "lane-dropped",
    /// A retired lane is still there.
    LaneRetired = "lane-retired",
    /// A range begins behind the place where the lane stood: records without a verdict.
    RangeGap = "range-gap",
    /// A range begins before the place where the lane stood: records judged twice.
    RangeOverlap = "range-overlap",
    /// A range that is empty, reversed, or of a partition that was never opened.
    RangeInvalid = "range-invalid",
    /// A reset that starts from another place than the lane's.
    ResetFrom = "reset-from",
    /// The offsets aren't those of the snapshot before plus the ranges.
    Offsets = "offsets",
    /// Counts that don't add up.
    Counts = "counts",
    /// Totals that aren't those of the snapshot before plus the counts.
    Totals = "totals",
    /// Rows of a commit's files against what it says it wrote.
    RowsAdded = "rows-added",
    /// An event-time maximum, idle flag or watermark that can't have come about.
    EventTime = "event-time",
    /// Topic or cluster ids changed without a reset that names all partitions concerned.
    SourceIdentity = "source-identity",
    /// The table property says something else than the history.
    Property = "property",
    /// The tag `sluice` isn't at the newest Sluice snapshot.
    Tag = "tag",
    /// Another engine took rows away, or rewrote them to another number.
    ForeignRemoval = "foreign-removal",
    /// Live rows against the history's sum of rows added and removed.
    RowBalance = "row-balance",
    FileMissing = "file-missing",
    FileUnreadable = "file-unreadable",
    /// Rows in a file against the manifest.
    FileRows = "file-rows",
    /// A row outside the event hour of its partition.
    RowHour = "row-hour",
    /// exchange_date or exchange_hour not as derived from the event time.
    DerivedColumns = "derived-columns",
    /// A required value that is missing.
    NullKey = "null-key",
    /// (message_id, event hour) more than once.
    Duplicate = "duplicate",
    /// One message_id under several event hours: a conflicting re-send.
    ResentElsewhere = "resent-elsewhere",
    /// The log ends before the table's offset.
    LogShorter = "log-shorter",
    /// Records of a range are no longer in the log.
    LogTrimmed = "log-trimmed",
    /// A range of the log wasn't read to its end.
    LogUnread = "log-unread",
    /// A record below the table's offset that has no row and no verdict that explains it.
    RowMissing = "row-missing",
    /// A row of Sluice's that no record of the log explains.
    RowExtra = "row-extra",
    /// A row that equals none of its records.
    RowValue = "row-value",
    /// Counts of a commit that the log contradicts.
    Verdict = "verdict",
}

/// What a finding is about, as far as it applies.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Place {
    pub lane: Option<LaneName>,
    pub snapshot: Option<SnapshotId>,
    pub partition: Option<TopicPartition>,
    pub offset: Option<Offset>,
    pub file: Option<FilePath>,
    pub message_id: Option<String>,
    pub hour: Option<EventHour>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub weight: Weight,
    pub check: Check,
    pub place: Place,
    /// One sentence with the values, for a person.
    pub text: String,
}

/// Findings in the order they were made. Of each kind the first [`Findings::LISTED_MAX`] are kept, all are counted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    listed: Vec<Finding>,
    counts: BTreeMap<(Weight, Check), u64>,
}

impl Findings {
    pub const LISTED_MAX: u64 = 100;

    pub fn violation(&mut self, check: Check, place: Place, text: impl Into<String>) {
        self.add(Weight::Violation, check, place, text);
    }

    pub fn unprovable(&mut self, check: Check, place: Place, text: impl Into<String>) {
        self.add(Weight::Unprovable, check, place, text);
    }

    pub fn add(&mut self, weight: Weight, check: Check, place: Place, text: impl Into<String>) {
        let count = self.counts.entry((weight, check)).or_default();
        *count += 1;
        if *count <= Self::LISTED_MAX {
            self.listed.push(Finding { weight, check, place, text: text.into() });
        }
    }

    pub fn listed(&self) -> &[Finding] {
        &self.listed
    }

    /// All findings by weight and kind, those that aren't listed included.
    pub fn counts(&self) -> &BTreeMap<(Weight, Check), u64> {
        &self.counts
    }

    pub fn count(&self, weight: Weight) -> u64 {
        self.counts.iter().filter(|((w, _), _)| *w == weight).map(|(_, n)| n).sum()
    }

    pub fn of(&self, weight: Weight, check: Check) -> u64 {
        self.counts.get(&(weight, check)).copied().unwrap_or(0)
    }
}
