use super::*;
use crate::pipeline::Telemetry;
use crate::pipeline::fakes::{FakeStore, ports};
use crate::state::memory::{Account, Budget};
use crate::telemetry::metrics::{CommitPhase, Metrics};
use crate::telemetry::status::Board;

const HOUR: EventHour = EventHour(5);

fn lookup(path: &str, ids: &[u128]) -> Lookup {
    let file = LiveFile { path: path.into(), hour: Some(HOUR), rows: 10, bytes: 1 };
    Lookup { hour: HOUR, file, ids: ids.iter().map(|id| MessageId(*id)).collect() }
}

fn telemetry() -> Telemetry {
    Telemetry {
        metrics: Arc::new(Metrics::new("0")),
        board: Arc::new(Board::default()),
        account: Arc::new(Account::default()),
        budget: Budget::of(512 << 20).expect("a usual amount"),
        resident: || None,
    }
}

fn assert_shown(telemetry: &Telemetry, lines: &[&str]) {
    let text = telemetry.metrics.exposition();
    for line in lines {
        assert!(text.lines().any(|l| l == *line), "{line}\n{text}");
    }
}

#[tokio::test]
async fn each_lookup_in_a_file_counts_once_under_the_tier_that_answered_it() {
    let ports = ports(FakeStore { path: "cached", ids: vec![(MessageId(3), HOUR)] });
    let telemetry = telemetry();
    let lookups = vec![lookup("cached", &[3, 4]), lookup("other", &[5, 15, 20, 21, 22])];
    let found = ports.probe(&SealedRows::default(), lookups, &telemetry.metrics.dedup).await.unwrap().unwrap();
    let expected = vec![(HOUR, "cached".into(), vec![MessageId(3)]), (HOUR, FilePath::from("other"), vec![MessageId(5)])];
    assert_eq!(found, expected);
    assert_shown(
        &telemetry,
        &[
            "sluice_dedup_lookups_total{tier=\"hot\"} 0",
            "sluice_dedup_lookups_total{tier=\"sled\"} 2",
            "sluice_dedup_lookups_total{tier=\"column\"} 2",
            "sluice_dedup_lookups_total{tier=\"bloom\"} 3",
        ],
    );
}

#[tokio::test]
async fn a_phase_takes_as_long_as_the_pipelines_clock_says() {
    let ports = ports(FakeStore { path: "", ids: vec![] });
    let telemetry = telemetry();
    let clock = &*ports.clock;
    // the clock goes on by a millisecond whenever it is read
    let part = async { (0..998).for_each(|_| assert!(clock.monotonic_ms() > 0)) };
    telemetry.timed(CommitPhase::Letters, clock, part).await;
    assert_shown(
        &telemetry,
        &[
            "sluice_commit_phase_duration_seconds_count{phase=\"letters\"} 1",
            "sluice_commit_phase_duration_seconds_sum{phase=\"letters\"} 0.999",
            "sluice_commit_phase_duration_seconds_count{phase=\"files\"} 0",
        ],
    );
}
