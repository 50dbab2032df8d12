//! `sluice offsets reset`: where a lane goes when an operator moves it. Pure: from what the table and Kafka say to a
//! plan that can be printed and carried out, or to a refusal with its reason.

mod arguments;
mod refusal;

use std::collections::{BTreeMap, BTreeSet};

pub use arguments::{ArgumentError, Scope, TopicScope, parse_datetime_ms, parse_topic_scope};
pub use refusal::Refusal;

use crate::core::lane::{self, LaneStop};
use crate::core::plan::SnapshotPlan;
use crate::core::planted::{Bug, planted};
use crate::core::table::*;
use crate::types::*;

/// Where to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    Earliest,
    /// The last stable offset.
    Latest,
    Offset(Offset),
    /// Relative to where the partition stands; negative is back.
    Shift(i64),
    /// First record whose broker timestamp is not before this; the log end where there is none. Milliseconds.
    Datetime(i64),
    Listed(BTreeMap<TopicPartition, Offset>),
    /// The table property's own places, for a lane whose snapshots another engine has expired.
    Property,
}

/// What reading the lane gave.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reading<'a> {
    Stands(&'a Lane),
    /// The table has never known the lane: everything is an opening.
    Unknown,
    /// It can't be known where the lane stands.
    Stopped {
        /// The lane as the history has it, where that was readable and something else contradicts it.
        found: Option<&'a Lane>,
        /// The property's, where there is one and it can be read.
        property: Option<&'a Lane>,
        /// Whether the property may be gone on from: the walk ended at an expired snapshot.
        property_offered: bool,
    },
}

impl<'a> Reading<'a> {
    /// From what reading lane `name` of this table gave.
    pub fn of(table: &'a TableView, name: &LaneName, read: &'a lane::Reading) -> Self {
        let property = table.properties.get(name).and_then(|p| p.as_ref().ok()).map(|p| &p.lane);
        match read {
            lane::Reading::Known { lane, .. } => Self::Stands(lane),
            lane::Reading::New => Self::Unknown,
            lane::Reading::Stop(stop) => Self::Stopped {
                found: in_history(table, name).filter(|_| matches!(stop, LaneStop::PropertyKnowsMoreTopics { .. })),
                property,
                property_offered: matches!(stop, LaneStop::HistoryMissing { .. }),
            },
        }
    }
}

fn in_history<'a>(table: &'a TableView, name: &LaneName) -> Option<&'a Lane> {
    table.ancestry().filter_map(Result::ok).find_map(|snapshot| {
        let entry = snapshot.sluice.as_ref()?.lanes.get(name)?;
        entry.as_ref().ok().map(|entry| &entry.lane)
    })
}

/// A partition as Kafka has it now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LogEdges {
    pub start: Offset,
    /// Last stable offset.
    pub end: Offset,
    /// For [`Target::Datetime`]: the offset that Kafka answered for it.
    pub at_datetime: Option<Offset>,
}

/// What happens to rows that are late, for the warning only.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LateRows {
    Admitted,
    Withheld,
}

