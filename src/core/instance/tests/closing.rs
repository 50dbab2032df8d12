//! What an instance says of its commits when its time is up.

use std::collections::BTreeSet;

use super::scene::Scene;
use crate::core::instance::*;
use crate::types::*;

impl Scene {
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
