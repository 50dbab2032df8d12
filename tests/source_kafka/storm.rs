//! Members come and go, and reposition, pause and answer late all the while, with records still arriving. Every record
//! that is delivered under an epoch must be the next one of that epoch, with the value that was written there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use sluice::ports::{RecordChunk, Source, SourceEvent, StartAt};
use sluice::source::consumer::KafkaSource;
use sluice::source::settings::Connection;
use sluice::types::*;
use tokio::sync::mpsc::Receiver;

use crate::harness::*;

const PARTITIONS: i32 = 6;
/// Records of each partition before the storm; repositions go below it.
const BEFORE: Offset = 2000;
const STORM: Duration = Duration::from_secs(40);

#[derive(Default)]
struct Tally {
    epochs: AtomicU64,
    records: AtomicU64,
    repositions: AtomicU64,
    revokes: AtomicU64,
    stale: AtomicU64,
}

/// One member. Knows of each partition: the epoch it is read under, and the next offset of it.
struct Member {
    source: KafkaSource,
    events: Receiver<SourceEvent>,
    reading: BTreeMap<TopicPartition, (Epoch, Offset)>,
    random: SmallRng,
    tally: Arc<Tally>,
}

impl Member {
    fn fresh_epoch(&self) -> Epoch {
        Epoch(self.tally.epochs.fetch_add(1, Ordering::SeqCst) + 1)
    }

    fn place(&mut self, partition: &TopicPartition) -> (TopicPartition, Epoch, StartAt) {
        let (epoch, start) = (self.fresh_epoch(), self.random.random_range(0..BEFORE));
        self.reading.insert(partition.clone(), (epoch, start));
        (partition.clone(), epoch, StartAt::Offset(start))
    }

    async fn dawdle(&mut self) {
        if self.random.random_bool(0.5) {
            tokio::time::sleep(Duration::from_millis(self.random.random_range(0..300))).await;
        }
    }

    async fn storm(mut self, until: Instant, stop: Arc<AtomicBool>) -> Self {
        while Instant::now() < until && !stop.load(Ordering::SeqCst) {
            let pause = Duration::from_millis(self.random.random_range(1..40));
            if let Ok(event) = tokio::time::timeout(pause, self.events.recv()).await {
                let event = event.expect("the source is open");
                self.on_event(event).await;
            } else {
                self.mischief();
            }
            if self.random.random_bool(0.02) {
                self.mischief();
            }
        }
        self
    }

    fn mischief(&mut self) {
        let owned: Vec<_> = self.reading.keys().cloned().collect();
        let some: Vec<_> = owned.into_iter().filter(|_| self.random.random_bool(0.5)).collect();
        match self.random.random_range(0..3) {
            0 => {
                self.source.pause(some.clone());
                self.source.resume(some);
            }
            _ => {
                let places: Vec<_> = some.iter().map(|partition| self.place(partition)).collect();
                self.tally.repositions.fetch_add(places.len() as u64, Ordering::Relaxed);
                self.source.reposition(places);
            }
        }
    }

    async fn on_event(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Assigned { partitions } => {
                // A reposition that comes between the event and its answer.
                self.mischief();
                self.dawdle().await;
                let places: Vec<_> = partitions.iter().map(|partition| self.place(partition)).collect();
                self.source.assign(places);
            }
            SourceEvent::Revoked { partitions, .. } => {
                self.tally.revokes.fetch_add(1, Ordering::Relaxed);
                self.mischief();
                self.dawdle().await;
                for partition in &partitions {
                    self.reading.remove(partition);
                }
                self.source.unassign(partitions);
            }
            SourceEvent::Records { partition, epoch, chunk } => self.check(&partition, epoch, &chunk),
            SourceEvent::EndOfPartition { partition, epoch, offset } => {
                if let Some((current, next)) = self.reading.get(&partition)
                    && *current == epoch
                {
                    assert_eq!(offset, *next, "{partition}: no record is behind the end that wasn't delivered");
                }
            }
            SourceEvent::Fatal(stop) => panic!("{stop}"),
            SourceEvent::OutOfRange { partition, reason, .. } => panic!("{partition}: {reason}"),
            SourceEvent::Down(_) | SourceEvent::Up | SourceEvent::Closed => {}
        }
    }

    fn check(&mut self, partition: &TopicPartition, epoch: Epoch, chunk: &RecordChunk) {
        let Some((current, next)) = self.reading.get_mut(partition).filter(|(current, _)| *current == epoch) else {
            self.tally.stale.fetch_add(1, Ordering::Relaxed);
            return;
        };
        for (index, frame) in chunk.frames.iter().enumerate() {
            assert_eq!(frame.offset, *next, "{partition} under {current:?}");
            assert_eq!(chunk.value(index).unwrap(), value_at(partition.partition, frame.offset), "{partition}");
            *next += 1;
        }
        self.tally.records.fetch_add(chunk.frames.len() as u64, Ordering::Relaxed);
    }

    async fn leave(mut self) {
        self.source.close();
        while !matches!(next(&mut self.events).await, SourceEvent::Closed) {}
    }
}

