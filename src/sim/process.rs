//! One instance, again and again: started, killed, stopped in order, frozen; and the operator told when it stops by
//! itself. What runs is the production pipeline.

use std::cell::RefCell;
use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Sleep, sleep};

use crate::core::breaker::BreakerRules;
use crate::core::event_time::EventTimeRules;
use crate::core::instance::Settings;
use crate::core::roll::RollRules;
use crate::decode::{EventTimeBounds, Plan, Plans, Unusable};
use crate::error::{Exit, Stop};
use crate::pipeline::{End, Health, Names, Options, Pipeline, Ports, Telemetry};
use crate::ports::{Random, SourceEvent};
use crate::sim::client::SimSource;
use crate::sim::life::Life;
use crate::sim::oracle::Invariant;
use crate::sim::ports::SimPorts;
use crate::sim::world::{Shared, World};
use crate::state::memory::{Account, Budget};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::status::Board;

/// How an incarnation ended.
enum Ended {
    Killed,
    /// In order, or with an outcome that the next start finds out.
    Left,
    Stopped(Stop),
    Panicked(String),
}

/// Keeps one slot running for as long as the history lasts.
pub async fn supervise(world: Shared, slot: usize) {
    loop {
        may_start(&world, slot).await;
        let ended = live(&world, slot).await;
        let pause = {
            let mut world = world.lock();
            bury(&mut world, slot, ended);
            if world.healed { 500 } else { world.chance.delay_ms(0.5) + 50 }
        };
        sleep(Duration::from_millis(pause)).await;
    }
}

async fn may_start(world: &Shared, slot: usize) {
    loop {
        let changed = {
            let world = world.lock();
            if !world.slots[slot].held_back {
                return;
            }
            world.slots[slot].changed.clone()
        };
        changed.notified().await;
    }
}

fn bury(world: &mut World, slot: usize, ended: Ended) {
    world.slots[slot].alive = false;
    let lane = world.slots[slot].lane;
    match ended {
        Ended::Killed => {}
        Ended::Left => world.note(|| format!("slot {slot} has left")),
        Ended::Panicked(why) => world.violates(Invariant::Asserted, why),
        Ended::Stopped(stop) => {
            world.note(|| format!("slot {slot} stops ({:?}): {}", stop.exit, stop.what));
            world.stats.stops += 1;
            match stop.exit {
                Exit::Internal | Exit::Usage => world.violates(Invariant::Asserted, stop.what),
                // it needs no more than another start
                Exit::Refused | Exit::GaveUp => {}
                Exit::Inconsistent | Exit::Data if !world.may_stop(stop.exit) => {
                    world.violates(Invariant::Asserted, stop.what)
                }
                Exit::Inconsistent | Exit::Data => {
                    world.slots[slot].held_back = true;
                    world.stops.push((lane, stop));
                }
            }
        }
    }
}

async fn live(world: &Shared, slot: usize) -> Ended {
    let Started { pipeline, events, closing, close, kill, terminate } = start(world, slot);
    let run = Frozen { world: world.clone(), slot, sleep: None, inner: Box::pin(pipeline.run(events, closing)) };
    let run = AssertUnwindSafe(run).catch_unwind();
    tokio::pin!(run);
    loop {
        tokio::select! {
            biased;
            () = kill.notified() => return Ended::Killed,
            () = terminate.notified() => drop(close.send(true)),
            ended = &mut run => return match ended {
                Ok(Ok(End::Done | End::Unknown(_))) => Ended::Left,
                Ok(Err(stop)) => Ended::Stopped(stop),
                Err(panic) => Ended::Panicked(message(&*panic)),
            },
        }
    }
}

/// A process that has just been started, and the ways to end it.
struct Started {
    pipeline: Pipeline,
    events: mpsc::Receiver<SourceEvent>,
    closing: watch::Receiver<bool>,
    close: watch::Sender<bool>,
    kill: Arc<Notify>,
    terminate: Arc<Notify>,
}

