use super::*;
use crate::error::Stop;

const MINIMAL: &str = r#"
[kafka]
bootstrap_servers = "kafka:9092"
topics = ["silver.binance.trades", "silver.kraken.trades"]
[schema_registry]
url = "http://registry:8081/apis/ccompat/v7"
[iceberg]
catalog = "sqlite"
uri = "catalog.db"
warehouse = "warehouse"
"#;

/// Sources with this file text, these variables and flags. The folder lives as long as the sources are needed.
fn sources(text: &str, variables: &[(&str, &str)], flags: &[&str]) -> (tempfile::TempDir, Sources) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sluice.toml");
    std::fs::write(&file, text).unwrap();
    let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    (dir, Sources { file: Some(file), environment, flags })
}

fn load(text: &str, variables: &[(&str, &str)], flags: &[&str]) -> Result<(Config, Settings), Problems> {
    let (_dir, sources) = sources(text, variables, flags);
    Config::load(&sources)
}

fn with(line: &str) -> Result<(Config, Settings), Problems> {
    load(&format!("{MINIMAL}{line}\n"), &[], &[])
}

/// The only problem of a configuration that has the line more.
fn problem(line: &str) -> Problem {
    let Problems(mut problems) = with(line).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    problems.remove(0)
}

#[test]
fn what_nobody_sets_has_the_documented_value() {
    let (config, _) = load(MINIMAL, &[], &[]).unwrap();
    assert_eq!(&*config.kafka.group_id, "sluice-gold");
    assert_eq!((config.kafka.start, config.kafka.start_is_written), (Start::Earliest, false));
    assert_eq!(config.kafka.topics.len(), 2);
    assert_eq!(config.gold.commit_interval, Duration::from_secs(30));
    assert_eq!(config.gold.idle_commit_interval, Duration::from_secs(300));
    assert_eq!((config.gold.batch_rows_max, config.gold.batch_bytes_max), (1_000_000, 64 << 20));
    assert_eq!(config.event_time.late, Late::Admit);
    assert_eq!(config.event_time.past_max, Duration::from_secs(3650 * 86_400));
    assert_eq!((config.dead_letter.rate_max, config.dead_letter.rate_min), (0.05, 100));
    assert_eq!(config.limits.memory_max, 512 << 20);
    assert_eq!(config.limits.shutdown_timeout, Duration::from_secs(25));
    assert_eq!(config.http.listen, Some("127.0.0.1:9464".parse().unwrap()));
    assert_eq!(config.log, Log { format: LogFormat::Json, level: "info".into(), job: "gold-aggregation".into() });
    assert_eq!(config.iceberg.table.to_string(), "market_data.gold_crypto_trades");
    assert_eq!(config.iceberg.table.namespace, ["market_data"]);
}

#[test]
fn a_flag_is_above_a_variable_and_a_variable_above_the_file() {
    let text = format!("{MINIMAL}[gold]\ncommit_interval = \"1s\"\nidle_commit_interval = \"1s\"\nbatch_rows_max = 1\n");
    let variables = [("SLUICE__GOLD__IDLE_COMMIT_INTERVAL", "2s"), ("SLUICE__GOLD__BATCH_ROWS_MAX", "2")];
    let (config, settings) = load(&text, &variables, &["gold.batch_rows_max=3"]).unwrap();
    assert_eq!(config.gold.commit_interval, Duration::from_secs(1));
    assert_eq!(config.gold.idle_commit_interval, Duration::from_secs(2));
    assert_eq!(config.gold.batch_rows_max, 3);
    let origin = |name: &str| settings.get(name).unwrap().origin.to_string();
    assert!(origin("gold.commit_interval").ends_with("sluice.toml:12"), "{}", origin("gold.commit_interval"));
    assert_eq!(origin("gold.idle_commit_interval"), "environment SLUICE__GOLD__IDLE_COMMIT_INTERVAL");
    assert_eq!(origin("gold.batch_rows_max"), "flag --set");
    assert_eq!(origin("http.listen"), "default");
}

#[test]
fn without_any_file_the_environment_is_enough() {
    let environment = [
        ("SLUICE__KAFKA__BOOTSTRAP_SERVERS", "k:9092"),
        ("SLUICE__KAFKA__TOPICS", "a, b"),
        ("SLUICE__KAFKA__PROPERTIES__SECURITY_PROTOCOL", "SSL"),
        ("SLUICE__SCHEMA_REGISTRY__URL", "http://r"),
        ("SLUICE__ICEBERG__CATALOG", "sqlite"),
        ("SLUICE__ICEBERG__URI", "c.db"),
        ("SLUICE__ICEBERG__WAREHOUSE", "w"),
    ];
    let (config, _) = load("", &environment, &[]).unwrap();
    assert_eq!(config.kafka.topics, ["a".into(), "b".into()] as [Topic; 2]);
    assert_eq!(config.kafka.properties.get("security.protocol"), Some("SSL"));
}

