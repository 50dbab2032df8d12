//! The binary as an operator meets it: exit codes, what is said on which stream, what is never said.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const CONFIG: &str = r#"
[kafka]
bootstrap_servers = "127.0.0.1:1"
topics = ["silver.binance.trades"]
[kafka.properties]
"sasl.password" = "${env:CANARY}"
[schema_registry]
url = "http://127.0.0.1:1"
[iceberg]
catalog = "sqlite"
uri = "catalog.db"
warehouse = "warehouse"
[http]
listen = "127.0.0.1:1"
"#;

/// Runs the binary in a folder of its own, with this configuration in ./sluice.toml unless it is empty.
fn sluice(config: &str, arguments: &[&str]) -> Output {
    let dir = tempfile::tempdir().unwrap();
    if !config.is_empty() {
        std::fs::write(dir.path().join("sluice.toml"), config).unwrap();
    }
    in_folder(dir.path(), arguments)
}

fn in_folder(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.current_dir(dir).env_clear().env("CANARY", "canary-value").args(arguments);
    command.output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("it was not killed")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_right_configuration_is_ok_and_touches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("sluice.toml"), CONFIG).unwrap();
    let output = in_folder(dir.path(), &["config", "check"]);
    assert_eq!((code(&output), stdout(&output).as_str()), (0, "OK\n"), "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_wrong_configuration_ends_with_2_and_says_what_to_do_on_stderr() {
    let wrong = CONFIG.replace("bootstrap_servers", "bootstrap_server");
    let output = sluice(&wrong, &["config", "check"]);
    assert_eq!((code(&output), stdout(&output).as_str()), (2, ""));
    let said = stderr(&output);
    for part in ["error: ", "kafka.bootstrap_server", "did you mean kafka.bootstrap_servers?", "what to do: "] {
        assert!(said.contains(part), "{part:?} is not in {said}");
    }
}

#[test]
fn a_librdkafka_property_that_sluice_depends_on_can_not_be_set_through_its_own_key() {
    let output = sluice(&CONFIG.replace("\"sasl.password\"", "\"group.id\""), &["config", "check"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("kafka.group_id") && !stderr(&output).contains("canary-value"), "{}", stderr(&output));
}

#[test]
fn a_property_that_would_break_a_guarantee_and_one_that_nobody_knows_are_refused_by_the_check() {
    for (property, value) in [("enable.auto.commit", "true"), ("bogus.property", "1"), ("socket.timeout.ms", "soon")] {
        let set = format!("kafka.properties.{property}={value}");
        let output = sluice(CONFIG, &["config", "check", "--set", &set]);
        assert_eq!(code(&output), 2, "{property}");
        assert!(stderr(&output).contains(property), "{property}: {}", stderr(&output));
    }
}

#[test]
fn the_effective_settings_are_shown_with_their_origin_and_without_secrets() {
    let output = sluice(CONFIG, &["config", "show", "--output", "json", "--set", "gold.commit_interval=7s"]);
    assert_eq!(code(&output), 0);
    assert!(!stdout(&output).contains("canary-value"));
    let shown: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let of = |key: &str| shown.as_array().unwrap().iter().find(|line| line["key"] == key).unwrap_or_else(|| panic!("{key}"));
    assert_eq!(
        (&of("gold.commit_interval")["value"], &of("gold.commit_interval")["origin"]),
        (&"7s".into(), &"flag --set".into())
    );
    assert_eq!(of("kafka.bootstrap_servers")["origin"], "./sluice.toml:3");
    assert_eq!(of("kafka.properties.sasl.password")["value"], "[redacted]");
    assert!(of("maintenance.enabled")["without_effect"].is_string());
    let table = stdout(&sluice(CONFIG, &["config", "show"]));
    assert!(table.starts_with("KEY ") && table.contains("no effect: "), "{table}");
}

#[test]
fn without_any_configuration_the_missing_keys_and_the_places_that_were_looked_at_are_named() {
    let output = sluice("", &["config", "check"]);
    assert_eq!(code(&output), 2);
    for part in ["kafka.bootstrap_servers", "schema_registry.url", "./sluice.toml", "/etc/sluice/sluice.toml"] {
        assert!(stderr(&output).contains(part), "{part:?} is not in {}", stderr(&output));
    }
}

#[test]
fn wrong_use_ends_with_2_and_help_with_0() {
    assert_eq!(code(&sluice("", &["nonsense"])), 2);
    assert_eq!(code(&sluice("", &["produce", "--duplicates", "2"])), 2);
    assert_eq!(code(&sluice("", &["--help"])), 0);
    assert!(stdout(&sluice("", &["--version"])).starts_with("sluice "));
}

#[test]
fn completions_are_those_of_the_shell() {
    let output = sluice("", &["completions", "bash"]);
    assert!(code(&output) == 0 && stdout(&output).contains("_sluice()"));
}

#[test]
fn nobody_listening_is_not_ready_and_ends_with_1() {
    let output = sluice(CONFIG, &["healthcheck"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).contains("not ready"), "{}", stderr(&output));
    assert_eq!(code(&sluice("[http]\nlisten = \"\"\n", &["healthcheck"])), 2);
}

#[test]
fn producing_to_brokers_that_do_not_answer_gives_up_with_5() {
    let output = sluice(CONFIG, &["produce", "--count", "1"]);
    assert_eq!(code(&output), 5, "{}", stderr(&output));
    assert!(stderr(&output).contains("127.0.0.1:1"), "{}", stderr(&output));
    assert!(!stderr(&output).contains("canary-value"));
}

/// Five tries of ten seconds each made it 54 s.
#[test]
fn commands_that_ask_a_broker_that_is_dead_give_up_within_15_s() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("sluice.toml"), CONFIG).unwrap();
    assert_eq!(code(&in_folder(dir.path(), &["table", "create"])), 0, "the table needs no Kafka");
    let commands =
        [&["offsets", "describe"][..], &["offsets", "reset", "--all-topics", "--to-earliest"], &["verify", "--deep"]];
    std::thread::scope(|scope| {
        for command in commands {
            let folder = dir.path();
            scope.spawn(move || {
                let began = Instant::now();
                let output = in_folder(folder, command);
                assert_eq!(code(&output), 5, "{command:?}: {}", stderr(&output));
                assert!(began.elapsed() < Duration::from_secs(15), "{command:?} took {:?}", began.elapsed());
                assert!(stderr(&output).contains("error: kafka: "), "{command:?}: {}", stderr(&output));
                assert!(stderr(&output).contains("kafka answers, then try again"), "{command:?}: {}", stderr(&output));
            });
        }
    });
}

/// It ended by the signal: an orchestrator that stops what it just started saw a failure.
#[test]
fn a_sigterm_while_the_service_reads_its_configuration_ends_with_0() {
    let dir = tempfile::tempdir().unwrap();
    let fifo = dir.path().join("slow.toml");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.current_dir(dir.path()).env_clear().env("CANARY", "canary-value").args(["run", "--config", "slow.toml"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Opens once the service reads.
    let mut configuration = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    // SAFETY: kill takes no pointers.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGTERM) }, 0);
    // A signal that nobody catches ends the reader.
    let written = configuration.write_all(CONFIG.replace("listen = \"127.0.0.1:1\"", "listen = \"\"").as_bytes());
    drop(configuration);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{:?}, {written:?}: {}", output.status, stderr(&output));
}
