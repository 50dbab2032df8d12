//! A clean history finds nothing; each single thing that is broken is found, by the check that is about it.

mod breaks;
mod histories;
mod world;

use std::collections::BTreeMap;

use super::log::LogAudit;
use super::*;
use world::{DELAY, Record, World, print};

/// Everything that verify does, with the small shards that make it cross their borders.
pub fn judge(world: &World) -> Findings {
    let mut findings = Findings::default();
    let history: Vec<_> = world.history.iter().rev().cloned().collect();
    let lineage = judge_lineage(&history, world.end, &mut findings);
    let head = HeadState { properties: &world.properties, tag: world.tag };
    judge_head(&history, world.end, &lineage, head, &mut findings);
    judge_rows(world, &lineage, &mut findings);
    judge_log(world, &lineage, 3, &mut findings);
    findings
}

fn live_row(row: &world::Row) -> LiveRow<'_> {
    LiveRow {
        message_id: Some(&row.id),
        event_time: Some(row.time),
        exchange_date: Some(row.date),
        exchange_hour: Some(row.hour),
    }
}

fn judge_rows(world: &World, lineage: &Lineage, findings: &mut Findings) {
    let facts: Vec<_> = world.files.iter().map(|f| f.facts.clone()).collect();
    files::judge_balance(lineage.rows_expected, &facts, lineage.foreign_removal.is_some(), findings);
    let mut suspects = SuspectScan::default();
    for shard in Shard::split(1000, 10, 4000) {
        for file in &world.files {
            let Some(rows) = &file.rows else {
                if shard.first() {
                    files::judge_loss(&file.facts, &FileLoss::Missing, findings);
                }
                continue;
            };
            let mut live = LiveRows::of(&file.facts);
            for row in rows {
                live.row(&live_row(row));
                suspects.row(shard, &live_row(row).key().unwrap());
            }
            if shard.first() {
                live.end(None, findings);
            }
        }
        suspects.end_shard();
    }
    if let Some(mut exact) = suspects.into_exact() {
        for file in &world.files {
            for row in file.rows.iter().flatten() {
                exact.row(&file.facts.path, &live_row(row).key().unwrap());
            }
        }
        exact.end(findings);
    }
}

pub fn judge_log(world: &World, lineage: &Lineage, shards: u64, findings: &mut Findings) {
    let mut audit = LogAudit::new(lineage, &world.kafka, DELAY, findings);
    for shard in Shard::split(shards, 1, 1) {
        audit.begin(shard);
        for file in &world.files {
            for row in file.rows.iter().flatten() {
                let print = print((&row.id, row.time, row.payload));
                audit.gold(&file.facts.path, &GoldRow { message_id: &row.id, event_time: row.time, print });
            }
        }
        for (index, range) in audit.reads().into_iter().enumerate() {
            let empty = BTreeMap::new();
            let log = world.log.get(&range.partition).unwrap_or(&empty);
            let from = range.start.max(world.kafka.partitions[&range.partition].start);
            for (offset, record) in log.range(from..range.end) {
                let event = match record {
                    Record::Good { id, time, payload } => {
                        LogEvent::Decoded { message_id: id, event_time: *time, print: print((id, *time, *payload)) }
                    }
                    Record::Bad => LogEvent::Malformed,
                };
                audit.record(index, *offset, &event);
            }
            audit.range_end(index);
        }
        audit.end_shard(findings);
    }
    audit.end(findings);
}

pub fn violations(findings: &Findings) -> Vec<(&'static str, String)> {
    let listed = findings.listed().iter().filter(|f| f.weight == Weight::Violation);
    listed.map(|f| (f.check.name(), f.text.clone())).collect()
}

#[test]
fn a_clean_history_has_no_violation_and_nothing_unprovable_but_resends() {
    let mut seen = 0;
    for seed in 0..300 {
        let world = world::world(seed, 3 + (seed as usize % 20));
        let findings = judge(&world);
        assert_eq!(violations(&findings), vec![], "seed {seed}");
        for (weight, check) in findings.counts().keys() {
            assert!(*check == Check::ResentElsewhere, "seed {seed}: {} {}", weight.name(), check.name());
        }
        seen += world.batches().len();
    }
    assert!(seen > 500, "the worlds hold {seen} batches");
}

#[test]
fn a_report_fails_on_violations_and_on_the_unprovable_only_when_strict() {
    let mut findings = Findings::default();
    let report = |findings: &Findings| Report { snapshot: None, scope: Scope::default(), findings: findings.clone() };
    assert_eq!(report(&findings).stop(true), None);
    findings.unprovable(Check::HistoryExpired, finding::Place::default(), "expired");
    assert_eq!(report(&findings).stop(false), None);
    assert_eq!(report(&findings).stop(true).unwrap().exit, crate::error::Exit::Inconsistent);
    for _ in 0..200 {
        findings.violation(Check::Duplicate, finding::Place::default(), "twice");
    }
    assert_eq!(report(&findings).stop(false).unwrap().exit, crate::error::Exit::Inconsistent);
    assert_eq!(findings.count(Weight::Violation), 200);
    assert_eq!(findings.listed().len(), 101, "listed are the first hundred of a kind");
}
