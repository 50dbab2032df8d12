//! `sluice offsets`: what the table, the group and the log say, put side by side; and moving the lane.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;

use super::describe::{self, DescribeArgs, LastStop, OffsetsReport, PartitionOffsets};
use super::reset::{self, Done, ResetArgs};
use crate::cli::output::{Output, print};
use crate::cli::parts::{self, Lake, SystemClock, SystemRandom, once};
use crate::cli::verify::kafka_log::KafkaLog;
use crate::cli::verify::silver::LogReader;
use crate::cli::{Finished, Global};
use crate::config::{Config, Late};
use crate::core::lane::{self, Reading};
use crate::core::reset::{self as plan, LateRows, LogEdges, ResetPlan, Situation, Target};
use crate::core::table::*;
use crate::core::verify::ReadRange;
use crate::error::Stop;
use crate::ports::{Clock, GroupMember, Loaded, LogEdge, LogOffset, Outcome, Random, SourceAdmin, Table};
use crate::source::admin::KafkaAdmin;
use crate::state::dir;
use crate::types::*;

#[derive(Subcommand, Clone, Debug)]
pub enum OffsetsCommand {
    Describe(DescribeArgs),
    Reset(ResetArgs),
}

impl OffsetsCommand {
    pub async fn run(self, global: &Global) -> Finished {
        let (config, _) = Config::load(&global.sources())?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let lake = Lake::of(&config, clock.clone())?;
        let admin = KafkaAdmin::new(&parts::connection(&config.kafka), &config.kafka.group_id)?;
        let at = Place { config, lake, admin, clock };
        match self {
            Self::Describe(args) => at.describe(&args, global.output).await,
            Self::Reset(args) => at.reset(&args, global.output).await,
        }
    }
}

struct Place {
    config: Config,
    lake: Lake,
    admin: KafkaAdmin,
    clock: Arc<dyn Clock>,
}

/// Attempts to commit a reset: other lanes may commit all the while.
const ATTEMPTS: u32 = 20;

impl Place {
    async fn table(&self) -> Result<Option<TableView>, Stop> {
        match once(|| self.lake.table.load()).await? {
            Loaded::Table(view) => Ok(Some(view)),
            Loaded::Missing => Ok(None),
        }
    }

    fn lane_name(&self) -> LaneName {
        self.config.kafka.group_id.clone()
    }

    async fn log_offsets(&self, at: &[TopicPartition], edge: LogEdge) -> Result<BTreeMap<TopicPartition, LogOffset>, Stop> {
        let asked: Vec<_> = at.iter().map(|tp| (tp.clone(), edge)).collect();
        once(|| self.admin.log_offsets(&asked)).await
    }

    /// Topics of the configuration and of the lane.
    fn topics(&self, lane: Option<&Lane>) -> Vec<Topic> {
        let mut topics: BTreeSet<Topic> = self.config.kafka.topics.iter().cloned().collect();
        topics.extend(lane.into_iter().flat_map(Lane::topics));
        topics.into_iter().collect()
    }

    /// Partitions that Kafka has of them.
    async fn partitions(&self, topics: &[Topic]) -> Result<Vec<TopicPartition>, Stop> {
        let found = once(|| self.admin.partitions(topics)).await?;
        Ok(found.into_iter().flat_map(|(t, ps)| ps.into_iter().map(move |p| TopicPartition::new(t.clone(), p))).collect())
    }

    // ---- describe

    async fn describe(&self, args: &DescribeArgs, output: Output) -> Finished {
        let before = args.compare.as_deref().map(describe::read_earlier).transpose()?;
        let report = self.report().await?;
        for topic in &report.missing_topics {
            eprintln!("warning: topic {topic} doesn't exist in Kafka");
        }
        output.print(&report, || report.text())?;
        match before.and_then(|before| describe::compare(&report, &before)) {
            Some(stop) => Err(stop),
            None => Ok(ExitCode::SUCCESS),
        }
    }

