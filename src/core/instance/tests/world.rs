//! A world in memory around instances: logs, a group, a table with its history, requests on their way. Everything that can
//! happen is a step that somebody else chooses.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::core::batch::LateRecord;
use crate::core::instance::*;
use crate::core::plan::{Reference, SnapshotPlan, required_references};
use crate::core::table::*;
use crate::core::tripwire::{Trace, Witness};
use crate::core::{retire, rollback};
use crate::types::*;

pub use super::node::{Node, settings};

pub type Key = (EventHour, MessageId);
/// None: a control record.
pub type Log = Vec<Option<Key>>;

pub const LANE: &str = "g";

pub fn tp(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(topic, partition)
}

/// A request to commit that left an instance.
#[derive(Clone)]
pub struct Request {
    pub node: usize,
    pub incarnation: u64,
    pub ticket: Ticket,
    pub base_head: Option<SnapshotId>,
    pub base_tag: Option<SnapshotId>,
    pub plan: SnapshotPlan,
    pub files: Vec<FilePath>,
}

/// What the oracle remembers of a snapshot, whatever expires.
#[derive(Clone, Default)]
pub struct Ghost {
    pub parent: Option<SnapshotId>,
    pub ranges: BTreeMap<TopicPartition, OffsetRange>,
    pub opened: BTreeMap<TopicPartition, Offset>,
    /// Keys that another engine removed here.
    pub deleted: BTreeSet<Key>,
    pub live: BTreeSet<FilePath>,
}

#[derive(Default)]
pub struct World {
    pub logs: BTreeMap<TopicPartition, Log>,
    pub log_starts: BTreeMap<TopicPartition, Offset>,
    pub topic_ids: BTreeMap<Topic, TopicId>,
    pub exists: bool,
    pub snapshots: BTreeMap<SnapshotId, SnapshotView>,
    pub head: Option<SnapshotId>,
    pub tag: Option<SnapshotId>,
    pub properties: BTreeMap<LaneName, Result<LaneProperty, String>>,
    pub files: BTreeMap<FilePath, Vec<Key>>,
    pub ghosts: BTreeMap<SnapshotId, Ghost>,
    pub requests: Vec<Request>,
    pub mirrored: BTreeSet<Topic>,
    pub nodes: Vec<Node>,
    pub now_ms: u64,
    next: i64,
    version: u64,
    pub landed: u64,
    pub fenced: u64,
    /// Rolled back or expired: an instance may have to stop, typed.
    pub history_lost: bool,
}

impl World {
    pub fn new(logs: BTreeMap<TopicPartition, Log>) -> Self {
        let topic_ids = logs.keys().enumerate().map(|(i, tp)| (tp.topic.clone(), TopicId([i as u8 + 1; 16]))).collect();
        Self { logs, topic_ids, next: 100, ..Self::default() }
    }

    pub fn add_node(&mut self, settings: Settings) -> usize {
        self.nodes.push(Node::new(settings, 0));
        self.nodes.len() - 1
    }

    fn fresh(&mut self) -> i64 {
        self.next += 1;
        self.next
    }

    // ---- the table

    pub fn view(&self) -> TableView {
        let live = self.head.map(|h| self.ghosts[&h].live.clone()).unwrap_or_default();
        let live = live.iter().map(|path| {
            let keys = &self.files[path];
            LiveFile { path: path.clone(), hour: keys.first().map(|k| k.0), rows: keys.len() as u64, bytes: 1 }
        });
        TableView {
            uuid: 1,
            metadata_location: format!("v{}", self.version).into(),
            head: self.head,
            tag: self.tag,
            snapshots: self.snapshots.clone(),
            properties: self.properties.clone(),
            live: Arc::new(live.collect()),
        }
    }

    fn push_snapshot(&mut self, sluice: Option<SluiceKeys>, ghost: Ghost) -> SnapshotId {
        let id = SnapshotId(self.fresh());
        let view = SnapshotView { id, parent: self.head, timestamp_ms: id.0, sluice: sluice.map(Arc::new) };
        self.snapshots.insert(id, view);
        self.ghosts.insert(id, Ghost { parent: self.head, ..ghost });
        self.head = Some(id);
        self.version += 1;
        id
    }

