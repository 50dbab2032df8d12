//! One log line as a value, and its two forms.

use std::error::Error;
use std::fmt::{self, Write};

use serde_json::Value;
use tracing::field::{Field, Visit};

use super::nested::{hidden, of_bytes};
use super::redact::{HIDDEN, Secrets, is_secret_name};

/// Keys of every line: a field of an event with one of these names gets an underscore.
const OWN_KEYS: [&str; 6] = ["timestamp", "level", "logger", "message", "job", "layer"];

pub(super) const LAYER: &str = "gold";

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Line {
    pub(super) timestamp: chrono::DateTime<chrono::Utc>,
    pub(super) level: tracing::Level,
    pub(super) logger: String,
    pub(super) said: Said,
}

/// What an event says: its message, and its fields in the order given.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Said {
    pub(super) message: String,
    pub(super) event: Option<String>,
    pub(super) exception: Option<String>,
    pub(super) fields: Vec<(String, Value)>,
}

impl Said {
    fn take(&mut self, name: &str, value: Value) {
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        match name {
            "message" => self.message = text(value),
            "event" => self.event = Some(text(value)),
            "exception" => self.exception = Some(text(value)),
            _ if is_secret_name(name) => self.fields.push((name.into(), HIDDEN.into())),
            _ => self.fields.push((name.into(), value)),
        }
    }
}

impl Visit for Said {
    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no NaN and no infinities.
        let number = serde_json::Number::from_f64(value).map_or_else(|| value.to_string().into(), Value::Number);
        self.take(field.name(), number);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field.name(), value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field.name(), value.into());
    }
    fn record_i128(&mut self, field: &Field, value: i128) {
        self.take(field.name(), value.to_string().into());
    }
    fn record_u128(&mut self, field: &Field, value: u128) {
        self.take(field.name(), value.to_string().into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field.name(), value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field.name(), value.into());
    }
    fn record_bytes(&mut self, field: &Field, value: &[u8]) {
        self.take(field.name(), of_bytes(value));
    }
    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.take(field.name(), chain(value).into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field.name(), format!("{value:?}").into());
    }
}

/// An error and its causes, outermost first, joined by `: `. A cause that the text before already ends with is not
/// repeated.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.ends_with(&said) {
            let _ = write!(text, ": {said}");
        }
        cause = error.source();
    }
    text
}

impl Line {
    pub(super) fn now(level: tracing::Level, logger: &str, said: Said) -> Line {
        Line { timestamp: chrono::Utc::now(), level, logger: logger.into(), said }
    }

    /// One JSON object and a line feed: the fixed keys first, then the event's fields in their order. Lines that nothing
    /// may rely on have no `event`.
    pub(super) fn json(&self, job: &str, secrets: &Secrets) -> String {
        let hidden_text = |text: &str| Value::String(secrets.hide(text).into_owned());
        let time = self.timestamp.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
        let mut object = Object(String::from("{"));
        object.insert("timestamp", &time.into());
        object.insert("level", &self.level.as_str().into());
        object.insert("logger", &self.logger.as_str().into());
        object.insert("message", &hidden_text(&self.said.message));
        if let Some(event) = &self.said.event {
            object.insert("event", &hidden_text(event));
        }
        object.insert("job", &job.into());
        object.insert("layer", &LAYER.into());
        for (name, value) in &self.said.fields {
            let name = if OWN_KEYS.contains(&name.as_str()) { &format!("{name}_") } else { name };
            object.insert(name, &hidden(value, secrets));
        }
        if let Some(exception) = &self.said.exception {
            object.insert("exception", &hidden_text(exception));
        }
        object.0 + "}\n"
    }

    /// For people: time, level, logger, message, then event and fields. Control characters are escaped, so that no value
    /// can make up a line of its own.
    pub(super) fn text(&self, colour: bool, secrets: &Secrets) -> String {
        let paint = |code: &'static str| if colour { (code, "\x1b[0m") } else { ("", "") };
        let level = match self.level {
            tracing::Level::ERROR => paint("\x1b[31m"),
            tracing::Level::WARN => paint("\x1b[33m"),
            tracing::Level::INFO => paint("\x1b[32m"),
            _ => paint("\x1b[34m"),
        };
        let dim = paint("\x1b[2m");
        let time = self.timestamp.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        let mut line = format!("{}{time}{} {}{:5}{} {}", dim.0, dim.1, level.0, self.level, level.1, self.logger);
        let _ = write!(line, ": {}", plain(&secrets.hide(&self.said.message)));
        let event = self.said.event.iter().map(|event| ("event", Value::from(event.as_str())));
        let exception = self.said.exception.iter().map(|exception| ("exception", Value::from(exception.as_str())));
        let fields = self.said.fields.iter().map(|(name, value)| (name.as_str(), value.clone()));
        for (name, value) in event.chain(fields).chain(exception) {
            let value = match hidden(&value, secrets) {
                Value::String(text) if text.contains([' ', '"', '=']) || text.is_empty() => format!("{text:?}"),
                Value::String(text) => plain(&text),
                other => plain(&other.to_string()),
            };
            let _ = write!(line, " {}{name}={}{value}", dim.0, dim.1);
        }
        line.push('\n');
        line
    }
}

