//! One question to the registry, and its answer classified. schema_registry_converter sends it; its own decoders aren't
//! used, since they cache failures.

use std::collections::HashSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use schema_registry_converter::async_impl::schema_registry::{SrSettings, get_referenced_schema, get_schema_by_id};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{RawError, RegisteredReference, RegisteredSchema, SchemaType};

use crate::decode::registry::{Credentials, RegistryConfig};
use crate::error::Stop;

/// Of the whole request. A registry answers in milliseconds; this is for the one that hangs.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A schema that references more than this, all levels together, is refused.
const REFERENCES_MAX: usize = 1_000;

/// Confluent's error code for an id that no schema has.
const SCHEMA_NOT_FOUND: u32 = 40403;

/// A schema as the registry has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registered {
    /// `AVRO`, `PROTOBUF`, `JSON`.
    pub schema_type: String,
    pub schema: Arc<str>,
    /// All that it references, dependencies first, each once.
    pub references: Vec<Arc<str>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    Schema(Registered),
    /// The registry answers, and has no schema with this id.
    Unknown,
    /// 401 or 403.
    CredentialsRefused(String),
    /// No answer, or none that says anything about the id.
    Down(String),
}

pub struct Client {
    settings: SrSettings,
}

impl Client {
    pub fn new(config: &RegistryConfig) -> Result<Self, Stop> {
        let mut http = reqwest::Client::builder().connect_timeout(CONNECT_TIMEOUT);
        if let Some(path) = &config.ca_file {
            let wrong = |error: &dyn Error| {
                let what = format!("schema_registry.ca_file = {}: {error}", path.display());
                Stop::usage(what, "name a readable file of PEM certificates, or leave the key out to trust the system's")
            };
            let pem = std::fs::read(path).map_err(|error| wrong(&error))?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| wrong(&error))?;
            if certificates.is_empty() {
                return Err(wrong(&std::io::Error::other("it has no certificate")));
            }
            http = http.tls_certs_merge(certificates);
        }
        let mut settings = SrSettings::new_builder(base_url(&config.url)?);
        settings.set_timeout(REQUEST_TIMEOUT);
        match &config.credentials {
            Credentials::None => {}
            Credentials::Basic { username, password } => drop(settings.set_basic_authorization(username, Some(password))),
            Credentials::Bearer { token } => drop(settings.set_token_authorization(token)),
        }
        let settings = settings.build_with(http).map_err(|error| {
            let what = format!("schema_registry: can't set up HTTP: {}", causes(&error));
            Stop::usage(what, "check schema_registry.url and schema_registry.ca_file")
        })?;
        Ok(Self { settings })
    }

    /// The schema of an id, with all that it references.
    pub async fn schema(&self, id: u32) -> Answer {
        let root = match get_schema_by_id(id, &self.settings).await {
            Ok(root) => root,
            Err(error) => return answer_of(&error),
        };
        let mut references = References::default();
        match self.collect(&root.references, &mut references).await {
            Ok(()) => Answer::Schema(registered(root, references.schemas)),
            Err(reason) => Answer::Down(format!("schema {id}: {reason}")),
        }
    }

    /// Does the registry know this id?
    pub async fn knows(&self, id: u32) -> Result<bool, String> {
        match get_schema_by_id(id, &self.settings).await.map_err(|error| answer_of(&error)) {
            Ok(_) => Ok(true),
            Err(Answer::Unknown) => Ok(false),
            Err(Answer::Down(reason) | Answer::CredentialsRefused(reason)) => Err(reason),
            Err(Answer::Schema(_)) => unreachable!("an error is never a schema"),
        }
    }

    fn collect<'a>(
        &'a self,
        wanted: &'a [RegisteredReference],
        into: &'a mut References,
    ) -> BoxFuture<'a, Result<(), String>> {
        async move {
            for reference in wanted {
                if !into.met.insert((reference.subject.clone(), reference.version)) {
                    continue;
                }
                if into.met.len() > REFERENCES_MAX {
                    return Err(format!("it references more than {REFERENCES_MAX} schemas"));
                }
                let named =
                    format!("reference {} (subject {}, version {})", reference.name, reference.subject, reference.version);
                let schema = get_referenced_schema(&self.settings, reference).await;
                let schema = schema.map_err(|error| format!("{named}: {}", causes(&error)))?;
                self.collect(&schema.references, into).await?;
                into.schemas.push(schema.schema.into());
            }
            Ok(())
        }
        .boxed()
    }
}

#[derive(Default)]
struct References {
    /// Subject and version.
    met: HashSet<(String, u32)>,
    schemas: Vec<Arc<str>>,
}

fn registered(root: RegisteredSchema, references: Vec<Arc<str>>) -> Registered {
    let schema_type = match root.schema_type {
        SchemaType::Avro => "AVRO".into(),
        SchemaType::Protobuf => "PROTOBUF".into(),
        SchemaType::Json => "JSON".into(),
        SchemaType::Other(other) => other,
        _ => "unknown".into(),
    };
    Registered { schema_type, schema: root.schema.into(), references }
}

/// The URL as requests are built on: without the slash at its end, with its path.
fn base_url(text: &str) -> Result<String, Stop> {
    let wrong = |why: String| {
        let what = format!("schema_registry.url: {why}");
        Stop::usage(what, "give the registry's base URL, like http://registry:8081 or https://host/apis/ccompat/v7")
    };
    let url = url::Url::parse(text).map_err(|error| wrong(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong(format!("the scheme is {}, not http or https", url.scheme())));
    }
    if !url.username().is_empty() || url.password().is_some() {
        let remedy = "take them out of the URL and set schema_registry.username and password_file, or bearer_token_file";
        return Err(Stop::usage("schema_registry.url has credentials in it", remedy));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("a base URL has neither a query nor a fragment".into()));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Only 40403 says that the id is unknown: a 404 with another body comes from a wrong path or from a proxy.
fn answer_of(error: &SRCError) -> Answer {
    let said = error.source().and_then(|source| source.downcast_ref::<RawError>());
    if said.is_some_and(|raw| raw.error_code == SCHEMA_NOT_FOUND) {
        return Answer::Unknown;
    }
    match status_of(error) {
        Some(401 | 403) => Answer::CredentialsRefused(causes(error)),
        _ => Answer::Down(causes(error)),
    }
}

/// The HTTP status, which the crate gives in its text only.
fn status_of(error: &SRCError) -> Option<u16> {
    let (_, status) = error.error.split_once("failed with status ")?;
    status.split(' ').next()?.parse().ok()
}

/// An error with its causes, each once.
fn causes(error: &SRCError) -> String {
    let mut text = error.error.clone();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}
