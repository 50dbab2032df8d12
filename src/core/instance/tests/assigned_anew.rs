//! An assignment that was lost while its answer was on the way comes again, without a revoke between.

use std::collections::BTreeSet;

use super::scene::Scene;
use super::world::*;
use crate::core::instance::*;
use crate::core::table::OwnChange;

/// The records read under the first assignment stayed in the open batch and were judged again under the second: each was
/// counted twice, as a duplicate of itself.
#[test]
fn what_was_read_under_an_assignment_falls_when_its_partitions_are_given_again() {
    let mut scene = Scene::new();
    for _ in 0..3 {
        scene.world.now_ms += 100;
        scene.world.feed(0, Event::Tick);
        while !scene.world.nodes[0].asked.is_empty() {
            scene.world.carry_out(0, 0);
        }
        while !scene.world.nodes[0].coming.is_empty() {
            scene.world.deliver(0, 0);
        }
        scene.world.read(0, &tp("a", 0), 1);
    }
    assert_eq!(scene.world.nodes[0].core.open_batch().1.counts.consumed(), 1, "the record waits in the open batch");
    scene.world.assign(0, BTreeSet::from([tp("a", 0)]));
    let request = scene.request();
    let Some((_, OwnChange::Ranges { ranges, counts })) = request.plan.own else {
        panic!("a batch: {:?}", request.plan.own)
    };
    assert_eq!((counts.consumed(), counts.written), (1, 1));
    assert_eq!((ranges[&tp("a", 0)].start, ranges[&tp("a", 0)].end), (0, 1));
}
