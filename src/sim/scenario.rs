//! What a seed stands for: who runs, what is produced, which faults there are and when others touch the table. A value, so
//! that a failing history can be shrunk by leaving parts out.

use crate::core::event_time::LatePolicy;
use crate::core::instance::Start;
use crate::sim::chance::Chance;
use crate::sim::history::Rules;
use crate::sim::incidents;
use crate::sim::workload::{self, Production};
use crate::types::*;

/// Rates of what can go wrong in a call, 0 to 1. Each seed draws its own, many of them zero.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Rates {
    /// A call takes longer than a few milliseconds.
    pub slow: f64,
    /// A call to Kafka, the registry, the object store, the catalog (loads) or the dead-letter topic fails for a moment.
    pub down: f64,
    /// The process dies before, after, or between an effect and its acknowledgement.
    pub crash: f64,
    /// A request to commit: answered by an error before anything happened.
    pub post_fails: f64,
    /// It lands, and the answer is lost, or says conflict.
    pub post_answer_lost: f64,
    /// The answer is lost and it lands later, or never.
    pub post_held: f64,
    /// It lands, and comes once more later.
    pub post_replayed: f64,
    pub post_rejected: f64,
    /// The object store has the file and says it failed.
    pub store_ack_lost: f64,
    /// The group loses a member's assignment.
    pub lost: f64,
    /// The id cache forgets its newest entries in a crash.
    pub cache_suffix_lost: f64,
    /// The id cache can't give what it has.
    pub cache_corrupt: f64,
}

impl Rates {
    pub const EACH: [fn(&mut Rates) -> &mut f64; 12] = [
        |r| &mut r.slow,
        |r| &mut r.down,
        |r| &mut r.crash,
        |r| &mut r.post_fails,
        |r| &mut r.post_answer_lost,
        |r| &mut r.post_held,
        |r| &mut r.post_replayed,
        |r| &mut r.post_rejected,
        |r| &mut r.store_ack_lost,
        |r| &mut r.lost,
        |r| &mut r.cache_suffix_lost,
        |r| &mut r.cache_corrupt,
    ];
}

/// Something that happens to the world at a moment.
#[derive(Clone, PartialEq, Debug)]
pub enum Action {
    Produce(Production),
    AddPartition {
        topic: usize,
    },
    /// A topic joins the configuration of lane 0.
    JoinTopic {
        topic: usize,
    },
    /// The log begins later: at the newest stable record less `keep`.
    Retain {
        topic: usize,
        partition: i32,
        keep: u64,
    },
    /// An unclean leader election takes the newest records.
    Truncate {
        topic: usize,
        partition: i32,
        records: u64,
    },
    Recreate {
        topic: usize,
    },
    /// Another cluster answers under the same address.
    ReplaceCluster,
    Kill {
        slot: usize,
    },
    Terminate {
        slot: usize,
    },
    Freeze {
        slot: usize,
        ms: u64,
    },
    LoseAssignment {
        slot: usize,
    },
    Outage {
        of: Dependency,
        ms: u64,
    },
    ClockJump {
        slot: usize,
        ms: i64,
    },
    StateLost {
        slot: usize,
    },
    /// An older copy of the state directory is put back.
    StateOlder {
        slot: usize,
    },
    GroupOffsetsDeleted {
        lane: usize,
    },
    GroupOffsetsMoved {
        lane: usize,
        by: i64,
    },
    ForeignAppend {
        rows: u64,
    },
    ForeignDelete {
        file: u64,
    },
    ForeignCompact {
        file: u64,
    },
    ForeignExpire {
        keep: u64,
        erase_parent: bool,
        remove_files: bool,
    },
    ForeignRollBack {
        steps: u64,
    },
    /// To the newest snapshot that doesn't know the topic.
    ForeignRollBackBefore {
        topic: usize,
    },
    /// Appends rows, and takes them back after so long.
    ForeignPulse {
        rows: u64,
        ms: u64,
        undo: Undo,
    },
    /// Requests to commit that a process sends within the window aren't answered, and land so much later.
    HoldPosts {
        slot: usize,
        window_ms: u64,
        after_ms: u64,
    },
    /// A snapshot of ours is published once more with its summary.
    ForeignCopy {
        steps: u64,
    },
    DropTable {
        recreate: bool,
    },
    OperatorReset {
        lane: usize,
        back: u64,
        partition: Option<i32>,
    },
    OperatorRollBack {
        steps: u64,
    },
    OperatorRetire {
        lane: usize,
    },
}