/// A JSON object whose keys keep their order.
struct Object(String);

impl Object {
    fn insert(&mut self, name: &str, value: &Value) {
        let comma = if self.0.len() > 1 { "," } else { "" };
        let _ = write!(self.0, "{comma}{}:{value}", Value::String(name.into()));
    }
}

fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_debug().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            timestamp: chrono::DateTime::from_timestamp(1_767_225_600, 123_456_789).unwrap(),
            level: tracing::Level::WARN,
            logger: "sluice::sink".into(),
            said: Said {
                message: "commit \"x\"\nrefused".into(),
                event: Some("iceberg.commit".into()),
                exception: Some("a: b".into()),
                fields: vec![("rows".into(), 7.into()), ("job".into(), "other".into()), ("path".into(), "a b".into())],
            },
        }
    }

    #[test]
    fn a_json_line_has_the_fixed_keys_first_and_no_field_replaces_them() {
        assert_eq!(
            line().json("gold-aggregation", &Secrets::default()),
            concat!(
                r#"{"timestamp":"2026-01-01T00:00:00.123456Z","level":"WARN","logger":"sluice::sink","#,
                r#""message":"commit \"x\"\nrefused","event":"iceberg.commit","job":"gold-aggregation","layer":"gold","#,
                r#""rows":7,"job_":"other","path":"a b","exception":"a: b"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_line_of_text_stays_one_line_and_has_colour_only_when_asked() {
        let expected = concat!(
            r#"2026-01-01T00:00:00.123Z WARN  sluice::sink: commit "x"\nrefused event=iceberg.commit rows=7 job=other"#,
            r#" path="a b" exception="a: b""#,
            "\n"
        );
        assert_eq!(line().text(false, &Secrets::default()), expected);
        let coloured = line().text(true, &Secrets::default());
        assert!(coloured.contains("\x1b[33mWARN \x1b[0m"), "{coloured:?}");
    }

    #[test]
    fn a_line_without_a_stable_event_has_no_such_field() {
        let mut line = line();
        line.said.event = None;
        assert!(!line.json("j", &Secrets::default()).contains("\"event\""));
        assert!(!line.text(false, &Secrets::default()).contains(" event="));
    }

    /// Ranges were once logged as Rust's debug text, which no program reads: `{"silver.a:0": (0, 5)}`.
    #[test]
    fn nested_values_are_json_in_both_forms() {
        let ranges = serde_json::json!({"silver.a": {"0": [0, 5]}});
        let mut line = line();
        line.said.fields = vec![("ranges".into(), ranges.clone())];
        let json: Value = serde_json::from_str(&line.json("j", &Secrets::default())).unwrap();
        assert_eq!(json["ranges"], ranges);
        let text = line.text(false, &Secrets::default());
        assert!(text.contains(r#" ranges={"silver.a":{"0":[0,5]}} "#), "{text}");
    }

    #[test]
    fn secrets_are_hidden_in_every_place() {
        let secrets = Secrets::new(["hunter2".into()]);
        let mut line = line();
        line.said.message = "hunter2".into();
        line.said.exception = Some("hunter2".into());
        let deep = serde_json::json!([{"a hunter2": "is hunter2", "sasl_password": "hunter3"}]);
        line.said.fields = vec![("path".into(), "http://u:hunter2@h".into()), ("deep".into(), deep)];
        for out in [line.json("j", &secrets), line.text(false, &secrets)] {
            assert!(!out.contains("hunter") && out.contains("***"), "{out}");
        }
    }

    #[test]
    fn a_chain_names_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("can't commit")]
        struct Outer(#[source] Middle);
        #[derive(Debug, thiserror::Error)]
        #[error("catalog: {0}")]
        struct Middle(#[source] std::io::Error);
        let error = Outer(Middle(std::io::Error::other("connection reset")));
        assert_eq!(chain(&error), "can't commit: catalog: connection reset");
    }
}
