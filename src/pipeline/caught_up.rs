//! `run --until-caught-up`: the last stable offsets at the start are the goal; when the table has them, the run ends.

use std::collections::BTreeMap;

use tokio::sync::oneshot;

use crate::core::instance::Instance;
use crate::core::table::Lane;
use crate::error::Stop;
use crate::pipeline::effects::{Names, Ports};
use crate::ports::{Down, LogEdge};
use crate::types::*;

#[derive(Default)]
pub enum CaughtUp {
    #[default]
    Start,
    Asking(oneshot::Receiver<Result<Goal, Stop>>),
    Reading(Goal),
    Ended,
}

pub type Goal = BTreeMap<TopicPartition, Offset>;

/// What to do now.
pub enum Step {
    Wait,
    /// Positions have reached the goal: commit what there is.
    Flush,
    /// The table has reached the goal.
    Close,
    Stop(Stop),
}

impl CaughtUp {
    /// `lane`: as the table had it last.
    pub fn next(&mut self, core: &Instance, lane: Option<&Lane>, ports: &Ports, names: &Names) -> Step {
        match self {
            Self::Start => {
                let (to, from) = oneshot::channel();
                let (ports, names) = (ports.clone(), names.clone());
                tokio::spawn(async move { to.send(ask(&ports, &names).await) });
                *self = Self::Asking(from);
                Step::Wait
            }
            Self::Asking(answer) => match answer.try_recv() {
                Ok(Ok(goal)) => {
                    *self = Self::Reading(goal);
                    Step::Wait
                }
                Ok(Err(stop)) => Step::Stop(stop),
                Err(_) => Step::Wait,
            },
            Self::Reading(goal) => {
                let step = reached(goal, core, lane);
                if matches!(step, Step::Close) {
                    *self = Self::Ended;
                }
                step
            }
            Self::Ended => Step::Wait,
        }
    }
}

fn reached(goal: &Goal, core: &Instance, lane: Option<&Lane>) -> Step {
    let Some(lane) = lane.filter(|_| core.is_placed()) else { return Step::Wait };
    let committed = |tp: &TopicPartition| lane.partitions.get(tp).map_or(-1, |p| p.next_offset);
    let read = |tp: &TopicPartition| match core.owned().get(tp) {
        Some(owned) => owned.position.as_ref().map_or(-1, |p| p.place.next_offset),
        None => committed(tp),
    };
    if goal.iter().all(|(tp, end)| committed(tp) >= *end) {
        Step::Close
    } else if goal.iter().all(|(tp, end)| read(tp) >= *end) {
        Step::Flush
    } else {
        Step::Wait
    }
}

async fn ask(ports: &Ports, names: &Names) -> Result<Goal, Stop> {
    let answered = ports.until_up(|| async {
        let partitions = ports.admin.partitions(&names.topics).await?;
        let all = partitions.iter().flat_map(|(t, ps)| ps.iter().map(|p| TopicPartition::new(t.clone(), *p)));
        let asked: Vec<_> = all.map(|tp| (tp, LogEdge::LastStable)).collect();
        let found = ports.admin.log_offsets(&asked).await?;
        match asked.iter().find(|(tp, _)| !found.contains_key(tp)) {
            Some((tp, _)) => Err(Down { dependency: "kafka", reason: format!("no end of {tp} was answered") }.into()),
            None => Ok(found),
        }
    });
    Ok(answered.await?.into_iter().map(|(tp, end)| (tp, end.offset)).collect())
}
