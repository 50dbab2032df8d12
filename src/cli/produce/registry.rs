//! Registers the writers' schemas at a Confluent-compatible registry.

use std::time::Duration;

use serde::Deserialize;

use super::encode::SchemaIds;
use super::generator::Version;
use crate::cli::deepest_cause;
use crate::config::SchemaRegistry;
use crate::error::Stop;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Of the Confluent API: `POST /subjects/{subject}/versions`.
const CONTENT_TYPE: &str = "application/vnd.schemaregistry.v1+json";

pub struct RegistryClient {
    http: reqwest::Client,
    settings: SchemaRegistry,
}

impl RegistryClient {
    pub fn new(settings: &SchemaRegistry) -> Result<Self, Stop> {
        let mut builder = reqwest::Client::builder().timeout(TIMEOUT);
        if let Some(path) = &settings.ca_file {
            let refuse = |reason: String| {
                Stop::usage(format!("schema_registry.ca_file {}: {reason}", path.display()), "name a readable PEM file")
            };
            let pem = std::fs::read(path).map_err(|error| refuse(error.to_string()))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| refuse(error.to_string()))?;
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().map_err(|error| Stop::internal(format!("the HTTP client can't be built: {error}")))?;
        Ok(Self { http, settings: settings.clone() })
    }

    /// Registers all three versions under the subject of a topic; a registry answers with the ids it has if it knows them.
    pub async fn register(&self, topic: &str) -> Result<SchemaIds, Stop> {
        let subject = format!("{topic}-value");
        Ok(SchemaIds {
            plain: self.register_one(&subject, Version::Plain).await?,
            silver: self.register_one(&subject, Version::Silver).await?,
            lean: self.register_one(&subject, Version::Lean).await?,
        })
    }

    async fn register_one(&self, subject: &str, version: Version) -> Result<u32, Stop> {
        #[derive(Deserialize)]
        struct Registered {
            id: u32,
        }
        let body = serde_json::json!({ "schemaType": "AVRO", "schema": version.schema() }).to_string();
        let mut request = self.http.post(self.address(subject)).header("Content-Type", CONTENT_TYPE).body(body);
        if let Some(username) = &self.settings.username {
            request = request.basic_auth(username, self.settings.password.as_ref().map(|password| password.expose()));
        }
        if let Some(token) = &self.settings.bearer_token {
            request = request.bearer_auth(token.expose());
        }
        let answer = request.send().await.map_err(|error| self.silent(&error))?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| self.silent(&error))?;
        if !status.is_success() {
            return Err(self.refused(subject, status.as_u16(), &text));
        }
        let registered: Registered = serde_json::from_str(&text).map_err(|error| {
            Stop::refused(
                format!("the registry {} answers without an id: {error}", self.settings.url),
                "check that schema_registry.url is the address of a Confluent-compatible API, path included",
            )
        })?;
        Ok(registered.id)
    }

    /// Keeps the path of the base address, as registries behind a gateway need.
    fn address(&self, subject: &str) -> url::Url {
        let mut address = self.settings.url.clone();
        address
            .path_segments_mut()
            .expect("an http address has a path")
            .pop_if_empty()
            .extend(["subjects", subject, "versions"]);
        address
    }

    fn silent(&self, error: &reqwest::Error) -> Stop {
        Stop::gave_up(
            format!("the schema registry {} does not answer: {}", self.settings.url, deepest_cause(error)),
            "check that it runs and that schema_registry.url is right",
        )
    }

    fn refused(&self, subject: &str, status: u16, text: &str) -> Stop {
        let what = format!("the schema registry {} answers {status} for {subject}: {}", self.settings.url, first_line(text));
        match status {
            401 | 403 => Stop::usage(what, "check schema_registry.username and password_file, or bearer_token_file"),
            409 => Stop::refused(what, format!("use a fresh topic, or set the compatibility of {subject} to NONE")),
            500.. => Stop::gave_up(what, "look at the registry's log"),
            _ => Stop::refused(what, "check that schema_registry.url is right, path included"),
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}
