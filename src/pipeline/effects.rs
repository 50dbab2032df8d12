//! Carrying out the core's effects: each waits for its dependencies as long as it takes, and answers with an event.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};

use crate::core::batch::Lookup;
use crate::core::instance::*;
use crate::core::plan::SnapshotPlan;
use crate::core::planted::{Bug, planted};
use crate::core::table::*;
use crate::core::tripwire::{Trace, Witness};
use crate::crash_point::{self, Point};
use crate::error::Stop;
use crate::pipeline::file_names::FileNames;
use crate::pipeline::health::Health;
use crate::pipeline::rows::{SealedRows, canonical_text};
use crate::ports::*;
use crate::telemetry::metrics::{Dedup, LookupTier};
use crate::types::*;

/// Everything outside the process that effects touch.
#[derive(Clone)]
pub struct Ports {
    pub admin: Arc<dyn SourceAdmin>,
    pub letters: Arc<dyn DeadLetters>,
    pub table: Arc<dyn Table>,
    pub files: Arc<dyn DataFiles>,
    pub store: Arc<dyn DedupStore>,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub notes: Arc<dyn Notes>,
    pub health: Arc<Health>,
}

/// Which ids each file holds: (hour, path, ids).
pub type Found = Vec<(EventHour, FilePath, Vec<MessageId>)>;

/// What an effect came to.
pub enum Done {
    Event(Event),
    /// Rows were written: what the manifest will say of the files, and the event.
    Written(Vec<WrittenFile>, Event),
    Stop(Stop),
}

/// What doesn't change while the process runs.
#[derive(Clone, Debug)]
pub struct Names {
    pub topics: Vec<Topic>,
    pub lane: LaneName,
    /// `namespace.table` as configured.
    pub table: String,
    /// As whose the group shows this instance's partitions.
    pub client_id: String,
}

/// Waits grow from here, doubling, each with full jitter.
const BACK_OFF_MIN_MS: u64 = 50;
const BACK_OFF_MAX_MS: u64 = 2_000;
/// Hours that are encoded at the same time: each holds an encoder's memory.
const HOURS_AT_ONCE: usize = 2;
/// Between tries of a dependency that is down.
const DOWN_MAX_MS: u64 = 5_000;

impl Ports {
    /// Repeats `attempt` until its dependency answers, with bounded backoff; the status says what is down meanwhile.
    pub async fn until_up<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, Stop>
    where
        F: Future<Output = Result<T, PortError>>,
    {
        let mut wait = 100;
        let mut failed: BTreeSet<&'static str> = BTreeSet::new();
        loop {
            match attempt().await {
                Ok(value) => {
                    for dependency in failed {
                        self.health.up(dependency);
                    }
                    return Ok(value);
                }
                Err(PortError::Stop(stop)) => return Err(stop),
                Err(PortError::Down(down)) => {
                    failed.insert(down.dependency);
                    self.health.down(&down);
                }
            }
            tokio::time::sleep(self.jittered(wait)).await;
            wait = (wait * 2).min(DOWN_MAX_MS);
        }
    }

    /// Between half of `ms` and all of it.
    fn jittered(&self, ms: u64) -> Duration {
        Duration::from_millis(ms / 2 + self.random.u64() % (ms / 2 + 1))
    }

    /// Full jitter after a conflict, so that many writers of one table don't meet again.
    pub async fn back_off(&self, attempt: u32) {
        let ceiling = BACK_OFF_MAX_MS.min(BACK_OFF_MIN_MS << attempt.min(6));
        tokio::time::sleep(Duration::from_millis(self.random.u64() % ceiling)).await;
    }

    // ---- loads

    /// Kafka's view and the witness before the table: whatever they know must have been there when the table is read.
    pub async fn load(&self, names: &Names, with_witness: bool) -> Result<Load, Stop> {
        crash_point::pass(Point::LoadAsked);
        let kafka = self.until_up(|| self.kafka_view(&names.topics)).await?;
        let tripwire = async {
            match with_witness {
                true => self.until_up(|| self.witness(names, &kafka)).await,
                false => Ok(None),
            }
        };
        let (witness, table) = match planted(Bug::TripwireAfterTable) {
            false => {
                let witness = tripwire.await?;
                crash_point::pass(Point::LoadWitnessed);
                (witness, self.loaded().await?)
            }
            true => {
                let table = self.loaded().await?;
                (tripwire.await?, table)
            }
        };
        if let Some(table) = &table {
            self.store.use_table(table.uuid).await;
        }
        Ok(Load { table, kafka, witness, witnessed: with_witness })
    }

    async fn loaded(&self) -> Result<Option<Arc<TableView>>, Stop> {
        match self.until_up(|| self.table.load()).await? {
            Loaded::Table(view) => Ok(Some(Arc::new(view))),
            Loaded::Missing => Ok(None),
        }
    }

