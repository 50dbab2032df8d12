//! Port `Table`: requests to commit, and what can become of one between the process and the catalog.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;

use crate::core::plan::{RollBackPlan, SnapshotPlan};
use crate::core::table::*;
use crate::ports::*;
use crate::sim::oracle::Invariant;
use crate::sim::ports::SimPorts;
use crate::sim::scenario::Dependency;
use crate::sim::world::World;
use crate::types::*;

/// What becomes of a request to commit.
#[derive(Clone, Copy)]
enum Fate {
    Answered,
    NotSent,
    /// It landed, or not; the process isn't told.
    AnswerLost,
    /// It landed, and the answer says conflict: the request came twice.
    OwnSuccessAsConflict,
    /// The process isn't told, and it lands after so long, if it still fits.
    Held(u64),
    NeverArrived,
    /// It is answered, and comes once more.
    Replayed(u64),
    Rejected,
}

impl SimPorts {
    fn fate(&self) -> Fate {
        let (rates, held) = {
            let world = self.0.world.lock();
            let held = world.slots[self.0.slot].held_posts.filter(|(until, _)| world.now_ms() < *until && !world.healed);
            (world.rates(), held)
        };
        if let Some((_, after_ms)) = held {
            return Fate::Held(after_ms);
        }
        self.0.draw(|c| match () {
            _ if c.happens(rates.post_fails) => Fate::NotSent,
            _ if c.happens(rates.post_rejected) => Fate::Rejected,
            _ if c.happens(rates.post_answer_lost) && c.happens(0.7) => Fate::AnswerLost,
            _ if c.happens(rates.post_answer_lost) => Fate::OwnSuccessAsConflict,
            _ if c.happens(rates.post_held) && c.happens(0.3) => Fate::NeverArrived,
            _ if c.happens(rates.post_held) => Fate::Held(c.delay_ms(0.8)),
            _ if c.happens(rates.post_replayed) => Fate::Replayed(c.delay_ms(0.8)),
            _ => Fate::Answered,
        })
    }

    /// The catalog takes the request, whether or not the process still lives.
    fn land(&self, base: &TableView, plan: &SnapshotPlan, files: &[FilePath]) -> Option<SnapshotId> {
        land(&mut self.0.world.lock(), self.0.slot, base, plan, files)
    }

    fn land_later(&self, after_ms: u64, base: &TableView, plan: &SnapshotPlan, files: &[FilePath]) {
        let (world, slot) = (self.0.world.clone(), self.0.slot);
        let (base, plan, files) = (base.clone(), plan.clone(), files.to_vec());
        tokio::spawn(async move {
            sleep(Duration::from_millis(after_ms)).await;
            land(&mut world.lock(), slot, &base, &plan, &files);
        });
    }
}

fn land(world: &mut World, slot: usize, base: &TableView, plan: &SnapshotPlan, files: &[FilePath]) -> Option<SnapshotId> {
    let reopened = reopened(world, slot, plan);
    let landed = world.lake.commit(base, plan, files);
    world.note(|| match landed {
        Some(id) => format!("slot {slot}: snapshot {id} on {:?}: {}", base.head, shown(plan, files)),
        None => format!("slot {slot}: a commit on {:?} is refused", base.head),
    });
    if landed.is_some() {
        if let Some(topic) = reopened {
            world.violates(Invariant::StopsWhenItMust, format!("{topic} is opened again by itself"));
        }
        world.judge();
    }
    landed
}

