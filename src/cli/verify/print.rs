//! The report as text and as JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::core::verify::finding::Place;
use crate::core::verify::{Finding, Findings, Report, Weight};

/// For a terminal: findings first, the verdict last.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    for finding in report.findings.listed() {
        let _ = writeln!(out, "{:<10}  {:<18}  {}", finding.weight.name(), finding.check.name(), finding.text);
        let place = place_text(&finding.place);
        if !place.is_empty() {
            let _ = writeln!(out, "{:<10}  {:<18}    {place}", "", "");
        }
    }
    for ((weight, check), count) in report.findings.counts() {
        if *count > Findings::LISTED_MAX {
            let _ = writeln!(out, "{:<10}  {:<18}  … {count} in all", weight.name(), check.name());
        }
    }
    if !out.is_empty() {
        out.push('\n');
    }
    let scope = &report.scope;
    let snapshot = report.snapshot.map_or("an empty table".to_string(), |id| format!("snapshot {id}"));
    let _ = writeln!(
        out,
        "{snapshot}: {} snapshots, {} lanes, {} partitions, {} ranges, {} files, {} rows in {} hours",
        scope.snapshots, scope.lanes, scope.partitions, scope.ranges, scope.files, scope.rows, scope.hours
    );
    match scope.records {
        Some(records) => {
            let _ = writeln!(out, "{records} records of Kafka read again and compared");
        }
        None => out.push_str("Kafka was not read (--deep does)\n"),
    }
    let violations = report.findings.count(Weight::Violation);
    let unprovable = report.findings.count(Weight::Unprovable);
    let _ = writeln!(out, "{violations} violations, {unprovable} unprovable");
    out
}

fn place_text(place: &Place) -> String {
    let parts = [
        place.lane.as_ref().map(|v| format!("lane {v}")),
        place.snapshot.map(|v| format!("snapshot {v}")),
        place.partition.as_ref().map(|v| format!("partition {v}")),
        place.offset.map(|v| format!("offset {v}")),
        place.hour.map(|v| format!("hour {v}")),
        place.file.as_ref().map(|v| format!("file {v}")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

pub fn json(report: &Report) -> Value {
    let scope = &report.scope;
    let counts = report
        .findings
        .counts()
        .iter()
        .map(|((weight, check), count)| json!({ "weight": weight.name(), "check": check.name(), "count": count }));
    json!({
        "snapshot": report.snapshot.map(|id| id.0),
        "violations": report.findings.count(Weight::Violation),
        "unprovable": report.findings.count(Weight::Unprovable),
        "scope": {
            "snapshots": scope.snapshots,
            "lanes": scope.lanes,
            "partitions": scope.partitions,
            "ranges": scope.ranges,
            "files": scope.files,
            "rows": scope.rows,
            "hours": scope.hours,
            "records": scope.records,
        },
        "counts": counts.collect::<Vec<_>>(),
        "findings": report.findings.listed().iter().map(finding).collect::<Vec<_>>(),
    })
}

fn finding(finding: &Finding) -> Value {
    let place = &finding.place;
    json!({
        "weight": finding.weight.name(),
        "check": finding.check.name(),
        "lane": place.lane.as_deref(),
        "snapshot": place.snapshot.map(|id| id.0),
        "topic": place.partition.as_ref().map(|tp| &*tp.topic),
        "partition": place.partition.as_ref().map(|tp| tp.partition),
        "offset": place.offset,
        "file": place.file.as_deref(),
        "message_id": place.message_id,
        "hour": place.hour.map(|hour| hour.to_string()),
        "text": finding.text,
    })
}
