//! Schemas of the writers in the registry.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use super::trade::Writer;

/// A runtime for the few asynchronous calls of the harness.
pub fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime starts")
    })
}

/// Ids of one registry's schemas.
pub struct Registry {
    url: String,
    ids: Mutex<HashMap<String, u32>>,
}

impl Registry {
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), ids: Mutex::default() }
    }

    /// Registers the schemas of all writers under the topic's subject.
    pub fn register_writers(&self, topic: &str) {
        for writer in Writer::ALL {
            let id = self.register(topic, &writer.schema_text());
            self.ids.lock().unwrap().insert(format!("{writer:?}"), id);
        }
    }

    /// Registers a schema under `<topic>-value` and returns its id.
    pub fn register(&self, topic: &str, schema: &str) -> u32 {
        let url = format!("{}/subjects/{topic}-value/versions", self.url);
        let body = serde_json::json!({ "schema": schema }).to_string();
        let answer = runtime().block_on(async {
            let request = client().post(&url).header("Content-Type", "application/json").body(body);
            let answer = request.send().await.expect("the registry answers");
            let status = answer.status();
            let text = answer.text().await.expect("the registry answers");
            assert!(status.is_success(), "POST {url}: {status} {text}");
            text
        });
        let answer: serde_json::Value = serde_json::from_str(&answer).expect("the registry answers JSON");
        answer["id"].as_u64().and_then(|id| id.try_into().ok()).expect("the registry answers an id")
    }

    pub fn id(&self, writer: Writer) -> u32 {
        self.ids.lock().unwrap()[&format!("{writer:?}")]
    }
}

fn client() -> &'static reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    CLIENT.get_or_init(reqwest::Client::new)
}

/// GET on this host: status and body; none while nobody listens.
pub fn get(url: &str) -> Option<(u16, String)> {
    runtime().block_on(async {
        let answer = client().get(url).send().await.ok()?;
        Some((answer.status().as_u16(), answer.text().await.ok()?))
    })
}

/// The Confluent framing.
pub fn framed(schema_id: u32, body: &[u8]) -> Vec<u8> {
    let mut value = vec![0];
    value.extend(schema_id.to_be_bytes());
    value.extend(body);
    value
}
