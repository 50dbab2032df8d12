//! The course of the demo with a stand-in for the service: a process that does nothing, and a table that has settled
//! whatever the mock cluster holds while that process lives.

use std::io::Write;
use std::sync::{Arc, Mutex};

use clap::Parser;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use super::*;
use crate::cli::demo::folder::GROUP;
use crate::config::Kafka;

#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    demo: DemoArgs,
}

fn demo(flags: &[&str]) -> DemoArgs {
    Arguments::parse_from([&["demo"], flags].concat()).demo
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<u8>>>);

impl Write for Told {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Told {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Settles at most `step` records of a partition at a look, as far as its log goes.
struct StandIn {
    kafka: Kafka,
    step: Offset,
    ledger: PathBuf,
    settled: Mutex<BTreeMap<TopicPartition, Offset>>,
    missing_rows: u64,
}

#[async_trait]
impl Lake for StandIn {
    async fn settled(&self) -> Result<BTreeMap<TopicPartition, Offset>, Stop> {
        let asker: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.kafka.bootstrap_servers)
            .set("group.id", GROUP)
            .create()
            .unwrap();
        let mut settled = self.settled.lock().unwrap();
        for (topic, partitions) in TOPICS {
            for partition in 0..partitions {
                let (_, end) = asker.fetch_watermarks(topic, partition, Duration::from_secs(10)).unwrap();
                let next = settled.entry(TopicPartition::new(topic, partition)).or_default();
                *next = end.min(*next + self.step);
            }
        }
        Ok(settled.clone())
    }

    async fn gold(&self) -> Result<Gold, Stop> {
        let expected = Expectation::of_ledger(&self.ledger)?;
        Ok(Gold {
            rows: expected.trades - self.missing_rows,
            written: expected.trades,
            duplicate: expected.duplicates,
            dead_lettered: expected.malformed,
            snapshots: 7,
            metadata_location: "/m.json".into(),
            ..Gold::default()
        })
    }
}

async fn play(flags: &[&str], script: &'static str, missing_rows: u64) -> (Finished, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("demo").display().to_string();
    let ledger = dir.path().join("demo/ledger.jsonl");
    let told = Told::default();
    let launch = |_: &Path| {
        let launch: Launch = Box::new(move || {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        });
        launch
    };
    let open = move |config: &Config| {
        let (kafka, ledger) = (config.kafka.clone(), ledger.clone());
        let lake = StandIn { kafka, step: 60, ledger, settled: Mutex::default(), missing_rows };
        Ok(Box::new(lake) as Box<dyn Lake>)
    };
    let demo = demo(&[flags, &["--dir", &path]].concat());
    let ended = demo.play(&launch, &open, &mut Story::to(Box::new(told.clone())), &AtomicBool::new(false)).await;
    (ended, told.text())
}

const LIVES: &str = "trap 'exit 0' TERM; while :; do sleep 0.01; done";

/// The parts of a text must come in this order.
fn assert_told_in_order(text: &str, parts: &[&str]) {
    let mut from = 0;
    for part in parts {
        let at = text[from..].find(part).unwrap_or_else(|| panic!("{part:?} is not told, or not in its place:\n{text}"));
        from += at + part.len();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_story_goes_through_kill_and_recovery_to_the_proof() {
    let (ended, text) = play(&["--records", "2000", "--rate", "4000"], LIVES, 0).await;
    assert_eq!(ended.unwrap(), ExitCode::SUCCESS, "{text}");
    assert_told_in_order(
        &text,
        &[
            "2,000 trades",
            "SIGKILL half-way",
            "the service starts",
            "first commit",
            "SIGKILL to process",
            "started again",
            "the table moves on",
            "all 2,000 records",
            "SIGTERM: the service committed",
            "2,000 records sent",
            "nothing lost, nothing twice",
            "iceberg_scan('/m.json')",
            "SqlCatalog",
            "spark-sql",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_crash_nothing_is_killed() {
    let (ended, text) = play(&["--records", "1000", "--rate", "4000", "--no-crash"], LIVES, 0).await;
    assert_eq!(ended.unwrap(), ExitCode::SUCCESS);
    assert!(!text.contains("SIGKILL") && text.contains("nothing lost"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_row_is_told_and_ends_with_4() {
    let (ended, text) = play(&["--records", "500", "--rate", "4000", "--no-crash"], LIVES, 1).await;
    assert_eq!(ended.unwrap(), ExitCode::from(4));
    assert!(text.contains("WRONG: rows:") && !text.contains("nothing lost"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_ends_by_itself_ends_the_demo_with_its_log() {
    let (ended, _) = play(&["--records", "500"], "echo cannot >&2; exit 3", 0).await;
    let stop = ended.unwrap_err();
    assert!(stop.what.contains("exit status: 3") && stop.what.contains("cannot"), "{stop}");
}
