//! Against a registry in this process: its answers, as Confluent and others give them, and what becomes of each.

use std::collections::HashMap;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::*;

#[derive(Default)]
struct Fake {
    /// By path, without query: status and body.
    answers: Mutex<HashMap<String, (u16, String)>>,
    asked: Mutex<Vec<(String, Option<String>)>>,
}

impl Fake {
    fn set(&self, path: &str, status: u16, body: Value) {
        self.answers.lock().unwrap().insert(path.into(), (status, body.to_string()));
    }
    fn schema(&self, id: u32, body: Value) {
        self.set(&format!("/schemas/ids/{id}"), 200, body);
    }
    fn forget(&self, id: u32) {
        self.answers.lock().unwrap().remove(&format!("/schemas/ids/{id}"));
    }
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(path, _)| path.clone()).collect()
    }
}

async fn respond(State(fake): State<Arc<Fake>>, uri: Uri, headers: HeaderMap) -> Response {
    let authorization = headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
    fake.asked.lock().unwrap().push((uri.path().to_owned(), authorization));
    let answer = fake.answers.lock().unwrap().get(uri.path()).cloned();
    let not_found = || (404, json!({"error_code": 40403, "message": "Schema not found"}).to_string());
    let (status, body) = answer.unwrap_or_else(not_found);
    (StatusCode::from_u16(status).unwrap(), body).into_response()
}

async fn fake() -> (Arc<Fake>, String) {
    let fake = Arc::new(Fake::default());
    let app = Router::new().fallback(respond).with_state(fake.clone());
    let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (fake, url)
}

#[derive(Default)]
struct Manual(AtomicU64);