#[test]
fn an_unknown_key_is_refused_with_the_one_that_was_meant() {
    let found = problem("[kafak]\nbootstrap_servers = \"x\"");
    assert_eq!(
        (found.key.as_str(), found.fix.as_str()),
        ("kafak.bootstrap_servers", "did you mean kafka.bootstrap_servers?")
    );
    let found = problem("[gold]\ncommit_intervall = \"1s\"");
    assert_eq!(found.fix, "did you mean gold.commit_interval?");
    let Problems(problems) = load(MINIMAL, &[("SLUICE__KAFKA__BOOTSTRAP", "x")], &[]).unwrap_err();
    assert_eq!(problems[0].to_string(), "kafka.bootstrap (environment SLUICE__KAFKA__BOOTSTRAP) is no setting");
}

#[test]
fn a_wrong_value_is_named_with_key_place_value_and_fix() {
    for (line, wrong, fix) in [
        ("[gold]\ncommit_interval = 30", "= 30 is not a duration", "commit_interval = \"30s\" under [gold]"),
        ("[gold]\ncommit_interval = \"soon\"", "= \"soon\" is refused", "\"30s\""),
        ("[gold]\ncommit_interval = \"0s\"", "must be more than 0", "\"30s\""),
        ("[gold]\nbatch_rows_max = -1", "= -1 is not a whole number", "1000000"),
        ("[gold]\nbatch_rows_max = \"many\"", "= \"many\" is not a whole number", "1000000"),
        ("[gold]\nbatch_bytes_max = \"256MiB\"", "too much for limits.memory_max", "128MiB"),
        ("[dead_letter]\nrate_max = 1.5", "= 1.5 is not a number between 0 and 1", "0.05"),
        ("[dead_letter]\ntopic = \"silver.kraken.trades\"", "is one of kafka.topics", "topic of its own"),
        ("[event_time]\nlate = \"ignore\"", "= \"ignore\" is not one of admit, dead-letter, drop", "admit"),
        ("[event_time]\npast_max = \"1m\"", "aren't even late", "5m"),
        ("[limits]\nmemory_max = \"64MiB\"", "too little", "128MiB"),
        ("[maintenance]\nenabled = \"yes\"", "= \"yes\" is not true or false", "true"),
        ("[http]\nlisten = \"9464\"", "is not an address and a port", "0.0.0.0:9464"),
        ("[log]\nlevel = \"inf\"", "is not a level", "info"),
        ("[kafka.properties]\n\"max.poll.interval.ms\" = 60000", "too short to answer an assignment", "120000"),
        ("[kafka.properties]\n\"session.timeout.ms\" = 400000", "out of bounds", "300000"),
        ("[kafka.properties]\n\"group.id\" = \"x\"", "has a key of its own", "kafka.group_id"),
        ("[kafka.properties]\n\"ssl.ca.location\" = [1]", "is not a text", "quotes"),
    ] {
        let found = problem(line);
        assert!(found.to_string().contains(wrong), "{line}: {found}");
        assert!(found.fix.contains(fix), "{line}: {}", found.fix);
        let origin = found.origin.map(|origin| origin.to_string()).unwrap_or_default();
        assert!(origin.contains("sluice.toml:"), "{line}: {origin}");
    }
}

#[test]
fn topics_are_names_each_once() {
    for (topics, wrong) in
        [("", "is empty"), ("^silver.*", "pattern"), ("a,b,a", "twice"), ("a b", "can't be a topic"), ("idle", "summaries")]
    {
        let Problems(problems) = load(MINIMAL, &[], &[&format!("kafka.topics={topics}")]).unwrap_err();
        assert!(problems[0].wrong.contains(wrong), "{topics}: {}", problems[0]);
    }
}

#[test]
fn a_table_has_a_namespace_and_a_name() {
    let named = |name: &str| load(MINIMAL, &[], &[&format!("iceberg.table={name}")]).map(|(config, _)| config.iceberg.table);
    assert_eq!(named("a.b.c").unwrap().namespace, ["a", "b"]);
    for name in ["trades", ".trades", "a.", "a..b", "a/b.c", ""] {
        assert!(named(name).is_err(), "{name:?}");
    }
}

#[test]
fn parts_that_are_not_built_yet_say_so_and_stop_with_2() {
    for (flag, key) in
        [("iceberg.catalog=rest", "iceberg.catalog"), ("kafka.group_protocol=consumer", "kafka.group_protocol")]
    {
        let Problems(problems) = load(MINIMAL, &[], &[flag]).unwrap_err();
        assert!(problems.iter().any(|p| p.key == key && p.wrong.contains("is not built yet")), "{problems:?}");
        assert_eq!(Stop::from(Problems(problems)).exit.code(), 2);
    }
}

#[test]
fn a_catalog_with_a_slip_in_its_name_is_answered_with_the_one_that_is_built() {
    let Problems(problems) = load(MINIMAL, &[], &["iceberg.catalog=hive"]).unwrap_err();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].fix.starts_with("write catalog = \"sqlite\" under [iceberg]"), "{}", problems[0].fix);
    let unwritten = MINIMAL.replace("catalog = \"sqlite\"\n", "");
    let Problems(problems) = load(&unwritten, &[], &[]).unwrap_err();
    assert_eq!(problems[0].fix, "write catalog = \"sqlite\" under [iceberg]");
}

