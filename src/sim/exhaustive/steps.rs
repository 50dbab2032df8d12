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
    /// What happened, by name.
    pub happened: BTreeSet<&'static str>,
    /// What ended it before its end.
    pub violation: Option<Violation>,
}

/// The state that follows, and what happened on the way.
pub type Stepped = (State, BTreeSet<&'static str>);

impl State {
    pub fn after(&self, bounds: &Bounds, choice: Choice) -> Result<Stepped, Violation> {
        let mut step = self.taken(bounds, choice)?;
        step.state.canonicalize(bounds, &step.stepped);
        Ok((step.state, step.happened))
    }

    /// The same under the names that the step gave.
    pub fn taken<'a>(&self, bounds: &'a Bounds, choice: Choice) -> Result<Step<'a>, Violation> {
        let (stepped, happened) = (BTreeSet::new(), BTreeSet::new());
        let mut step = Step { bounds, state: self.clone(), stepped, happened, violation: None };
        step.take(choice);
        step.refuse_what_cannot_land();
        match step.violation.take() {
            Some(violation) => Err(violation),
            None => Ok(step),
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
            Choice::Close { instance } => {
                self.state.left.closes -= 1;
                self.feed(instance, Event::Close { deadline_ms: NOW + 1 });
            }
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
        let loaded = matches!(event, Event::Loaded { .. });
        let effects = self.process(instance).core.handle(NOW, event);
        self.happened.extend(effects.iter().filter_map(|effect| name(effect, loaded)));
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
        while self.violation.is_none() && self.state.left.roll_backs == 0 {
            let refused = |r: &Request| r.waits.is_some() && !self.state.can_land(self.bounds, r);
            let Some(at) = self.state.requests.iter().position(|r| refused(r)) else { return };
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
        self.start_again(instance);
    }

    /// Nothing of before is known to the new process; what is on its way to the catalog goes on.
    pub fn start_again(&mut self, instance: u8) {
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

/// The effects that show that something was tried.
fn name(effect: &Effect, loaded: bool) -> Option<&'static str> {
    match effect {
        Effect::Report(Report::Committed(_)) if loaded => Some("own commit found in the table"),
        Effect::Report(Report::Committed(_)) => Some("committed"),
        Effect::Report(Report::Opened { .. }) => Some("opened"),
        Effect::Report(Report::Anchored { .. }) => Some("anchored"),
        Effect::Report(Report::Conflict { .. }) => Some("refused or unanswered"),
        Effect::Report(Report::Fenced { .. }) => Some("fenced"),
        Effect::Report(Report::Repositioned { .. }) => Some("repositioned"),
        Effect::Report(Report::Discarded { .. }) => Some("discarded after a request"),
        Effect::Probe { .. } => Some("looked up in files"),
        Effect::Rewrite { .. } => Some("files rewritten"),
        Effect::Unassign(_) => Some("partitions let go"),
        Effect::Leave { .. } => Some("left the group"),
        _ => None,
    }
}