    async fn report(&self) -> Result<OffsetsReport, Stop> {
        let table = self.table().await?;
        let reading = table.as_ref().map(|view| (view, lane::read(view, &self.lane_name(), None, None)));
        let (snapshot, lane, stopped) = match reading {
            Some((view, Reading::Known { lane, .. })) => (view.head.map(|h| h.0), Some(lane), None),
            Some((_, Reading::Stop(stop))) => (None, None, Some(stop)),
            Some((_, Reading::New)) | None => (None, None, None),
        };
        if let Some(stop) = stopped {
            tracing::debug!(%stop, "the lane can't be read");
            eprintln!("warning: {stop}");
        }
        let topics = self.topics(lane.as_ref());
        let in_kafka = self.partitions(&topics).await?;
        let kept = dir::LastStop::read(&self.config.dedup.state_dir);
        Ok(OffsetsReport {
            group: self.config.kafka.group_id.to_string(),
            snapshot,
            missing_topics: describe::missing(topics, &in_kafka),
            partitions: self.described(lane.as_ref(), in_kafka).await?,
            last_stop: kept.as_ref().map(LastStop::from),
        })
    }

    async fn described(&self, lane: Option<&Lane>, in_kafka: Vec<TopicPartition>) -> Result<Vec<PartitionOffsets>, Stop> {
        let starts = self.log_offsets(&in_kafka, LogEdge::Earliest).await?;
        // the end after what lies before it: logs grow between the questions
        let stable = self.log_offsets(&in_kafka, LogEdge::LastStable).await?;
        let ends = self.log_offsets(&in_kafka, LogEdge::HighWatermark).await?;
        let group = once(|| self.admin.group_offsets(&in_kafka)).await?;
        let members: Vec<GroupMember> = once(|| self.admin.group_members()).await?;
        let mut all: BTreeSet<TopicPartition> = in_kafka.into_iter().collect();
        all.extend(lane.into_iter().flat_map(|l| l.partitions.keys().cloned()));
        let mut described = Vec::new();
        for tp in all {
            let log_start_offset = starts.get(&tp).map(|o| o.offset);
            let partition = PartitionOffsets { log_start_offset, ..PartitionOffsets::of(&tp) };
            let end = ends.get(&tp).map(|o| o.offset);
            let mut partition = partition.stable_below(stable.get(&tp).map(|o| o.offset), end);
            partition.group_offset = group.get(&tp).map(|o| o.offset);
            partition.table_offset = lane.and_then(|l| l.partitions.get(&tp)).map(|p| p.next_offset);
            partition.owner = members.iter().find(|m| m.partitions.contains(&tp)).map(|m| m.client_id.clone());
            let partition = partition.with_lag();
            described.push(partition);
        }
        self.add_seconds(&mut described).await?;
        Ok(described)
    }

    /// Lag in seconds: the age of the first record that the table doesn't have, by its broker timestamp.
    async fn add_seconds(&self, partitions: &mut [PartitionOffsets]) -> Result<(), Stop> {
        let now = self.clock.wall_ms();
        for partition in partitions {
            partition.lag_seconds = match (partition.lag_records, partition.table_offset) {
                (Some(0), _) => Some(0.0),
                (Some(_), Some(at)) => {
                    let tp = TopicPartition::new(partition.topic.as_str(), partition.partition);
                    let end = partition.last_stable_offset.unwrap_or(at);
                    let first = self.first_timestamp(ReadRange { partition: tp, start: at, end }).await?;
                    first.map(|at_ms| ((now - at_ms) as f64 / 1e3).max(0.0))
                }
                _ => None,
            };
        }
        Ok(())
    }

    /// Broker timestamp of the first record of a range; none where there is no record in it.
    async fn first_timestamp(&self, range: ReadRange) -> Result<Option<i64>, Stop> {
        let log = KafkaLog::new(&parts::connection(&self.config.kafka), &self.config.kafka.group_id)?;
        let log = tokio::sync::Mutex::new(log);
        let first = once(|| async {
            let mut log = log.lock().await;
            log.start(&range).await?;
            log.next().await
        });
        Ok(first.await?.and_then(|chunk| chunk.frames.first().and_then(|f| f.timestamp_ms)))
    }

    // ---- reset

