use log::Log;

use super::*;
use crate::telemetry::logs::nested;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Written {
    fn lines(&self) -> Vec<serde_json::Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn logging(level: &str) -> Logging {
    Logging {
        format: Format::Json,
        level: level.into(),
        job: "gold-aggregation".into(),
        secrets: Secrets::new(["hunter2".into()]),
        contained_threads: vec![],
    }
}

fn out(level: &str) -> (Arc<Out>, Written) {
    let written = Written::default();
    (Arc::new(Out::new(&logging(level), false, Box::new(written.clone())).unwrap()), written)
}

#[test]
fn an_event_becomes_one_line_with_typed_fields() {
    let (out, written) = out("info");
    let error = std::io::Error::other("disk hunter2 full");
    tracing::subscriber::with_default(subscriber(out), || {
        tracing::info!(
            event = "iceberg.commit",
            rows = 7u64,
            seconds = 0.5,
            landed = true,
            topic = "a",
            offset = -1i64,
            nan = f64::NAN,
            password = "x",
            ranges = nested(&std::collections::BTreeMap::from([("a", [0, 5])])),
            "committed {} rows",
            7
        );
        tracing::error!(exception = &error as &dyn std::error::Error, "failed");
        tracing::debug!("not asked for");
    });
    let lines = written.lines();
    assert_eq!(lines.len(), 2);
    let first = &lines[0];
    for (key, value) in [
        ("level", serde_json::json!("INFO")),
        ("message", "committed 7 rows".into()),
        ("event", "iceberg.commit".into()),
        ("job", "gold-aggregation".into()),
        ("layer", "gold".into()),
        ("logger", module_path!().into()),
        ("rows", 7.into()),
        ("seconds", 0.5.into()),
        ("landed", true.into()),
        ("topic", "a".into()),
        ("offset", (-1).into()),
        ("nan", "NaN".into()),
        ("password", "***".into()),
        ("ranges", serde_json::json!({"a": [0, 5]})),
    ] {
        assert_eq!(first[key], value, "{key}");
    }
    assert!(chrono::DateTime::parse_from_rfc3339(first["timestamp"].as_str().unwrap()).is_ok());
    assert_eq!(lines[1]["exception"], "disk *** full");
    assert_eq!(lines[1].get("event"), None);
}

#[test]
fn records_of_libraries_come_out_the_same_way_and_sled_never_calls_for_somebody() {
    let (out, written) = out("info");
    let bridge = Bridge(out);
    let say = |target: &str, level: log::Level| {
        bridge.log(&log::Record::builder().target(target).level(level).args(format_args!("said by {target}")).build());
    };
    say("librdkafka", log::Level::Error);
    say("sled::pagecache::iobuf", log::Level::Error);
    say("rdkafka::client", log::Level::Debug);
    let lines = written.lines();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["logger"], &lines[0]["level"]), (&"librdkafka".into(), &"ERROR".into()));
    assert_eq!(lines[0]["message"], "said by librdkafka");
    assert_eq!(lines[1]["level"], "WARN");
}

#[test]
fn a_bare_level_is_for_sluice_and_directives_are_for_all() {
    let wants = |level: &str, target: &str, of: tracing::Level| out(level).0.wants(target, of);
    assert!(wants("debug", "sluice::sink", tracing::Level::DEBUG));
    assert!(!wants("debug", "hyper::client", tracing::Level::DEBUG));
    assert!(wants("debug", "hyper::client", tracing::Level::INFO));
    assert!(!wants("warn", "hyper::client", tracing::Level::INFO));
    assert!(!wants("off", "sluice", tracing::Level::ERROR));
    assert!(wants("info,librdkafka=debug", "librdkafka", tracing::Level::DEBUG));
    assert!(!wants("info,librdkafka=debug", "sluice", tracing::Level::DEBUG));
    assert_eq!(out("info,librdkafka=debug").0.max_level(), log::LevelFilter::Debug);
    assert_eq!(out("warn").0.max_level(), log::LevelFilter::Warn);
    let bad = Out::new(&logging("sluice=loud"), false, Box::new(Written::default())).err().unwrap().to_string();
    assert!(bad.contains("log.level") && bad.contains("sluice=loud"), "{bad}");
}

#[test]
fn lines_of_many_threads_never_mix() {
    let (out, written) = out("info");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let out = out.clone();
            scope.spawn(move || {
                tracing::subscriber::with_default(subscriber(out), || {
                    (0..200).for_each(|i| tracing::info!(thread, i, text = "x".repeat(200), "line"));
                });
            });
        }
    });
    assert_eq!(written.lines().len(), 1600);
}

const ROLE: &str = "SLUICE_TEST_LOGS_CHILD";

/// What a whole process writes, in a process of its own: `init` can be called once.
#[test]
fn child() {
    let Ok(format) = std::env::var(ROLE) else { return };
    let format = if format == "json" { Format::Json } else { Format::Text };
    let logging = Logging { format, contained_threads: vec!["sled-io"], ..logging("info") };
    init(&logging).unwrap();
    init(&logging).unwrap();
    tracing::info!(event = "service.start", "hello");
    log::warn!(target: "librdkafka", "as hunter2");
    for name in ["sled-io-1", "poll"] {
        let _ = std::thread::Builder::new().name(name.into()).spawn(|| panic!("broken")).unwrap().join();
    }
}

fn child_writes(format: &str) -> String {
    let name = format!("{}::child", module_path!().split_once("::").expect("a module of the crate").1);
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, format)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn everything_that_a_process_says_is_json_lines_on_stderr() {
    let text = child_writes("json");
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let said: Vec<[&str; 3]> =
        lines.iter().map(|line| ["level", "logger", "message"].map(|key| line[key].as_str().unwrap())).collect();
    assert_eq!(said[0], ["INFO", module_path!(), "hello"]);
    assert_eq!(said[1], ["WARN", "librdkafka", "as ***"]);
    assert_eq!(said[2][0], "WARN", "a contained panic");
    assert_eq!(said[3][0], "ERROR", "any other");
    assert_eq!(lines[3]["event"], "panic");
    assert_eq!((&lines[3]["exception"], &lines[3]["thread"]), (&"broken".into(), &"poll".into()));
    assert_eq!(lines.len(), 4, "{text}");
}

#[test]
fn text_that_goes_to_no_terminal_has_no_colour() {
    let text = child_writes("text");
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(!text.contains('\x1b'), "{text:?}");
}