#[derive(Clone, Debug)]
pub struct Situation<'a> {
    pub reading: Reading<'a>,
    /// Every partition of every topic that the lane or the scope names and Kafka has.
    pub logs: &'a BTreeMap<TopicPartition, LogEdges>,
    /// Cluster id and topic ids as Kafka answers now.
    pub identity: &'a SourceIdentity,
    /// Client ids of the group's members.
    pub members: &'a [String],
    /// The configured topics: what `--all-topics` means beside those of the lane.
    pub topics: &'a [Topic],
    pub late: LateRows,
    /// `event_time.watermark_delay`
    pub watermark_delay: Micros,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Move {
    /// None: an opening.
    pub from: Option<Offset>,
    pub to: Offset,
    /// What was asked for, where the log doesn't reach there.
    pub asked: Option<Offset>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ResetPlan {
    pub moves: BTreeMap<TopicPartition, Move>,
    /// The lane as it stands after the reset.
    pub lane: Lane,
    /// For a person to read before `--execute`.
    pub warnings: Vec<String>,
}

impl ResetPlan {
    /// The snapshot that carries it out on this base, with all other lanes as they are there.
    pub fn snapshot(&self, base: &TableView, name: &LaneName, commit_id: CommitId) -> SnapshotPlan {
        let mut lanes = lane::read_all(base, None).readable;
        lanes.insert(name.clone(), self.lane.clone());
        SnapshotPlan { commit_id, lanes, own: Some((name.clone(), self.change())), retired: BTreeSet::new() }
    }

    /// What the snapshot records.
    pub fn change(&self) -> OwnChange {
        let resets = self.moves.iter().map(|(tp, m)| (tp.clone(), ResetRange { from: m.from, to: m.to }));
        OwnChange::Reset(resets.collect())
    }
}

/// Plans the reset of `scope` to `target`.
pub fn plan(situation: &Situation<'_>, scope: &Scope, target: &Target) -> Result<ResetPlan, Refusal> {
    if !situation.members.is_empty() {
        return Err(Refusal::GroupHasMembers { members: situation.members.to_vec() });
    }
    let before = standing(situation, target)?;
    let partitions = named(situation, &before, scope)?;
    check_identity(situation, &before, &partitions)?;
    check_openings(situation, &before, &partitions)?;
    let mut plan = ResetPlan { moves: BTreeMap::new(), lane: before.clone(), warnings: Vec::new() };
    for tp in partitions {
        let place = place_of(situation, &before, &tp, target)?;
        apply(situation, &before, tp, place, target, &mut plan);
    }
    record_identity(situation, &mut plan);
    // Here it may go back, and there is none where no partition has a record before its place.
    let begun = plan.lane.partitions.values().any(|p| p.max_event_time.is_some());
    plan.lane.watermark = plan.lane.advanced_watermark(situation.watermark_delay).filter(|_| begun);
    warn(situation, &before, target, &mut plan);
    Ok(plan)
}

/// The lane that the reset starts from.
fn standing(situation: &Situation<'_>, target: &Target) -> Result<Lane, Refusal> {
    match (situation.reading, target) {
        (Reading::Stopped { found: None, property: Some(lane), property_offered: true }, Target::Property) => {
            let partitions = BTreeMap::new();
            Ok(Lane { partitions, totals: lane.totals, ..Lane::default() })
        }
        (Reading::Stands(_), Target::Property) => Err(Refusal::PropertyNotNeeded),
        (_, Target::Property) => Err(Refusal::PropertyNotOffered),
        (Reading::Stands(lane) | Reading::Stopped { found: Some(lane), .. }, _) => Ok(lane.clone()),
        (Reading::Unknown | Reading::Stopped { .. }, _) => Ok(Lane::default()),
    }
}

/// The partitions that the scope means: those of Kafka, and those of the lane that Kafka has no longer.
fn named(situation: &Situation<'_>, before: &Lane, scope: &Scope) -> Result<BTreeSet<TopicPartition>, Refusal> {
    let known: BTreeSet<TopicPartition> = situation.logs.keys().chain(before.partitions.keys()).cloned().collect();
    let of_topic = |topic: &Topic| known.iter().filter(|tp| tp.topic == *topic).cloned().collect::<Vec<_>>();
    let exists = |topic: &Topic| situation.logs.keys().any(|tp| tp.topic == *topic);
    let mut named = BTreeSet::new();
    match scope {
        Scope::AllTopics => {
            let topics: BTreeSet<Topic> = situation.topics.iter().cloned().chain(before.topics()).collect();
            for topic in topics {
                if !exists(&topic) {
                    return Err(Refusal::NoSuchTopic { topic });
                }
                named.extend(of_topic(&topic));
            }
        }
        Scope::Topics(topics) => {
            for TopicScope { topic, partitions } in topics {
                if !exists(topic) {
                    return Err(Refusal::NoSuchTopic { topic: topic.clone() });
                }
                let Some(partitions) = partitions else {
                    named.extend(of_topic(topic));
                    continue;
                };
                for partition in partitions {
                    let tp = TopicPartition::new(topic.clone(), *partition);
                    if !known.contains(&tp) {
                        return Err(Refusal::NoSuchPartition { partition: tp });
                    }
                    named.insert(tp);
                }
            }
        }
    }
    Ok(named)
}

fn all_named<'a>(mut of: impl Iterator<Item = &'a TopicPartition>, partitions: &BTreeSet<TopicPartition>) -> bool {
    of.all(|tp| partitions.contains(tp))
}

