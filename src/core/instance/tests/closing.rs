//! What an instance says of its commits when its time is up.

use std::collections::{BTreeMap, BTreeSet};

use super::world::*;
use crate::core::event_time::LatePolicy;
use crate::core::instance::*;
use crate::types::*;

/// One instance with a record to commit, from its start to the first request for it.
struct Scene {
    world: World,
}

impl Scene {
    fn new() -> Self {
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
    fn request(&mut self) -> Request {
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

    /// Posts the batch as often as there are answers.
    fn answered(&mut self, answers: impl IntoIterator<Item = Posted>) -> CommitId {
        let mut commits = BTreeSet::new();
        for answer in answers {
            let request = self.request();
            commits.insert(request.plan.commit_id);
            self.world.reply(&request, answer);
        }
        assert_eq!(commits.len(), 1, "the content is the same, and so is the id");
        while !self.world.nodes[0].coming.is_empty() {
            self.world.deliver(0, 0);
        }
        *commits.first().expect("one answer at least")
    }

    /// The time to stop is up at once: commits that the instance calls unknown.
    fn unknown_at_the_end(&mut self) -> Vec<CommitId> {
        let now = self.world.now_ms;
        let effects = self.world.nodes[0].core.handle(now, Event::Close { deadline_ms: now });
        let left = effects.into_iter().find_map(|effect| match effect {
            Effect::Leave { unknown } => Some(unknown),
            _ => None,
        });
        left.expect("the deadline is now")
    }
}

/// A commit that had only waited for the catalog's lock was called unknown, and an operator went looking for it.
#[test]
fn a_commit_that_was_never_sent_is_not_unknown() {
    let mut scene = Scene::new();
    scene.answered([Posted::NotSent, Posted::NotSent]);
    assert_eq!(scene.unknown_at_the_end(), []);
}

#[test]
fn a_commit_that_was_sent_once_stays_unknown_whatever_was_not_sent_before_and_behind() {
    for answers in [
        [Posted::Unsettled, Posted::NotSent, Posted::NotSent],
        [Posted::NotSent, Posted::Unsettled, Posted::NotSent],
        [Posted::NotSent, Posted::NotSent, Posted::Unsettled],
    ] {
        let mut scene = Scene::new();
        let commit = scene.answered(answers);
        assert_eq!(scene.unknown_at_the_end(), [commit]);
    }
}

#[test]
fn a_request_that_is_under_way_is_unknown() {
    let mut scene = Scene::new();
    scene.answered([Posted::NotSent]);
    let request = scene.request();
    assert_eq!(scene.unknown_at_the_end(), [request.plan.commit_id]);
}

#[test]
fn a_commit_that_was_not_sent_at_first_lands_later() {
    let mut scene = Scene::new();
    scene.answered([Posted::NotSent]);
    let request = scene.request();
    let snapshot = scene.world.land(&request).expect("nobody else commits");
    scene.world.reply(&request, Posted::Committed(snapshot));
    while !scene.world.nodes[0].coming.is_empty() {
        scene.world.deliver(0, 0);
    }
    assert!(scene.world.nodes[0].core.is_drained());
}
