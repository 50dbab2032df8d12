//! One test's world: its topics, table, folder and ledger on the shared Kafka and registry.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use super::config::Config;
use super::engine::Engine;
use super::expect::{Expectation, Late};
use super::gold;
use super::kafka::Kafka;
use super::ledger::{Ledger, Partition};
use super::process::{self, Ended, Instance};
use super::producer::{Producer, Transactions};
use super::registry::Registry;
use super::stack::{self, Stack};
use super::table::{Metadata, TableFile};
use super::wait::{LONG, wait_until};

pub struct World {
    pub dir: PathBuf,
    pub kafka: Kafka,
    pub registry: Arc<Registry>,
    pub ledger: Arc<Mutex<Ledger>>,
    pub config: Config,
    pub group: String,
    pub letters: String,
    pub table: TableFile,
    pub engine: Engine,
    /// Where partitions were opened, when not at their first record.
    pub starts: BTreeMap<Partition, i64>,
    bootstrap: String,
    prefix: String,
    topics: BTreeMap<String, i32>,
    since: i64,
}

/// Kept when the test fails: its logs, its table.
impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the files of this test are in {}", self.dir.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

impl World {
    /// On the shared stack, with topics `[(short name, partitions)]` that the configuration names.
    pub fn new(name: &str, topics: &[(&str, i32)]) -> Self {
        Self::on(stack::shared(), name, topics)
    }

    pub fn on(stack: &Stack, name: &str, topics: &[(&str, i32)]) -> Self {
        let prefix = format!("{name}-{}", &uuid::Uuid::new_v4().simple().to_string()[..8]);
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(&prefix);
        std::fs::create_dir_all(&dir).expect("a folder for the test");
        let table = TableFile {
            catalog: dir.join("catalog.db"),
            namespace: "market_data".into(),
            name: "gold_crypto_trades".into(),
        };
        let mut world = Self {
            kafka: Kafka::new(&stack.bootstrap_servers),
            registry: Arc::new(Registry::new(&stack.registry_url)),
            ledger: Arc::default(),
            config: Config::new(&stack.bootstrap_servers, &stack.registry_url, &dir),
            group: format!("{prefix}-group"),
            letters: format!("{prefix}-letters"),
            engine: Engine { python: stack.python.clone(), warehouse: dir.join("warehouse"), table: table.clone() },
            starts: BTreeMap::new(),
            bootstrap: stack.bootstrap_servers.clone(),
            topics: BTreeMap::new(),
            since: wall_micros(),
            table,
            prefix,
            dir,
        };
        for (topic, partitions) in topics {
            world.create_topic(topic, *partitions, &[]);
        }
        world.kafka.create_topic(&world.letters, 1, &[]);
        world.config = world
            .config
            .clone()
            .set("kafka.group_id", world.group.as_str())
            .set("kafka.start", "earliest")
            .set("dead_letter.topic", world.letters.as_str())
            .set("iceberg.table", format!("{}.{}", world.table.namespace, world.table.name));
        let names: Vec<_> = topics.iter().map(|(topic, _)| *topic).collect();
        world.subscribe(&names);
        world
    }

    /// The full name of a topic.
    pub fn topic(&self, short: &str) -> String {
        format!("{}-{short}", self.prefix)
    }

    pub fn create_topic(&mut self, short: &str, partitions: i32, config: &[(&str, &str)]) {
        let name = self.topic(short);
        self.kafka.create_topic(&name, partitions, config);
        self.registry.register_writers(&name);
        self.topics.insert(name, partitions);
    }

    pub fn add_partitions(&mut self, short: &str, total: i32) {
        let name = self.topic(short);
        self.kafka.add_partitions(&name, total);
        self.topics.insert(name, total);
    }

    /// Sets the topics of the configuration.
    pub fn subscribe(&mut self, shorts: &[&str]) {
        let names: Vec<toml::Value> = shorts.iter().map(|short| self.topic(short).into()).collect();
        self.config = self.config.clone().set("kafka.topics", names);
    }

    /// Partitions of the configured topics.
    pub fn partitions(&self) -> BTreeSet<Partition> {
        self.partitions_of(&self.config)
    }

    pub fn partitions_of(&self, config: &Config) -> BTreeSet<Partition> {
        let configured = config.topics();
        let of = |topic: &String| (0..self.topics[topic]).map(|p| (topic.clone(), p)).collect::<Vec<_>>();
        configured.iter().flat_map(of).collect()
    }

    pub fn producer(&self) -> Producer {
        Producer::new(&self.bootstrap, self.ledger.clone(), self.registry.clone())
    }

    pub fn transactions(&self, name: &str) -> Transactions {
        let id = format!("{}-{name}", self.prefix);
        Transactions::new(&self.bootstrap, &id, self.ledger.clone(), self.registry.clone())
    }

    /// Starts instance `number` of the service.
    pub fn start(&self, number: usize) -> Instance {
        self.start_with(number, &self.config)
    }

    pub fn start_with(&self, number: usize, config: &Config) -> Instance {
        let config = config.clone().instance(&self.dir, number);
        Instance::start(&self.dir, &format!("instance-{number}"), &config, &["run"])
    }