    async fn kafka_view(&self, topics: &[Topic]) -> Result<KafkaView, PortError> {
        let partitions = self.admin.partitions(topics).await?;
        let identity = self.admin.identity(topics).await?;
        let view = KafkaView::new(identity, partitions);
        #[cfg(feature = "planted-bugs")]
        let view = self.with_group_offsets(view).await?;
        Ok(view)
    }

    #[cfg(feature = "planted-bugs")]
    async fn with_group_offsets(&self, mut view: KafkaView) -> Result<KafkaView, PortError> {
        if planted(Bug::GroupOffsetIsTruth) {
            let all = view.partitions.iter().flat_map(|(t, ps)| ps.iter().map(|p| TopicPartition::new(t.clone(), *p)));
            let offsets = self.admin.group_offsets(&all.collect::<Vec<_>>()).await?;
            view.group_offsets = offsets.into_iter().map(|(tp, at)| (tp, at.offset)).collect();
        }
        Ok(view)
    }

    /// What of ours knows the lane, outside the table.
    async fn witness(&self, names: &Names, kafka: &KafkaView) -> Result<Option<Witness>, PortError> {
        let mut witness = Witness::default();
        let all = kafka.partitions.iter().flat_map(|(t, ps)| ps.iter().map(|p| TopicPartition::new(t.clone(), *p)));
        for (partition, offset) in self.admin.group_offsets(&all.collect::<Vec<_>>()).await? {
            if is_ours(&offset.metadata) {
                witness.add(partition.topic, Trace::GroupOffsets);
            } else {
                tracing::warn!(
                    event = "source.group_offset_foreign", %partition, offset = offset.offset,
                    "a group offset that Sluice didn't write: the table decides, it will be overwritten. To read from \
                     elsewhere, use `sluice offsets reset`"
                );
            }
        }
        if let Some(known) = self.notes.known().await.filter(|k| k.table == names.table && *k.group == *names.lane) {
            for topic in known.topics {
                witness.add(topic.into(), Trace::StateDir);
            }
        }
        Ok(witness.seen())
    }

    pub async fn log_edges(&self, at: Vec<TopicPartition>, latest: bool) -> Result<BTreeMap<TopicPartition, Offset>, Stop> {
        let edge = if latest { LogEdge::LastStable } else { LogEdge::Earliest };
        let asked: Vec<_> = at.iter().map(|tp| (tp.clone(), edge)).collect();
        let edges = self.until_up(|| async {
            let found = self.admin.log_offsets(&asked).await?;
            match at.iter().find(|tp| !found.contains_key(*tp)) {
                Some(tp) => Err(Down { dependency: "kafka", reason: format!("no offset of {tp} was answered") }.into()),
                None => Ok(found),
            }
        });
        Ok(edges.await?.into_iter().map(|(tp, o)| (tp, o.offset)).collect())
    }

    /// Where the log begins and ends. A log that seems shorter than the position is asked again after 10 s, since a new
    /// leader may not know its end yet.
    pub async fn check_log(&self, partition: TopicPartition, position: Offset) -> Result<LogEdges, Stop> {
        for again in [true, false] {
            let edges = self.until_up(|| self.edges_of(&partition)).await?;
            if edges.end >= position || !again {
                return Ok(edges);
            }
            tokio::time::sleep(Duration::from_secs(10)).await;
        }
        unreachable!("the second answer is returned")
    }

    async fn edges_of(&self, partition: &TopicPartition) -> Result<LogEdges, PortError> {
        let ask = |edge| [(partition.clone(), edge)];
        let start = self.admin.log_offsets(&ask(LogEdge::Earliest)).await?;
        let end = self.admin.log_offsets(&ask(LogEdge::HighWatermark)).await?;
        match (start.get(partition), end.get(partition)) {
            (Some(start), Some(end)) => Ok(LogEdges { start: start.offset, end: end.offset }),
            _ => Err(Down { dependency: "kafka", reason: format!("no offsets of {partition} were answered") }.into()),
        }
    }

    // ---- files

    /// Looks ids up in files, each file as often as its ids need; what sled holds isn't read from the table. None when a
    /// file is gone because the table no longer lists it: another engine rewrote and expired it meanwhile.
    pub async fn probe(&self, rows: &SealedRows, lookups: Vec<Lookup>, counted: &Dedup) -> Result<Option<Found>, Stop> {
        let mut found = Vec::with_capacity(lookups.len());
        for lookup in lookups {
            let hits = match self.stored(&lookup).await {
                Some(hits) => {
                    counted.lookups(LookupTier::Sled, lookup.ids.len() as u64);
                    hits
                }
                None => {
                    let ids: Vec<ProbeId> = lookup.ids.iter().map(|id| probe_id(rows, *id)).collect();
                    match self.until_up(|| self.probe_file(&lookup, &ids)).await {
                        Ok(probed) => {
                            counted.lookups(LookupTier::Bloom, (ids.len() - probed.read) as u64);
                            counted.lookups(LookupTier::Column, probed.read as u64);
                            probed.hits
                        }
                        Err(stop) if self.is_live(&lookup.file.path).await? => return Err(stop),
                        Err(_) => return Ok(None),
                    }
                }
            };
            found.push((lookup.hour, lookup.file.path, hits));
        }
        Ok(Some(found))
    }

