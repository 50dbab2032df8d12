//! What an instance asks of the world. What has no answer happens at once; what nobody else can see is answered at once;
//! everything else waits until it is chosen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::core::instance::*;
use crate::core::plan::SnapshotPlan;
use crate::core::table::TableView;
use crate::core::tripwire::{Trace, Witness};
use crate::sim::exhaustive::canonical::{Names, Printed, keys_of};
use crate::sim::exhaustive::oracle::Violation;
use crate::sim::exhaustive::state::*;
use crate::sim::exhaustive::steps::Step;
use crate::sim::exhaustive::{BrokenPromise, Key};
use crate::types::*;

impl Step<'_> {
    pub fn carry_out(&mut self, instance: u8, effect: Effect) {
        match effect {
            Effect::Assign(starts) => {
                self.process(instance).answering = false;
                self.start_reading(instance, starts);
            }
            Effect::Reposition(_) if self.broken(BrokenPromise::ConsumerIgnoresReposition) => self.take_new_epochs(instance),
            Effect::Reposition(starts) => self.start_reading(instance, starts),
            Effect::Unassign(partitions) => self.unassign(instance, partitions),
            Effect::Mirror { .. } => self.state.mirrored = true,
            Effect::Forget(batch) => {
                self.process(instance).rows.remove(&batch);
                self.process(instance).taken_out.remove(&batch);
            }
            Effect::Cover(files) => {
                let wanted = &mut self.process(instance).wanted;
                *wanted = files;
                wanted.sort_by(|a, b| a.path.cmp(&b.path));
            }
            Effect::Report(_) => {}
            Effect::Leave { .. } => self.start_again(instance),
            Effect::Stop(stop) => self.violation = Some(Violation::Stopped(stop.to_string())),
            Effect::Load { ticket, with_witness } => self.ask(instance, Asked::Load { ticket, with_witness }),
            Effect::CreateTable { ticket } => self.ask(instance, Asked::CreateTable { ticket }),
            Effect::LogEdges { ticket, partitions, .. } => self.ask(instance, Asked::LogEdges { ticket, partitions }),
            Effect::Probe { ticket, lookups, .. } => self.ask(instance, Asked::Probe { ticket, lookups }),
            Effect::Prepare { ticket, batch, taken_out, .. } => {
                let hours = self.process(instance).rows.get(&batch).into_iter().flatten().map(|key| key.0).collect();
                self.write(instance, ticket, batch, hours, taken_out);
            }
            Effect::Rewrite { ticket, batch, taken_out } => {
                self.write(instance, ticket, batch, taken_out.keys().copied().collect(), taken_out);
            }
            Effect::Post { ticket, base, plan, files } => self.post(instance, ticket, &base, *plan, files),
            Effect::BackOff { .. } if self.broken(BrokenPromise::PauseNeverEnds) => {}
            Effect::BackOff { ticket, .. } => self.feed(instance, Event::Answered { ticket, answer: Answer::BackedOff }),
        }
    }

    fn broken(&self, promise: BrokenPromise) -> bool {
        self.bounds.broken == Some(promise)
    }

    fn ask(&mut self, instance: u8, asked: Asked) {
        self.process(instance).asked.push(asked);
    }

    fn post(&mut self, instance: u8, ticket: Ticket, base: &TableView, plan: SnapshotPlan, files: Vec<FilePath>) {
        let (base_head, base_tag) = (base.head, base.tag);
        self.state.requests.push(Printed::new(Request {
            waits: Some((instance, ticket)),
            base_head,
            base_tag,
            plan,
            files,
        }));
    }

    // ---- the source

    fn start_reading(&mut self, instance: u8, starts: Vec<(TopicPartition, Epoch, Option<Offset>)>) {
        let process = self.process(instance);
        for (tp, epoch, at) in starts.into_iter().filter(|(tp, ..)| process.assigned.contains(tp)) {
            match at {
                Some(at) => drop(process.reading.insert(tp, (epoch, at))),
                None => drop(process.reading.remove(&tp)),
            }
        }
    }

    fn take_new_epochs(&mut self, instance: u8) {
        let process = self.process(instance);
        for (tp, owned) in process.core.owned() {
            if let Some((epoch, _)) = process.reading.get_mut(tp) {
                *epoch = owned.epoch;
            }
        }
    }

    fn unassign(&mut self, instance: u8, partitions: BTreeSet<TopicPartition>) {
        let process = self.process(instance);
        process.answering = false;
        for tp in &partitions {
            process.reading.remove(tp);
            process.assigned.remove(tp);
        }
        for tp in partitions {
            self.let_go(instance, tp.partition as usize);
        }
    }

    // ---- files

    fn write(
        &mut self,
        instance: u8,
        ticket: Ticket,
        batch: BatchNumber,
        hours: BTreeSet<EventHour>,
        taken_out: BTreeMap<EventHour, BTreeSet<MessageId>>,
    ) {
        let gone = taken_out.into_iter().flat_map(|(hour, ids)| ids.into_iter().map(move |id| (hour, id)));
        let process = self.process(instance);
        let out = process.taken_out.entry(batch).or_default();
        out.extend(gone);
        let mut rows: Vec<Key> = process.rows.get(&batch).cloned().unwrap_or_default();
        rows.retain(|key| !out.contains(key));
        rows.sort();
        let mut names = Names::of(&self.state);
        let mut files = Vec::new();
        for hour in hours {
            let ids: Arc<[MessageId]> = rows.iter().filter(|key| key.0 == hour).map(|key| key.1).collect();
            if !ids.is_empty() {
                files.push(AddedFile { path: names.fresh_file(&instance.to_string(), hour, &ids), hour, ids });
            }
        }
        self.feed(instance, Event::Answered { ticket, answer: Answer::Prepared(files) });
    }

    pub fn cover(&mut self, instance: u8) {
        for file in std::mem::take(&mut self.process(instance).wanted) {
            let keys = keys_of(&file.path);
            let ids = keys.iter().map(|key| key.1).collect();
            self.feed(instance, Event::Covered { path: file.path, hour: keys[0].0, ids });
        }
    }

    // ---- answers

    /// The world as it is now answers.
    pub fn answer(&mut self, asked: Asked) -> Event {
        match asked {
            Asked::Load { ticket, with_witness } => {
                let table = self.state.table.exists.then(|| Arc::new(self.state.table.view()));
                let witness = (with_witness && self.state.mirrored).then(|| {
                    let mut witness = Witness::default();
                    witness.add(TOPIC.into(), Trace::GroupOffsets);
                    witness
                });
                let load = Load { table, kafka: kafka(self.bounds), witness, witnessed: with_witness };
                Event::Loaded { ticket, load }
            }
            Asked::CreateTable { ticket } => {
                self.state.table.edit().exists = true;
                Event::Answered { ticket, answer: Answer::Created }
            }
            Asked::LogEdges { ticket, partitions } => {
                let edges = partitions.into_iter().map(|tp| (tp, 0)).collect();
                Event::Answered { ticket, answer: Answer::Edges(edges) }
            }
            Asked::Probe { ticket, lookups } => {
                let deaf = self.broken(BrokenPromise::FailedProbeIsNo);
                let found = lookups.into_iter().map(|lookup| {
                    let keys = keys_of(&lookup.file.path);
                    let holds = |id: &MessageId| keys.contains(&(lookup.hour, *id)) && !deaf;
                    let hits = lookup.ids.into_iter().filter(holds).collect();
                    (lookup.hour, lookup.file.path, hits)
                });
                Event::Answered { ticket, answer: Answer::Found(found.collect()) }
            }
        }
    }
}
