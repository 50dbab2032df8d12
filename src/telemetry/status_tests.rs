use super::*;

/// A clock that stands where it is put; wall time is a second ahead of the monotonic one.
#[derive(Default)]
pub(in crate::telemetry) struct StandingClock(pub(in crate::telemetry) AtomicU64);

impl Clock for StandingClock {
    fn monotonic_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
    fn wall_ms(&self) -> i64 {
        self.monotonic_ms() as i64 + 1_000
    }
}

pub(in crate::telemetry) fn ready() -> Status {
    Status {
        phase: Phase::Running,
        group: "sluice-gold".into(),
        table: "market_data.gold".into(),
        assignment: Assignment::Assigned,
        catalog_loaded: true,
        ..Status::default()
    }
}

fn down(reason: &str) -> Down {
    Down { dependency: "catalog", reason: reason.into() }
}

#[test]
fn each_condition_alone_makes_an_instance_not_ready_with_its_reason() {
    assert_eq!(ready().readiness().reason(), None);
    let standing_by = Status { assignment: Assignment::StandingBy, ..ready() };
    assert!(standing_by.readiness().is_ready(), "a member without partitions is ready to take over");
    let since = || "2026-01-01T00:00:00Z".to_string();
    let catalog_down = [("catalog", DependencyStatus::Down { since: since(), reason: "timed out".into() })].into();
    let kafka_up = [("kafka", DependencyStatus::Up { since: since() })].into();
    for (status, reason) in [
        (Status { phase: Phase::Starting, ..ready() }, "starting"),
        (Status { phase: Phase::Stopping, ..ready() }, "stopping"),
        (Status { assignment: Assignment::Waiting, ..ready() }, "waiting for the group to assign partitions"),
        (Status { catalog_loaded: false, ..ready() }, "the table is not loaded yet"),
        (Status { fenced: Some("a:0 moved".into()), ..ready() }, "fenced: a:0 moved"),
        (Status { stalled: Some("commit".into()), ..ready() }, "stalled: commit"),
        (Status { dependencies: catalog_down, ..ready() }, "catalog is down since 2026-01-01T00:00:00Z: timed out"),
        (Status { dependencies: kafka_up, ..ready() }, ""),
    ] {
        assert_eq!(status.readiness().reason().unwrap_or_default(), reason);
        assert_eq!(status.readiness().is_ready(), reason.is_empty());
    }
    assert!(!Status::default().readiness().is_ready());
}

/// The catalog was listed twice: as loaded, and as answering.
#[test]
fn what_is_a_condition_and_a_dependency_is_one_check_with_the_reasons_of_both() {
    let since = || "2026-01-01T00:00:00Z".to_string();
    let catalog = |status: Status| {
        let checks = status.readiness().checks;
        checks.into_iter().filter(|check| check.name == "catalog").map(|check| check.reason).collect::<Vec<_>>()
    };
    let up = Status { dependencies: [("catalog", DependencyStatus::Up { since: since() })].into(), ..ready() };
    assert_eq!(catalog(up.clone()), [None]);
    assert_eq!(catalog(Status { catalog_loaded: false, ..up }), [Some("the table is not loaded yet".into())]);
    let down = [("catalog", DependencyStatus::Down { since: since(), reason: "timed out".into() })].into();
    let both = "the table is not loaded yet; catalog is down since 2026-01-01T00:00:00Z: timed out";
    assert_eq!(catalog(Status { dependencies: down, catalog_loaded: false, ..ready() }), [Some(both.into())]);
}

#[test]
fn a_dependency_changes_once_however_often_it_is_reported() {
    let clock = StandingClock::default();
    let mut dependencies = Dependencies::default();
    assert_eq!(dependencies.up("kafka", &clock), None, "the first answer is nothing new");
    assert_eq!(dependencies.up("kafka", &clock), None);
    let went_down = Change::Down { dependency: "catalog", reason: "refused".into() };
    assert_eq!(dependencies.down(&down("refused"), &clock), Some(went_down));
    clock.0.store(500, Ordering::Relaxed);
    assert_eq!(dependencies.down(&down("timed out"), &clock), None);
    assert!(dependencies.any_down());
    let status = dependencies.status();
    let expected = DependencyStatus::Down { since: "1970-01-01T00:00:01.000Z".into(), reason: "timed out".into() };
    assert_eq!(status["catalog"], expected, "down since the first report, for the latest reason");
    clock.0.store(2_500, Ordering::Relaxed);
    assert_eq!(dependencies.up("catalog", &clock), Some(Change::Up { dependency: "catalog", after_ms: 2_500 }));
    assert_eq!(dependencies.up("catalog", &clock), None);
    assert!(!dependencies.any_down());
}

#[test]
fn the_board_shows_what_was_published_last_and_how_long_the_loop_is_silent() {
    let board = Board::default();
    assert!(!board.read().readiness().is_ready());
    board.publish(ready());
    assert!(board.read().readiness().is_ready());
    board.beat(1_000);
    board.beat(900);
    assert_eq!(board.silent_for(1_500), 500);
    assert_eq!(board.silent_for(10), 0);
}

#[test]
fn secrets_in_reasons_are_hidden() {
    let reason = "GET http://u:hunter2@catalog refused".to_string();
    let status = Status {
        fenced: Some(reason.clone()),
        stalled: Some(reason.clone()),
        dependencies: [("catalog", DependencyStatus::Down { since: String::new(), reason })].into(),
        ..ready()
    };
    let json = serde_json::to_string(&status.without(&Secrets::default())).unwrap();
    assert!(!json.contains("hunter2") && json.contains("***@catalog"), "{json}");
}
