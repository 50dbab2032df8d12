//! The rows of a batch, from decoding until its commit is known: Arrow by event hour, in the order they were judged.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use crate::core::batch::LateRecord;
use crate::core::instance::Verdict;
use crate::decode::ChunkDecoder;
use crate::pipeline::spread::{RowTimes, Spread};
use crate::ports::Letter;
use crate::types::*;

/// So many rows are decoded into one Arrow batch: more costs cache misses, fewer cost overhead a row.
const CHUNK_ROWS: usize = 4096;

/// Records of one topic in a batch, by what became of them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TopicCounts {
    pub written: u64,
    pub duplicate: u64,
    pub late: u64,
    pub late_admitted: u64,
    pub dead_lettered: BTreeMap<&'static str, u64>,
}

impl TopicCounts {
    pub fn consumed(&self) -> u64 {
        self.written + self.duplicate + self.late + self.dead_lettered.values().sum::<u64>()
    }
}

/// Rows of one event hour.
#[derive(Default)]
pub struct HourRows {
    batches: Vec<RecordBatch>,
    /// Id and topic of each row.
    ids: Vec<MessageId>,
    topics: Vec<Topic>,
}

/// The rows of the batch that is being read.
pub struct OpenRows {
    decoder: ChunkDecoder,
    /// Of each row in the decoder: where it belongs; none for one that isn't written.
    tags: Vec<Option<(EventHour, MessageId, Topic)>>,
    rows: SealedRows,
    bytes: usize,
}

/// The rows of a batch that is on its way into the table.
#[derive(Default)]
pub struct SealedRows {
    pub hours: BTreeMap<EventHour, HourRows>,
    pub letters: Vec<Letter>,
    /// Late records that may become letters, by partition and offset.
    pub late: BTreeMap<(TopicPartition, Offset), Letter>,
    pub topics: BTreeMap<Topic, TopicCounts>,
    /// Of the rows that are written unless they are taken out.
    pub times: Spread,
    /// Text of the ids that are no canonical UUID: a bloom filter is asked with the text.
    pub texts: HashMap<MessageId, Arc<str>>,
}

/// What is known of a decoded row besides its columns.
#[derive(Clone, Copy, Debug)]
pub struct JudgedRow {
    pub id: MessageId,
    pub event_time: Micros,
    pub broker_ms: Option<i64>,
}

impl Default for OpenRows {
    fn default() -> Self {
        Self { decoder: ChunkDecoder::new(CHUNK_ROWS), tags: Vec::new(), rows: SealedRows::default(), bytes: 0 }
    }
}

impl OpenRows {
    /// The decoder for the next record. Every row pushed must be given its verdict by [`Self::judged`].
    pub fn decoder(&mut self, body_bytes: usize) -> &mut ChunkDecoder {
        if self.tags.len() >= CHUNK_ROWS || !self.decoder.has_room(body_bytes) {
            self.finish_chunk();
        }
        &mut self.decoder
    }

    /// Remembers the text of the row just pushed where the id doesn't give it.
    pub fn remember_text(&mut self, id: MessageId) {
        let text = self.decoder.message_id(self.decoder.rows() - 1);
        if !is_canonical(text, id) {
            self.rows.texts.insert(id, text.into());
        }
    }

    /// The verdict of a row, in the order pushed.
    pub fn judged(&mut self, topic: &Topic, row: JudgedRow, verdict: Verdict) {
        let JudgedRow { id, event_time, broker_ms } = row;
        let counts = self.rows.topics.entry(topic.clone()).or_default();
        let tag = match verdict {
            Verdict::Fresh { hour, late } => {
                counts.written += 1;
                counts.late_admitted += u64::from(late);
                self.rows.times.add(RowTimes { hour, id, event_time, broker_ms });
                Some((hour, id, topic.clone()))
            }
            Verdict::Duplicate => {
                counts.duplicate += 1;
                None
            }
            Verdict::Late => {
                counts.late += 1;
                None
            }
            Verdict::Malformed => unreachable!("a malformed record gives no row"),
        };
        self.tags.push(tag);
    }

    pub fn letter(&mut self, letter: Letter) {
        let counts = self.rows.topics.entry(letter.partition.topic.clone()).or_default();
        *counts.dead_lettered.entry(letter.reason).or_default() += 1;
        self.bytes += letter_bytes(&letter);
        self.rows.letters.push(letter);
    }

    pub fn late_letter(&mut self, letter: Letter) {
        self.bytes += letter_bytes(&letter);
        self.rows.late.insert((letter.partition.clone(), letter.offset), letter);
    }

    /// Arrow and letter bytes held.
    pub fn bytes(&self) -> u64 {
        let tags = self.tags.len() * std::mem::size_of::<Option<(EventHour, MessageId, Topic)>>();
        (self.bytes + tags + if self.tags.is_empty() { 0 } else { self.decoder.bytes() }) as u64
    }

    pub fn seal(mut self) -> SealedRows {
        self.finish_chunk();
        self.rows
    }