/// A partial reset would bless the old offsets of the partitions that it leaves out.
fn check_identity(situation: &Situation<'_>, before: &Lane, partitions: &BTreeSet<TopicPartition>) -> Result<(), Refusal> {
    let now = situation.identity;
    if let Some((was, is)) = before.source.cluster_id.as_ref().zip(now.cluster_id.as_ref()).filter(|(was, is)| was != is)
        && !all_named(before.partitions.keys().chain(situation.logs.keys()), partitions)
    {
        return Err(Refusal::ClusterChanged { was: was.clone(), is: is.clone() });
    }
    let topics: BTreeSet<&Topic> = partitions.iter().map(|tp| &tp.topic).collect();
    for topic in topics {
        let ids = before.source.topics.get(topic).zip(now.topics.get(topic));
        let Some((was, is)) = ids.filter(|(was, is)| was != is) else { continue };
        let of_topic = before.partitions.keys().chain(situation.logs.keys()).filter(|tp| tp.topic == *topic);
        if !all_named(of_topic, partitions) && !planted(Bug::PartialResetAccepted) {
            return Err(Refusal::TopicChanged { topic: topic.clone(), was: *was, is: *is });
        }
    }
    Ok(())
}

/// A topic is opened whole: a partition left out would be taken for one that was added later, and start at 0.
fn check_openings(situation: &Situation<'_>, before: &Lane, partitions: &BTreeSet<TopicPartition>) -> Result<(), Refusal> {
    let known = before.topics();
    let opened: BTreeSet<&Topic> = partitions.iter().map(|tp| &tp.topic).filter(|t| !known.contains(*t)).collect();
    for topic in opened {
        let left_out = situation.logs.keys().find(|tp| tp.topic == *topic && !partitions.contains(tp));
        if let Some(left_out) = left_out {
            return Err(Refusal::OpeningInPart { topic: topic.clone(), left_out: left_out.clone() });
        }
    }
    // What the stopped lane knew and isn't named would be opened by `start`, which may skip it.
    if let Reading::Stopped { property: Some(property), .. } = situation.reading {
        let named = |topic: &Topic| partitions.iter().any(|tp| tp.topic == *topic);
        let forgotten = property.topics().into_iter().find(|topic| !known.contains(topic) && !named(topic));
        if let Some(topic) = forgotten {
            return Err(Refusal::StoppedTopicLeftOut { topic });
        }
    }
    Ok(())
}

/// The offset that the target means, before it is cut to the log.
fn place_of(
    situation: &Situation<'_>,
    before: &Lane,
    tp: &TopicPartition,
    target: &Target,
) -> Result<Option<Offset>, Refusal> {
    // A partition that the recreated topic doesn't have: if it comes back, it begins at the beginning.
    let Some(log) = situation.logs.get(tp) else { return Ok(None) };
    let stands = before.partitions.get(tp).map(|p| p.next_offset);
    let place = match target {
        Target::Earliest => log.start,
        Target::Latest => log.end,
        Target::Offset(offset) => *offset,
        Target::Shift(by) => match stands {
            Some(stands) => stands.saturating_add(*by),
            None => return Err(Refusal::ShiftOfUnknown { partition: tp.clone() }),
        },
        Target::Datetime(_) => log.at_datetime.unwrap_or(log.end),
        Target::Listed(offsets) => match offsets.get(tp) {
            Some(offset) => *offset,
            None => return Err(Refusal::NotListed { partition: tp.clone() }),
        },
        Target::Property => {
            let Reading::Stopped { property: Some(property), .. } = situation.reading else {
                return Err(Refusal::PropertyNotOffered);
            };
            property.partitions.get(tp).map_or(log.start, |p| p.next_offset)
        }
    };
    Ok(Some(place))
}

