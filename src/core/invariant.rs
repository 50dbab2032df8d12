//! What must hold of every table and of every service: what simulations judge, and what planted bugs break.

/// The promises that are judged (DESIGN section 2, INTERFACE section 4).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Invariant {
    /// No commit adds a row for a key that has one in the table or in the same commit.
    EachKeyOnce,
    /// Every key of the committed ranges has a row, less the late ones of other policies than `admit`.
    NothingLost,
    /// Every row is made of a record of its own commit that was to be written, and has its values.
    NothingInvented,
    /// Ranges begin where the history of their log ends; the only breaks are openings and resets on record.
    RangesContiguous,
    /// A lane's offsets, idle flags and source, in summary and property, are what its history adds up to.
    LaneIsItsHistory,
    /// The greatest event times are those of the logs up to the offsets.
    MaximaAreTheLogs,
    /// Counts are the records of the ranges and the rows of the files, and consumed is their sum.
    CountsBalance,
    /// Totals are those of before and the counts.
    TotalsAddUp,
    /// The watermark is what the lane's partitions make it.
    WatermarkIsTheLanes,
    /// What a commit passes as a dead letter was acknowledged before it.
    LettersBeforeCommit,
    /// A lane whose own commit it isn't is carried unchanged, with its property, until it is retired.
    OtherLanesKept,
    /// Every live file is there with the content that it had when it landed; a commit takes none away.
    FilesThere,
    /// A snapshot of Sluice names its own id.
    NamesItself,
    /// Once faults have healed, the lane stands at the stable end of its logs.
    Converges,
    /// Group offsets are places that a commit has reached.
    MirrorFollowsTable,
    /// Where the table lost what something of ours knows, the instance stops, with its type.
    StopsWhenItMust,
    /// No assertion of the production code fails, and no process stops for a reason that nobody caused.
    Asserted,
}

impl Invariant {
    pub const ALL: [Invariant; 17] = [
        Self::EachKeyOnce,
        Self::NothingLost,
        Self::NothingInvented,
        Self::RangesContiguous,
        Self::LaneIsItsHistory,
        Self::MaximaAreTheLogs,
        Self::CountsBalance,
        Self::TotalsAddUp,
        Self::WatermarkIsTheLanes,
        Self::LettersBeforeCommit,
        Self::OtherLanesKept,
        Self::FilesThere,
        Self::NamesItself,
        Self::Converges,
        Self::MirrorFollowsTable,
        Self::StopsWhenItMust,
        Self::Asserted,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::EachKeyOnce => "each-key-once",
            Self::NothingLost => "nothing-lost",
            Self::NothingInvented => "nothing-invented",
            Self::RangesContiguous => "ranges-contiguous",
            Self::LaneIsItsHistory => "lane-is-its-history",
            Self::MaximaAreTheLogs => "maxima-are-the-logs",
            Self::CountsBalance => "counts-balance",
            Self::TotalsAddUp => "totals-add-up",
            Self::WatermarkIsTheLanes => "watermark-is-the-lanes",
            Self::LettersBeforeCommit => "letters-before-commit",
            Self::OtherLanesKept => "other-lanes-kept",
            Self::FilesThere => "files-there",
            Self::NamesItself => "names-itself",
            Self::Converges => "converges",
            Self::MirrorFollowsTable => "mirror-follows-table",
            Self::StopsWhenItMust => "stops-when-it-must",
            Self::Asserted => "asserted",
        }
    }
}