    /// A failure is tried again or stops: it never counts as "no".
    async fn probe_file(&self, lookup: &Lookup, ids: &[ProbeId]) -> Result<Probed, PortError> {
        match self.files.probe(&lookup.file, lookup.hour, ids).await {
            Err(_) if planted(Bug::ProbeErrorIsNotFound) => Ok(Probed::default()),
            answer => answer,
        }
    }

    async fn is_live(&self, path: &FilePath) -> Result<bool, Stop> {
        match self.until_up(|| self.table.load()).await? {
            Loaded::Table(view) => Ok(view.live.contains(path)),
            Loaded::Missing => Ok(false),
        }
    }

    async fn stored(&self, lookup: &Lookup) -> Option<Vec<MessageId>> {
        let held = self.store.get(&lookup.file.path).await?;
        let wanted: BTreeSet<MessageId> = lookup.ids.iter().copied().collect();
        let hits = held.into_iter().filter(|(id, hour)| *hour == lookup.hour && wanted.contains(id)).map(|(id, _)| id);
        Some(hits.collect())
    }

    /// Writes these hours of a batch, some at once, and keeps their ids in the store.
    pub async fn write(
        &self,
        rows: &SealedRows,
        hours: Vec<EventHour>,
        taken_out: &BTreeMap<EventHour, BTreeSet<MessageId>>,
        gold_ingestion_timestamp: Micros,
        names: &FileNames,
    ) -> Result<(Vec<WrittenFile>, Vec<AddedFile>), Stop> {
        let none = BTreeSet::new();
        let written = hours.into_iter().map(|hour| {
            let (batches, ids) = rows.of_hour(hour, taken_out.get(&hour).unwrap_or(&none));
            async move {
                if ids.is_empty() {
                    return Ok(Vec::new());
                }
                let write =
                    || async { self.files.write(hour, &names.next(), gold_ingestion_timestamp, batches.clone()).await };
                self.with_ids(self.until_up(write).await?, ids).await
            }
        });
        let written: Vec<_> = stream::iter(written).buffered(HOURS_AT_ONCE).try_collect().await?;
        Ok(written.into_iter().flatten().unzip())
    }

    /// Files hold the rows in order: each takes as many ids as it has rows.
    async fn with_ids(&self, files: Vec<WrittenFile>, ids: Vec<MessageId>) -> Result<Vec<(WrittenFile, AddedFile)>, Stop> {
        let total: u64 = files.iter().map(|f| f.rows).sum();
        assert_eq!(total, ids.len() as u64, "every row of {:?} is in a file", files.first().map(|f| f.hour));
        let mut rest = ids.as_slice();
        let mut added = Vec::with_capacity(files.len());
        for file in files {
            let (own, others) = rest.split_at(file.rows as usize);
            rest = others;
            self.store.put(&file.path, own.iter().map(|id| (*id, file.hour)).collect()).await;
            let ids: Arc<[MessageId]> = own.into();
            added.push((file.clone(), AddedFile { path: file.path.clone(), hour: file.hour, ids }));
        }
        Ok(added)
    }

    // ---- commits

    /// Files that wait long for their commit may have been taken for orphans by another engine's clean-up.
    pub async fn still_there(&self, files: &[WrittenFile]) -> Result<(), Stop> {
        for file in files {
            if !self.until_up(|| self.files.exists(&file.path)).await? {
                return Err(Stop::inconsistent(
                    format!("data file {} was removed before its commit", file.path),
                    "start again: the records are read again, nothing is lost. Let orphan clean-up of other engines spare files                      younger than a few days",
                ));
            }
        }
        Ok(())
    }

    pub async fn post(&self, base: &TableView, plan: &SnapshotPlan, files: &[WrittenFile]) -> Outcome {
        self.table.commit(base, plan, files).await
    }
}

/// Metadata that Sluice writes with a group offset.
pub fn mirror_metadata(table: u128, commit: Option<CommitId>) -> String {
    let table = uuid::Uuid::from_u128(table);
    match commit {
        Some(commit) => format!("table={table};commit={commit}"),
        None => format!("table={table};commit="),
    }
}

fn is_ours(metadata: &str) -> bool {
    metadata.starts_with("table=") && metadata.contains(";commit=")
}

fn probe_id(rows: &SealedRows, id: MessageId) -> ProbeId {
    match rows.texts.get(&id) {
        Some(text) => ProbeId { id, text: Some(text.clone()) },
        None => ProbeId { id, text: Some(canonical_text(id).into()) },
    }
}

#[cfg(test)]
#[path = "effects_tests.rs"]
mod tests;
