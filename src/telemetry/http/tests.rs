use super::*;
use crate::error::Exit;
use crate::telemetry::metrics::TopicCounts;
use crate::telemetry::status::tests::{StandingClock, ready};
use crate::telemetry::status::{DependencyStatus, LastCommit, MemoryStatus, PartitionStatus};

const SOON: Duration = Duration::from_secs(10);

struct Running {
    server: Server,
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    clock: Arc<StandingClock>,
}

async fn start() -> Running {
    let (board, clock) = (Arc::new(Board::default()), Arc::new(StandingClock::default()));
    let metrics = Arc::new(Metrics::new("0.1.0"));
    let sources = Sources {
        board: board.clone(),
        metrics: metrics.clone(),
        clock: clock.clone(),
        secrets: Secrets::new(["hunter2".into()]),
        version: "0.1.0",
    };
    let server = serve("127.0.0.1:0", sources).await.unwrap().unwrap();
    Running { server, board, metrics, clock }
}

impl Running {
    async fn get(&self, path: &str) -> (u16, String) {
        let answer = reqwest::get(format!("http://{}{path}", self.server.address())).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

fn full() -> Status {
    let since = || "2026-01-01T00:00:00.000Z".to_string();
    Status {
        dependencies: [
            ("kafka", DependencyStatus::Up { since: since() }),
            ("catalog", DependencyStatus::Down { since: since(), reason: "hunter2 <b>refused</b>".into() }),
        ]
        .into(),
        partitions: vec![PartitionStatus {
            topic: "silver.<a>".into(),
            partition: 3,
            log_end_offset: Some(12),
            table_offset: Some(10),
            lag_records: Some(2),
            lag_seconds: Some(1.25),
            owner: Some("host-1".into()),
            ..PartitionStatus::default()
        }],
        last_commit: Some(LastCommit {
            snapshot_id: 7,
            commit_id: "id".into(),
            timestamp: since(),
            consumed: 10,
            written: 9,
            duplicate: 1,
            late: 0,
            dead_lettered: 0,
        }),
        memory: MemoryStatus { memory_max: 512 << 20, resident: Some(64 << 20), parts: [("hot_ids", 1 << 20)].into() },
        ..ready()
    }
}

#[tokio::test]
async fn readiness_follows_what_is_published() {
    let running = start().await;
    let (code, text) = running.get("/readyz").await;
    assert_eq!(code, 503);
    assert!(text.starts_with("not ready: starting"), "{text}");
    running.board.publish(ready());
    assert_eq!(running.get("/readyz").await, (200, "ready\n".into()));
    running.board.publish(full());
    let (code, text) = running.get("/readyz?verbose").await;
    assert_eq!(code, 503);
    for line in ["[+] assignment ok", "[+] kafka ok", "[-] catalog failed: catalog is down since"] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn liveness_is_the_loop_s_heartbeat_and_nothing_else() {
    let running = start().await;
    assert_eq!(running.get("/livez").await.0, 200, "not ready, and alive");
    let at = |ms: u64| running.clock.0.store(ms, std::sync::atomic::Ordering::Relaxed);
    at(30_000);
    assert_eq!(running.get("/livez").await.0, 200);
    at(31_000);
    assert_eq!(running.get("/livez").await, (503, "the loop has been silent for 31 s\n".into()));
    running.board.beat(31_000);
    assert_eq!(running.get("/livez").await.0, 200);
}

#[tokio::test]
async fn status_is_json_with_the_promised_keys_and_no_secret() {
    let running = start().await;
    running.board.publish(full());
    let (code, text) = running.get("/status").await;
    assert_eq!(code, 200);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["ready"], false);
    assert!(json["reason"].as_str().unwrap().contains("catalog is down"));
    assert_eq!(json["dependencies"]["kafka"]["state"], "up");
    assert_eq!(json["dependencies"]["catalog"]["state"], "down");
    assert_eq!(json["partitions"][0]["table_offset"], 10);
    assert_eq!(json["partitions"][0]["log_start_offset"], serde_json::Value::Null);
    assert_eq!(json["last_commit"]["written"], 9);
    assert_eq!(json["memory"]["parts"]["hot_ids"], 1 << 20);
    assert_eq!(json["phase"], "running");
    assert!(!text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn the_page_escapes_what_came_from_outside_and_has_no_script() {
    let running = start().await;
    running.board.publish(full());
    let answer = reqwest::get(format!("http://{}/", running.server.address())).await.unwrap();
    let header = |name: &str| answer.headers()[name].to_str().unwrap().to_string();
    assert!(header("content-type").starts_with("text/html"));
    assert!(header("content-security-policy").starts_with("default-src 'none'"));
    let html = answer.text().await.unwrap();
    assert!(html.contains("silver.&lt;a&gt;") && html.contains("&lt;b&gt;refused"), "{html}");
    for forbidden in ["<script", "<b>", "silver.<a>", "hunter2"] {
        assert!(!html.contains(forbidden), "{forbidden} in {html}");
    }
}

#[tokio::test]
async fn metrics_and_version_are_served() {
    let running = start().await;
    running.metrics.records.committed("silver.a", TopicCounts { consumed: 3, ..TopicCounts::default() });
    let answer = reqwest::get(format!("http://{}/metrics", running.server.address())).await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text().await.unwrap();
    assert!(text.contains("sluice_records_consumed_total{topic=\"silver.a\"} 3\n"), "{text}");
    assert_eq!(running.get("/version").await, (200, r#"{"name":"sluice","version":"0.1.0"}"#.into()));
    assert_eq!(running.get("/nothing").await.0, 404);
}

#[tokio::test]
async fn nothing_can_be_changed_from_outside() {
    let running = start().await;
    let url = format!("http://{}/status", running.server.address());
    let client = reqwest::Client::new();
    for request in [client.post(&url), client.put(&url), client.delete(&url)] {
        assert_eq!(request.send().await.unwrap().status().as_u16(), 405);
    }
}

#[tokio::test]
async fn a_port_in_use_stops_with_exit_2_and_an_empty_address_is_off() {
    let running = start().await;
    let again = |listen: String| async move {
        let other = start_sources();
        serve(&listen, other).await
    };
    let stop = again(running.server.address().to_string()).await.err().unwrap();
    assert_eq!(stop.exit, Exit::Usage);
    assert!(stop.what.contains("in use") && stop.remedy.contains("http.listen"), "{stop}");
    let stop = again("no port".into()).await.err().unwrap();
    assert_eq!(stop.exit, Exit::Usage);
    assert!(again(String::new()).await.unwrap().is_none());
}

fn start_sources() -> Sources {
    Sources {
        board: Arc::default(),
        metrics: Arc::new(Metrics::new("0")),
        clock: Arc::new(StandingClock::default()),
        secrets: Secrets::default(),
        version: "0",
    }
}

#[tokio::test]
async fn a_shutdown_frees_the_port_also_with_an_idle_connection_open() {
    let running = start().await;
    let address = running.server.address();
    let client = reqwest::Client::new();
    client.get(format!("http://{address}/livez")).send().await.unwrap().text().await.unwrap();
    tokio::time::timeout(SOON, running.server.shutdown(SOON)).await.unwrap();
    assert!(client.get(format!("http://{address}/livez")).send().await.is_err());
    let again = serve(&address.to_string(), start_sources()).await.unwrap().unwrap();
    assert_eq!(again.address(), address);
}