async fn storm(connection: fn() -> Connection) {
    let topic = topic("storm", PARTITIONS).await;
    let group = unique("g");
    let tally = Arc::new(Tally::default());
    let writer = producer(&[("linger.ms", "20")]);
    for partition in 0..PARTITIONS {
        fill(&writer, &topic, partition, 0..BEFORE);
    }
    let until = Instant::now() + STORM;
    let writing = tokio::task::spawn_blocking({
        let topic = topic.clone();
        move || write_until(&writer, &topic, until)
    });

    let join = |seed: u64| {
        let (source, events) = start(connection(), &group, &topic);
        Member { source, events, reading: BTreeMap::new(), random: SmallRng::seed_from_u64(seed), tally: tally.clone() }
    };
    let stop = Arc::new(AtomicBool::new(false));
    let steady: Vec<_> = (0..2).map(|seed| tokio::spawn(join(seed).storm(until, stop.clone()))).collect();
    let mut seed = 100;
    while Instant::now() < until {
        seed += 1;
        let visit = Instant::now() + Duration::from_millis(1500 + (seed * 733) % 2500);
        join(seed).storm(visit.min(until), stop.clone()).await.leave().await;
        // Long enough for the others to share what it had: two visitors in a row would only hand it on.
        tokio::time::sleep(Duration::from_millis(500 + (seed * 397) % 1500)).await;
    }
    let ends = writing.await.unwrap();
    let mut members = Vec::new();
    for member in steady {
        members.push(member.await.unwrap());
    }
    settle(members, &topic, ends).await;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "{} visits, {} revokes, {} repositions, {} records checked, {} stale chunks",
        seed - 100,
        count(&tally.revokes),
        count(&tally.repositions),
        count(&tally.records),
        count(&tally.stale)
    );
    assert!(count(&tally.revokes) > 3 && count(&tally.repositions) > 50 && count(&tally.records) > 10_000);
}

/// After the storm every partition is owned by somebody and is read to its end.
async fn settle(mut members: Vec<Member>, topic: &str, ends: Vec<Offset>) {
    let deadline = Instant::now() + WAIT;
    loop {
        let mut done: BTreeMap<i32, Offset> = BTreeMap::new();
        for member in &mut members {
            while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(50), member.events.recv()).await {
                member.on_event(event).await;
            }
            done.extend(member.reading.iter().map(|(partition, (_, next))| (partition.partition, *next)));
        }
        if done == (0..PARTITIONS).zip(ends.iter().copied()).collect() {
            break;
        }
        assert!(Instant::now() < deadline, "{topic}: reached {done:?} of {ends:?}");
    }
    for member in members {
        member.leave().await;
    }
}

/// Appends to every partition until then; the log ends.
fn write_until(producer: &Producing, topic: &str, until: Instant) -> Vec<Offset> {
    let mut next = BEFORE;
    while Instant::now() < until {
        for partition in 0..PARTITIONS {
            fill(producer, topic, partition, next..next + 20);
        }
        next += 20;
    }
    vec![next; PARTITIONS as usize]
}

/// Short enough for many rebalances within a storm.
const TIMERS: [(&str, &str); 2] = [("session.timeout.ms", "6000"), ("heartbeat.interval.ms", "300")];

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_repositions_and_cooperative_rebalances_loses_and_repeats_nothing() {
    storm(|| with(&TIMERS)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_storm_of_repositions_and_eager_rebalances_loses_and_repeats_nothing() {
    storm(|| with(&[TIMERS[0], TIMERS[1], ("partition.assignment.strategy", "roundrobin")])).await;
}
