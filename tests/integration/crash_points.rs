//! SIGKILL at every arrow of the protocol, at its first, second and third passing, in the binary that ships. Each kill is
//! followed by a start that catches up, and then the table is what the ledger calls for, value by value.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::common::config::Config;
use crate::common::process;
use crate::common::producer::Producer;
use crate::common::*;

const VARIABLE: &str = "SLUICE_CRASH_AT";
/// Worlds that one test keeps going at the same time: most of their time is waiting for sessions and intervals.
const AT_ONCE: usize = 2;
const DAY: i64 = 24 * HOUR;

/// How a point comes to be passed.
#[derive(Clone, Copy)]
enum Way {
    /// By one instance that is fed.
    Alone,
    /// By one whose table another instance of its group changes under it, with the same ids.
    Rival,
    /// By one whose partitions come and go with other members of its group.
    Guests,
    /// By one alone; behind each kill, another engine appends.
    Appended,
    /// By one whose table another engine rolls back again and again.
    RolledBack,
    /// Once in a process, for this reason: only the first passing can be had.
    Once(&'static str),
    /// The same, at the end of a run.
    OnceAtTheEnd(&'static str),
}

use Way::*;

type Point = (&'static str, Way);

const TABLE_ONCE: &str = "a table is made once";
const OPENING_ONCE: &str = "the topics of a configuration are opened at once, when it first runs";
const KNOWN_ONCE: &str = "what the state directory knows changes with the lane's topics and the table only";
const END_ONCE: &str = "a run ends once";

const STARTING: &[Point] = &[
    ("load.asked", Alone),
    ("load.witnessed", Alone),
    ("load.answered", Alone),
    ("create.asked", Once(TABLE_ONCE)),
    ("create.answered", Once(TABLE_ONCE)),
    ("opening.placed", Once(OPENING_ONCE)),
    ("opening.posting", Once(OPENING_ONCE)),
    ("opening.posted", Once(OPENING_ONCE)),
    ("assignment.answering", Guests),
    ("assignment.answered", Guests),
    ("state.remembering", Once(KNOWN_ONCE)),
    ("state.remembered", Once(KNOWN_ONCE)),
    ("mirror.asked", Alone),
    ("mirror.acknowledged", Alone),
    ("revoke.told", Guests),
];

const PREPARING: &[Point] = &[
    ("records.judging", Alone),
    ("records.judged", Alone),
    ("batch.sealed", Alone),
    ("base.loaded", Appended),
    ("probe.asked", Rival),
    ("probe.answered", Rival),
    ("letters.sending", Alone),
    ("letters.acknowledged", Alone),
    ("data_file.synced", Alone),
    ("data_file.durable", Alone),
    ("ids.putting", Alone),
];

const COMMITTING: &[Point] = &[
    ("ids.put", Alone),
    ("post.begun", Alone),
    ("manifest.synced", Alone),
    ("manifest.durable", Alone),
    ("manifest_list.durable", Alone),
    ("metadata.synced", Alone),
    ("metadata.durable", Alone),
    ("catalog.begun", Alone),
    ("catalog.updated", Alone),
    ("catalog.committed", Appended),
    ("post.answered", Alone),
];

const YIELDING: &[Point] = &[
    ("rewrite.begun", Rival),
    ("rewrite.done", Rival),
    ("post.backing_off", Rival),
    ("reposition.asked", RolledBack),
    ("reposition.sent", RolledBack),
    ("revoke.flushed", Guests),
    ("revoke.answered", Guests),
    ("close.told", OnceAtTheEnd(END_ONCE)),
    ("group.leaving", OnceAtTheEnd(END_ONCE)),
    ("group.left", OnceAtTheEnd(END_ONCE)),
];

#[test]
fn a_kill_while_starting_changes_nothing() {
    kill_at_each(STARTING);
}

#[test]
fn a_kill_while_a_batch_is_prepared_changes_nothing() {
    kill_at_each(PREPARING);
}

#[test]
fn a_kill_while_a_batch_is_committed_changes_nothing() {
    kill_at_each(COMMITTING);
}

#[test]
fn a_kill_while_giving_way_or_leaving_changes_nothing() {
    kill_at_each(YIELDING);
}

#[test]
fn every_point_of_the_binary_is_killed_at() {
    let world = World::new("crash-names", &[]);
    let config = world.config.clone().instance(&world.dir, 1);
    let mut refused = Instance::start_with(&world.dir, "unknown", &config, &["run"], &[(VARIABLE, "nowhere:1")]);
    let told = refused.wait_stop(2);
    let (_, names) = told.split_once("name one of: ").expect("the names are listed");
    let names: BTreeSet<&str> = names.lines().next().expect("one line").split(", ").collect();
    let killed_at: Vec<&str> = [STARTING, PREPARING, COMMITTING, YIELDING].concat().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, killed_at.iter().copied().collect());
    assert_eq!(names.len(), killed_at.len(), "each is listed once");
}

fn kill_at_each(points: &[Point]) {
    let waiting = Mutex::new(points.iter());
    let worker = || {
        loop {
            let next = waiting.lock().unwrap().next();
            let Some((point, way)) = next.copied() else { return };
            Scene::new(point, way).run();
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(worker)).collect();
        let failed = workers.into_iter().map(|w| w.join()).filter(Result::is_err).count();
        assert_eq!(failed, 0, "workers failed: their messages are above");
    });
}

/// One point, one table.
struct Scene {
    point: &'static str,
    way: Way,
    world: World,
    producer: Producer,
    fed: u64,
}

impl Scene {
    fn new(point: &'static str, way: Way) -> Self {
        let mut world = World::new(&format!("crash-{point}"), &[("binance", 1), ("kraken", 1)]);
        let config = world.config.clone();
        world.config = config
            .set_in(&["kafka", "properties", "session.timeout.ms"], "1000")
            .set_in(&["kafka", "properties", "heartbeat.interval.ms"], "200")
            .set("gold.commit_interval", "300ms")
            .set("gold.idle_commit_interval", "300ms")
            .set("dead_letter.rate_max", 1.0);
        let producer = world.producer();
        Self { point, way, world, producer, fed: 0 }
    }

