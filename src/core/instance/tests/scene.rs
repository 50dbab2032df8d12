//! One instance of one record, step by step.

use std::collections::{BTreeMap, BTreeSet};

use super::world::*;
use crate::core::event_time::LatePolicy;
use crate::core::instance::*;
use crate::types::*;

/// One instance with a record to commit, from its start to the first request for it.
pub struct Scene {
    pub world: World,
}

impl Scene {
    pub fn new() -> Self {
        let log = vec![Some((EventHour(10), MessageId(1)))];
        let mut world = World::new(BTreeMap::from([(tp("a", 0), log)]));
        let node = world.add_node(settings(1, &["a"], LatePolicy::Admit));
        world.assign(node, BTreeSet::from([tp("a", 0)]));
        let mut scene = Self { world };
        let opening = scene.request();
        let snapshot = scene.world.land(&opening).expect("nobody else commits");
        scene.world.reply(&opening, Posted::Committed(snapshot));
        scene
    }

    /// Goes on until the instance posts a commit, and takes the request.
    pub fn request(&mut self) -> Request {
        for _ in 0..1_000 {
            self.world.now_ms += 100;
            self.world.read(0, &tp("a", 0), 1);
            self.world.feed(0, Event::Tick);
            while !self.world.nodes[0].asked.is_empty() {
                self.world.carry_out(0, 0);
            }
            while !self.world.nodes[0].coming.is_empty() {
                self.world.deliver(0, 0);
            }
            if let Some(request) = self.world.requests.pop() {
                return request;
            }
        }
        panic!("the instance posts nothing: it waits for {}", self.world.nodes[0].core.waits_for());
    }
}
