//! One history, from its scenario to its verdict, in virtual time on one thread.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::sim::actors;
use crate::sim::chance::Chance;
use crate::sim::group::Group;
use crate::sim::kafka::Kafka;
use crate::sim::lake::Lake;
use crate::sim::oracle::{Invariant, Oracle, Violation};
use crate::sim::scenario::Scenario;
use crate::sim::trace::Trace;
use crate::sim::world::{Shared, Slot, Stats, World};

/// After the heal, so long may it take until everything is in the table. Longer than any wait of the protocol, sessions and
/// back-offs included.
const CONVERGES_WITHIN: Duration = Duration::from_secs(300);

/// How a history ended.
pub struct Ended {
    pub violation: Option<Violation>,
    /// The same for every run of the same scenario.
    pub trace_hash: u64,
    /// Empty unless they were asked for.
    pub lines: Vec<String>,
    pub stats: Stats,
}

pub fn run(scenario: &Scenario, keep_lines: bool) -> Ended {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without IO needs nothing of the system");
    runtime.block_on(play(scenario, keep_lines))
}

async fn play(scenario: &Scenario, keep_lines: bool) -> Ended {
    let world = Shared::new(world(scenario, keep_lines));
    let heal_at = Instant::now() + Duration::from_millis(scenario.heal_at_ms);
    actors::start(&world, heal_at);
    let ends = heal_at + CONVERGES_WITHIN;
    loop {
        sleep(Duration::from_millis(500)).await;
        let mut world = world.lock();
        let produced = world.now_ms() > scenario.script.last().map_or(0, |(at, _)| *at);
        let done = world.violation.is_some() || (world.healed && produced && world.stops.is_empty() && world.is_finished());
        if !done && Instant::now() < ends {
            continue;
        }
        if !done {
            let lacks = (0..scenario.lanes.len()).find_map(|lane| world.lacks(lane)).map(|v| v.what).unwrap_or_default();
            world.violates(Invariant::Converges, format!("{CONVERGES_WITHIN:?} after the heal: {lacks}"));
        }
        return end(&mut world);
    }
}

fn end(world: &mut World) -> Ended {
    let stats = Stats { simulated_ms: world.now_ms(), ..world.stats };
    let trace = std::mem::replace(&mut world.trace, Trace::new(false));
    Ended { violation: world.violation.take(), trace_hash: trace.hash(), lines: trace.into_lines(), stats }
}

fn world(scenario: &Scenario, keep_lines: bool) -> World {
    let mut kafka = Kafka::default();
    for topic in &scenario.topics {
        kafka.create(&topic.name, topic.partitions, topic.log_start);
    }
    let from_start = scenario.topics.iter().enumerate().filter(|(_, t)| t.from_start).map(|(i, _)| i);
    World {
        scenario: Arc::new(scenario.clone()),
        began: Instant::now(),
        kafka,
        lake: Lake::default(),
        groups: scenario.lanes.iter().map(|lane| Group::new(lane.eager)).collect(),
        slots: scenario.slots.iter().map(|lane| Slot { lane: *lane, ..Slot::default() }).collect(),
        letters: BTreeSet::new(),
        configured: from_start.collect(),
        outages: BTreeMap::new(),
        truncated: BTreeSet::new(),
        operator: Arc::default(),
        stops: Vec::new(),
        taken_away: false,
        breaker_rate_max: scenario.breaker_rate_max,
        mirrored_since_ms: BTreeMap::new(),
        reached: BTreeSet::new(),
        healed: false,
        chance: Chance::of(scenario.seed, "world"),
        oracle: Oracle::new(),
        violation: None,
        trace: Trace::new(keep_lines),
        stats: Stats::default(),
        next_member: 0,
    }
}
