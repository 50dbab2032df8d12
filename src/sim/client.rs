//! The consumer of an instance: port `Source`. The group, the brokers and the client library are simulated; what decides
//! which partition is read from where under which epoch is production's own `source::consumer::assignment`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::ports::{Down, GroupOffset, Source, SourceEvent, StartAt};
use crate::sim::group::{MemberId, Told};
use crate::sim::kafka::Fetched;
use crate::sim::life::Life;
use crate::sim::oracle::Invariant;
use crate::sim::scenario::Dependency;
use crate::sim::world::World;
use crate::source::consumer::assignment::{Assignment, FetchAt, Outcome, Protocol, Rebalance, Step};
use crate::source::consumer::reading::OutOfRange;
use crate::types::*;

#[derive(Debug)]
enum Command {
    Assign(Vec<(TopicPartition, Epoch, StartAt)>),
    Unassign,
    Reposition(Vec<(TopicPartition, Epoch, StartAt)>),
    Pause(Vec<TopicPartition>),
    Resume(Vec<TopicPartition>),
    Mirror(BTreeMap<TopicPartition, Offset>, String),
    Close,
}

pub struct SimSource(mpsc::UnboundedSender<Command>);

impl SimSource {
    /// Joins the lane's group; the client runs until it is closed or its process is dead.
    pub fn start(life: Arc<Life>, lane: usize) -> (Self, mpsc::Receiver<SourceEvent>) {
        let (commands, obeyed) = mpsc::unbounded_channel();
        let (out, events) = mpsc::channel(4096);
        let client = Client {
            protocol: if life.world.lock().groups[lane].eager { Protocol::Eager } else { Protocol::Cooperative },
            lane,
            member: None,
            held: BTreeSet::new(),
            assignment: Assignment::default(),
            unanswered: VecDeque::new(),
            fetches: BTreeMap::new(),
            commands: obeyed,
            out,
            said_down: false,
            lost_heard_ms: None,
            closing: false,
            life,
        };
        tokio::spawn(client.run());
        (Self(commands), events)
    }

    fn send(&self, command: Command) {
        // the client ends with its process
        let _ = self.0.send(command);
    }
}

impl Source for SimSource {
    fn assign(&self, partitions: Vec<(TopicPartition, Epoch, StartAt)>) {
        self.send(Command::Assign(partitions));
    }
    fn unassign(&self, _: Vec<TopicPartition>) {
        self.send(Command::Unassign);
    }
    fn reposition(&self, partitions: Vec<(TopicPartition, Epoch, StartAt)>) {
        self.send(Command::Reposition(partitions));
    }
    fn pause(&self, partitions: Vec<TopicPartition>) {
        self.send(Command::Pause(partitions));
    }
    fn resume(&self, partitions: Vec<TopicPartition>) {
        self.send(Command::Resume(partitions));
    }
    fn mirror_group_offsets(&self, offsets: BTreeMap<TopicPartition, Offset>, metadata: String) {
        self.send(Command::Mirror(offsets, metadata));
    }
    fn close(&self) {
        self.send(Command::Close);
    }
}

/// What the library fetches of one partition.
struct Fetch {
    position: Offset,
    paused: bool,
    /// Fetched, and not delivered yet: ends among them were true when they were queued.
    queue: VecDeque<Queued>,
    /// The end that was queued last.
    ended_at: Option<Offset>,
    /// The position was out of range: nothing comes until it is assigned anew.
    failed: bool,
}

enum Queued {
    Records { offsets: Vec<Offset>, from: Offset },
    End(Offset),
    OutOfRange(Offset),
}

impl Queued {
    fn from(&self) -> Offset {
        match self {
            Self::Records { from, .. } => *from,
            Self::End(at) | Self::OutOfRange(at) => *at,
        }
    }
}

