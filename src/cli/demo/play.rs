//! The demo's course: produce, commit, kill, recover, drain.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Lake;
use super::folder::TOPICS;
use super::pacing::Pacing;
use super::service::{Launch, Service};
use super::story::{Happened, Story};
use crate::cli::produce::sender::Sender;
use crate::error::Stop;
use crate::types::{Offset, TopicPartition};

/// Between two rounds of sending.
const ROUND: Duration = Duration::from_millis(20);

/// Between two looks at the table.
const LOOK: Duration = Duration::from_millis(100);

/// Longest time without any progress in the table; a killed member's session and a rebalance are a tenth of it.
const STALLED: Duration = Duration::from_secs(60);

pub struct Plan {
    pub records: u64,
    /// Records a second.
    pub rate: f64,
    pub crash: bool,
}

/// Everything that is on stage.
pub struct Play<'a> {
    plan: Plan,
    sender: Sender,
    pacing: Pacing,
    lake: &'a dyn Lake,
    launch: &'a Launch,
    log: &'a Path,
    service: Service,
    story: &'a mut Story,
    interrupted: &'a AtomicBool,
    settled: BTreeMap<TopicPartition, Offset>,
    moved: Instant,
    killed: Option<Kill>,
}

#[derive(Clone, Copy)]
struct Kill {
    at: Instant,
    settled: u64,
    went_on: bool,
}

impl<'a> Play<'a> {
    pub fn begin(
        plan: Plan,
        sender: Sender,
        lake: &'a dyn Lake,
        launch: &'a Launch,
        log: &'a Path,
        story: &'a mut Story,
        interrupted: &'a AtomicBool,
    ) -> Result<Self, Stop> {
        let service = Service::start(launch, log)?;
        story.happened(&Happened::Started { pid: service.pid() });
        let partitions = TOPICS.iter().map(|(_, partitions)| partitions.unsigned_abs()).sum::<u32>();
        let pacing = Pacing::new(plan.rate, plan.records, partitions.into());
        Ok(Self {
            plan,
            sender,
            pacing,
            lake,
            launch,
            log,
            service,
            story,
            interrupted,
            settled: BTreeMap::new(),
            moved: Instant::now(),
            killed: None,
        })
    }

    /// Until all is settled; the service still runs then. None: interrupted before.
    pub async fn run(mut self) -> Result<Option<(Service, Sender)>, Stop> {
        let started = Instant::now();
        let mut looked = Instant::now();
        loop {
            if self.interrupted.load(Ordering::Relaxed) {
                return Ok(None);
            }
            self.service.check()?;
            self.send_what_is_due(started.elapsed())?;
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.look_at_the_table().await?;
                if self.must_crash() {
                    self = self.crash()?;
                }
                if self.drained() {
                    break;
                }
            }
            tokio::time::sleep(ROUND).await;
        }
        self.sender.flush()?;
        self.story.happened(&Happened::AllSettled { records: self.plan.records });
        Ok(Some((self.service, self.sender)))
    }

    fn send_what_is_due(&mut self, since_start: Duration) -> Result<(), Stop> {
        let left = self.plan.records - self.pacing.sent_in_all();
        for _ in 0..self.pacing.due(since_start, &self.settled).min(left) {
            let (_, partition) = self.sender.send(self.pacing.sent_in_all())?;
            self.pacing.sent(partition);
        }
        Ok(())
    }

    async fn look_at_the_table(&mut self) -> Result<(), Stop> {
        let before = total(&self.settled);
        self.settled = self.lake.settled().await?;
        let now = total(&self.settled);
        if now != before {
            self.moved = Instant::now();
            self.tell_of_progress(before, now);
        }
        self.story.progress(now, self.plan.records);
        if self.moved.elapsed() > STALLED {
            return Err(Stop::gave_up(
                format!("the table stands at {now} of {} records for {} s", self.pacing.sent_in_all(), STALLED.as_secs()),
                format!("look at {}", self.log.display()),
            ));
        }
        Ok(())
    }

    fn tell_of_progress(&mut self, before: u64, now: u64) {
        if before == 0 {
            self.story.happened(&Happened::FirstCommit { settled: now });
        }
        if let Some(kill) = &mut self.killed
            && !kill.went_on
            && now > kill.settled
        {
            kill.went_on = true;
            let after_ms = u64::try_from(kill.at.elapsed().as_millis()).expect("less than an age");
            self.story.happened(&Happened::WentOn { from: kill.settled, after_ms });
        }
    }

    fn must_crash(&self) -> bool {
        self.plan.crash && self.killed.is_none() && total(&self.settled) >= self.plan.records / 2
    }

    fn crash(self) -> Result<Self, Stop> {
        let (pid, settled) = (self.service.pid(), total(&self.settled));
        self.service.kill()?;
        let at = Instant::now();
        self.story.happened(&Happened::Killed { pid, sent: self.pacing.sent_in_all(), settled });
        let service = Service::start(self.launch, self.log)?;
        self.story.happened(&Happened::Restarted { pid: service.pid() });
        Ok(Self { service, killed: Some(Kill { at, settled, went_on: false }), ..self })
    }

    fn drained(&self) -> bool {
        self.pacing.sent_in_all() == self.plan.records && self.pacing.all_settled(&self.settled)
    }
}

fn total(settled: &BTreeMap<TopicPartition, Offset>) -> u64 {
    settled.values().map(|next| next.unsigned_abs()).sum()
}
