//! Typed stops of the protocol: the range that is wrong, and the command that resolves it.

use crate::core::breaker::{BreakerRules, Flood};
use crate::core::identity::IdentityChange;
use crate::core::lane::LaneStop;
use crate::core::table::LaneName;
use crate::core::tripwire::Witness;
use crate::error::{Exit, Stop};
use crate::types::*;

pub(super) fn lane(stop: LaneStop) -> Stop {
    let remedy = match &stop {
        LaneStop::HistoryMissing { .. } => {
            "`sluice offsets reset --all-topics --to-datetime T --execute` with T before the time of the missing snapshot: a \
             replay can't duplicate. Only if you know that nobody rolled the table back: `sluice offsets reset --all-topics \
             --from-property --execute`"
        }
        LaneStop::PropertyKnowsMoreTopics { .. } => {
            "open these topics again where their rows are missing from: `sluice offsets reset --topic T --to-earliest --execute` \
             (or --to-datetime before the roll-back's target); a replay can't duplicate"
        }
        LaneStop::RolledBackBeforeLane { .. } => {
            "if the table is the right one, open the lane again: `sluice offsets reset --all-topics --to-earliest --execute` (or \
             --to-datetime before the oldest row that may be missing); a replay can't duplicate"
        }
        LaneStop::Unreadable { .. } => "run the version of Sluice that wrote it, or a newer one",
    };
    Stop::inconsistent(stop.to_string(), remedy)
}

pub(super) fn lane_vanished(lane: &LaneName) -> Stop {
    Stop::inconsistent(
        format!("the table no longer knows lane {lane}, which this process has read"),
        "open the lane again: `sluice offsets reset --all-topics --to-earliest --execute`; a replay can't duplicate",
    )
}

pub(super) fn table_missing(lane: &LaneName, witness: &Witness) -> Stop {
    Stop::inconsistent(
        format!(
            "the table is missing, but {witness} knows lane {lane} in it: it was dropped, renamed, or the catalog is another"
        ),
        "bring the table back; or, to begin anew, `sluice table create` and then `sluice offsets reset --all-topics \
         --to-earliest --execute`",
    )
}

pub(super) fn table_replaced(was: u128, is: u128) -> Stop {
    let (was, is) = (uuid::Uuid::from_u128(was), uuid::Uuid::from_u128(is));
    Stop::inconsistent(
        format!("the table with uuid {was} was replaced by one with uuid {is} while Sluice ran"),
        "check which table is the right one, then start again; an unknown lane is opened by `sluice offsets reset \
         --all-topics --to-earliest --execute`",
    )
}

pub(super) fn topic_vanished(lane: &LaneName, witness: &Witness) -> Stop {
    let topics: Vec<&str> = witness.topics.keys().map(|t| &**t).collect();
    Stop::inconsistent(
        format!(
            "lane {lane} of the table doesn't know topics {}, but {witness} does: the table was rolled back to before they \
             were opened, or it is a copy",
            topics.join(", ")
        ),
        format!(
            "open them again: `sluice offsets reset{} --to-earliest --execute` (or --to-datetime before the oldest row that \
             may be missing); a replay can't duplicate",
            topics.iter().map(|t| format!(" --topic {t}")).collect::<String>()
        ),
    )
}

pub(super) fn topic_unknown(topic: &Topic) -> Stop {
    Stop::usage(
        format!("topic {topic} of kafka.topics doesn't exist"),
        "create it, or take it out of kafka.topics; Sluice never creates a Silver topic",
    )
}

pub(super) fn topic_gone(topic: &Topic) -> Stop {
    Stop::inconsistent(
        format!("topic {topic}, which the lane has offsets of, no longer exists in Kafka"),
        format!(
            "bring it back; or take it out of kafka.topics; or, when it was created again under another id, \
             `sluice offsets reset --topic {topic} --to-earliest --execute`"
        ),
    )
}

pub(super) fn identity(change: IdentityChange) -> Stop {
    let remedy = match &change {
        IdentityChange::OtherCluster { .. } => {
            "check kafka.bootstrap_servers; when the topics moved to this cluster for good: `sluice offsets reset --all-topics \
             --to-earliest --execute` (or --from-file with mapped offsets); a replay can't duplicate"
                .to_string()
        }
        IdentityChange::TopicRecreated { topic, .. } => format!(
            "`sluice offsets reset --topic {topic} --to-earliest --execute` reads the new topic from its beginning; a replay can't \
             duplicate"
        ),
    };
    Stop::inconsistent(change.to_string(), remedy)
}

pub(super) fn lost_to_retention(partition: &TopicPartition, at: Offset, start: Offset) -> Stop {
    Stop::data(
        format!("Kafka no longer has offsets [{at}, {start}) of {partition}: retention removed them before they were read"),
        format!(
            "to go on without them: `sluice offsets reset --topic {}:{} --to-earliest --execute`; it is recorded in the table",
            partition.topic, partition.partition
        ),
    )
}

pub(super) fn log_truncated(partition: &TopicPartition, at: Offset, end: Offset) -> Stop {
    Stop::inconsistent(
        format!(
            "the log of {partition} ends at {end}, before the table's offset {at}: offsets [{end}, {at}) were truncated"
        ),
        format!(
            "find out why the log shrank; then `sluice offsets reset --topic {}:{} --to-offset {end} --execute` (or an earlier \
             one: a replay can't duplicate)",
            partition.topic, partition.partition
        ),
    )
}

pub(super) fn start_unwritten(lane: &LaneName, other: &LaneName, topic: &Topic) -> Stop {
    Stop::usage(
        format!("kafka.start isn't set, and lane {lane} is new in a table where lane {other} covers topic {topic}"),
        "write kafka.start = \"earliest\" (reads everything again, adds no duplicate) or \"latest\" (skips what is there now), or \
         restore kafka.group_id if the group was renamed",
    )
}

pub(super) fn fenced(times: u32, reason: &str) -> Stop {
    Stop::refused(
        format!("fenced {times} times in a row without progress, last because {reason}"),
        "somebody moves this lane as fast as Sluice does: look for a second service with the same group_id and other members, \
         or for an engine that rolls the table back",
    )
}

pub(super) fn rejected(status: u16, text: &str) -> Stop {
    let exit = match status {
        401 | 403 => Exit::Usage,
        404 => Exit::Inconsistent,
        _ => Exit::Refused,
    };
    Stop::new(
        exit,
        format!("the catalog rejected the commit twice (status {status}): {text}"),
        "the rows are still in Kafka: mend what the catalog names and start again",
    )
}

pub(super) fn flood(flood: Flood, rules: BreakerRules) -> Stop {
    Stop::data(
        format!(
            "{} of the last {} records are dead letters: above dead_letter.rate_max = {}. None of this batch was sent",
            flood.letters, flood.records, rules.rate_max
        ),
        "mend the producer or its schema; to pass them all as dead letters, start with dead_letter.rate_max = 1.0",
    )
}