    /// The catalog takes or refuses a request.
    pub fn land(&mut self, request: &Request) -> Option<SnapshotId> {
        let as_it_was = |reference: &Reference| match reference {
            Reference::Main => self.head == request.base_head,
            Reference::Tag => self.tag == request.base_tag,
        };
        if !required_references().iter().all(as_it_was) {
            return None;
        }
        let plan = &request.plan;
        let own = plan.own.as_ref();
        let lanes = plan.lanes.iter().map(|(name, lane)| {
            let own = own.filter(|(own, _)| own == name).map(|(_, change)| change.clone());
            (name.clone(), Ok(LaneEntry { lane: lane.clone(), own }))
        });
        let keys = SluiceKeys { commit_id: plan.commit_id, lanes: lanes.collect(), retired: plan.retired.clone() };
        let mut ghost = Ghost::default();
        match own {
            Some((_, OwnChange::Ranges { ranges, .. })) => ghost.ranges = ranges.clone(),
            Some((_, OwnChange::Reset(reset))) => {
                ghost.opened = reset.iter().map(|(tp, r)| (tp.clone(), r.to)).collect();
            }
            None => {}
        }
        ghost.live = self.head.map(|h| self.ghosts[&h].live.clone()).unwrap_or_default();
        ghost.live.extend(request.files.iter().cloned());
        let snapshot = self.push_snapshot(Some(keys), ghost);
        self.tag = Some(snapshot);
        for (name, lane) in plan.properties() {
            let property = LaneProperty { lane: lane.clone(), commit_id: plan.commit_id, snapshot };
            self.properties.insert(name.clone(), Ok(property));
        }
        self.properties.retain(|name, _| !plan.retired.contains(name));
        self.landed += 1;
        Some(snapshot)
    }

    pub fn ancestry(&self) -> Vec<SnapshotId> {
        let mut line = Vec::new();
        let mut next = self.head;
        while let Some(id) = next {
            line.push(id);
            next = self.ghosts[&id].parent;
        }
        line
    }

    // ---- an operator

    /// `table rollback`, also while the group runs.
    pub fn operator_rolls_back(&mut self, target: SnapshotId) -> Result<(), rollback::Refusal> {
        let plan = rollback::plan(&self.view(), target, &BTreeMap::new())?.plan;
        self.head = Some(plan.target);
        self.properties.extend(plan.properties.into_iter().map(|(name, property)| (name, Ok(property))));
        self.version += 1;
        Ok(())
    }

    /// `offsets delete`.
    pub fn operator_retires(&mut self, lane: &str) {
        let base = self.view();
        let commit = CommitId(self.fresh() as u128);
        let plan = retire::plan(&base, &lane.into(), &[], commit).expect("the lane can be retired");
        let (base_head, base_tag) = (base.head, base.tag);
        let ticket = Ticket(u64::MAX);
        let request = Request { node: usize::MAX, incarnation: 0, ticket, base_head, base_tag, plan, files: Vec::new() };
        self.land(&request).expect("nobody else commits meanwhile");
    }

    // ---- other engines

    pub fn roll_back(&mut self, to: SnapshotId) {
        assert!(self.snapshots.contains_key(&to), "rolled back to a snapshot that is there");
        self.head = Some(to);
        self.version += 1;
        self.history_lost = true;
    }

    pub fn delete_file(&mut self, path: &FilePath) {
        let mut live = self.ghosts[&self.head.expect("a table with files has a head")].live.clone();
        live.remove(path);
        let deleted = self.files[path].iter().copied().collect();
        self.push_snapshot(None, Ghost { live, deleted, ..Ghost::default() });
    }

    /// All files of one hour become one, with another name.
    pub fn compact(&mut self, hour: EventHour) {
        let mut live = self.ghosts[&self.head.expect("a table with files has a head")].live.clone();
        let inputs: Vec<FilePath> = live.iter().filter(|p| self.files[*p][0].0 == hour).cloned().collect();
        let keys = inputs.iter().flat_map(|p| self.files[p].clone()).collect();
        live.retain(|p| !inputs.contains(p));
        let path: FilePath = format!("compacted-{}", self.fresh()).into();
        self.files.insert(path.clone(), keys);
        live.insert(path);
        self.push_snapshot(None, Ghost { live, ..Ghost::default() });
    }

    /// All but the newest `keep` snapshots of main go.
    pub fn expire(&mut self, keep: usize) {
        let kept: BTreeSet<SnapshotId> = self.ancestry().into_iter().take(keep).collect();
        self.snapshots.retain(|id, _| kept.contains(id));
        self.tag = self.tag.filter(|t| kept.contains(t));
        self.history_lost = true;
        self.version += 1;
    }

    // ---- the group