    pub fn state_dir(&self, number: usize) -> PathBuf {
        self.dir.join(format!("state-{number}"))
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Ended {
        process::run(&self.dir, &self.config, args)
    }

    /// Runs a command that must end with `code`; its standard output.
    pub fn run_expecting(&self, code: i32, args: &[&str]) -> String {
        let done = self.run(args);
        assert_eq!(done.code, Some(code), "sluice {args:?}: {done}");
        done.stdout
    }

    pub fn metadata(&self) -> Metadata {
        self.table.load().expect("the table exists")
    }

    /// Waits until the table holds everything that a committed reader can read.
    pub fn drain(&self, instances: &mut [&mut Instance]) {
        self.drain_lane(&self.config, instances);
    }

    /// The same for the lane and topics of another configuration.
    pub fn drain_lane(&self, config: &Config, instances: &mut [&mut Instance]) {
        let ends: BTreeMap<Partition, i64> =
            self.partitions_of(config).into_iter().map(|p| (p.clone(), self.kafka.log(&p.0, p.1).1)).collect();
        let group = config.get("kafka.group_id").to_owned();
        wait_until("the table reaches the ends of the log", LONG, || {
            for instance in instances.iter_mut() {
                instance.assert_alive();
            }
            let lane = self.table.load().and_then(|m| m.lane(&group)).map(|lane| lane.offsets).unwrap_or_default();
            let behind: Vec<_> = ends.iter().filter(|(p, end)| lane.get(*p).is_none_or(|at| at < *end)).collect();
            if behind.is_empty() { Ok(()) } else { Err(format!("behind in {behind:?}; table at {lane:?}")) }
        });
    }

    /// Waits until main has `count` commits of this group with ranges more than `before`.
    pub fn wait_commits(&self, before: usize, count: usize, instance: &mut Instance) {
        wait_until("commits arrive", LONG, || {
            instance.assert_alive();
            let now = self.table.load().map_or(0, |m| m.commits(&self.group).len());
            if now >= before + count { Ok(()) } else { Err(format!("{now} commits, {before} before")) }
        });
    }

    pub fn expected(&self, late: Late) -> Expectation {
        Expectation::of(&mut self.ledger.lock().unwrap(), late, &self.starts)
    }

    /// The table is what the ledger calls for under `admit`: rows by pyiceberg, counts, lineage, letters, `verify --deep`.
    pub fn check(&self) {
        self.check_with(Late::Admit);
    }

    pub fn check_with(&self, late: Late) {
        let expected = self.expected(late);
        self.check_rows("pyiceberg", &expected);
        self.check_lane(&expected, late);
        self.check_letters(&expected);
        self.run_expecting(0, &["verify", "--deep"]);
    }

    /// The same without another engine: rows from the files that the head lists, and `verify` as told.
    pub fn check_files(&self, verify: &[&str]) {
        let expected = self.expected(Late::Admit);
        gold::compare("the head's files", &expected, &gold::read_live(&self.metadata()), self.since, wall_micros());
        self.check_lane(&expected, Late::Admit);
        self.check_letters(&expected);
        self.run_expecting(0, verify);
    }

    pub fn check_rows(&self, reader: &str, expected: &Expectation) {
        let rows = gold::read(&self.engine, reader, &self.dir);
        gold::compare(reader, expected, &rows, self.since, wall_micros());
    }

    fn check_lane(&self, expected: &Expectation, late: Late) {
        let metadata = self.metadata();
        metadata.audit(&self.group);
        let totals = metadata.lane(&self.group).expect("the lane").totals;
        assert_eq!(totals.consumed, expected.consumed, "records consumed: {totals:?}");
        assert_eq!(totals.written, expected.rows.len() as u64, "rows written: {totals:?}");
        assert_eq!(totals.dead_lettered, expected.malformed.len() as u64, "dead letters: {totals:?}");
        let rest = expected.consumed - totals.written - totals.dead_lettered;
        assert_eq!(totals.duplicate + totals.late, rest, "duplicate or late: {totals:?}");
        if late == Late::Admit {
            assert_eq!(totals.late, 0, "late counts only what isn't written: {totals:?}");
        }
    }

    /// Each malformed record has a letter, each letter its record; repeats are folded by their coordinates.
    fn check_letters(&self, expected: &Expectation) {
        let letters = self.kafka.letters(&self.letters);
        let places: BTreeSet<_> = letters.iter().map(|l| l.place()).collect();
        for (place, kind) in &expected.malformed {
            assert!(places.contains(place), "no letter for {kind} at {place:?}");
        }
        for place in &expected.late_letters {
            assert!(places.contains(place), "no letter for the late record at {place:?}");
        }
        let wanted = |place: &(Partition, i64)| {
            expected.malformed.contains_key(place)
                || expected.late_letters.contains(place)
                || expected.late_or_duplicate.contains(place)
        };
        let stray: Vec<_> = places.iter().filter(|p| !wanted(p)).collect();
        assert!(stray.is_empty(), "letters for good records: {stray:?}");
    }
}

pub fn wall_micros() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_micros() as i64
}
