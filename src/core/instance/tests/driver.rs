//! Random histories from a seed: kills, repeats and reorders everything that can be.

use std::collections::{BTreeMap, BTreeSet};

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::oracle::{self, Violation};
use super::world::*;
use crate::core::event_time::LatePolicy;
use crate::core::instance::*;
use crate::types::*;

/// Which faults a history may have; each seed draws how often.
#[derive(Clone, Copy, Default)]
pub struct Faults {
    pub crash: bool,
    /// Requests and answers get lost, and requests aren't sent at all.
    pub lost_answers: bool,
    pub moves: bool,
    pub roll_back: bool,
    /// Roll-backs by `table rollback`, which is refused where a lane would have to stop.
    pub operator: bool,
    pub delete: bool,
    pub compact: bool,
    pub expire: bool,
    pub evict: bool,
    pub join: bool,
}

#[derive(Default, Debug)]
pub struct Told {
    pub commits: u64,
    pub stops: u64,
    pub crashes: u64,
    pub moves: u64,
    pub fenced: u64,
    pub held: u64,
    pub foreign: u64,
    pub refused: u64,
}

pub struct Driver {
    pub world: World,
    rng: SmallRng,
    topics: Vec<&'static str>,
    rates: BTreeMap<&'static str, f64>,
    told: Told,
    /// Partitions that are between two owners, or known to a zombie only.
    next_nonce: u128,
    hot_bytes_max: usize,
}