/// The least memory was refused, for a batch size that nobody had written.
#[test]
fn a_batch_size_that_nobody_wrote_fits_the_memory() {
    let (config, settings) = load(MINIMAL, &[], &["limits.memory_max=128MiB"]).unwrap();
    assert_eq!(config.gold.batch_bytes_max, 32 << 20);
    assert_eq!(settings.get("gold.batch_bytes_max").unwrap().shown, "32MiB");
    let (config, _) = load(MINIMAL, &[], &["limits.memory_max=8GiB"]).unwrap();
    assert_eq!(config.gold.batch_bytes_max, 64 << 20, "more memory doesn't make larger batches");
    let written = ["limits.memory_max=128MiB", "gold.batch_bytes_max=64MiB"];
    assert!(load(MINIMAL, &[], &written).is_err(), "what is written isn't changed");
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let stop = Stop::from(load("[kafka]\ntopics = 5\n[gold]\ncolour = 1\n", &[], &[]).unwrap_err());
    for key in ["kafka.bootstrap_servers", "kafka.topics", "schema_registry.url", "iceberg.uri", "gold.colour"] {
        assert!(stop.what.contains(key) && stop.remedy.contains(key), "{key}: {stop}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let sources = Sources { file: Some("/nonexistent/sluice.toml".into()), ..Sources::default() };
    let stop = Stop::from(Config::load(&sources).unwrap_err());
    assert!(stop.what.contains("/nonexistent/sluice.toml"), "{stop}");
    assert_eq!(stop.exit.code(), 2);
}

#[test]
fn secrets_come_from_files_and_are_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    std::fs::write(&file, "canary-1\n").unwrap();
    let text = format!(
        "{}username = \"ada\"\npassword_file = \"{}\"\n[kafka.properties]\n\"sasl.password\" = \"${{env:PW}}\"\n\"client.rack\" = \"${{env:PW}}\"\n[iceberg.properties]\ncredential = \"id:canary-3\"\n",
        MINIMAL
            .replace("[iceberg]", "[x]")
            .replace("[x]\ncatalog = \"sqlite\"\nuri = \"catalog.db\"\nwarehouse = \"warehouse\"\n", ""),
        file.display(),
    );
    let flags = ["iceberg.catalog=sqlite", "iceberg.uri=c.db", "iceberg.warehouse=w"];
    let (config, settings) = load(&text, &[("PW", "canary-2")], &flags).unwrap();
    assert_eq!(config.schema_registry.password, Some(Secret::new("canary-1")));
    assert_eq!(config.kafka.properties.get("sasl.password"), Some("canary-2"));
    let everything = format!("{config:?} {settings:?} {:?}", shown(&settings));
    assert!(!everything.contains("canary"), "{everything}");
    let of = |key: &str| shown(&settings).into_iter().find(|line| line.key == key).unwrap().value;
    assert_eq!(of("kafka.properties.client.rack"), "${env:PW}");
    assert_eq!(of("kafka.properties.sasl.password"), "[redacted]");
}

#[test]
fn a_missing_secret_file_is_named_with_its_key() {
    let found = load(&MINIMAL.replace("[iceberg]", "bearer_token_file = \"/nonexistent/token\"\n[iceberg]"), &[], &[]);
    let stop = Stop::from(found.unwrap_err());
    assert!(stop.what.contains("schema_registry.bearer_token_file") && stop.what.contains("/nonexistent/token"), "{stop}");
}

#[test]
fn credentials_in_an_address_are_refused_without_being_repeated() {
    let found = load(&MINIMAL.replace("http://registry", "http://ada:canary@registry"), &[], &[]).unwrap_err();
    assert!(found.to_string().contains("holds credentials") && !found.to_string().contains("canary"), "{found}");
}

#[test]
fn settings_without_effect_say_so() {
    let (_, settings) = load(MINIMAL, &[], &[]).unwrap();
    let idle: Vec<_> =
        shown(&settings).into_iter().filter(|line| line.without_effect.is_some()).map(|line| line.key).collect();
    assert_eq!(idle, ["maintenance.enabled", "maintenance.orphan_age"]);
}

#[test]
fn a_command_that_needs_one_section_asks_for_that_one_only() {
    let (_dir, sources) = sources("[http]\nlisten = \"\"\n", &[], &[]);
    let settings = sources.settings(&["http"]).unwrap();
    assert_eq!(Http::read(&settings).unwrap().listen, None);
    assert!(sources.settings(&["kafka"]).is_err());
}

#[test]
fn pyiceberg_spellings_of_local_places_are_understood() {
    let flags = ["iceberg.uri=sqlite:////srv/catalog.db", "iceberg.warehouse=file:///srv/lake"];
    let (config, _) = load(MINIMAL, &[], &flags).unwrap();
    assert_eq!((config.iceberg.uri.as_str(), config.iceberg.warehouse.as_str()), ("/srv/catalog.db", "/srv/lake"));
    assert!(load(MINIMAL, &[], &["iceberg.warehouse=s3://lake"]).is_err());
}