impl Clock for Manual {
    fn monotonic_ms(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
    fn wall_ms(&self) -> i64 {
        0
    }
}

fn config(url: &str) -> RegistryConfig {
    RegistryConfig { url: url.into(), credentials: Credentials::None, ca_file: None, state_dir: None }
}

fn registry(config: &RegistryConfig) -> (Registry, Arc<Manual>) {
    let clock = Arc::new(Manual::default());
    (Registry::new(config, clock.clone()).unwrap(), clock)
}

async fn known(registry: &Registry, id: u32) -> (String, Vec<String>) {
    match registry.schema(id).await.unwrap() {
        SchemaAnswer::Known { schema, references } => {
            (schema.to_string(), references.iter().map(|text| text.to_string()).collect())
        }
        other => panic!("{other:?}"),
    }
}

async fn down_reason(registry: &Registry, id: u32) -> String {
    match registry.schema(id).await {
        Err(PortError::Down(down)) => {
            assert_eq!(down.dependency, "schema registry");
            down.reason
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_path_of_the_base_url_is_kept_and_its_last_slash_is_not_doubled() {
    let (fake, url) = fake().await;
    fake.set("/apis/ccompat/v7/schemas/ids/7", 200, json!({"schema": "\"long\"", "schemaType": "AVRO", "references": []}));
    for end in ["", "/"] {
        let (registry, _) = registry(&config(&format!("{url}/apis/ccompat/v7{end}")));
        assert_eq!(known(&registry, 7).await, ("\"long\"".into(), vec![]));
    }
    assert_eq!(fake.asked(), ["/apis/ccompat/v7/schemas/ids/7"; 2]);
}

#[tokio::test]
async fn references_come_dependencies_first_and_each_once() {
    let (fake, url) = fake().await;
    let reference = |name: &str, version: u32| json!({"name": name, "subject": name, "version": version});
    let body = |schema: &str, references: Value| json!({"id": 1, "subject": "s", "version": 1, "schema": schema, "references": references});
    fake.schema(7, body("root", json!([reference("a", 1), reference("b", 2)])));
    fake.set("/subjects/a/versions/1", 200, body("A", json!([reference("c/d", 3)])));
    fake.set("/subjects/b/versions/2", 200, body("B", json!([reference("c/d", 3), reference("a", 1)])));
    fake.set("/subjects/c%2Fd/versions/3", 200, json!({"id": 4, "schema": "C"}));
    let (registry, _) = registry(&config(&url));
    assert_eq!(known(&registry, 7).await, ("root".into(), vec!["C".into(), "A".into(), "B".into()]));
}

#[tokio::test]
async fn a_reference_that_isn_t_there_is_waited_for() {
    let (fake, url) = fake().await;
    fake.schema(7, json!({"schema": "root", "references": [{"name": "a", "subject": "gone", "version": 1}]}));
    let (registry, clock) = registry(&config(&url));
    for _ in 0..3 {
        let reason = down_reason(&registry, 7).await;
        assert!(reason.contains("subject gone, version 1"), "{reason}");
        clock.0.fetch_add(60_000, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn another_type_of_schema_is_no_avro() {
    let (fake, url) = fake().await;
    fake.schema(7, json!({"schema": "syntax = \"proto3\";", "schemaType": "PROTOBUF"}));
    let (registry, _) = registry(&config(&url));
    assert!(matches!(registry.schema(7).await, Ok(SchemaAnswer::NotAvro { schema_type }) if &*schema_type == "PROTOBUF"));
}

#[tokio::test]
async fn an_unknown_id_is_final_after_ten_seconds_and_not_before() {
    let (fake, url) = fake().await;
    let (registry, clock) = registry(&config(&url));
    for now in [0, 4_000, 9_999] {
        clock.0.store(now, Ordering::SeqCst);
        assert!(down_reason(&registry, 7).await.contains("doesn't know schema id 7"));
    }
    clock.0.store(10_000, Ordering::SeqCst);
    assert!(matches!(registry.schema(7).await, Ok(SchemaAnswer::Unknown)));
    fake.schema(7, json!({"schema": "\"long\""}));
    assert_eq!(known(&registry, 7).await.0, "\"long\"");
}

#[tokio::test]
async fn a_registry_that_lost_what_it_knew_is_waited_for_until_it_knows_again() {
    let (fake, url) = fake().await;
    let state = tempfile::tempdir().unwrap();
    let mut config = config(&url);
    config.state_dir = Some(state.path().into());
    fake.schema(3, json!({"schema": "\"long\""}));
    known(&registry(&config).0, 3).await;
    fake.forget(3);

    let (restarted, clock) = registry(&config);
    down_reason(&restarted, 7).await;
    clock.0.store(600_000, Ordering::SeqCst);
    let reason = down_reason(&restarted, 7).await;
    assert!(reason.contains("no longer knows id 3") && reason.contains("3.json"), "{reason}");
    assert_eq!(known(&restarted, 3).await.0, "\"long\"", "what is cached is served all the same");
    fake.schema(3, json!({"schema": "\"long\""}));
    assert!(matches!(restarted.schema(7).await, Ok(SchemaAnswer::Unknown)));
}

#[tokio::test]
async fn only_the_registry_s_own_404_means_unknown() {
    let (fake, url) = fake().await;
    let (registry, clock) = registry(&config(&url));
    let answers = [
        (404, json!({"error_code": 404, "message": "HTTP 404 Not Found"})),
        (404, json!("<html>nginx</html>")),
        (500, json!({"error_code": 50001, "message": "store"})),
        (503, json!({})),
        (200, json!({"no": "schema"})),
        (200, json!("<html>a login page</html>")),
        (429, json!({})),
    ];
    for (status, body) in answers {
        fake.set("/schemas/ids/7", status, body.clone());
        for _ in 0..2 {
            assert!(registry.schema(7).await.is_err(), "{status} {body}");
            down_reason(&registry, 7).await;
            clock.0.fetch_add(30_000, Ordering::SeqCst);
        }
    }
    assert_eq!(registry.requests().failed.load(Ordering::Relaxed), 28);
    assert_eq!(registry.requests().unknown.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn nobody_listening_is_down_with_the_cause() {
    let (registry, _) = registry(&config("http://127.0.0.1:1"));
    let reason = down_reason(&registry, 7).await;
    assert!(reason.to_lowercase().contains("refused"), "{reason}");
}

#[tokio::test]
async fn refused_credentials_stop_before_the_first_answer_and_are_waited_for_afterwards() {
    let (fake, url) = fake().await;
    fake.set("/schemas/ids/7", 401, json!({"error_code": 40101, "message": "Unauthorized"}));
    let (registry, _) = registry(&config(&url));
    match registry.schema(7).await {
        Err(PortError::Stop(stop)) => {
            assert_eq!(stop.exit, crate::error::Exit::Usage);
            assert!(stop.remedy.contains("schema_registry.username"), "{stop}");
        }
        other => panic!("{other:?}"),
    }
    fake.schema(8, json!({"schema": "\"long\""}));
    known(&registry, 8).await;
    down_reason(&registry, 7).await;
}

#[tokio::test]
async fn credentials_are_sent() {
    let (fake, url) = fake().await;
    fake.schema(7, json!({"schema": "\"long\""}));
    let mut config = config(&url);
    config.credentials = Credentials::Basic { username: "sluice".into(), password: "s3cret".into() };
    known(&registry(&config).0, 7).await;
    config.credentials = Credentials::Bearer { token: "t0ken".into() };
    known(&registry(&config).0, 7).await;
    let sent: Vec<Option<String>> = fake.asked.lock().unwrap().iter().map(|(_, sent)| sent.clone()).collect();
    assert_eq!(sent, [Some("Basic c2x1aWNlOnMzY3JldA==".into()), Some("Bearer t0ken".into())]);
}

#[tokio::test]
async fn after_a_restart_a_registry_that_is_away_holds_nobody_up() {
    let (fake, url) = fake().await;
    let state = tempfile::tempdir().unwrap();
    let mut config = config(&url);
    config.state_dir = Some(state.path().into());
    fake.schema(7, json!({"schema": "\"long\""}));
    known(&registry(&config).0, 7).await;
    fake.set("/schemas/ids/7", 503, json!({}));
    assert_eq!(known(&registry(&config).0, 7).await.0, "\"long\"");
}

#[test]
fn wrong_settings_stop_with_the_key() {
    let stop = |config: &RegistryConfig| Registry::new(config, Arc::new(Manual::default())).err().unwrap();
    for url in ["", "registry:8081", "ftp://registry", "http://registry?x=1", "not a url"] {
        let stop = stop(&config(url));
        assert!(stop.what.contains("schema_registry.url"), "{url}: {stop}");
    }
    let with_password = stop(&config("http://user:hidden@registry"));
    assert!(!format!("{with_password:?}").contains("hidden") && with_password.remedy.contains("password_file"));
    let mut config = config("https://registry");
    config.ca_file = Some("/nowhere/ca.pem".into());
    assert!(stop(&config).what.contains("schema_registry.ca_file = /nowhere/ca.pem"));
    let empty = tempfile::NamedTempFile::new().unwrap();
    config.ca_file = Some(empty.path().into());
    assert!(stop(&config).what.contains("no certificate"));
}
