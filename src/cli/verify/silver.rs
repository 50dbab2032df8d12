//! `--deep`: the records of Kafka, decoded as the service decodes them, on their way to the audit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use async_trait::async_trait;
use futures::TryStreamExt;

use super::Subject;
use crate::core::verify::log::{self, Kafka};
use crate::core::verify::{Findings, GoldRow, Lineage, LogAudit, LogEvent, LogState, ReadRange, RowPrint, Shard};
use crate::decode::chunk::ChunkDecoder;
use crate::decode::event_time::EventTimeBounds;
use crate::decode::frame::schema_ids;
use crate::decode::plans::{PlanSet, Plans};
use crate::error::Stop;
use crate::ports::{Clock, LogEdge, PortError, RecordChunk, SourceAdmin};
use crate::sink::read_rows::{Columns, GoldFile, GoldReader, KeyRows};
use crate::sink::row_print::row_prints;
use crate::types::*;

/// Reads ranges of the log, outside any group.
#[async_trait]
pub trait LogReader: Send {
    /// Starts at the beginning of a range; one range at a time.
    async fn start(&mut self, range: &ReadRange) -> Result<(), PortError>;
    /// The next records of the range in offset order, committed ones only; none at its end.
    async fn next(&mut self) -> Result<Option<RecordChunk>, PortError>;
}

/// The Silver side of `--deep`.
pub struct Silver<'a> {
    pub admin: &'a dyn SourceAdmin,
    pub log: Box<dyn LogReader + Sync>,
    pub plans: Plans,
    pub clock: Arc<dyn Clock>,
    pub bounds: EventTimeBounds,
}

/// For so long a schema registry may leave an id unanswered before the command gives up.
const REGISTRY_TRIES: u32 = 30;