    pub fn assign(&mut self, node: usize, partitions: BTreeSet<TopicPartition>) {
        self.nodes[node].assigned.extend(partitions.clone());
        self.nodes[node].coming.push(Event::Assigned { partitions });
    }

    pub fn restart(&mut self, node: usize, settings: Settings) {
        let old = &mut self.nodes[node];
        let partitions = old.assigned.clone();
        let mut fresh = Node::new(settings, old.incarnation + 1);
        std::mem::swap(old, &mut fresh);
        self.assign(node, partitions);
    }

    // ---- steps

    pub fn deliver(&mut self, node: usize, index: usize) {
        let event = self.nodes[node].coming.remove(index);
        self.feed(node, event);
    }

    pub fn feed(&mut self, node: usize, event: Event) {
        let now = self.now_ms;
        let this = &mut self.nodes[node];
        if this.stopped.is_some() {
            return;
        }
        let effects = this.core.handle(now, event);
        for effect in effects {
            self.immediate(node, effect);
        }
        let this = &mut self.nodes[node];
        this.asked.retain(|effect| match effect {
            Effect::Load { ticket, .. }
            | Effect::Probe { ticket, .. }
            | Effect::Prepare { ticket, .. }
            | Effect::Rewrite { ticket, .. }
            | Effect::LogEdges { ticket, .. }
            | Effect::CreateTable { ticket }
            | Effect::BackOff { ticket, .. } => this.core.wants(*ticket),
            _ => true,
        });
    }

    /// Effects without an answer happen at once, the others when somebody chooses so.
    fn immediate(&mut self, node: usize, effect: Effect) {
        let this = &mut self.nodes[node];
        match effect {
            Effect::Assign(starts) | Effect::Reposition(starts) => {
                for (tp, epoch, at) in starts.into_iter().filter(|(tp, ..)| this.assigned.contains(tp)) {
                    match at {
                        Some(at) => drop(this.reading.insert(tp, (epoch, at))),
                        None => drop(this.reading.remove(&tp)),
                    }
                }
            }
            Effect::Unassign(partitions) => {
                for tp in partitions {
                    this.reading.remove(&tp);
                    this.assigned.remove(&tp);
                }
            }
            Effect::Mirror { offsets, .. } => self.mirrored.extend(offsets.into_keys().map(|tp| tp.topic)),
            Effect::Forget(batch) => {
                this.rows.remove(&batch);
                this.taken_out.remove(&batch);
            }
            Effect::Report(Report::Fenced { .. }) => self.fenced += 1,
            Effect::Report(_) | Effect::Leave { .. } => {}
            Effect::Stop(stop) => this.stopped = Some(stop),
            Effect::Cover(files) => {
                for file in files {
                    let keys = &self.files[&file.path];
                    let ids = keys.iter().map(|k| k.1).collect();
                    let covered = Event::Covered { path: file.path, hour: keys[0].0, ids };
                    if !this.coming.contains(&covered) {
                        this.coming.push(covered);
                    }
                }
            }
            Effect::Post { ticket, base, plan, files } => {
                let (incarnation, plan) = (this.incarnation, *plan);
                let (base_head, base_tag) = (base.head, base.tag);
                self.requests.push(Request { node, incarnation, ticket, base_head, base_tag, plan, files });
            }
            other => this.asked.push(other),
        }
    }

    pub fn carry_out(&mut self, node: usize, index: usize) {
        let effect = self.nodes[node].asked.remove(index);
        let answered = |ticket, answer| Event::Answered { ticket, answer };
        let event = match effect {
            Effect::Load { ticket, with_witness } => {
                let table = self.exists.then(|| Arc::new(self.view()));
                let witness = with_witness.then(|| self.witness()).flatten();
                let load = Load { table, kafka: self.kafka(), witness, witnessed: with_witness };
                Event::Loaded { ticket, load }
            }
            Effect::CreateTable { ticket } => {
                self.exists = true;
                answered(ticket, Answer::Created)
            }
            Effect::LogEdges { ticket, partitions, latest } => {
                let edge = |tp: &TopicPartition| match latest {
                    true => self.logs[tp].len() as Offset,
                    false => self.log_starts.get(tp).copied().unwrap_or(0),
                };
                let edges = partitions.iter().map(|tp| (tp.clone(), edge(tp))).collect();
                answered(ticket, Answer::Edges(edges))
            }
            Effect::Probe { ticket, lookups, .. } => {
                let found = lookups.into_iter().map(|l| {
                    let keys = &self.files[&l.file.path];
                    let hits = l.ids.into_iter().filter(|id| keys.contains(&(l.hour, *id))).collect();
                    (l.hour, l.file.path, hits)
                });
                answered(ticket, Answer::Found(found.collect()))
            }
            Effect::Prepare { ticket, batch, taken_out, late } => {
                let _: Vec<LateRecord> = late;
                let hours = self.nodes[node].hours(batch);
                answered(ticket, Answer::Prepared(self.write(node, batch, hours, taken_out)))
            }
            Effect::Rewrite { ticket, batch, taken_out } => {
                let hours = taken_out.keys().copied().collect();
                answered(ticket, Answer::Prepared(self.write(node, batch, hours, taken_out)))
            }
            Effect::BackOff { ticket, .. } => answered(ticket, Answer::BackedOff),
            other => panic!("{other:?} is immediate"),
        };
        self.nodes[node].coming.push(event);
    }

