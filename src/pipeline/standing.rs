//! Where Kafka says that the lane's partitions stand, asked now and then in the background: ends of their logs, offsets of
//! the group, and who owns them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::watch;

use crate::pipeline::effects::Ports;
use crate::ports::{LogEdge, PortError, SourceAdmin};
use crate::types::*;

/// How often Kafka is asked.
const EVERY: Duration = Duration::from_secs(5);

/// The log's edges of one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Edges {
    pub start: Offset,
    /// Last stable offset.
    pub stable: Offset,
    pub end: Offset,
}

impl Edges {
    /// From three answers, maybe of two brokers with one behind the other: the log never ends before its stable part.
    fn told_one_by_one(start: Offset, stable: Offset, end: Offset) -> Self {
        Self { start, stable, end: end.max(stable) }
    }
}

/// As last answered.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Standing {
    /// Partitions that the topics have.
    pub partitions: BTreeSet<TopicPartition>,
    pub edges: BTreeMap<TopicPartition, Edges>,
    /// Kafka's own, for monitors: the table's offsets are the truth.
    pub group_offsets: BTreeMap<TopicPartition, Offset>,
    /// Client id of the member that has each partition.
    pub owners: BTreeMap<TopicPartition, String>,
}

impl Standing {
    /// Asks for everything of these topics. What Kafka doesn't answer stays as it was.
    pub async fn refresh(&mut self, admin: &dyn SourceAdmin, topics: &[Topic]) -> Result<(), PortError> {
        let found = admin.partitions(topics).await?;
        let all = found.into_iter().flat_map(|(t, ps)| ps.into_iter().map(move |p| TopicPartition::new(t.clone(), p)));
        self.partitions = all.collect();
        let partitions: Vec<TopicPartition> = self.partitions.iter().cloned().collect();
        self.edges = edges(admin, &partitions).await?;
        let offsets = admin.group_offsets(&partitions).await?;
        self.group_offsets = offsets.into_iter().map(|(tp, committed)| (tp, committed.offset)).collect();
        let members = admin.group_members().await?;
        let owned = members.into_iter().flat_map(|m| m.partitions.into_iter().map(move |tp| (tp, m.client_id.clone())));
        self.owners = owned.collect();
        Ok(())
    }
}

async fn edges(admin: &dyn SourceAdmin, of: &[TopicPartition]) -> Result<BTreeMap<TopicPartition, Edges>, PortError> {
    let ask = |edge| of.iter().map(|tp| (tp.clone(), edge)).collect::<Vec<_>>();
    let start = admin.log_offsets(&ask(LogEdge::Earliest)).await?;
    let stable = admin.log_offsets(&ask(LogEdge::LastStable)).await?;
    let end = admin.log_offsets(&ask(LogEdge::HighWatermark)).await?;
    let edges = of.iter().filter_map(|tp| {
        let [start, stable, end] = [start.get(tp)?, stable.get(tp)?, end.get(tp)?].map(|edge| edge.offset);
        Some((tp.clone(), Edges::told_one_by_one(start, stable, end)))
    });
    Ok(edges.collect())
}

/// What is asked about: when it changes, Kafka is asked at once.
#[derive(Clone, PartialEq, Eq, Default)]
struct Asked {
    topics: BTreeSet<Topic>,
    owned: BTreeSet<TopicPartition>,
}

/// Asks in a task of its own until it is dropped.
pub struct StandingWatch {
    ask: watch::Sender<Asked>,
    answers: watch::Receiver<Standing>,
}

impl StandingWatch {
    pub fn start(ports: Ports) -> Self {
        let (ask, mut asked) = watch::channel(Asked::default());
        let (answer, answers) = watch::channel(Standing::default());
        tokio::spawn(async move {
            let mut standing = Standing::default();
            loop {
                let topics: Vec<Topic> = asked.borrow_and_update().topics.iter().cloned().collect();
                if !topics.is_empty() {
                    // a part that isn't answered stays as it was: `dependencies` say that Kafka is down
                    let _ = standing.refresh(&*ports.admin, &topics).await;
                    if answer.send(standing.clone()).is_err() {
                        return;
                    }
                }
                let changed = tokio::time::timeout(EVERY, asked.changed()).await;
                if matches!(changed, Ok(Err(_))) {
                    return;
                }
            }
        });
        Self { ask, answers }
    }

    /// As last answered. `owned`: the group has changed when it does.
    pub fn of(&self, topics: BTreeSet<Topic>, owned: BTreeSet<TopicPartition>) -> Standing {
        let asked = Asked { topics, owned };
        self.ask.send_if_modified(|before| {
            let changed = *before != asked;
            *before = asked;
            changed
        });
        self.answers.borrow().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::fakes::{FakeKafka, tp};

    #[tokio::test]
    async fn group_offsets_and_owners_are_kafkas_own() {
        let kafka = FakeKafka::default();
        let mut standing = Standing::default();
        standing.refresh(&kafka, &["a".into()]).await.unwrap();
        assert_eq!(standing.partitions, [tp("a", 0), tp("a", 1)].into());
        assert_eq!(standing.edges[&tp("a", 1)], Edges { start: 1, stable: 8, end: 9 });
        assert_eq!(standing.group_offsets, [(tp("a", 0), 4)].into());
        assert_eq!(standing.owners, [(tp("a", 0), "one".into()), (tp("a", 1), "two".into())].into());
    }

    #[test]
    fn the_log_never_ends_before_its_stable_part() {
        assert_eq!(Edges::told_one_by_one(1, 8, 7), Edges { start: 1, stable: 8, end: 8 });
        assert_eq!(Edges::told_one_by_one(1, 7, 8), Edges { start: 1, stable: 7, end: 8 });
    }

    #[tokio::test]
    async fn what_kafka_does_not_answer_stays_as_it_was() {
        let mut kafka = FakeKafka::default();
        let mut standing = Standing::default();
        standing.refresh(&kafka, &["a".into()]).await.unwrap();
        let before = standing.clone();
        kafka.down = true;
        standing.refresh(&kafka, &["a".into()]).await.unwrap_err();
        assert_eq!(standing, before);
    }
}