impl Driver {
    pub fn new(seed: u64, nodes: usize, faults: Faults) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let topics = vec!["a", "b"];
        let ids = rng.random_range(2..8u128);
        let mut logs = BTreeMap::new();
        for topic in &topics {
            for partition in 0..rng.random_range(1..3) {
                let log: Log = (0..rng.random_range(1..8))
                    .map(|_| {
                        let hour = EventHour(rng.random_range(10..12));
                        rng.random_bool(0.85).then(|| (hour, MessageId(rng.random_range(0..ids))))
                    })
                    .collect();
                logs.insert(tp(topic, partition), log);
            }
        }
        let mut rates = BTreeMap::new();
        let mut rate = |name, on: bool, least: f64, most: f64, rng: &mut SmallRng| {
            let drawn = if on && rng.random_bool(0.7) { rng.random_range(least..most) } else { 0.0 };
            rates.insert(name, drawn);
        };
        // by request for lost answers, by step for all others
        rate("lost", faults.lost_answers, 0.05, 0.6, &mut rng);
        rate("not_sent", faults.lost_answers, 0.05, 0.4, &mut rng);
        for (name, on) in [
            ("crash", faults.crash),
            ("move", faults.moves),
            ("roll_back", faults.roll_back),
            ("operator", faults.operator),
            ("delete", faults.delete),
            ("compact", faults.compact),
            ("expire", faults.expire),
        ] {
            rate(name, on, 0.001, 0.02, &mut rng);
        }
        let hot_bytes_max = if faults.evict && rng.random_bool(0.5) { 0 } else { 1 << 20 };
        let mut driver = Self {
            world: World::new(logs),
            rng,
            topics,
            rates,
            told: Told::default(),
            next_nonce: u128::from(seed) << 8,
            hot_bytes_max,
        };
        let late_topic = faults.join && driver.rng.random_bool(0.5);
        for _ in 0..nodes {
            let settings = driver.settings(late_topic);
            driver.world.add_node(settings);
        }
        driver.distribute(late_topic);
        driver
    }

    fn settings(&mut self, only_first: bool) -> Settings {
        self.next_nonce += 1;
        let topics = if only_first { &self.topics[..1] } else { &self.topics[..] };
        Settings { hot_bytes_max: self.hot_bytes_max, ..settings(self.next_nonce, topics, LatePolicy::Admit) }
    }

    fn distribute(&mut self, only_first: bool) {
        let nodes = self.world.nodes.len();
        let partitions: Vec<TopicPartition> = self.world.logs.keys().cloned().collect();
        let mut shares = vec![BTreeSet::new(); nodes];
        for (i, tp) in partitions.into_iter().filter(|tp| !only_first || *tp.topic == *self.topics[0]).enumerate() {
            shares[i % nodes].insert(tp);
        }
        for (node, share) in shares.into_iter().enumerate() {
            self.world.assign(node, share);
        }
    }

    fn chance(&mut self, name: &str) -> bool {
        let rate = self.rates[name];
        rate > 0.0 && self.rng.random_bool(rate)
    }

    /// Faults for a while, then none until everything is quiet.
    pub fn run(mut self, steps: usize) -> Result<Told, Violation> {
        for _ in 0..steps {
            self.step()?;
        }
        self.rates.values_mut().for_each(|rate| *rate = 0.0);
        self.heal();
        for round in 0..4_000 {
            self.step()?;
            if round % 50 == 49 && oracle::finished(&self.world).is_ok() {
                break;
            }
        }
        self.told.commits = self.world.landed;
        self.told.fenced = self.world.fenced;
        let stopped = self.world.nodes.iter().any(|n| n.stopped.is_some());
        self.told.stops = u64::from(stopped);
        if stopped && self.world.history_lost {
            return oracle::judge(&self.world).map(|()| self.told);
        }
        if let Some(stop) = self.world.nodes.iter().find_map(|n| n.stopped.clone()) {
            panic!("no history was lost, and yet: {stop}");
        }
        oracle::finished(&self.world).map(|()| self.told)
    }

    /// Whoever stopped or only knew the first topic starts again with the whole configuration.
    fn heal(&mut self) {
        for node in 0..self.world.nodes.len() {
            if self.world.nodes[node].stopped.is_none() {
                self.world.nodes[node].assigned.clear();
                let settings = self.settings(false);
                self.world.restart(node, settings);
                self.world.nodes[node].coming.clear();
            }
        }
        self.distribute(false);
    }

    fn step(&mut self) -> Result<(), Violation> {
        self.world.now_ms += self.rng.random_range(0..600);
        self.faults();
        let node = self.rng.random_range(0..self.world.nodes.len());
        match self.rng.random_range(0..10) {
            0 | 1 => self.read(node),
            2 => self.world.feed(node, Event::Tick),
            3 | 4 => {
                let asked = self.world.nodes[node].asked.len();
                if asked > 0 {
                    let index = self.rng.random_range(0..asked);
                    self.world.carry_out(node, index);
                }
            }
            5..=7 => {
                let coming = self.world.nodes[node].coming.len();
                if coming > 0 {
                    let index = self.rng.random_range(0..coming);
                    self.world.deliver(node, index);
                }
            }
            _ => return self.catalog(),
        }
        Ok(())
    }

    fn read(&mut self, node: usize) {
        let owned: Vec<TopicPartition> = self.world.nodes[node].reading.keys().cloned().collect();
        if let Some(partition) = owned.choose(&mut self.rng) {
            let count = self.rng.random_range(1..4);
            self.world.read(node, partition, count);
        }
    }

    /// A request reaches the catalog, and its answer the node; or one of the two gets lost.
    fn catalog(&mut self) -> Result<(), Violation> {
        if self.world.requests.is_empty() {
            return Ok(());
        }
        let index = self.rng.random_range(0..self.world.requests.len());
        let request = self.world.requests[index].clone();
        if self.chance("not_sent") {
            self.world.requests.remove(index);
            self.world.reply(&request, Posted::NotSent);
            return Ok(());
        }
        if self.chance("lost") {
            self.told.held += 1;
            if self.rng.random_bool(0.5) {
                // held on its way: the node hears nothing, and it may land later
                self.world.reply(&request, Posted::Unsettled);
                return Ok(());
            }
            self.world.requests.remove(index);
            if self.rng.random_bool(0.5) {
                self.world.land(&request);
            }
            self.world.reply(&request, Posted::Unsettled);
            return oracle::judge(&self.world);
        }
        self.world.requests.remove(index);
        let posted = self.world.land(&request).map_or(Posted::Unsettled, Posted::Committed);
        self.world.reply(&request, posted);
        oracle::judge(&self.world)
    }

    fn faults(&mut self) {
        let node = self.rng.random_range(0..self.world.nodes.len());
        if self.chance("crash") && self.world.nodes[node].stopped.is_none() {
            self.told.crashes += 1;
            let only_first = self.world.nodes[node].assigned.iter().all(|tp| *tp.topic == *self.topics[0]);
            let settings = self.settings(only_first);
            self.world.restart(node, settings);
        }
        if self.chance("move") {
            self.move_partition(node);
        }
        let Some(head) = self.world.head else { return };
        if self.chance("roll_back") {
            let to = self.some_ancestor().unwrap_or(head);
            self.world.roll_back(to);
            self.told.foreign += 1;
        }
        if self.chance("operator")
            && let Some(to) = self.some_ancestor()
        {
            match self.world.operator_rolls_back(to) {
                Ok(()) => self.told.foreign += 1,
                Err(_) => self.told.refused += 1,
            }
        }
        let live: Vec<FilePath> = self.world.ghosts[&self.world.head.unwrap_or(head)].live.iter().cloned().collect();
        if self.chance("delete")
            && let Some(path) = live.choose(&mut self.rng)
        {
            self.world.delete_file(path);
            self.told.foreign += 1;
        } else if self.chance("compact")
            && let Some(path) = live.choose(&mut self.rng)
        {
            let hour = self.world.files[path][0].0;
            self.world.compact(hour);
            self.told.foreign += 1;
        }
        if self.chance("expire") {
            let keep = self.rng.random_range(1..4);
            self.world.expire(keep);
            self.told.foreign += 1;
        }
    }

    fn some_ancestor(&mut self) -> Option<SnapshotId> {
        let kept: Vec<_> = self.world.ancestry().into_iter().filter(|id| self.world.snapshots.contains_key(id)).collect();
        kept.choose(&mut self.rng).copied()
    }

    /// The group gives a partition to another node; the one before hears of it now or later.
    fn move_partition(&mut self, from: usize) {
        let owned: Vec<TopicPartition> = self.world.nodes[from].assigned.iter().cloned().collect();
        let Some(partition) = owned.choose(&mut self.rng).cloned() else { return };
        let to = (from + 1) % self.world.nodes.len();
        if to == from || self.world.nodes[to].stopped.is_some() || self.world.nodes[to].assigned.contains(&partition) {
            return;
        }
        self.told.moves += 1;
        let partitions = BTreeSet::from([partition.clone()]);
        let lost = self.rng.random_bool(0.5);
        self.world.nodes[from].assigned.remove(&partition);
        self.world.nodes[from].coming.push(Event::Revoked { partitions: partitions.clone(), lost });
        self.world.assign(to, partitions);
    }
}