struct Client {
    life: Arc<Life>,
    lane: usize,
    protocol: Protocol,
    member: Option<MemberId>,
    held: BTreeSet<TopicPartition>,
    assignment: Assignment,
    /// Rebalance events that were taken from the queue and that no call has answered.
    unanswered: VecDeque<Rebalance>,
    fetches: BTreeMap<TopicPartition, Fetch>,
    commands: mpsc::UnboundedReceiver<Command>,
    out: mpsc::Sender<SourceEvent>,
    said_down: bool,
    /// When it hears that the group has given it up.
    lost_heard_ms: Option<u64>,
    closing: bool,
}

impl Client {
    async fn run(mut self) {
        loop {
            let pause = self.life.draw(|c| if c.happens(0.1) { c.between(20, 400) } else { c.between(1, 30) });
            sleep(Duration::from_millis(pause)).await;
            self.life.thawed().await;
            let life = self.life.clone();
            let mut world = life.world.lock();
            if !life.is_alive(&world) {
                return;
            }
            world.stats.steps += 1;
            if self.turn(&mut world) {
                return;
            }
        }
    }

    /// True when the client has closed.
    fn turn(&mut self, world: &mut World) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            self.obey(world, command);
        }
        if self.closing {
            if let Some(member) = self.member {
                world.groups[self.lane].leave(member);
            }
            self.tell(SourceEvent::Closed);
            return true;
        }
        if world.is_down(Dependency::Kafka) {
            if !std::mem::replace(&mut self.said_down, true) {
                self.tell(SourceEvent::Down(Down { dependency: "kafka", reason: "no broker answers".into() }));
            }
            return false;
        }
        if std::mem::take(&mut self.said_down) {
            self.tell(SourceEvent::Up);
        }
        self.hear(world);
        self.fetch(world);
        self.deliver(world);
        false
    }

    // ---- the group

    fn hear(&mut self, world: &mut World) {
        let now = world.now_ms();
        match self.member {
            Some(member) if world.groups[self.lane].is_member(member) => {
                let lost = world.rates().lost / 50.0;
                if self.life.draw(|c| c.happens(lost)) {
                    world.groups[self.lane].expel(member);
                    return;
                }
                world.groups[self.lane].heartbeat(member, now);
                for told in world.groups[self.lane].mail_of(member) {
                    self.rebalance(world, rebalance(told));
                }
            }
            // a member hears of it with one of its next heartbeats
            Some(_) if now < *self.lost_heard_ms.get_or_insert_with(|| now + self.life.draw(|c| c.delay_ms(0.6))) => {}
            Some(_) => {
                self.lost_heard_ms = None;
                self.member = None;
                let partitions = self.given();
                world.note(|| format!("slot {} has lost {partitions:?}", self.life.slot));
                self.rebalance(world, Rebalance::Revoke { partitions, lost: true });
            }
            None if self.unanswered.is_empty() => {
                world.next_member += 1;
                self.member = Some(world.next_member);
                world.groups[self.lane].join(world.next_member, now);
            }
            None => {}
        }
        if self.assignment.has_held() {
            let outcome = self.assignment.release_held(self.protocol);
            self.carry_out(world, outcome);
        }
    }

    /// What the library holds for assigned: what was answered, and mostly what is still to be answered.
    fn given(&self) -> Vec<TopicPartition> {
        let mut given = self.held.clone();
        if self.life.draw(|c| c.happens(0.8)) {
            for event in &self.unanswered {
                match event {
                    Rebalance::Assign(partitions) => given.extend(partitions.iter().cloned()),
                    Rebalance::Revoke { partitions, .. } => given.retain(|p| !partitions.contains(p)),
                }
            }
        }
        given.into_iter().collect()
    }

    fn rebalance(&mut self, world: &mut World, event: Rebalance) {
        self.unanswered.push_back(event.clone());
        let outcome = self.assignment.on_rebalance(event, self.protocol);
        self.carry_out(world, outcome);
    }

    fn obey(&mut self, world: &mut World, command: Command) {
        if !matches!(command, Command::Mirror(..)) {
            world.note(|| format!("slot {}: {command:?}", self.life.slot));
        }
        let outcome = match command {
            Command::Assign(answer) => self.assignment.assign(answer, self.protocol),
            Command::Unassign => self.assignment.unassign(self.protocol),
            Command::Reposition(places) => {
                let lost = self.member.is_some_and(|m| !world.groups[self.lane].is_member(m));
                self.assignment.reposition(places, self.protocol, lost)
            }
            Command::Pause(partitions) => self.assignment.pause(&partitions),
            Command::Resume(partitions) => self.assignment.resume(&partitions),
            Command::Mirror(offsets, metadata) => return self.mirror(world, offsets, &metadata),
            Command::Close => {
                self.closing = true;
                self.assignment.close()
            }
        };
        self.carry_out(world, outcome);
    }

    fn mirror(&mut self, world: &mut World, offsets: BTreeMap<TopicPartition, Offset>, metadata: &str) {
        let member = self.member.filter(|m| world.groups[self.lane].is_member(*m));
        if member.is_none() || world.is_down(Dependency::Kafka) {
            return;
        }
        let lane = world.scenario.lanes[self.lane].name.clone();
        for (tp, offset) in &offsets {
            if !world.reached.contains(&(self.lane, tp.clone(), *offset)) {
                world.violates(
                    Invariant::MirrorFollowsTable,
                    format!("{tp} is mirrored at {offset}, which no commit has reached"),
                );
            }
            let now = world.now_ms();
            world.mirrored_since_ms.entry((self.lane, tp.topic.clone())).or_insert(now);
        }
        let kept = world.kafka.group_offsets.entry(lane).or_default();
        let committed = |offset| GroupOffset { offset, metadata: metadata.to_string() };
        kept.extend(offsets.into_iter().map(|(tp, offset)| (tp, committed(offset))));
    }

    fn carry_out(&mut self, world: &mut World, outcome: Outcome) {
        for step in outcome.steps {
            let assigns = matches!(step, Step::Add(_) | Step::Remove(_) | Step::Replace(_) | Step::Clear);
            self.step(world, step);
            if assigns {
                self.answer(world);
            }
        }
        for event in outcome.tell {
            world.note(|| format!("slot {}: {event:?}", self.life.slot));
            self.tell(event);
        }
    }

    /// The library takes any call that assigns for the answer to the event that it handed out.
    fn answer(&mut self, world: &mut World) {
        match self.unanswered.pop_front() {
            Some(Rebalance::Assign(given)) => self.held.extend(given),
            Some(Rebalance::Revoke { partitions, .. }) => self.held.retain(|p| !partitions.contains(p)),
            None => return,
        }
        if let Some(member) = self.member {
            world.groups[self.lane].answered(member);
        }
    }

    fn step(&mut self, world: &World, step: Step) {
        match step {
            Step::Add(places) => self.fetches.extend(places.into_iter().map(|(tp, at)| begin(world, tp, at))),
            Step::Remove(partitions) => self.fetches.retain(|tp, _| !partitions.contains(tp)),
            Step::Replace(places) => {
                self.fetches = places.into_iter().map(|(tp, at)| begin(world, tp, at)).collect();
            }
            Step::Clear => self.fetches.clear(),
            Step::Pause(partitions) => self.fetches_of(&partitions).for_each(Fetch::pause),
            Step::Resume(partitions) => self.fetches_of(&partitions).for_each(|fetch| fetch.paused = false),
        }
    }

    fn fetches_of<'a>(&'a mut self, partitions: &'a [TopicPartition]) -> impl Iterator<Item = &'a mut Fetch> {
        self.fetches.iter_mut().filter(|(tp, _)| partitions.contains(tp)).map(|(_, fetch)| fetch)
    }

    // ---- records

    fn fetch(&mut self, world: &World) {
        for (tp, fetch) in &mut self.fetches {
            let wait = self.life.draw(|c| c.happens(0.3));
            if fetch.paused || fetch.failed || fetch.queue.len() > 4 || wait {
                continue;
            }
            let count = self.life.draw(|c| c.between(1, 8));
            match world.kafka.fetch(tp, fetch.position, count) {
                Fetched::Records(offsets, next) => {
                    fetch.queue.push_back(Queued::Records { offsets, from: fetch.position });
                    fetch.position = next;
                }
                Fetched::End(at) => {
                    fetch.position = at;
                    if fetch.ended_at != Some(at) {
                        fetch.ended_at = Some(at);
                        fetch.queue.push_back(Queued::End(at));
                    }
                }
                Fetched::OutOfRange => {
                    fetch.failed = true;
                    fetch.queue.push_back(Queued::OutOfRange(fetch.position));
                }
            }
        }
    }

    fn deliver(&mut self, world: &mut World) {
        let ready: Vec<TopicPartition> =
            self.fetches.iter().filter(|(_, f)| !f.queue.is_empty() && !f.paused).map(|(tp, _)| tp.clone()).collect();
        for tp in ready {
            if self.life.draw(|c| c.happens(0.3)) {
                continue;
            }
            let Some(queued) = self.fetches.get_mut(&tp).and_then(|f| f.queue.pop_front()) else { continue };
            let Some(slot) = self.assignment.slot_of(&tp) else { continue };
            match queued {
                Queued::Records { offsets, .. } => {
                    let read = self.assignment.slot(slot);
                    let admitted: Vec<(Epoch, Offset)> =
                        offsets.into_iter().filter_map(|o| read.admit_record(o).map(|epoch| (epoch, o))).collect();
                    let Some((epoch, _)) = admitted.first().copied() else { continue };
                    let offsets: Vec<Offset> = admitted.into_iter().map(|(_, o)| o).collect();
                    let chunk = world.kafka.chunk(&tp, &offsets);
                    world.note(|| format!("slot {} reads {tp} {offsets:?} in {epoch:?}", self.life.slot));
                    self.tell(SourceEvent::Records { partition: tp, epoch, chunk });
                }
                Queued::End(offset) => {
                    let Some(epoch) = self.assignment.slot(slot).admit_end(offset) else { continue };
                    self.tell(SourceEvent::EndOfPartition { partition: tp, epoch, offset });
                }
                Queued::OutOfRange(offset) => self.out_of_range(world, tp, slot, offset),
            }
        }
    }

    fn out_of_range(&mut self, world: &mut World, partition: TopicPartition, slot: usize, offset: Offset) {
        match self.assignment.slot(slot).out_of_range(offset) {
            OutOfRange::Nothing => {}
            OutOfRange::Real(epoch) => {
                let reason = format!("offset {offset} is out of range");
                self.tell(SourceEvent::OutOfRange { partition, epoch, reason });
            }
            OutOfRange::Stale => {
                let outcome = self.assignment.restart(slot, self.protocol);
                self.carry_out(world, outcome);
            }
        }
    }

    fn tell(&self, event: SourceEvent) {
        // a full channel would be a pipeline that stopped reading: the stall shows as a history that doesn't converge
        let _ = self.out.try_send(event);
    }
}

impl Fetch {
    /// What was fetched ahead is dropped, and fetched again later.
    fn pause(&mut self) {
        self.paused = true;
        if let Some(first) = self.queue.front() {
            self.position = first.from();
            self.ended_at = None;
            self.failed = false;
            self.queue.clear();
        }
    }
}

fn begin(world: &World, partition: TopicPartition, at: FetchAt) -> (TopicPartition, Fetch) {
    let end = || world.kafka.log(&partition).map_or(0, |log| log.entries.len() as Offset);
    let position = match at {
        FetchAt::Offset(offset) => offset,
        FetchAt::LogEnd => end(),
    };
    (partition, Fetch { position, paused: false, queue: VecDeque::new(), ended_at: None, failed: false })
}

fn rebalance(told: Told) -> Rebalance {
    match told {
        Told::Assign(partitions) => Rebalance::Assign(partitions.into_iter().collect()),
        Told::Revoke { partitions, lost } => Rebalance::Revoke { partitions: partitions.into_iter().collect(), lost },
    }
}
