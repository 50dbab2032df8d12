//! The pages of a running instance: read-only, without secrets or payloads (INTERFACE: HTTP).

mod page;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderName, StatusCode};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::{Router, routing::get};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::logs::redact::Secrets;
use super::metrics::Metrics;
use super::status::{Board, Status};
use crate::error::Stop;
use crate::ports::Clock;

/// A loop that hasn't beaten for so long is no longer alive.
pub const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What the pages are made from.
#[derive(Clone)]
pub struct Sources {
    pub board: Arc<Board>,
    pub metrics: Arc<Metrics>,
    pub clock: Arc<dyn Clock>,
    pub secrets: Secrets,
    pub version: &'static str,
}

/// A running server.
pub struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

/// Listens on `listen` (`http.listen`, host and port) and answers from now on, in a task of the running runtime. None
/// where it is empty: switched off.
///
/// # Errors
/// The address is in use, isn't one, or isn't ours: exit 2.
pub async fn serve(listen: &str, sources: Sources) -> Result<Option<Server>, Stop> {
    if listen.is_empty() {
        return Ok(None);
    }
    let bound = match TcpListener::bind(listen).await {
        Ok(listener) => listener.local_addr().map(|address| (listener, address)),
        Err(error) => Err(error),
    };
    let (listener, address) = bound.map_err(|error| cannot_listen(listen, &error))?;
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, router(sources)).with_graceful_shutdown(async {
        // A dropped server stops as well.
        let _ = stopped.await;
    });
    let task = tokio::spawn(async move {
        if let Err(error) = server.await {
            tracing::error!(event = "http.stopped", exception = %error, "the HTTP pages are gone");
        }
    });
    Ok(Some(Server { address, stop, task }))
}

impl Server {
    /// Where it listens: with the port that was chosen for port 0.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers what was asked, and stops; what isn't done `within` is cut off.
    pub async fn shutdown(mut self, within: Duration) {
        let _ = self.stop.send(());
        if tokio::time::timeout(within, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

fn cannot_listen(listen: &str, error: &std::io::Error) -> Stop {
    match error.kind() {
        ErrorKind::AddrInUse => Stop::usage(
            format!("http.listen {listen:?} is in use"),
            "stop the process that listens there (another instance?), or set http.listen to a free port or to \"\" (off)",
        ),
        _ => Stop::usage(
            format!("http.listen {listen:?} can't be listened on: {error}"),
            "set http.listen to an address of this host and a port, such as \"127.0.0.1:9464\", or to \"\" (off)",
        ),
    }
}

fn router(sources: Sources) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/status", get(status))
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/version", get(version))
        .with_state(sources)
}

impl Sources {
    fn status(&self) -> Status {
        Status::clone(&self.board.read()).without(&self.secrets)
    }
}

const NO_STORE: (HeaderName, &str) = (CACHE_CONTROL, "no-store");

async fn index(State(sources): State<Sources>) -> Response {
    let status = sources.status();
    let headers = [
        NO_STORE,
        (CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Html(page::status_page(&status, sources.version))).into_response()
}

/// `/status`: readiness, and the status as it was published.
#[derive(Serialize)]
struct StatusAnswer {
    ready: bool,
    reason: Option<String>,
    version: &'static str,
    #[serde(flatten)]
    status: Status,
}

async fn status(State(sources): State<Sources>) -> Response {
    let status = sources.status();
    let readiness = status.readiness();
    let answer = StatusAnswer { ready: readiness.is_ready(), reason: readiness.reason(), version: sources.version, status };
    ([NO_STORE], Json(answer)).into_response()
}

async fn metrics(State(sources): State<Sources>) -> Response {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], sources.metrics.exposition()).into_response()
}

async fn livez(State(sources): State<Sources>) -> Response {
    let silent = Duration::from_millis(sources.board.silent_for(sources.clock.monotonic_ms()));
    if silent > SILENCE_MAX {
        let text = format!("the loop has been silent for {} s\n", silent.as_secs());
        return (StatusCode::SERVICE_UNAVAILABLE, [NO_STORE], text).into_response();
    }
    ([NO_STORE], "ok\n").into_response()
}

#[derive(Deserialize)]
struct ReadyQuery {
    verbose: Option<String>,
}

async fn readyz(State(sources): State<Sources>, Query(query): Query<ReadyQuery>) -> Response {
    let readiness = sources.status().readiness();
    let code = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut text = String::new();
    if query.verbose.is_some() {
        for check in &readiness.checks {
            text += &match &check.reason {
                None => format!("[+] {} ok\n", check.name),
                Some(reason) => format!("[-] {} failed: {reason}\n", check.name),
            };
        }
    }
    text += &match readiness.reason() {
        None => "ready\n".into(),
        Some(reason) => format!("not ready: {reason}\n"),
    };
    (code, [NO_STORE], text).into_response()
}

async fn version(State(sources): State<Sources>) -> Response {
    Json(serde_json::json!({ "name": "sluice", "version": sources.version })).into_response()
}

#[cfg(test)]
mod tests;
