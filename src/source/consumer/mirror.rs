//! The group offsets in Kafka: a copy of the table's, for monitors and the tripwire. One commit is under way at a time;
//! while it is, later ones are merged, since only the newest counts.

use std::collections::BTreeMap;

use crate::types::*;

#[derive(Default)]
pub(super) struct Mirror {
    under_way: bool,
    waiting: Option<(BTreeMap<TopicPartition, Offset>, String)>,
}

pub(super) type GroupCommit = (BTreeMap<TopicPartition, Offset>, String);

impl Mirror {
    /// The newest offsets of each partition, under the newest metadata.
    pub fn offer(&mut self, offsets: BTreeMap<TopicPartition, Offset>, metadata: String) {
        if offsets.is_empty() {
            return;
        }
        match &mut self.waiting {
            Some((waiting, name)) => {
                waiting.extend(offsets);
                *name = metadata;
            }
            None => self.waiting = Some((offsets, metadata)),
        }
    }

    /// What to send now.
    pub fn next(&mut self) -> Option<GroupCommit> {
        if self.under_way {
            return None;
        }
        let next = self.waiting.take()?;
        self.under_way = true;
        Some(next)
    }

    /// What waits, although another is under way: the consumer closes and waits for both.
    pub fn last(&mut self) -> Option<GroupCommit> {
        self.waiting.take()
    }

    pub fn answered(&mut self) {
        self.under_way = false;
    }
}

/// Offsets of a commit for the log.
pub(super) fn shown(offsets: &BTreeMap<TopicPartition, Offset>) -> String {
    let shown: Vec<_> = offsets.iter().map(|(partition, offset)| format!("{partition}={offset}")).collect();
    shown.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(of: &[(i32, i64)]) -> BTreeMap<TopicPartition, Offset> {
        of.iter().map(|(p, o)| (TopicPartition::new("t", *p), *o)).collect()
    }

    #[test]
    fn one_commit_is_under_way_and_the_newest_waits() {
        let mut mirror = Mirror::default();
        mirror.offer(offsets(&[(0, 1)]), "a".into());
        assert_eq!(mirror.next(), Some((offsets(&[(0, 1)]), "a".into())));
        mirror.offer(offsets(&[(0, 2), (1, 7)]), "b".into());
        mirror.offer(offsets(&[(0, 3)]), "c".into());
        assert_eq!(mirror.next(), None);
        mirror.answered();
        assert_eq!(mirror.next(), Some((offsets(&[(0, 3), (1, 7)]), "c".into())));
        mirror.answered();
        assert_eq!(mirror.next(), None);
    }

    #[test]
    fn nothing_to_mirror_sends_nothing() {
        let mut mirror = Mirror::default();
        mirror.offer(BTreeMap::new(), "a".into());
        assert_eq!(mirror.next(), None);
    }
}
