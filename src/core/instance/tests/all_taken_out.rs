//! A batch of which the probe leaves nothing.

use super::scene::Scene;
use super::world::*;
use crate::core::instance::*;
use crate::core::table::OwnChange;

/// The commit was posted at once, since there was nothing to write: whoever held the rows never heard that they were
/// duplicates, and counted them as written.
#[test]
fn whoever_holds_the_rows_is_told_of_those_taken_out_also_where_none_is_left() {
    let mut scene = Scene::new();
    let first = scene.request();
    let snapshot = scene.world.land(&first).expect("nobody else commits");
    scene.world.reply(&first, Posted::Committed(snapshot));
    while !scene.world.nodes[0].coming.is_empty() {
        scene.world.deliver(0, 0);
    }
    // the same record again, and nothing in memory that knows it
    let log = scene.world.logs.get_mut(&tp("a", 0)).expect("the log");
    let again = log[0];
    log.push(again);
    scene.world.nodes[0].core.evict_to(0);
    let second = scene.request();
    let Some((_, OwnChange::Ranges { counts, .. })) = &second.plan.own else { panic!("a batch: {:?}", second.plan.own) };
    assert_eq!((counts.written, counts.duplicate), (0, 1));
    let told: usize = scene.world.nodes[0].taken_out.values().map(|keys| keys.len()).sum();
    assert_eq!(told, 1);
}
