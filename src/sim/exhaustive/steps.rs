//! One step: a choice is carried out, and the state that follows.

use std::collections::BTreeSet;

use crate::core::instance::*;
use crate::sim::exhaustive::choices::{Choice, next_record};
use crate::sim::exhaustive::oracle::Violation;
use crate::sim::exhaustive::state::*;
use crate::sim::exhaustive::{Bounds, Key};
use crate::types::*;

/// A step on its way.
pub struct Step<'a> {
    pub bounds: &'a Bounds,
    pub state: State,
    /// Instances that did something.
    pub stepped: BTreeSet<u8>,
    /// What ended it before its end.
    pub violation: Option<Violation>,
}

impl State {
    pub fn after(&self, bounds: &Bounds, choice: Choice) -> Result<State, Violation> {
        let mut step = Step { bounds, state: self.clone(), stepped: BTreeSet::new(), violation: None };
        step.take(choice);
        step.refuse_what_cannot_land();
        match step.violation {
            Some(violation) => Err(violation),
            None => {
                step.state.canonicalize(&step.stepped);
                Ok(step.state)
            }
        }
    }
}

impl Step<'_> {
    fn take(&mut self, choice: Choice) {
        match choice {
            Choice::Rebalance { instance } => self.rebalance(instance),
            Choice::Record { instance, partition } => self.record(instance, &tp(partition.into())),
            Choice::End { instance, partition } => self.end(instance, &tp(partition.into())),
            Choice::Cover { instance } => self.cover(instance),
            Choice::Answer { instance, asked } => {
                let asked = self.process(instance).asked.remove(asked.into());
                let event = self.answer(asked);
                self.feed(instance, event);
            }
            Choice::Delay { instance, asked } => {
                self.state.left.delayed -= 1;
                let asked = self.process(instance).asked.remove(asked.into());
                let event = self.answer(asked);
                self.process(instance).delayed.push(event);
            }
            Choice::Arrive { instance, delayed } => {
                let event = self.process(instance).delayed.remove(delayed.into());
                self.feed(instance, event);
            }
            Choice::Wait { instance, timer } => self.wait(instance, timer),
            Choice::Land { request } => self.land(request, false),
            Choice::LandUnheard { request } => self.land(request, true),
            Choice::Refuse { request } => self.refuse(request.into()),
            Choice::Unanswered { request } => self.unanswered(request.into()),
            Choice::Crash { instance } => self.crash(instance),
            Choice::Take { partition, to } => self.take_away(partition.into(), to),
            Choice::HandOver { partition, to } => self.hand_over(partition.into(), to),
            Choice::RollBack { snapshot } => {
                self.state.left.roll_backs -= 1;
                self.state.roll_back(snapshot.into());
            }
            Choice::Delete { file } => {
                self.state.left.deletes -= 1;
                self.violation = self.state.delete_file(file.into()).err();
            }
            Choice::Compact { file } => {
                self.state.left.compactions -= 1;
                self.violation = self.state.compact(file.into()).err();
            }
        }
    }

    pub fn process(&mut self, instance: u8) -> &mut Process {
        self.stepped.insert(instance);
        self.state.processes[usize::from(instance)].edit()
    }

    pub fn feed(&mut self, instance: u8, event: Event) {
        let effects = self.process(instance).core.handle(NOW, event);
        for effect in effects {
            self.carry_out(instance, effect);
        }
    }

    // ---- the source

    fn rebalance(&mut self, instance: u8) {
        let process = self.process(instance);
        let event = process.rebalances.pop_front().expect("a rebalance is told");
        process.answering = true;
        if let Event::Assigned { partitions } = &event {
            process.assigned.extend(partitions.clone());
        }
        self.feed(instance, event);
    }

    fn record(&mut self, instance: u8, partition: &TopicPartition) {
        let (epoch, from) = self.process(instance).reading[partition];
        let log = &self.bounds.logs[partition.partition as usize];
        let offset = next_record(log, from).expect("a record is there");
        let key: Key = log[offset as usize].expect("a record is there");
        let body = Body::Row { id: key.1, event_time: key.0.bounds().0 };
        let process = self.process(instance);
        let verdicts = process.core.judge(NOW, partition, epoch, &[RecordMeta { offset, leader_epoch: None, body }]);
        if let Some([Verdict::Fresh { .. }]) = verdicts.as_deref() {
            let (batch, _) = process.core.open_batch();
            process.rows.entry(batch).or_default().push(key);
        }
        process.reading.insert(partition.clone(), (epoch, offset + 1));
    }

    fn end(&mut self, instance: u8, partition: &TopicPartition) {
        let (epoch, _) = self.process(instance).reading[partition];
        let offset = self.bounds.logs[partition.partition as usize].len() as Offset;
        self.process(instance).reading.insert(partition.clone(), (epoch, offset));
        self.feed(instance, Event::EndOfPartition { partition: partition.clone(), epoch, offset });
    }

    // ---- time

    fn wait(&mut self, instance: u8, timer: Timer) {
        if timer == Timer::Answer {
            self.state.left.overdue -= 1;
        }
        self.process(instance).core.make_due(timer, NOW);
        self.feed(instance, Event::Tick);
        let may_be_delayed = self.state.left.delayed > 0;
        if timer == Timer::Comparison && !may_be_delayed {
            let asked = std::mem::take(&mut self.process(instance).asked);
            for asked in asked {
                let event = self.answer(asked);
                self.feed(instance, event);
            }
        }
    }

    // ---- the network

    fn land(&mut self, request: u8, unheard: bool) {
        let request = self.state.requests.remove(request.into());
        let snapshot = match self.state.land(self.bounds, &request) {
            Ok(snapshot) => snapshot,
            Err(violation) => return self.violation = Some(violation),
        };
        let Some((instance, ticket)) = request.waits else { return };
        let event = Event::Answered { ticket, answer: Answer::Posted(Posted::Committed(snapshot)) };
        if unheard {
            self.state.left.delayed -= 1;
            self.process(instance).delayed.push(event);
        } else {
            self.feed(instance, event);
        }
    }

    fn refuse(&mut self, request: usize) {
        let request = self.state.requests.remove(request);
        if let Some((instance, ticket)) = request.waits {
            self.feed(instance, Event::Answered { ticket, answer: Answer::Posted(Posted::Unsettled) });
        }
    }

    /// Without a roll-back ahead, what can't land now never will: the refusal touches nobody but the commit in flight.
    fn refuse_what_cannot_land(&mut self) {
        let any_base = self.bounds.broken == Some(crate::sim::exhaustive::BrokenPromise::CatalogIgnoresBase);
        while self.violation.is_none() && self.state.left.roll_backs == 0 && !any_base {
            let requests = &self.state.requests;
            let Some(at) = requests.iter().position(|r| r.waits.is_some() && !self.state.can_land(r)) else { return };
            self.refuse(at);
        }
    }

    fn unanswered(&mut self, request: usize) {
        self.state.left.unanswered -= 1;
        let request = &mut self.state.requests[request];
        let (instance, ticket) = request.edit().waits.take().expect("somebody waits");
        self.feed(instance, Event::Answered { ticket, answer: Answer::Posted(Posted::Unsettled) });
    }

    // ---- processes and the group

    fn crash(&mut self, instance: u8) {
        self.state.left.crashes -= 1;
        for request in &mut self.state.requests {
            if request.waits.is_some_and(|(who, _)| who == instance) {
                request.edit().waits = None;
            }
        }
        for partition in 0..self.state.group.owner.len() {
            self.let_go(instance, partition);
        }
        let mut process = Process::new(self.bounds, instance);
        process.rebalances.extend(assignment(&self.state.group.owner, instance));
        *self.process(instance) = process;
    }

    fn take_away(&mut self, partition: usize, to: u8) {
        self.state.left.moves -= 1;
        let from = std::mem::replace(&mut self.state.group.owner[partition], to);
        let partitions = BTreeSet::from([tp(partition)]);
        self.process(from).rebalances.push_back(Event::Revoked { partitions: partitions.clone(), lost: true });
        self.process(to).rebalances.push_back(Event::Assigned { partitions });
    }

    fn hand_over(&mut self, partition: usize, to: u8) {
        self.state.left.moves -= 1;
        self.state.group.promised[partition] = Some(to);
        let from = self.state.group.owner[partition];
        let partitions = BTreeSet::from([tp(partition)]);
        self.process(from).rebalances.push_back(Event::Revoked { partitions, lost: false });
    }

    /// The owner of a partition that was promised to another has let it go.
    pub fn let_go(&mut self, instance: u8, partition: usize) {
        if self.state.group.owner[partition] != instance {
            return;
        }
        if let Some(to) = self.state.group.promised[partition].take() {
            self.state.group.owner[partition] = to;
            let partitions = BTreeSet::from([tp(partition)]);
            self.process(to).rebalances.push_back(Event::Assigned { partitions });
        }
    }
}