impl Action {
    /// The process that it happens to.
    pub fn slot(&self) -> Option<usize> {
        match self {
            Self::Kill { slot }
            | Self::Terminate { slot }
            | Self::Freeze { slot, .. }
            | Self::LoseAssignment { slot }
            | Self::ClockJump { slot, .. }
            | Self::StateLost { slot }
            | Self::StateOlder { slot }
            | Self::HoldPosts { slot, .. } => Some(*slot),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Undo {
    Delete,
    RollBack,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Dependency {
    Kafka,
    Registry,
    Catalog,
    Store,
    Letters,
}

#[derive(Clone, PartialEq, Debug)]
pub struct TopicPlan {
    pub name: Topic,
    pub partitions: i32,
    pub log_start: Offset,
    /// In the configuration from the start; the others join later.
    pub from_start: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub struct LanePlan {
    pub name: String,
    /// Indexes of the topics that it reads, as far as they are in the configuration.
    pub topics: Vec<usize>,
    pub start: Start,
    pub eager: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub rules: Rules,
    pub topics: Vec<TopicPlan>,
    pub lanes: Vec<LanePlan>,
    /// Which lane each instance belongs to.
    pub slots: Vec<usize>,
    pub rates: Rates,
    pub script: Vec<(u64, Action)>,
    /// From here on nothing goes wrong any more.
    pub heal_at_ms: u64,
    pub commit_interval_ms: u64,
    pub idle_commit_interval_ms: u64,
    pub idle_timeout_ms: u64,
    pub batch_rows_max: u64,
    /// Bytes that the ids of covered files may take.
    pub hot_bytes_max: usize,
    /// Dead letters over records that trip the breaker.
    pub breaker_rate_max: f64,
}

impl Scenario {
    pub fn of(seed: u64) -> Self {
        let mut chance = Chance::of(seed, "scenario");
        let heal_at_ms = chance.between(8_000, 40_000);
        let topics = topics(&mut chance);
        let two_lanes = chance.happens(0.25);
        let lanes = lanes(&mut chance, &topics, two_lanes);
        let slots = slots(&mut chance, two_lanes);
        let late =
            *chance.pick(&[LatePolicy::Admit, LatePolicy::Admit, LatePolicy::Drop, LatePolicy::DeadLetter]).expect("some");
        let rules = Rules { late, watermark_delay: *chance.pick(&[0, 60_000_000, 300_000_000]).expect("some") };
        let mut scenario = Self {
            seed,
            rules,
            rates: rates(&mut chance),
            script: Vec::new(),
            heal_at_ms,
            commit_interval_ms: chance.between(500, 3_000),
            idle_commit_interval_ms: chance.between(3_000, 10_000),
            idle_timeout_ms: chance.between(2_000, 20_000),
            batch_rows_max: *chance.pick(&[3, 8, 1_000]).expect("some"),
            hot_bytes_max: *chance.pick(&[0, 400, 1 << 20, 1 << 20]).expect("some"),
            breaker_rate_max: if chance.happens(0.1) { 0.5 } else { 1.0 },
            topics,
            lanes,
            slots,
        };
        let mut chance = Chance::of(seed, "script");
        scenario.script = script(&scenario, &mut chance);
        if chance.happens(0.4) {
            incidents::incident(&mut scenario, &mut chance);
        }
        scenario.script.sort_by_key(|(at, _)| *at);
        scenario
    }
}

fn topics(chance: &mut Chance) -> Vec<TopicPlan> {
    let count = chance.between(1, 3) as usize;
    let plan = |i: usize, chance: &mut Chance| TopicPlan {
        name: format!("t{i}").into(),
        partitions: chance.between(1, 3) as i32,
        log_start: if chance.happens(0.3) { chance.between(1, 9) as Offset } else { 0 },
        from_start: i == 0 || chance.happens(0.7),
    };
    (0..count).map(|i| plan(i, chance)).collect()
}

fn lanes(chance: &mut Chance, topics: &[TopicPlan], two: bool) -> Vec<LanePlan> {
    let start = |chance: &mut Chance| if chance.happens(0.25) { Start::Latest } else { Start::Earliest };
    let all: Vec<usize> = (0..topics.len()).collect();
    let mut lanes =
        vec![LanePlan { name: "g".into(), topics: all.clone(), start: start(chance), eager: chance.happens(0.3) }];
    if two {
        let topics = if chance.happens(0.5) { all } else { vec![0] };
        lanes.push(LanePlan { name: "h".into(), topics, start: start(chance), eager: chance.happens(0.3) });
    }
    lanes
}

fn slots(chance: &mut Chance, two_lanes: bool) -> Vec<usize> {
    let mut slots = vec![0; chance.between(1, 3) as usize];
    if two_lanes {
        slots.push(1);
    }
    slots
}

fn rates(chance: &mut Chance) -> Rates {
    let mut some = |most: f64| if chance.happens(0.5) { 0.0 } else { most * chance.between(1, 100) as f64 / 100.0 };
    Rates {
        slow: some(0.2),
        down: some(0.05),
        crash: some(0.02),
        post_fails: some(0.2),
        post_answer_lost: some(0.3),
        post_held: some(0.3),
        post_replayed: some(0.2),
        post_rejected: some(0.03),
        store_ack_lost: some(0.1),
        lost: some(0.02),
        cache_suffix_lost: some(0.5),
        cache_corrupt: some(0.2),
    }
}

/// Most histories have a few kinds of events, so that each kind also comes alone.
fn script(scenario: &Scenario, chance: &mut Chance) -> Vec<(u64, Action)> {
    let until = scenario.heal_at_ms;
    let mut script: Vec<(u64, Action)> = workload::productions(scenario, chance);
    let joins = scenario.topics.iter().enumerate().filter(|(_, t)| !t.from_start);
    script.extend(joins.map(|(topic, _)| (chance.between(0, until), Action::JoinTopic { topic })));
    let kinds = chance.between(0, 4);
    for _ in 0..kinds {
        let kind = chance.between(0, 21);
        for _ in 0..chance.between(1, 4) {
            let at = chance.between(0, until);
            script.push((at, action(kind, scenario, chance)));
        }
    }
    script
}

fn action(kind: u64, scenario: &Scenario, chance: &mut Chance) -> Action {
    let slot = chance.between(0, scenario.slots.len() as u64 - 1) as usize;
    let lane = chance.between(0, scenario.lanes.len() as u64 - 1) as usize;
    let topic = chance.between(0, scenario.topics.len() as u64 - 1) as usize;
    let partition = chance.between(0, scenario.topics[topic].partitions as u64 - 1) as i32;
    let of = [Dependency::Kafka, Dependency::Registry, Dependency::Catalog, Dependency::Store, Dependency::Letters];
    match kind {
        0 | 1 => Action::Kill { slot },
        2 => Action::Terminate { slot },
        3 | 4 => Action::Freeze { slot, ms: chance.between(100, 25_000) },
        5 => Action::LoseAssignment { slot },
        6 => Action::Outage { of: of[chance.between(0, 4) as usize], ms: chance.between(100, 20_000) },
        7 => match chance.between(0, 3) {
            0 => Action::ClockJump { slot, ms: chance.between(0, 7_200_000) as i64 - 3_600_000 },
            1 => Action::StateLost { slot },
            _ => Action::StateOlder { slot },
        },
        8 => match chance.between(0, 1) {
            0 => Action::GroupOffsetsDeleted { lane },
            _ => Action::GroupOffsetsMoved { lane, by: chance.between(0, 20) as i64 - 10 },
        },
        9 => Action::AddPartition { topic },
        10 => Action::Retain { topic, partition, keep: chance.between(0, 12) },
        11 => Action::Truncate { topic, partition, records: chance.between(1, 4) },
        12 if chance.happens(0.3) => Action::ReplaceCluster,
        12 => Action::Recreate { topic },
        13 => Action::ForeignAppend { rows: chance.between(1, 3) },
        14 | 15 => Action::ForeignDelete { file: chance.u64() },
        16 => Action::ForeignCompact { file: chance.u64() },
        17 => Action::ForeignExpire {
            keep: chance.between(1, 4),
            erase_parent: chance.happens(0.4),
            remove_files: chance.happens(0.5),
        },
        18 | 19 => Action::ForeignRollBack { steps: chance.between(1, 5) },
        20 => match chance.between(0, 4) {
            0 => Action::DropTable { recreate: chance.happens(0.5) },
            1 => Action::OperatorRetire { lane },
            _ => Action::ForeignCopy { steps: chance.between(0, 3) },
        },
        _ => match chance.between(0, 2) {
            0 => Action::OperatorRollBack { steps: chance.between(1, 4) },
            _ => Action::OperatorReset {
                lane,
                back: chance.between(0, 10),
                partition: chance.happens(0.3).then_some(partition),
            },
        },
    }
}