fn start(shared: &Shared, slot: usize) -> Started {
    let (life, lane, settings, options, kill, terminate) = {
        let mut world = shared.lock();
        let (lane, now) = (world.slots[slot].lane, world.now_ms());
        let this = &mut world.slots[slot];
        this.incarnation += 1;
        this.alive = true;
        this.started_ms = now;
        // a signal to the incarnation before doesn't count for this one
        (this.kill, this.terminate) = Default::default();
        let (incarnation, kill, terminate) = (this.incarnation, this.kill.clone(), this.terminate.clone());
        let life = Arc::new(Life::new(shared.clone(), slot, incarnation, world.scenario.seed));
        world.note(|| format!("slot {slot} starts for the {incarnation}. time"));
        let settings = settings(&world, lane);
        let options = options(&world, lane);
        (life, lane, settings, options, kill, terminate)
    };
    let ports = Arc::new(SimPorts(life.clone()));
    let settings = Settings { nonce: ports.u128(), ..settings };
    let (source, events) = SimSource::start(life, lane);
    let plans = Arc::new(Plans::compiling_by(ports.clone(), ports.clone(), compiled));
    let telemetry = telemetry();
    let ports = Ports {
        admin: ports.clone(),
        letters: ports.clone(),
        table: ports.clone(),
        files: ports.clone(),
        store: ports.clone(),
        clock: ports.clone(),
        random: ports.clone(),
        notes: ports.clone(),
        health: Arc::new(Health::new(ports)),
    };
    let (close, closing) = watch::channel(false);
    let pipeline = Pipeline::new(settings, options, ports, Arc::new(source), plans, telemetry);
    Started { pipeline, events, closing, close, kill, terminate }
}

fn settings(world: &World, lane: usize) -> Settings {
    let scenario = &world.scenario;
    Settings {
        lane: scenario.lanes[lane].name.as_str().into(),
        topics: world.topics_of(lane).into_iter().collect(),
        start: scenario.lanes[lane].start,
        event_time: EventTimeRules {
            watermark_delay: scenario.rules.watermark_delay,
            late: scenario.rules.late,
            idle_timeout_ms: scenario.idle_timeout_ms,
        },
        roll: RollRules {
            commit_interval_ms: scenario.commit_interval_ms,
            idle_commit_interval_ms: scenario.idle_commit_interval_ms,
            batch_rows_max: scenario.batch_rows_max,
            batch_bytes_max: 1 << 20,
        },
        breaker: BreakerRules { rate_max: world.breaker_rate_max, rate_min: 4 },
        answer_within_ms: 8_000,
        hot_bytes_max: scenario.hot_bytes_max,
        nonce: 0,
    }
}

fn options(world: &World, lane: usize) -> Options {
    Options {
        names: Names {
            topics: world.topics_of(lane),
            lane: world.scenario.lanes[lane].name.as_str().into(),
            table: "market_data.gold".into(),
            client_id: "sluice".into(),
        },
        late: world.scenario.rules.late,
        bounds: EventTimeBounds { future_max: 300_000_000, past_max: 3_650 * 86_400_000_000 },
        shutdown_timeout_ms: 10_000,
        stall_timeout_ms: 600_000,
        until_caught_up: false,
        tick_ms: 200,
    }
}

thread_local! {
    /// The same for all processes of all histories: making them anew would take longer than all the rest.
    static METRICS: Arc<Metrics> = Arc::new(Metrics::new("simulated"));
    static PLANS: RefCell<HashMap<String, Arc<Plan>>> = RefCell::default();
}

fn compiled(schema: &str, references: &[Arc<str>]) -> Result<Arc<Plan>, Unusable> {
    PLANS.with_borrow_mut(|plans| match plans.get(schema) {
        Some(plan) => Ok(plan.clone()),
        None => {
            let plan = Arc::new(Plan::compile(schema, references)?);
            plans.insert(schema.into(), plan.clone());
            Ok(plan)
        }
    })
}

fn telemetry() -> Telemetry {
    Telemetry {
        metrics: METRICS.with(Arc::clone),
        board: Arc::new(Board::default()),
        account: Arc::new(Account::default()),
        budget: Budget::of(1 << 40).expect("more than the least"),
        resident: || None,
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_else(|| "a panic".into())
}

/// A process that SIGSTOP can hold: nothing of it runs until it is let go.
struct Frozen<F> {
    world: Shared,
    slot: usize,
    sleep: Option<Pin<Box<Sleep>>>,
    inner: Pin<Box<F>>,
}

impl<F: Future> Future for Frozen<F> {
    type Output = F::Output;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        loop {
            let left = {
                let world = self.world.lock();
                world.slots[self.slot].frozen_until_ms.saturating_sub(world.now_ms())
            };
            if left == 0 {
                self.sleep = None;
                return self.inner.as_mut().poll(context);
            }
            let sleep = self.sleep.insert(Box::pin(sleep(Duration::from_millis(left))));
            if sleep.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
