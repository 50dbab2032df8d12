//! Who may know whom, read from the sources: rules that a compiler doesn't check.

use std::fs;
use std::path::{Path, PathBuf};

/// A line of code: no comment, and not in a test module.
struct Line {
    file: PathBuf,
    number: usize,
    code: String,
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn is_tests(file: &Path) -> bool {
    let stem = file.file_stem().expect("a name").to_string_lossy();
    let in_tests = file.components().any(|c| c.as_os_str() == "tests");
    stem == "tests" || stem.ends_with("_tests") || stem.ends_with("_test") || in_tests
}

/// Lines outside of tests: those above `#[cfg(test)]`, in files that aren't test files themselves.
fn code(folder: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for file in sources(folder) {
        if is_tests(&file) {
            continue;
        }
        let text = fs::read_to_string(&file).expect("UTF-8");
        for (i, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            if code.trim_start().starts_with("#[cfg(test)]") {
                // `#[cfg(test)] mod tests;` in the middle hides that one item only.
                let rest: Vec<_> = text.lines().skip(i + 1).take(3).collect();
                if rest.iter().any(|l| l.trim_end().ends_with('{') && l.contains("mod ")) {
                    break;
                }
                continue;
            }
            lines.push(Line { file: file.clone(), number: i + 1, code: code.to_owned() });
        }
    }
    lines
}

/// Panics with every line that holds one of `words`.
fn none_holds(folder: &str, words: &[&str], because: &str) {
    let hits: Vec<String> = code(folder)
        .iter()
        .flat_map(|line| words.iter().filter(|w| line.code.contains(**w)).map(move |w| (line, w)))
        .map(|(line, word)| format!("{}:{}: `{word}` in {}", line.file.display(), line.number, line.code.trim()))
        .collect();
    assert!(hits.is_empty(), "{because}\n{}", hits.join("\n"));
}

#[test]
fn the_core_does_no_io_asks_no_clock_and_draws_no_lots() {
    none_holds(
        "core",
        &[
            "std::fs",
            "std::net",
            "std::io",
            "std::process",
            "std::env",
            "std::thread",
            "std::sync::Mutex",
            "tokio::",
            "async fn",
            ".await",
            "rdkafka",
            "reqwest",
            "rusqlite",
            "sled::",
            "iceberg::",
            "arrow::",
            "parquet::",
            "tracing::",
            "println!",
            "Instant::now",
            "SystemTime::now",
            "Utc::now",
            "Local::now",
            "rand::",
            "thread_rng",
            "Uuid::new_v4",
        ],
        "core is pure: events in, decisions out, so that a simulator can run the whole protocol",
    );
}

#[test]
fn the_core_never_depends_on_hash_order() {
    none_holds(
        "core",
        &["HashMap", "HashSet"],
        "core uses BTreeMap and BTreeSet: what it decides must be the same in every run (hashbrown for lookups goes behind a \
         type that offers no iteration)",
    );
}

#[test]
fn the_core_unwraps_nothing() {
    none_holds("core", &[".unwrap()"], "core says with `expect` why a value can't be missing");
}

#[test]
fn source_decode_state_and_sink_never_know_each_other() {
    let stages = ["source", "decode", "state", "sink"];
    for stage in stages {
        let others: Vec<String> = stages
            .iter()
            .filter(|other| **other != stage)
            .flat_map(|other| [format!("crate::{other}::"), format!("crate::{other};"), format!("sluice::{other}::")])
            .collect();
        let others: Vec<&str> = others.iter().map(String::as_str).collect();
        none_holds(stage, &others, "the stages meet in pipeline.rs, through the ports only");
    }
}

#[test]
fn the_stages_know_neither_the_pipeline_nor_the_command_line() {
    for stage in ["core", "source", "decode", "state", "sink"] {
        none_holds(stage, &["crate::pipeline", "crate::cli"], "dependencies point inwards");
    }
}

#[test]
fn the_pipeline_reads_no_clock_but_its_port() {
    none_holds(
        "pipeline",
        &["Instant", "SystemTime", "Utc::now", "Local::now"],
        "time is asked of `ports.clock`, so that a simulator can run the pipeline in time of its own",
    );
}

#[test]
fn every_error_line_has_an_event() {
    let lines = code(".");
    let errors = lines.iter().enumerate().filter(|(_, line)| line.code.contains("tracing::error!("));
    let nameless: Vec<String> = errors
        .filter(|(i, _)| !lines[*i..].iter().take(3).any(|line| line.code.contains("event = ")))
        .map(|(_, line)| format!("{}:{}", line.file.display(), line.number))
        .collect();
    assert!(nameless.is_empty(), "ERROR calls a person, who looks for its event: {nameless:?}");
}

#[test]
fn crash_points_lie_where_effects_are_carried_out_and_never_where_they_are_decided() {
    for folder in ["core", "decode", "config", "telemetry", "cli"] {
        none_holds(folder, &["crash_point"], "pipeline, source, state and sink pass crash points; the rest has no effects");
    }
}

#[test]
fn nobody_seeks_and_nobody_polls_through_the_client_library() {
    none_holds(
        ".",
        &[".seek(", ".seek_partitions(", "rd_kafka_seek"],
        "positions change by reposition only: unassign and assign under a new epoch",
    );
    none_holds(
        "source",
        &["BaseConsumer", "StreamConsumer"],
        "the consumer's event loop is ours: the library's own would drain the same queue",
    );
}

#[test]
fn every_file_is_short_enough_to_read() {
    for file in sources(".").into_iter().filter(|file| !is_tests(file)) {
        let text = fs::read_to_string(&file).expect("UTF-8");
        let lines = text.lines().take_while(|l| !l.starts_with("#[cfg(test)]")).count();
        assert!(lines <= 450, "{} has {lines} lines before its tests: split it by concept", file.display());
    }
}

#[test]
fn no_file_leaves_work_for_later() {
    none_holds(".", &["todo!(", "unimplemented!(", "dbg!("], "what isn't built is absent");
}
