//! A small schema registry in this process: the part of Confluent's API that a producer and Sluice use, kept in memory.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Serves until it is dropped.
pub struct Registry {
    address: SocketAddr,
    server: JoinHandle<()>,
    schemas: Shared,
}

type Shared = Arc<Mutex<Schemas>>;

#[derive(Default)]
struct Schemas {
    /// Ids are places in this list, from 1.
    known: Vec<String>,
    /// Ids by subject, version 1 first.
    subjects: BTreeMap<String, Vec<usize>>,
}

impl Schemas {
    fn register(&mut self, subject: String, schema: String) -> usize {
        let place = self.known.iter().position(|known| *known == schema).unwrap_or_else(|| {
            self.known.push(schema);
            self.known.len() - 1
        });
        let id = place + 1;
        let versions = self.subjects.entry(subject).or_default();
        if !versions.contains(&id) {
            versions.push(id);
        }
        id
    }

    fn by_id(&self, id: usize) -> Option<&str> {
        self.known.get(id.checked_sub(1)?).map(String::as_str)
    }
}

impl Registry {
    /// Listens on a free port of the loopback address.
    pub async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let schemas = Shared::default();
        let router = Router::new()
            .route("/subjects", get(subjects))
            .route("/subjects/{subject}/versions", post(register).get(versions))
            .route("/subjects/{subject}/versions/{version}", get(version))
            .route("/schemas/ids/{id}", get(schema))
            .with_state(Arc::clone(&schemas));
        let server = tokio::spawn(async move {
            // It ends only when the runtime does.
            drop(axum::serve(listener, router).await);
        });
        Ok(Self { address, server, schemas })
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Forgets every schema, as a registry that lost its data.
    pub fn wipe(&self) {
        *lock(&self.schemas) = Schemas::default();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn lock(schemas: &Shared) -> MutexGuard<'_, Schemas> {
    // A panic elsewhere leaves a list that is still whole: entries are only ever added.
    schemas.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Deserialize)]
struct Registration {
    schema: String,
}

async fn register(State(schemas): State<Shared>, Path(subject): Path<String>, body: String) -> Response {
    // By the body alone: clients send Confluent's own content type, which the JSON extractor doesn't know.
    let Ok(Registration { schema }) = serde_json::from_str(&body) else {
        return refuse(StatusCode::UNPROCESSABLE_ENTITY, 42201, "the body is not {\"schema\": …}");
    };
    match apache_avro::Schema::parse_str(&schema) {
        Ok(_) => Json(json!({ "id": lock(&schemas).register(subject, schema) })).into_response(),
        Err(error) => refuse(StatusCode::UNPROCESSABLE_ENTITY, 42201, &format!("invalid schema: {error}")),
    }
}

async fn schema(State(schemas): State<Shared>, Path(id): Path<usize>) -> Response {
    match lock(&schemas).by_id(id) {
        Some(schema) => Json(json!({ "schema": schema })).into_response(),
        None => refuse(StatusCode::NOT_FOUND, 40403, "schema not found"),
    }
}

async fn subjects(State(schemas): State<Shared>) -> Json<Value> {
    Json(json!(lock(&schemas).subjects.keys().collect::<Vec<_>>()))
}

async fn versions(State(schemas): State<Shared>, Path(subject): Path<String>) -> Response {
    match lock(&schemas).subjects.get(&subject) {
        Some(ids) => Json(json!((1..=ids.len()).collect::<Vec<_>>())).into_response(),
        None => refuse(StatusCode::NOT_FOUND, 40401, "subject not found"),
    }
}

async fn version(State(schemas): State<Shared>, Path((subject, version)): Path<(String, String)>) -> Response {
    let schemas = lock(&schemas);
    let Some(ids) = schemas.subjects.get(&subject) else {
        return refuse(StatusCode::NOT_FOUND, 40401, "subject not found");
    };
    let number = if version == "latest" { ids.len() } else { version.parse().unwrap_or(0) };
    match number.checked_sub(1).and_then(|place| ids.get(place)) {
        Some(id) => {
            let schema = schemas.by_id(*id);
            Json(json!({ "subject": subject, "version": number, "id": id, "schema": schema })).into_response()
        }
        None => refuse(StatusCode::NOT_FOUND, 40402, "version not found"),
    }
}

fn refuse(status: StatusCode, code: u32, message: &str) -> Response {
    (status, Json(json!({ "error_code": code, "message": message }))).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::produce::generator::Version;
    use crate::cli::produce::registry::RegistryClient;
    use crate::config::SchemaRegistry;

    fn client(registry: &Registry) -> RegistryClient {
        let url = registry.url().parse().unwrap();
        let settings = SchemaRegistry { url, username: None, password: None, bearer_token: None, ca_file: None };
        RegistryClient::new(&settings).unwrap()
    }

    async fn ask(registry: &Registry, path: &str) -> (u16, Value) {
        let answer = reqwest::get(format!("{}{path}", registry.url())).await.unwrap();
        (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
    }

    #[tokio::test]
    async fn a_schema_keeps_its_id_under_every_subject() {
        let registry = Registry::start().await.unwrap();
        let first = client(&registry).register("a").await.unwrap();
        let second = client(&registry).register("b").await.unwrap();
        assert_eq!(first, second);
        assert_eq!((first.plain, first.silver, first.lean), (1, 2, 3));
        let (status, answer) = ask(&registry, "/schemas/ids/2").await;
        assert_eq!((status, &answer["schema"]), (200, &json!(Version::Silver.schema())));
        assert_eq!(ask(&registry, "/subjects/b-value/versions").await.1, json!([1, 2, 3]));
        assert_eq!(ask(&registry, "/subjects/b-value/versions/latest").await.1["id"], 3);
    }

    #[tokio::test]
    async fn what_is_not_known_is_answered_in_confluents_codes() {
        let registry = Registry::start().await.unwrap();
        client(&registry).register("a").await.unwrap();
        assert_eq!(ask(&registry, "/schemas/ids/77").await.1["error_code"], 40403);
        assert_eq!(ask(&registry, "/schemas/ids/0").await.0, 404);
        assert_eq!(ask(&registry, "/subjects/x/versions").await.1["error_code"], 40401);
        assert_eq!(ask(&registry, "/subjects/a-value/versions/9").await.1["error_code"], 40402);
        registry.wipe();
        assert_eq!(ask(&registry, "/schemas/ids/1").await.0, 404);
    }

    #[tokio::test]
    async fn a_registry_that_is_not_there_is_told_as_such() {
        let registry = Registry::start().await.unwrap();
        let client = client(&registry);
        drop(registry);
        let stop = client.register("a").await.unwrap_err();
        assert_eq!(stop.exit.code(), 5, "{stop}");
    }
}