    async fn reset(&self, args: &ResetArgs, output: Output) -> Finished {
        let plan = self.plan(args).await?;
        let done = if args.execute { Done::Executed } else { Done::Planned };
        let plan = if args.execute { self.execute(args, plan).await? } else { plan };
        match output {
            Output::Table => print(&reset::text(&plan, done))?,
            Output::Json => output.print(&reset::json(&plan, done), String::new)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn plan(&self, args: &ResetArgs) -> Result<ResetPlan, Stop> {
        let Some(table) = self.table().await? else {
            return Err(Stop::refused(
                format!("table {} doesn't exist: there is no lane to move", self.config.iceberg.table),
                "make it first: `sluice table create`",
            ));
        };
        self.plan_on(&table, args).await
    }

    async fn plan_on(&self, table: &TableView, args: &ResetArgs) -> Result<ResetPlan, Stop> {
        let name = self.lane_name();
        let property = table.properties.get(&name).and_then(|p| p.as_ref().ok());
        let reading = lane::read(table, &name, None, None);
        let standing = match &reading {
            Reading::Known { lane, .. } => Some(lane),
            _ => property.map(|p| &p.lane),
        };
        let in_kafka = self.partitions(&self.topics(standing)).await?;
        let target = args.target();
        let logs = self.logs(&in_kafka, &target).await?;
        let topics: Vec<Topic> = in_kafka.iter().map(|tp| tp.topic.clone()).collect::<BTreeSet<_>>().into_iter().collect();
        let identity = once(|| self.admin.identity(&topics)).await?;
        let members: Vec<String> = once(|| self.admin.group_members()).await?.into_iter().map(|m| m.client_id).collect();
        let situation = Situation {
            reading: plan::Reading::of(table, &name, &reading),
            logs: &logs,
            identity: &identity,
            members: &members,
            topics: &self.config.kafka.topics,
            late: match self.config.event_time.late {
                Late::Admit => LateRows::Admitted,
                Late::DeadLetter | Late::Drop => LateRows::Withheld,
            },
            watermark_delay: parts::micros(self.config.event_time.watermark_delay),
        };
        Ok(plan::plan(&situation, &args.scope(), &target)?)
    }

    async fn logs(&self, at: &[TopicPartition], target: &Target) -> Result<BTreeMap<TopicPartition, LogEdges>, Stop> {
        let starts = self.log_offsets(at, LogEdge::Earliest).await?;
        let ends = self.log_offsets(at, LogEdge::LastStable).await?;
        let at_datetime = match target {
            Target::Datetime(ms) => self.log_offsets(at, LogEdge::Timestamp(*ms)).await?,
            _ => BTreeMap::new(),
        };
        let edges = at.iter().filter_map(|tp| {
            let at_datetime = at_datetime.get(tp).map(|o| o.offset);
            Some((tp.clone(), LogEdges { start: starts.get(tp)?.offset, end: ends.get(tp)?.offset, at_datetime }))
        });
        Ok(edges.collect())
    }

    /// Commits the plan; made anew on every base, since another lane may have committed meanwhile.
    async fn execute(&self, args: &ResetArgs, first: ResetPlan) -> Result<ResetPlan, Stop> {
        let commit_id = CommitId(uuid::Uuid::new_v4().as_u128());
        let mut planned = first;
        for attempt in 0..ATTEMPTS {
            let Some(table) = self.table().await? else {
                return Err(Stop::inconsistent("the table was dropped meanwhile", "see who dropped it"));
            };
            if table.find_commit(&[commit_id]).is_some() {
                return Ok(planned);
            }
            planned = self.plan_on(&table, args).await?;
            let plan = planned.snapshot(&table, &self.lane_name(), commit_id);
            match self.lake.table.commit(&table, &plan, &[]).await {
                Outcome::Committed(_) => return Ok(planned),
                Outcome::Rejected { status, text } => {
                    return Err(Stop::refused(
                        format!("the catalog rejected the reset (status {status}): {text}"),
                        "mend what the catalog names; nothing was changed",
                    ));
                }
                Outcome::NotSent(_) | Outcome::Conflict(_) | Outcome::Unknown(_) => {
                    let pause = SystemRandom.u64() % (50 << attempt.min(5));
                    tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
                }
            }
        }
        Err(Stop::gave_up(
            format!("the reset was tried {ATTEMPTS} times, and the table changed each time or did not answer"),
            "check with `sluice offsets describe` whether it landed; repeating it changes nothing further",
        ))
    }
}
