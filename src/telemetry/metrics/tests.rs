use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::types::TopicPartition;

fn at(partition: i32) -> TopicPartition {
    TopicPartition::new("silver.a", partition)
}

/// Every method called once.
fn touched() -> Metrics {
    let m = Metrics::new("0.1.0");
    m.records.declare_topic("silver.a");
    m.records.committed("silver.a", TopicCounts { consumed: 10, written: 7, duplicate: 2 });
    m.records.late("silver.a", LateAction::Admitted, 3);
    m.records.dead_lettered("silver.a", "bad_magic", 1);
    m.records.fetched("silver.a", 11);
    m.records.offset_holes("silver.a", 4);
    m.partitions.lag(&at(0), 5, 1.5);
    m.partitions.owned(&[at(0)].into());
    m.partitions.paused(1);
    m.partitions.rebalanced();
    m.commits.attempted(CommitOutcome::Conflict);
    m.commits.attempted(CommitOutcome::Committed);
    m.commits.committed(2, Duration::from_millis(120), 1_767_225_600_500);
    m.commits.phase(CommitPhase::Post, Duration::from_millis(20));
    m.commits.watermark(Some(1_767_225_600_000_000));
    let (slow, ahead) = (Some(0.5), Some(-1.0));
    m.records.latencies(
        [
            Latency { event_to_commit: 31.0, silver_to_gold: ahead, rows: 1 },
            Latency { event_to_commit: 40.0, silver_to_gold: slow, rows: 3 },
        ]
        .into_iter(),
    );
    m.dedup.hot(1000, 24_000);
    m.dedup.lookups(LookupTier::Bloom, 6);
    m.dedup.file_loaded(LoadSource::Sled);
    m.memory("hot_ids", 24_000);
    m.commits.data_file(1 << 20);
    m.registry_request(RegistryOutcome::Known);
    m
}

/// `name{label,label} type` of each series family, values left out.
fn shape(exposition: &str) -> Vec<String> {
    let mut shapes = BTreeSet::new();
    for line in exposition.lines().filter(|line| !line.starts_with('#')) {
        let series = line.rsplit_once(' ').unwrap().0;
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        let labels: Vec<&str> = labels.trim_end_matches('}').split(',').filter_map(|l| Some(l.split_once('=')?.0)).collect();
        shapes.insert(format!("{name}{{{}}}", labels.join(",")));
    }
    shapes.into_iter().filter(|s| !s.starts_with("process_")).collect()
}

#[test]
fn names_and_labels_are_those_that_dashboards_hold_on_to() {
    let mut expected: Vec<String> = [
        "sluice_assigned_partitions{}",
        "sluice_build_info{version}",
        "sluice_commits_total{outcome}",
        "sluice_data_files_total{}",
        "sluice_dedup_bytes{}",
        "sluice_dedup_ids{}",
        "sluice_dedup_loads_total{source}",
        "sluice_dedup_lookups_total{tier}",
        "sluice_lag_records{partition,topic}",
        "sluice_lag_seconds{partition,topic}",
        "sluice_last_commit_timestamp_seconds{}",
        "sluice_memory_bytes{part}",
        "sluice_offset_holes_total{topic}",
        "sluice_paused_partitions{}",
        "sluice_rebalances_total{}",
        "sluice_records_consumed_total{topic}",
        "sluice_records_dead_lettered_total{reason,topic}",
        "sluice_records_duplicate_total{topic}",
        "sluice_records_fetched_total{topic}",
        "sluice_records_late_total{action,topic}",
        "sluice_records_written_total{topic}",
        "sluice_registry_requests_total{outcome}",
        "sluice_watermark_timestamp_seconds{}",
    ]
    .map(String::from)
    .into();
    for (histogram, label) in [
        ("sluice_commit_attempts", ""),
        ("sluice_commit_duration_seconds", ""),
        ("sluice_commit_phase_duration_seconds", "phase"),
        ("sluice_event_to_commit_latency_seconds", ""),
        ("sluice_file_size_bytes", ""),
        ("sluice_silver_to_gold_latency_seconds", ""),
    ] {
        let le = if label.is_empty() { "le".into() } else { format!("{label},le") };
        expected.extend([
            format!("{histogram}_bucket{{{le}}}"),
            format!("{histogram}_count{{{label}}}"),
            format!("{histogram}_sum{{{label}}}"),
        ]);
    }
    expected.sort();
    assert_eq!(shape(&touched().exposition()), expected);
}

#[test]
fn every_family_has_help_and_type_once_and_before_its_series() {
    let text = touched().exposition();
    let mut family = String::new();
    let mut seen = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(seen.insert(name.to_string()) && help.len() > 5, "{line}");
            family = name.into();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
        } else {
            assert!(line.starts_with(&family), "{line} under {family}");
            let value = line.rsplit_once(' ').unwrap().1;
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
    }
    assert!(text.ends_with('\n'));
    for name in ["process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"] {
        assert!(seen.contains(name), "{name}");
    }
}

#[test]
fn values_are_those_that_were_given() {
    let text = touched().exposition();
    for line in [
        "sluice_records_consumed_total{topic=\"silver.a\"} 10",
        "sluice_records_late_total{action=\"admitted\",topic=\"silver.a\"} 3",
        "sluice_records_late_total{action=\"dropped\",topic=\"silver.a\"} 0",
        "sluice_lag_records{partition=\"0\",topic=\"silver.a\"} 5",
        "sluice_lag_seconds{partition=\"0\",topic=\"silver.a\"} 1.5",
        "sluice_commits_total{outcome=\"conflict\"} 1",
        "sluice_commits_total{outcome=\"fenced\"} 0",
        "sluice_commit_attempts_sum 2",
        "sluice_commit_attempts_bucket{le=\"1\"} 0",
        "sluice_commit_attempts_bucket{le=\"2\"} 1",
        "sluice_last_commit_timestamp_seconds 1767225600.5",
        "sluice_watermark_timestamp_seconds 1767225600",
        "sluice_silver_to_gold_latency_seconds_sum 1.5",
        "sluice_silver_to_gold_latency_seconds_count 4",
        "sluice_event_to_commit_latency_seconds_bucket{le=\"30\"} 0",
        "sluice_event_to_commit_latency_seconds_bucket{le=\"45\"} 4",
        "sluice_commit_phase_duration_seconds_count{phase=\"post\"} 1",
        "sluice_commit_phase_duration_seconds_count{phase=\"load\"} 0",
        "sluice_dedup_loads_total{source=\"column\"} 0",
        "sluice_dedup_loads_total{source=\"sled\"} 1",
        "sluice_build_info{version=\"0.1.0\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
}

#[test]
fn lag_of_a_partition_that_went_away_is_no_longer_exported() {
    let m = Metrics::new("0");
    m.partitions.lag(&at(0), 1, 0.0);
    m.partitions.lag(&at(1), 2, 0.0);
    m.partitions.owned(&[at(1)].into());
    let text = m.exposition();
    assert!(!text.contains("partition=\"0\""), "{text}");
    assert!(text.contains("sluice_lag_records{partition=\"1\",topic=\"silver.a\"} 2"));
    assert!(text.contains("sluice_assigned_partitions 1\n"));
    m.partitions.owned(&BTreeSet::new());
    assert!(!m.exposition().contains("sluice_lag_records{"));
}

#[test]
fn a_topic_shows_up_at_zero_before_its_first_record() {
    let m = Metrics::new("0");
    m.records.declare_topic("silver.b");
    assert!(m.exposition().contains("sluice_records_consumed_total{topic=\"silver.b\"} 0\n"));
}