impl Silver<'_> {
    /// Returns how many records were read.
    pub async fn judge(
        &mut self,
        reader: &GoldReader,
        files: &[GoldFile],
        lineage: &Lineage,
        live_rows: u64,
        subject: &Subject,
        findings: &mut Findings,
    ) -> Result<u64, PortError> {
        let kafka = self.kafka(lineage).await?;
        let mut audit = LogAudit::new(lineage, &kafka, subject.watermark_delay, findings);
        let keys = audit.keys_max(live_rows);
        for shard in Shard::split(keys, log::BYTES_PER_ROW, subject.budget_bytes) {
            audit.begin(shard);
            for file in files {
                feed_gold(reader, file, &mut audit).await?;
            }
            for (index, range) in audit.reads().iter().enumerate() {
                self.feed_log(index, range, &mut audit).await?;
            }
            audit.end_shard(findings);
        }
        Ok(audit.end(findings))
    }

    /// What Kafka says of every partition that any lane of the history names.
    async fn kafka(&self, lineage: &Lineage) -> Result<Kafka, PortError> {
        let topics: Vec<Topic> = topics_of(lineage).into_iter().collect();
        let identity = self.admin.identity(&topics).await?;
        let partitions: Vec<TopicPartition> = (self.admin.partitions(&topics).await?.into_iter())
            .flat_map(|(topic, partitions)| partitions.into_iter().map(move |p| TopicPartition::new(topic.clone(), p)))
            .collect();
        let at = |edge: LogEdge| partitions.iter().map(|tp| (tp.clone(), edge)).collect::<Vec<_>>();
        let starts = self.admin.log_offsets(&at(LogEdge::Earliest)).await?;
        let ends = self.admin.log_offsets(&at(LogEdge::LastStable)).await?;
        let compacted = self.admin.compacted(&topics).await?;
        let mut states = BTreeMap::new();
        for tp in partitions {
            if let (Some(start), Some(end)) = (starts.get(&tp), ends.get(&tp)) {
                let topic_id = identity.topics.get(&tp.topic).copied();
                let compacted = compacted.contains(&tp.topic);
                let state = LogState { start: start.offset, stable_end: end.offset, topic_id, compacted };
                states.insert(tp, state);
            }
        }
        Ok(Kafka { cluster_id: identity.cluster_id, partitions: states })
    }

    async fn feed_log(&mut self, index: usize, range: &ReadRange, audit: &mut LogAudit) -> Result<(), PortError> {
        self.log.start(range).await?;
        while let Some(chunk) = self.log.next().await? {
            let plans = self.resolve(&schema_ids(&chunk)).await?;
            feed_chunk(index, &chunk, &plans, self.bounds, self.clock.wall_ms(), audit)?;
        }
        audit.range_end(index);
        Ok(())
    }

    async fn resolve(&self, ids: &[u32]) -> Result<PlanSet, PortError> {
        let mut tries = 0;
        loop {
            match self.plans.resolve(ids).await {
                Err(PortError::Down(_)) if tries < REGISTRY_TRIES => tries += 1,
                answer => return answer,
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}

fn topics_of(lineage: &Lineage) -> BTreeSet<Topic> {
    let mut topics = BTreeSet::new();
    for (name, history) in &lineage.lanes {
        topics.extend(history.commits.iter().flat_map(|commit| commit.entry(name).lane.topics()));
        topics.extend(history.lane(name).map(|lane| lane.topics()).unwrap_or_default());
    }
    topics
}

/// The rows of one file. A file that can't be read was found already: its rows count as not there.
async fn feed_gold(reader: &GoldReader, file: &GoldFile, audit: &mut LogAudit) -> Result<(), PortError> {
    let mut batches = reader.rows(file, Columns::Silver)?;
    while let Ok(Some(batch)) = batches.try_next().await {
        let fault = |wrong: String| Stop::inconsistent(format!("{}: {wrong}", file.facts.path), "check the table's schema");
        let prints = row_prints(&batch).map_err(fault)?;
        let keys = KeyRows::of(&batch).map_err(fault)?;
        for (row, print) in prints.into_iter().enumerate() {
            let key = keys.row(row);
            if let (Some(message_id), Some(event_time)) = (key.message_id, key.event_time) {
                audit.gold(&file.facts.path, &GoldRow { message_id, event_time, print });
            }
        }
    }
    Ok(())
}

fn feed_chunk(
    index: usize,
    chunk: &RecordChunk,
    plans: &PlanSet,
    bounds: EventTimeBounds,
    wall_ms: i64,
    audit: &mut LogAudit,
) -> Result<(), Stop> {
    let mut decoder = ChunkDecoder::new(chunk.frames.len());
    let mut waiting: Vec<(Offset, bool)> = Vec::with_capacity(chunk.frames.len());
    for (i, frame) in chunk.frames.iter().enumerate() {
        let value = chunk.value(i);
        if !decoder.has_room(value.map_or(0, <[u8]>::len)) {
            flush(index, &mut decoder, &mut waiting, audit)?;
        }
        let decoded = match decoder.push_value(plans, value) {
            Ok(meta) if bounds.check(meta.event_time, frame.timestamp_ms, wall_ms).is_ok() => true,
            Ok(_) => {
                decoder.pop_row();
                false
            }
            Err(_) => false,
        };
        waiting.push((frame.offset, decoded));
    }
    flush(index, &mut decoder, &mut waiting, audit)
}

fn flush(
    index: usize,
    decoder: &mut ChunkDecoder,
    waiting: &mut Vec<(Offset, bool)>,
    audit: &mut LogAudit,
) -> Result<(), Stop> {
    let batch = decoder.finish();
    let prints: Vec<RowPrint> = row_prints(&batch).map_err(Stop::internal)?;
    let ids = batch.column(0).as_string::<i32>();
    let keys = KeyRows::of(&batch).map_err(Stop::internal)?;
    let mut row = 0;
    for (offset, decoded) in waiting.drain(..) {
        if !decoded {
            audit.record(index, offset, &LogEvent::Malformed);
            continue;
        }
        let event_time = keys.row(row).event_time.ok_or_else(|| Stop::internal("a decoded row without time"))?;
        audit.record(index, offset, &LogEvent::Decoded { message_id: ids.value(row), event_time, print: prints[row] });
        row += 1;
    }
    Ok(())
}