fn apply(
    situation: &Situation<'_>,
    before: &Lane,
    tp: TopicPartition,
    place: Option<Offset>,
    target: &Target,
    plan: &mut ResetPlan,
) {
    let log = situation.logs.get(&tp);
    let asked = place.unwrap_or(0);
    let to = log.map_or(0, |log| asked.clamp(log.start, log.end.max(log.start)));
    let stood = before.partitions.get(&tp);
    let replaced = is_replaced(situation, before, &tp.topic);
    let progress = match (stood, target, situation.reading) {
        (_, Target::Property, Reading::Stopped { property: Some(property), .. }) => match property.partitions.get(&tp) {
            Some(progress) if progress.next_offset == to => progress.clone(),
            _ => Progress::opened_at(to),
        },
        (Some(stood), ..) if to >= stood.next_offset && !replaced => {
            Progress { next_offset: to, max_event_time: stood.max_event_time, idle: false, leader_epoch: stood.leader_epoch }
        }
        // Behind it everything is read anew: what was late the first time has to be found late again.
        _ => Progress::opened_at(to),
    };
    plan.lane.partitions.insert(tp.clone(), progress);
    let from = stood.map(|p| p.next_offset);
    plan.moves.insert(tp, Move { from, to, asked: (asked != to).then_some(asked) });
}

/// Whether the records behind the lane's offsets are another topic's than those that Kafka has now.
fn is_replaced(situation: &Situation<'_>, before: &Lane, topic: &Topic) -> bool {
    let now = situation.identity;
    let cluster = before.source.cluster_id.as_ref().zip(now.cluster_id.as_ref()).is_some_and(|(was, is)| was != is);
    cluster || before.source.topics.get(topic).zip(now.topics.get(topic)).is_some_and(|(was, is)| was != is)
}

/// Every reset records the ids as Kafka has them now; those of topics that it doesn't name stay as they were.
fn record_identity(situation: &Situation<'_>, plan: &mut ResetPlan) {
    let source = &mut plan.lane.source;
    if let Some(cluster_id) = &situation.identity.cluster_id {
        source.cluster_id = Some(cluster_id.clone());
    }
    for tp in plan.moves.keys() {
        if let Some(id) = situation.identity.topics.get(&tp.topic) {
            source.topics.insert(tp.topic.clone(), *id);
        }
    }
}

fn warn(situation: &Situation<'_>, before: &Lane, target: &Target, plan: &mut ResetPlan) {
    let mut warnings = Vec::new();
    let mut back = false;
    for (tp, Move { from, to, asked }) in &plan.moves {
        if let Some(asked) = asked {
            warnings.push(format!("{tp}: offset {asked} is not in the log, {to} is taken"));
        }
        match from {
            _ if is_replaced(situation, before, &tp.topic) => {}
            Some(from) if to > from => {
                warnings.push(format!("{tp}: records [{from}, {to}) are passed over and will not be in Gold"))
            }
            Some(from) if to < from => back = true,
            _ => {}
        }
    }
    if back && situation.late == LateRows::Withheld {
        warnings.push(
            "event times of partitions moved back are cleared: rows that were late the first time may be added, none is taken away"
                .to_string(),
        );
    }
    let changed: BTreeSet<&Topic> = plan.moves.keys().map(|tp| &tp.topic).collect();
    for topic in changed.into_iter().filter(|topic| is_replaced(situation, before, topic)) {
        warnings.push(format!("{topic} is another topic than the lane's: its new identity is recorded"));
    }
    if let Reading::Stopped { found: None, .. } = situation.reading {
        warnings.push("the lane can't be read: its partitions are opened anew at these places".to_string());
    }
    if *target == Target::Property {
        warnings.push(
            "if anybody rolled the table back before its history was expired, what was committed after the roll-back's target is \
             lost this way: --to-datetime before it reads it again, and can't duplicate"
                .to_string(),
        );
    }
    plan.warnings = warnings;
}

#[cfg(test)]
mod tests;
