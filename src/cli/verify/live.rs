//! The live rows on their way through the checks: every file once, and once more for each shard of the duplicate scan.

use std::collections::BTreeSet;

use futures::TryStreamExt;

use crate::core::verify::files::{self, judge_loss};
use crate::core::verify::{FileFacts, FileLoss, Findings, Lineage, LiveRow, LiveRows, Shard, SuspectScan, duplicates};
use crate::ports::{Down, PortError};
use crate::sink::read_rows::{Columns, GoldFile, GoldReader, KeyRows};

/// What was there to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Live {
    pub rows: u64,
    pub hours: u64,
}

pub async fn judge(
    reader: &GoldReader,
    files: &[GoldFile],
    lineage: &Lineage,
    budget_bytes: u64,
    findings: &mut Findings,
) -> Result<Live, PortError> {
    let facts: Vec<FileFacts> = files.iter().map(|f| f.facts.clone()).collect();
    files::judge_balance(lineage.rows_expected, &facts, lineage.foreign_removal.is_some(), findings);
    let listed: u64 = facts.iter().map(|f| f.rows).sum();
    let mut suspects = SuspectScan::default();
    let mut readable = vec![true; files.len()];
    let mut rows = 0;
    for shard in Shard::split(listed, duplicates::BYTES_PER_ROW, budget_bytes) {
        for (file, readable) in files.iter().zip(&mut readable).filter(|(_, readable)| **readable) {
            if shard.first() {
                let live = first_reading(reader, file, shard, &mut suspects, findings).await?;
                *readable = live.is_some();
                rows += live.unwrap_or(0);
            } else {
                again(each_row(reader, file, |row| see(&mut suspects, shard, row)).await?)?;
            }
        }
        suspects.end_shard();
    }
    if let Some(mut exact) = suspects.into_exact() {
        for (file, _) in files.iter().zip(&readable).filter(|(_, readable)| **readable) {
            let read = each_row(reader, file, |row| {
                if let Some(key) = row.key() {
                    exact.row(&file.facts.path, &key);
                }
            });
            again(read.await?)?;
        }
        exact.end(findings);
    }
    let hours = facts.iter().filter_map(|f| f.hour).collect::<BTreeSet<_>>().len() as u64;
    Ok(Live { rows, hours })
}

fn see(suspects: &mut SuspectScan, shard: Shard, row: &LiveRow<'_>) {
    if let Some(key) = row.key() {
        suspects.row(shard, &key);
    }
}

/// A file that could be read the first time: what fails now is not the file's.
fn again(read: Result<(), FileLoss>) -> Result<(), PortError> {
    read.map_err(|loss| Down { dependency: "object store", reason: format!("{loss:?}") }.into())
}

/// Judges the file itself. None where it gave no rows: that is a finding, and it isn't read again.
async fn first_reading(
    reader: &GoldReader,
    file: &GoldFile,
    shard: Shard,
    suspects: &mut SuspectScan,
    findings: &mut Findings,
) -> Result<Option<u64>, PortError> {
    let mut live = LiveRows::of(&file.facts);
    let read = each_row(reader, file, |row| {
        live.row(row);
        see(suspects, shard, row);
    });
    let physical = match read.await? {
        Ok(()) if file.facts.deletes => reader.rows_by_footer(file).await.map(Some),
        Ok(()) => Ok(None),
        Err(loss) => Err(loss),
    };
    match physical {
        Ok(physical) => Ok(Some(live.end(physical, findings))),
        Err(loss) => {
            judge_loss(&file.facts, &reader.why(file, loss).await?, findings);
            Ok(None)
        }
    }
}

async fn each_row(
    reader: &GoldReader,
    file: &GoldFile,
    mut take: impl FnMut(&LiveRow<'_>),
) -> Result<Result<(), FileLoss>, PortError> {
    let mut batches = reader.rows(file, Columns::Keys)?;
    loop {
        let batch = match batches.try_next().await {
            Ok(Some(batch)) => batch,
            Ok(None) => return Ok(Ok(())),
            Err(loss) => return Ok(Err(loss)),
        };
        match KeyRows::of(&batch) {
            Ok(rows) => (0..rows.len()).for_each(|row| take(&rows.row(row))),
            Err(wrong) => return Ok(Err(FileLoss::Unreadable(format!("{}: {wrong}", file.facts.path)))),
        }
    }
}
