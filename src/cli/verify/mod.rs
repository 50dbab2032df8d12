//! `sluice verify`: fixes one snapshot, reads what there is to read, lets `core::verify` judge, prints what it says.

pub mod command;
pub mod kafka_log;
pub mod live;
pub mod print;
pub mod silver;
#[cfg(test)]
mod tests;

use iceberg::io::FileIO;
use iceberg::spec::TableMetadataRef;

use crate::core::verify::{
    Findings, HeadState, HistoryEnd, HistorySnapshot, Lineage, Report, Scope, judge_head, judge_lineage,
};
use crate::ports::PortError;
use crate::sink::history::history_of;
use crate::sink::read_rows::{GoldReader, fixed_snapshot};
use crate::sink::summary;
use crate::types::{Micros, SnapshotId};

use silver::Silver;

/// Judges one snapshot of the table: its lineage, its live rows, and with `--deep` the log behind it.
#[derive(clap::Args, Clone, Debug)]
#[command(
    after_help = "Example:\n  sluice verify\n  sluice verify --deep --strict\n  sluice verify --snapshot 4358109269368284 --output json"
)]
pub struct VerifyArgs {
    /// Read Kafka again and compare record by record
    #[arg(long)]
    pub deep: bool,
    /// Judge this snapshot instead of the head of main
    #[arg(long, value_name = "ID")]
    pub snapshot: Option<i64>,
    /// Fail (exit 4) on what can't be proven, too
    #[arg(long)]
    pub strict: bool,
}

/// What is verified and with how much memory.
pub struct Subject {
    pub metadata: TableMetadataRef,
    pub file_io: FileIO,
    /// For ids and fingerprints; what needs more is read in several passes.
    pub budget_bytes: u64,
    /// `event_time.watermark_delay`: for commits whose summary doesn't tell theirs.
    pub watermark_delay: Micros,
}

/// Judges `asked`, or the head of main. `silver` is read for `--deep`. Must run within a tokio runtime.
///
/// # Errors
/// Only what keeps it from judging: an unknown snapshot, manifests that can't be read, a dependency that doesn't answer.
pub async fn verify(
    subject: &Subject,
    asked: Option<SnapshotId>,
    silver: Option<&mut Silver<'_>>,
) -> Result<Report, PortError> {
    let metadata = &subject.metadata;
    let snapshot = fixed_snapshot(metadata, asked)?;
    let mut findings = Findings::default();
    let (history, end) = history_of(metadata, snapshot);
    let mut lineage = judge_lineage(&history, end, &mut findings);
    if snapshot == metadata.current_snapshot_id().map(SnapshotId) {
        judge_the_head(metadata, &history, end, &lineage, &mut findings);
    }
    let reader = GoldReader::new(metadata.clone(), subject.file_io.clone(), snapshot)?;
    let files = reader.files().await?;
    if files.iter().any(|f| f.facts.deletes) {
        lineage.note_deletes(&mut findings);
    }
    let live = live::judge(&reader, &files, &lineage, subject.budget_bytes, &mut findings).await?;
    let records = match silver {
        Some(silver) => Some(silver.judge(&reader, &files, &lineage, live.rows, subject, &mut findings).await?),
        None => None,
    };
    let partitions = lineage.lanes.iter().filter_map(|(name, history)| history.lane(name)).map(|l| l.partitions.len());
    let scope = Scope {
        snapshots: lineage.snapshots,
        lanes: lineage.lanes.values().filter(|l| l.standing.is_some()).count() as u64,
        partitions: partitions.sum::<usize>() as u64,
        ranges: lineage.ranges,
        files: files.len() as u64,
        rows: live.rows,
        hours: live.hours,
        records,
    };
    Ok(Report { snapshot, scope, findings })
}

fn judge_the_head(
    metadata: &TableMetadataRef,
    history: &[HistorySnapshot],
    end: HistoryEnd,
    lineage: &Lineage,
    findings: &mut Findings,
) {
    let properties = summary::parse_properties(metadata.properties());
    let tag = metadata.snapshot_for_ref("sluice").map(|s| SnapshotId(s.snapshot_id()));
    judge_head(history, end, lineage, HeadState { properties: &properties, tag }, findings);
}