    fn finish_chunk(&mut self) {
        assert_eq!(self.decoder.rows(), self.tags.len(), "every decoded row has its verdict");
        if self.tags.is_empty() {
            return;
        }
        let batch = self.decoder.finish();
        let mut by_hour: BTreeMap<EventHour, Vec<u32>> = BTreeMap::new();
        for (row, tag) in self.tags.drain(..).enumerate() {
            if let Some((hour, id, topic)) = tag {
                by_hour.entry(hour).or_default().push(row as u32);
                let of_hour = self.rows.hours.entry(hour).or_default();
                of_hour.ids.push(id);
                of_hour.topics.push(topic);
            }
        }
        for (hour, rows) in by_hour {
            let whole = rows.len() == batch.num_rows();
            let part = if whole { batch.clone() } else { taken(&batch, rows) };
            self.bytes += part.get_array_memory_size() + part.num_rows() * 32;
            self.rows.hours.entry(hour).or_default().batches.push(part);
        }
    }
}

fn letter_bytes(letter: &Letter) -> usize {
    256 + letter.value.as_ref().map_or(0, Vec::len) + letter.key.as_ref().map_or(0, Vec::len)
}

fn taken(batch: &RecordBatch, rows: Vec<u32>) -> RecordBatch {
    take_record_batch(batch, &UInt32Array::from(rows)).expect("row indexes come from this very batch")
}

fn is_canonical(text: &str, id: MessageId) -> bool {
    canonical_text(id) == text
}

/// The text of an id, if it is the canonical UUID that its bits spell.
pub fn canonical_text(id: MessageId) -> String {
    uuid::Uuid::from_u128(id.0).hyphenated().to_string()
}

impl SealedRows {
    /// Rows of an hour without those taken out, in order, and their ids.
    pub fn of_hour(&self, hour: EventHour, taken_out: &BTreeSet<MessageId>) -> (Vec<RecordBatch>, Vec<MessageId>) {
        let Some(rows) = self.hours.get(&hour) else { return (Vec::new(), Vec::new()) };
        if taken_out.is_empty() {
            return (rows.batches.clone(), rows.ids.clone());
        }
        let (mut batches, mut ids) = (Vec::new(), Vec::new());
        let mut first = 0;
        for batch in &rows.batches {
            let of_batch = &rows.ids[first..first + batch.num_rows()];
            first += batch.num_rows();
            let keep: Vec<u32> =
                (0..batch.num_rows() as u32).filter(|r| !taken_out.contains(&of_batch[*r as usize])).collect();
            ids.extend(keep.iter().map(|r| of_batch[*r as usize]));
            match keep.len() {
                0 => {}
                n if n == batch.num_rows() => batches.push(batch.clone()),
                _ => batches.push(taken(batch, keep)),
            }
        }
        (batches, ids)
    }

    /// What became of the records, topic by topic: rows that turned out to be in the table were duplicates, and so were
    /// late records other than `late`.
    pub fn topic_counts(
        &self,
        taken_out: &BTreeMap<EventHour, BTreeSet<MessageId>>,
        late: &[LateRecord],
    ) -> BTreeMap<Topic, TopicCounts> {
        let mut topics = self.topics.clone();
        for counts in topics.values_mut() {
            counts.duplicate += std::mem::take(&mut counts.late);
        }
        for record in late {
            let counts = topics.get_mut(&record.partition.topic).expect("late records were counted");
            counts.duplicate -= 1;
            counts.late += 1;
        }
        for (hour, ids) in taken_out {
            let Some(rows) = self.hours.get(hour) else { continue };
            for (id, topic) in rows.ids.iter().zip(&rows.topics).filter(|(id, _)| ids.contains(*id)) {
                let counts = topics.get_mut(topic).unwrap_or_else(|| panic!("{id:?} is of topic {topic}"));
                counts.written -= 1;
                counts.duplicate += 1;
            }
        }
        topics
    }

    /// Times of the rows that were written, each with the number of rows that it stands for.
    pub fn written_times<'a>(
        &'a self,
        taken_out: &'a BTreeMap<EventHour, BTreeSet<MessageId>>,
    ) -> impl Iterator<Item = (&'a RowTimes, u64)> {
        let is_out = |row: &RowTimes| taken_out.get(&row.hour).is_some_and(|ids| ids.contains(&row.id));
        self.times.weighted().filter(move |(row, _)| !is_out(row))
    }

    /// Bytes of rows and letters, roughly.
    pub fn bytes(&self) -> u64 {
        let arrow: usize = self.hours.values().flat_map(|h| &h.batches).map(RecordBatch::get_array_memory_size).sum();
        let letters: usize = self.letters.iter().chain(self.late.values()).map(letter_bytes).sum();
        (arrow + letters + self.rows() * 32) as u64
    }

    pub fn rows(&self) -> usize {
        self.hours.values().map(|h| h.ids.len()).sum()
    }
}
