//! Why a reset isn't done.

use crate::error::Stop;
use crate::types::*;

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("the group has {} members: {}", members.len(), members.join(", "))]
    GroupHasMembers { members: Vec<String> },
    #[error("topic {topic} does not exist")]
    NoSuchTopic { topic: Topic },
    #[error("partition {partition} does not exist")]
    NoSuchPartition { partition: TopicPartition },
    #[error("the lane belongs to cluster {was}, this is {is}, and not all topics are named")]
    ClusterChanged { was: String, is: String },
    #[error("topic {topic} was recreated (id {was}, now {is}), and not all its partitions are named")]
    TopicChanged { topic: Topic, was: TopicId, is: TopicId },
    #[error("the lane doesn't know topic {topic}, and {left_out} is not named")]
    OpeningInPart { topic: Topic, left_out: TopicPartition },
    #[error("the lane can't be read, and its topic {topic} is not named")]
    StoppedTopicLeftOut { topic: Topic },
    #[error("{partition} can't be shifted: the lane doesn't know it")]
    ShiftOfUnknown { partition: TopicPartition },
    #[error("the list of offsets doesn't name {partition}")]
    NotListed { partition: TopicPartition },
    #[error("the lane can be read from the table's history")]
    PropertyNotNeeded,
    #[error("the table's history doesn't offer the property as a place to go on from")]
    PropertyNotOffered,
}

impl Refusal {
    fn remedy(&self) -> String {
        match self {
            Self::GroupHasMembers { .. } => "stop every instance of the group and wait for its session to end".into(),
            Self::NoSuchTopic { .. } | Self::NoSuchPartition { .. } | Self::NotListed { .. } => {
                "name topics and partitions that Kafka has: `sluice offsets describe` lists them".into()
            }
            Self::ClusterChanged { .. } => "name all topics of the lane: --all-topics".into(),
            Self::TopicChanged { topic, .. } | Self::OpeningInPart { topic, .. } => {
                format!("name the whole topic: --topic {topic}")
            }
            Self::StoppedTopicLeftOut { .. } => "name all topics: --all-topics".into(),
            Self::ShiftOfUnknown { .. } => "use --to-earliest, --to-latest, --to-offset or --to-datetime".into(),
            Self::PropertyNotNeeded => "leave --from-property away; name a place with --to-offset or --to-datetime".into(),
            Self::PropertyNotOffered => {
                "go back to before the missing snapshot with --to-datetime: a replay adds nothing twice".into()
            }
        }
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::refused(format!("reset refused: {refusal}"), refusal.remedy())
    }
}
