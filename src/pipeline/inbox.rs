//! What the source delivered and wasn't judged yet: one queue a partition, so that a partition that waits for a schema
//! holds up nobody else.

use std::collections::{BTreeMap, VecDeque};

use crate::ports::RecordChunk;
use crate::types::*;

pub enum Delivered {
    Records(RecordChunk),
    EndOfPartition(Offset),
}

#[derive(Default)]
pub struct Inbox {
    queues: BTreeMap<TopicPartition, VecDeque<(Epoch, Delivered)>>,
    /// Partitions whose first chunk waits for a schema, and the epoch that it was read under.
    blocked: BTreeMap<TopicPartition, Epoch>,
    bytes: usize,
    /// Where the next turn begins, so that no partition starves another.
    next: Option<TopicPartition>,
}

fn size(delivered: &Delivered) -> usize {
    match delivered {
        Delivered::Records(chunk) => chunk.data.len() + chunk.frames.len() * std::mem::size_of::<crate::ports::Frame>(),
        Delivered::EndOfPartition(_) => 32,
    }
}

impl Inbox {
    pub fn push(&mut self, partition: TopicPartition, epoch: Epoch, delivered: Delivered) {
        self.bytes += size(&delivered);
        self.queues.entry(partition).or_default().push_back((epoch, delivered));
    }

    /// The partition's next chunk waits for a schema: nothing of it is handed out until `unblock`.
    pub fn block(&mut self, partition: &TopicPartition, epoch: Epoch) {
        self.blocked.insert(partition.clone(), epoch);
    }

    /// The chunk that waited under this epoch needn't wait any more. Another one may have taken its place meanwhile.
    pub fn unblock(&mut self, partition: &TopicPartition, epoch: Epoch) {
        if self.blocked.get(partition) == Some(&epoch) {
            self.blocked.remove(partition);
        }
    }

    /// The next in turn, in order within its partition.
    pub fn pop(&mut self) -> Option<(TopicPartition, Epoch, Delivered)> {
        let ready = |tp: &&TopicPartition| !self.blocked.contains_key(*tp);
        let after = self.next.as_ref().and_then(|next| self.queues.range(next.clone()..).map(|(tp, _)| tp).find(ready));
        let partition = after.or_else(|| self.queues.keys().find(ready))?.clone();
        let queue = self.queues.get_mut(&partition).expect("just found");
        let (epoch, delivered) = queue.pop_front().expect("empty queues are removed");
        self.bytes -= size(&delivered);
        if queue.is_empty() {
            self.queues.remove(&partition);
        }
        let mut following = partition.clone();
        following.partition += 1;
        self.next = Some(following);
        Some((partition, epoch, delivered))
    }

    /// Everything of a partition that is no longer ours.
    pub fn forget(&mut self, partition: &TopicPartition) {
        self.blocked.remove(partition);
        for (_, delivered) in self.queues.remove(partition).into_iter().flatten() {
            self.bytes -= size(&delivered);
        }
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Something can be judged.
    pub fn has_ready(&self) -> bool {
        self.queues.keys().any(|tp| !self.blocked.contains_key(tp))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chunk of a revoked assignment got its schema late and let the queue go on, past the chunk of the next assignment
    /// that waited itself: the log's end behind it was taken for the position.
    #[test]
    fn a_chunk_of_an_epoch_that_is_over_lets_nothing_pass_one_that_waits() {
        let (partition, mut inbox) = (TopicPartition::new("t", 0), Inbox::default());
        inbox.block(&partition, Epoch(1));
        inbox.forget(&partition);
        inbox.block(&partition, Epoch(2));
        inbox.push(partition.clone(), Epoch(2), Delivered::EndOfPartition(8));
        inbox.unblock(&partition, Epoch(1));
        assert!(!inbox.has_ready() && inbox.pop().is_none());
        inbox.unblock(&partition, Epoch(2));
        assert!(inbox.pop().is_some());
    }
}
