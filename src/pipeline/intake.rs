//! From a delivered chunk to verdicts: decode, judge, keep what will be written.

use crate::core::event_time::LatePolicy;
use crate::core::instance::{Body, Instance, RecordMeta, Verdict};
use crate::decode::{EventTimeBounds, PlanSet, Reason, RowError, frame};
use crate::pipeline::rows::{JudgedRow, OpenRows};
use crate::ports::{Letter, RecordChunk, Stage};
use crate::types::*;

/// So many records are decoded and judged at once: the loop stays responsive, and a batch ends near its limits.
pub const JUDGED_AT_ONCE: usize = 2048;

#[derive(Clone, Copy)]
pub struct Rules {
    pub bounds: EventTimeBounds,
    pub late: LatePolicy,
    pub wall_ms: i64,
    pub now_ms: u64,
}

/// Decodes and judges records of a chunk; tells how many of them were looked up, all but the malformed ones. None: their
/// epoch is over, nothing was taken.
#[allow(clippy::too_many_arguments)]
pub fn take_in(
    core: &mut Instance,
    rows: &mut OpenRows,
    plans: &PlanSet,
    rules: Rules,
    partition: &TopicPartition,
    epoch: Epoch,
    chunk: &RecordChunk,
    range: std::ops::Range<usize>,
) -> Option<usize> {
    if !core.takes(partition, epoch, chunk.frames[range.clone()].iter().map(|f| f.offset)) {
        return None;
    }
    let mut metas = Vec::with_capacity(range.len());
    let mut errors = Vec::new();
    for i in range.clone() {
        let body = match decode_one(rows, plans, rules, chunk, i) {
            Ok((id, event_time)) => Body::Row { id, event_time },
            Err(error) => {
                let tombstone = error.reason == Reason::NullValue;
                errors.push((i, error));
                if tombstone { Body::Tombstone } else { Body::Malformed }
            }
        };
        let frame = &chunk.frames[i];
        metas.push(RecordMeta { offset: frame.offset, leader_epoch: frame.leader_epoch, body });
    }
    let verdicts = core.judge(rules.now_ms, partition, epoch, &metas).expect("the epoch was current a moment ago");
    let looked_up = metas.len() - errors.len();
    let mut errors = errors.into_iter().peekable();
    for ((i, meta), verdict) in range.zip(&metas).zip(verdicts) {
        match (meta.body, verdict) {
            (Body::Row { id, event_time }, verdict) => {
                let broker_ms = chunk.frames[i].timestamp_ms;
                rows.judged(&partition.topic, JudgedRow { id, event_time, broker_ms }, verdict);
                if verdict == Verdict::Late && rules.late == LatePolicy::DeadLetter {
                    rows.late_letter(late_letter(partition, chunk, i));
                }
            }
            _ => {
                let (at, error) = errors.next().expect("one error for every record without a row");
                assert_eq!(at, i, "errors are in the order of the records");
                rows.letter(letter(
                    partition,
                    chunk,
                    i,
                    error.stage(),
                    error.reason.as_str(),
                    error.message,
                    error.schema_id,
                ));
            }
        }
    }
    Some(looked_up)
}

fn decode_one(
    rows: &mut OpenRows,
    plans: &PlanSet,
    rules: Rules,
    chunk: &RecordChunk,
    i: usize,
) -> Result<(MessageId, Micros), RowError> {
    let value = chunk.value(i);
    let decoder = rows.decoder(value.map_or(0, <[u8]>::len));
    let meta = decoder.push_value(plans, value)?;
    if let Err(error) = rules.bounds.check(meta.event_time, chunk.frames[i].timestamp_ms, rules.wall_ms) {
        decoder.pop_row();
        return Err(match frame(value) {
            Ok(framed) => error.of_schema(framed.schema_id),
            Err(_) => error,
        });
    }
    rows.remember_text(meta.id);
    Ok((meta.id, meta.event_time))
}

fn late_letter(partition: &TopicPartition, chunk: &RecordChunk, i: usize) -> Letter {
    let schema_id = frame(chunk.value(i)).ok().map(|f| f.schema_id);
    let message = "behind its partition's greatest event time by more than event_time.watermark_delay".to_string();
    letter(partition, chunk, i, Stage::Late, "late", message, schema_id)
}

fn letter(
    partition: &TopicPartition,
    chunk: &RecordChunk,
    i: usize,
    stage: Stage,
    reason: &'static str,
    message: String,
    schema_id: Option<u32>,
) -> Letter {
    Letter {
        partition: partition.clone(),
        offset: chunk.frames[i].offset,
        timestamp_ms: chunk.frames[i].timestamp_ms,
        key: chunk.key(i).map(<[u8]>::to_vec),
        value: chunk.value(i).map(<[u8]>::to_vec),
        headers: chunk.headers(i).to_vec(),
        stage,
        reason,
        message,
        schema_id,
    }
}