    fn write(
        &mut self,
        node: usize,
        batch: BatchNumber,
        hours: BTreeSet<EventHour>,
        taken_out: BTreeMap<EventHour, BTreeSet<MessageId>>,
    ) -> Vec<AddedFile> {
        let gone = taken_out.into_iter().flat_map(|(hour, ids)| ids.into_iter().map(move |id| (hour, id)));
        let this = &mut self.nodes[node];
        this.taken_out.entry(batch).or_default().extend(gone);
        let rows: Vec<Key> = this.rows.get(&batch).cloned().unwrap_or_default();
        let out = this.taken_out[&batch].clone();
        let mut files = Vec::new();
        for hour in hours {
            let keys: Vec<Key> = rows.iter().filter(|k| k.0 == hour && !out.contains(k)).copied().collect();
            if !keys.is_empty() {
                let path: FilePath = format!("sluice-{}", self.fresh()).into();
                let ids = keys.iter().map(|k| k.1).collect();
                self.files.insert(path.clone(), keys);
                files.push(AddedFile { path, hour, ids });
            }
        }
        files
    }

    fn kafka(&self) -> KafkaView {
        let mut partitions: BTreeMap<Topic, Vec<i32>> = BTreeMap::new();
        for tp in self.logs.keys() {
            partitions.entry(tp.topic.clone()).or_default().push(tp.partition);
        }
        let identity = SourceIdentity { cluster_id: Some("c".into()), topics: self.topic_ids.clone() };
        KafkaView::new(identity, partitions)
    }

    fn witness(&self) -> Option<Witness> {
        let mut witness = Witness::default();
        for topic in &self.mirrored {
            witness.add(topic.clone(), Trace::GroupOffsets);
        }
        witness.seen()
    }

    /// The consumer of a node delivers up to `count` records of a partition, or its end.
    pub fn read(&mut self, node: usize, partition: &TopicPartition, count: usize) {
        let Some((epoch, from)) = self.nodes[node].reading.get(partition).copied() else { return };
        let log = &self.logs[partition];
        let end = log.len().min(from as usize + count);
        let keys: Vec<(Offset, Key)> = (from..end as Offset).filter_map(|o| log[o as usize].map(|key| (o, key))).collect();
        if keys.is_empty() {
            if end == log.len() {
                let event = Event::EndOfPartition { partition: partition.clone(), epoch, offset: end as Offset };
                self.feed(node, event);
            }
            if let Some(reading) = self.nodes[node].reading.get_mut(partition) {
                reading.1 = reading.1.max(end as Offset);
            }
            return;
        }
        let metas: Vec<RecordMeta> = keys
            .iter()
            .map(|(offset, (hour, id))| RecordMeta {
                offset: *offset,
                leader_epoch: None,
                body: Body::Row { id: *id, event_time: hour.bounds().0 },
            })
            .collect();
        let now = self.now_ms;
        let this = &mut self.nodes[node];
        if let Some(verdicts) = this.core.judge(now, partition, epoch, &metas) {
            let (batch, _) = this.core.open_batch();
            for ((_, key), verdict) in keys.iter().zip(verdicts) {
                if matches!(verdict, Verdict::Fresh { .. }) {
                    this.rows.entry(batch).or_default().push(*key);
                }
            }
        }
        this.reading.insert(partition.clone(), (epoch, end as Offset));
    }

    /// Tells a node how its request ended, if it still lives and waits.
    pub fn reply(&mut self, request: &Request, posted: Posted) {
        let node = &mut self.nodes[request.node];
        if node.incarnation == request.incarnation {
            node.coming.push(Event::Answered { ticket: request.ticket, answer: Answer::Posted(posted) });
        }
    }
}