    fn run(mut self) {
        let begun = Instant::now();
        let (passings, because) = match self.way {
            Alone | Rival | Guests | Appended | RolledBack => (3, ""),
            Once(reason) | OnceAtTheEnd(reason) => (1, reason),
        };
        let mut rival = matches!(self.way, Rival).then(|| self.world.start(2));
        for passing in 1..=passings {
            self.kill(passing);
            if matches!(self.way, Appended) {
                self.world.engine.append(passing * 10, 10, T0);
            }
            self.recover();
            let deep: &[&str] = if passing == passings { &["verify", "--deep"] } else { &["verify"] };
            self.world.check_files(deep);
        }
        if let Some(rival) = &mut rival {
            rival.terminate();
        }
        let totals = self.world.metadata().lane(&self.world.group).expect("the lane").totals;
        assert!(totals.written > 0 && totals.duplicate > 0 && totals.dead_lettered > 0, "{}: {totals:?}", self.point);
        println!("{}: {passings} kills in {:.1} s {because}", self.point, begun.elapsed().as_secs_f32());
    }

    fn victim(&self) -> Config {
        self.world.config.clone().instance(&self.world.dir, 1)
    }

    /// Feeds an instance until it dies at the given passing.
    fn kill(&mut self, passing: u64) {
        let at = format!("{}:{passing}", self.point);
        let args: &[&str] = if matches!(self.way, OnceAtTheEnd(_)) { &["run", "--until-caught-up"] } else { &["run"] };
        self.feed();
        let name = format!("victim-{passing}");
        let mut victim = Instance::start_with(&self.world.dir, &name, &self.victim(), args, &[(VARIABLE, &at)]);
        let mut guest = None;
        let deadline = Instant::now() + LONG;
        let status = loop {
            if let Some(status) = victim.try_wait() {
                break status;
            }
            assert!(Instant::now() < deadline, "{at} is never passed\n{}", victim.tail());
            match self.way {
                Guests => guest = self.guest(guest),
                RolledBack => self.roll_back(),
                Alone | Rival | Appended | Once(_) | OnceAtTheEnd(_) => {}
            }
            self.feed();
        };
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{at}: {status}\n{}", victim.tail());
        let last_words = format!("crash point {}, passing {passing}: SIGKILL", self.point);
        wait_until("the last line is read", LONG, || match victim.lines().iter().any(|line| line.body == *last_words) {
            true => Ok(()),
            false => Err(victim.tail()),
        });
    }

    /// Some trades in both topics, all of them copies of each other, with copies of older ones, late and malformed ones
    /// between them; now and then a pause that is long enough for a comparison without a commit.
    fn feed(&mut self) {
        let producer = &self.producer;
        for _ in 0..4 {
            self.fed += 1;
            let n = self.fed;
            let at = T0 + n as i64 * 1_000_000;
            for topic in ["binance", "kraken"].map(|short| self.world.topic(short)) {
                producer.trade(&topic, 0, Draft::new(n, at));
                if n > 50 {
                    producer.trade(&topic, 0, Draft::new(n - 50, at - 50_000_000));
                }
                if n.is_multiple_of(3) {
                    producer.trade(&topic, 0, Draft::new(1_000_000 + n, at - DAY));
                }
                if n.is_multiple_of(4) {
                    let malformed = Record::trade(&self.world.registry, Draft::new(n, at));
                    let (what, value) = (What::Malformed("garbage"), Some(b"not avro".to_vec()));
                    producer.send(&topic, 0, Record { what, value, ..malformed });
                }
            }
        }
        producer.settle();
        std::thread::sleep(Duration::from_millis(if self.fed.is_multiple_of(40) { 700 } else { 30 }));
    }

    /// A member that comes, gets a partition and goes again. It reads nothing into anything.
    fn guest(&self, guest: Option<BaseConsumer>) -> Option<BaseConsumer> {
        let Some(guest) = guest else {
            let consumer: BaseConsumer = ClientConfig::new()
                .set("bootstrap.servers", self.world.config.get("kafka.bootstrap_servers"))
                .set("group.id", &self.world.group)
                .set("partition.assignment.strategy", "cooperative-sticky")
                .set("enable.auto.commit", "false")
                .set("session.timeout.ms", "1000")
                .set("heartbeat.interval.ms", "200")
                .create()
                .expect("a consumer starts");
            let topics = self.world.config.topics();
            consumer.subscribe(&topics.iter().map(String::as_str).collect::<Vec<_>>()).expect("subscribed");
            return Some(consumer);
        };
        for _ in 0..5 {
            let _ = guest.poll(Duration::from_millis(10));
        }
        let has_one = guest.assignment().is_ok_and(|list| list.count() > 0);
        (!has_one).then_some(guest)
    }

    /// Takes back what was committed last, once there is enough behind the opening.
    fn roll_back(&self) {
        let Some(table) = self.world.table.load() else { return };
        let history = table.ancestry();
        if history.len() > 5 && table.tag() == table.head() {
            self.world.table.move_main(history[2].id());
        }
    }

    /// A start without the variable that reads all there is.
    fn recover(&self) {
        let done = process::run(&self.world.dir, &self.victim(), &["run", "--until-caught-up"]);
        assert_eq!(done.code, Some(0), "the start behind {}: {done}", self.point);
    }
}