/// What the property knows, or a group's offset for longer than the process runs, is never opened again by itself.
fn reopened(world: &World, slot: usize, plan: &SnapshotPlan) -> Option<Topic> {
    let Some((name, OwnChange::Reset(opened))) = &plan.own else { return None };
    let property = world.lake.property(name);
    let (lane, started) = (world.slots[slot].lane, world.slots[slot].started_ms);
    let partitions = |topic: &Topic| opened.keys().filter(|tp| tp.topic == *topic).count();
    let topics: Vec<Topic> = opened.iter().filter(|(_, r)| r.from.is_none()).map(|(tp, _)| tp.topic.clone()).collect();
    let mirrored = |topic: &Topic| world.mirrored_since_ms.get(&(lane, topic.clone())).is_some_and(|since| *since < started);
    let known = |topic: &Topic| mirrored(topic) || property.as_ref().is_some_and(|lane| lane.topics().contains(topic));
    // a partition that was added to a topic is opened alone
    let whole = |topic: &Topic| partitions(topic) == world.kafka.topics[topic].partitions as usize;
    topics.into_iter().find(|topic| known(topic) && whole(topic))
}

fn shown(plan: &SnapshotPlan, files: &[FilePath]) -> String {
    let change = match &plan.own {
        Some((lane, OwnChange::Ranges { ranges, counts })) => {
            let ranges: Vec<String> = ranges.iter().map(|(tp, r)| format!("{tp}[{},{})", r.start, r.end)).collect();
            format!("{lane} {} {counts:?}", ranges.join(" "))
        }
        Some((lane, OwnChange::Reset(reset))) => format!("{lane} reset {reset:?}"),
        None => "carries".into(),
    };
    format!("{change} {files:?}")
}

#[async_trait]
impl Table for SimPorts {
    async fn load(&self) -> Result<Loaded, PortError> {
        self.0.set_out(Dependency::Catalog, "catalog", "loading the table").await?;
        let loaded = self.0.act(|world| world.lake.view()).await;
        self.0.acknowledged("table loaded").await;
        Ok(loaded.map_or(Loaded::Missing, Loaded::Table))
    }

    async fn create(&self) -> Result<(), PortError> {
        self.0.set_out(Dependency::Catalog, "catalog", "creating the table").await?;
        self.0
            .act(|world| {
                world.note(|| format!("slot {} creates the table", self.0.slot));
                world.lake.create();
            })
            .await;
        self.0.acknowledged("table created").await;
        Ok(())
    }

    async fn commit(&self, base: &TableView, plan: &SnapshotPlan, files: &[WrittenFile]) -> Outcome {
        let paths: Vec<FilePath> = files.iter().map(|f| f.path.clone()).collect();
        let fate = self.fate();
        if let Err(down) = self.0.set_out(Dependency::Catalog, "catalog", "posting a commit").await {
            return Outcome::NotSent(down.reason);
        }
        self.0
            .act(|world| {
                let told = matches!(fate, Fate::Answered | Fate::NotSent | Fate::Rejected);
                world.stats.ambiguous += u64::from(!told);
                world.stats.faults += u64::from(!matches!(fate, Fate::Answered));
            })
            .await;
        let landed = match fate {
            Fate::NotSent => return Outcome::NotSent("the connection was refused".into()),
            Fate::Rejected => return Outcome::Rejected { status: 400, text: "no".into() },
            Fate::NeverArrived => None,
            Fate::Held(ms) => {
                self.land_later(ms, base, plan, &paths);
                None
            }
            Fate::Replayed(ms) => {
                self.land_later(ms, base, plan, &paths);
                self.land(base, plan, &paths)
            }
            Fate::Answered | Fate::AnswerLost | Fate::OwnSuccessAsConflict => self.land(base, plan, &paths),
        };
        self.0.acknowledged("commit answered").await;
        match (fate, landed) {
            (Fate::AnswerLost | Fate::Held(_) | Fate::NeverArrived, _) => Outcome::Unknown("no answer".into()),
            (Fate::OwnSuccessAsConflict, _) | (_, None) => Outcome::Conflict("the table has moved".into()),
            (_, Some(id)) => Outcome::Committed(id),
        }
    }

    async fn roll_back(&self, base: &TableView, plan: &RollBackPlan) -> Outcome {
        let landed = self.0.act(|world| world.lake.roll_back_ours(base, plan)).await;
        if landed { Outcome::Committed(plan.target) } else { Outcome::Conflict("the table has moved".into()) }
    }
}
