//! A panic is a log line like any other, not text between them.

use std::any::Any;
use std::panic::PanicHookInfo;
use std::sync::Arc;

use super::line::{Line, Said};
use super::subscribe::Out;

/// Replaces the process's panic hook.
pub(super) fn log_them(out: Arc<Out>, contained_threads: Vec<&'static str>) {
    std::panic::set_hook(Box::new(move |panic| out.write(&line(panic, &contained_threads))));
}

fn line(panic: &PanicHookInfo<'_>, contained_threads: &[&str]) -> Line {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    described(panic.payload(), &place, std::thread::current().name().unwrap_or("unnamed"), contained_threads)
}

fn described(payload: &(dyn Any + Send), place: &str, thread: &str, contained_threads: &[&str]) -> Line {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let contained = contained_threads.iter().any(|name| thread.starts_with(name));
    let (level, message) = if contained {
        (tracing::Level::WARN, "a panic was caught where it is expected")
    } else {
        (tracing::Level::ERROR, "a panic: this is a fault of Sluice, please report it with the log")
    };
    let said = Said {
        message: message.into(),
        event: Some("panic".into()),
        exception: Some(text.unwrap_or("without a message").into()),
        fields: vec![("thread".into(), thread.into()), ("place".into(), place.into())],
    };
    Line::now(level, "sluice", said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_calls_for_somebody_unless_its_thread_is_contained() {
        let ours = described(&"index out of range", "src/a.rs:1:2", "main", &["sled-io"]);
        assert_eq!(ours.level, tracing::Level::ERROR);
        assert_eq!(ours.said.exception.as_deref(), Some("index out of range"));
        let contained = described(&String::from("as sled does"), "b.rs:3:4", "sled-io-7", &["sled-io"]);
        assert_eq!(contained.level, tracing::Level::WARN);
        assert_eq!(contained.said.exception.as_deref(), Some("as sled does"));
    }
}
