//! Records in, one Arrow batch out: a bad record costs its own row only.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::error::ArrowError;

use crate::decode::columns::{self, OptionalLongs, OptionalTexts, TEXT_BYTES_MAX, TextLists, Texts};
use crate::decode::error::RowError;
use crate::decode::frame::frame;
use crate::decode::plan::{Plan, SYMBOL_BYTES_MAX};
use crate::decode::plans::PlanSet;
use crate::decode::rows::{self, COLUMNS, Column, DecimalColumn, SequenceColumn, TextColumn, TimeColumn};
use crate::decode::values::json::Entries;
use crate::decode::wire::{Cursor, Fault};
use crate::types::{MessageId, Micros};

/// What the core judges a decoded record by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DecodedMeta {
    pub id: MessageId,
    pub event_time: Micros,
}

/// A body can't give more bytes than this in one text column: a control character of a map is six characters in JSON,
/// an enum's symbol is as long as the schema has it.
#[inline(always)]
fn row_bytes_max(body: usize) -> usize {
    body.saturating_mul(6).saturating_add(SYMBOL_BYTES_MAX)
}

/// A body above this can't be decoded whatever the state of the chunk (357 MB).
const BODY_BYTES_MAX: usize = (TEXT_BYTES_MAX - SYMBOL_BYTES_MAX) / 6;

/// Text bytes that a new chunk reserves at most for one column, however large the last one was.
const RESERVED_BYTES_MAX: usize = 1 << 20;

/// Rows in the making. Pushed and popped row by row, then taken as one batch; the next rows start a new one.
pub struct ChunkDecoder {
    columns: Columns,
    rows_reserved: usize,
    /// No text column holds more: the most that the bodies so far can have given, those of rows taken back included.
    text_bytes: usize,
}

impl ChunkDecoder {
    /// `rows` is what a chunk usually has: memory is reserved for so many.
    pub fn new(rows: usize) -> Self {
        Self { columns: Columns::with_capacity(rows, &Reserve::default()), rows_reserved: rows, text_bytes: 0 }
    }

    /// Decodes a record's value with the plan of the schema that its frame names, and appends one row or none.
    ///
    /// Panics when `plans` wasn't resolved for this record's chunk.
    #[inline]
    pub fn push_value(&mut self, plans: &PlanSet, value: Option<&[u8]>) -> Result<DecodedMeta, RowError> {
        let framed = frame(value)?;
        let plan = plans.plan(framed.schema_id)?;
        self.push(plan, framed.body).map_err(|error| error.of_schema(framed.schema_id))
    }

    /// Decodes one body and appends its row; on an error the chunk is as it was before.
    ///
    /// Panics without [`Self::has_room`] in a chunk that has rows: the record is good, and must not be called bad.
    #[inline]
    pub fn push(&mut self, plan: &Plan, body: &[u8]) -> Result<DecodedMeta, RowError> {
        if !self.has_room(body.len()) {
            assert!(self.is_empty(), "no room for {} bytes after {} rows: finish first", body.len(), self.rows());
            return Err(row_error("value", 0, Fault::TooLarge { limit: BODY_BYTES_MAX }));
        }
        let rows = self.rows();
        let mut cursor = Cursor::new(body);
        match self.columns.append(plan, &mut cursor, body) {
            Ok(()) => {
                self.text_bytes = self.text_bytes.saturating_add(row_bytes_max(body.len()));
                Ok(self.last_meta())
            }
            Err((field, fault)) => {
                self.columns.truncate(rows);
                Err(row_error(field, cursor.position(), fault))
            }
        }
    }

    /// Can a body of so many bytes be appended? If not, finish first; an empty chunk has room for 357 MB. Arrow's limit of
    /// 2 GiB of text in a column is far above what a chunk should hold.
    #[inline]
    pub fn has_room(&self, body_bytes: usize) -> bool {
        let fits = |before: usize| before.saturating_add(row_bytes_max(body_bytes)) <= TEXT_BYTES_MAX;
        fits(self.text_bytes) || fits(self.columns.longest_text())
    }

    #[inline]
    pub fn rows(&self) -> usize {
        self.columns.times[0].len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// Memory that the rows hold, reserved or used.
    pub fn bytes(&self) -> usize {
        self.columns.capacity_bytes()
    }

    /// The message_id of a row that wasn't taken yet.
    #[inline]
    pub fn message_id(&self, row: usize) -> &str {
        self.columns.texts[TextColumn::MessageId as usize].get(row)
    }

    /// The event time of a row that wasn't taken yet.
    #[inline]
    pub fn event_time(&self, row: usize) -> Micros {
        self.columns.times[TimeColumn::Timestamp as usize][row]
    }

    /// Takes back the row that was pushed last.
    pub fn pop_row(&mut self) {
        let rows = self.rows();
        assert!(rows > 0, "pop_row on a chunk without rows");
        self.columns.truncate(rows - 1);
    }

    /// The rows as a batch of [`rows::schema`], in the order pushed. The chunk is empty afterwards.
    pub fn finish(&mut self) -> RecordBatch {
        self.text_bytes = 0;
        let reserve = Reserve::as_used_by(&self.columns);
        let columns = std::mem::replace(&mut self.columns, Columns::with_capacity(self.rows_reserved, &reserve));
        columns.finish().expect("every column has one value a row, texts are UTF-8 and offsets ascend")
    }

    #[inline]
    fn last_meta(&self) -> DecodedMeta {
        let row = self.rows() - 1;
        DecodedMeta { id: MessageId::of(self.message_id(row)), event_time: self.event_time(row) }
    }
}

#[cold]
fn row_error(field: &str, position: usize, fault: Fault) -> RowError {
    RowError::new(fault.reason(), format!("{field}, at byte {position} of the body: {}", fault.message()))
}

/// The columns in the making, by kind.
pub struct Columns {
    texts: [Texts; TextColumn::COUNT],
    times: [Vec<i64>; 2],
    decimals: [Vec<i128>; 2],
    sequences: [OptionalLongs; 2],
    pub conditions: TextLists,
    pub vendor_data: OptionalTexts,
    /// Of the map that is being read.
    pub entries: Entries,
}

/// Text bytes to reserve, as the last chunk used them.
#[derive(Default)]
struct Reserve {
    texts: [usize; TextColumn::COUNT],
    conditions: usize,
    vendor_data: usize,
}

impl Reserve {
    fn as_used_by(columns: &Columns) -> Self {
        let bytes = |texts: &Texts| texts.data.len().min(RESERVED_BYTES_MAX);
        Self {
            texts: std::array::from_fn(|i| bytes(&columns.texts[i])),
            conditions: bytes(&columns.conditions.elements),
            vendor_data: bytes(&columns.vendor_data.texts),
        }
    }
}

impl Columns {
    fn with_capacity(rows: usize, reserve: &Reserve) -> Self {
        Self {
            texts: std::array::from_fn(|i| Texts::with_capacity(rows, reserve.texts[i])),
            times: std::array::from_fn(|_| Vec::with_capacity(rows)),
            decimals: std::array::from_fn(|_| Vec::with_capacity(rows)),
            sequences: std::array::from_fn(|_| OptionalLongs::with_capacity(rows)),
            conditions: TextLists::with_capacity(rows, reserve.conditions),
            vendor_data: OptionalTexts::with_capacity(rows, reserve.vendor_data),
            entries: Entries::default(),
        }
    }

    /// Runs the plan; on a fault, columns before the failing field have one value too many.
    #[inline]
    fn append<'p>(&mut self, plan: &'p Plan, cursor: &mut Cursor<'_>, body: &[u8]) -> Result<(), (&'p str, Fault)> {
        for step in &plan.steps {
            if let Err(fault) = step.op.run(cursor, body, self, &plan.skips) {
                return Err((&step.field, fault));
            }
        }
        if cursor.left() > 0 {
            return Err(("value", Fault::Trailing(cursor.left())));
        }
        match self.texts[TextColumn::MessageId as usize].last_is_empty() {
            true => Err(("message_id", Fault::EmptyMessageId)),
            false => Ok(()),
        }
    }

    #[inline(always)]
    pub fn text(&mut self, column: TextColumn) -> &mut Texts {
        &mut self.texts[column as usize]
    }

    #[inline(always)]
    pub fn time(&mut self, column: TimeColumn) -> &mut Vec<i64> {
        &mut self.times[column as usize]
    }

    #[inline(always)]
    pub fn decimal(&mut self, column: DecimalColumn) -> &mut Vec<i128> {
        &mut self.decimals[column as usize]
    }

    #[inline(always)]
    pub fn sequence(&mut self, column: SequenceColumn) -> &mut OptionalLongs {
        &mut self.sequences[column as usize]
    }

    #[inline(always)]
    pub fn push_null(&mut self, column: Column) {
        match column {
            Column::Sequence(to) => self.sequence(to).push_null(),
            Column::VendorData => self.vendor_data.push_null(),
            required => unreachable!("a plan never writes null to {required:?}"),
        }
    }

    fn truncate(&mut self, rows: usize) {
        self.texts.iter_mut().for_each(|column| column.truncate(rows));
        self.times.iter_mut().for_each(|column| column.truncate(rows));
        self.decimals.iter_mut().for_each(|column| column.truncate(rows));
        self.sequences.iter_mut().for_each(|column| column.truncate(rows));
        self.conditions.truncate(rows);
        self.vendor_data.truncate(rows);
    }

    fn longest_text(&self) -> usize {
        let nested = [&self.conditions.elements, &self.vendor_data.texts];
        self.texts.iter().chain(nested).map(|texts| texts.data.len()).max().unwrap_or(0)
    }

    fn capacity_bytes(&self) -> usize {
        self.texts.iter().map(Texts::capacity_bytes).sum::<usize>()
            + self.times.iter().map(|values| 8 * values.capacity()).sum::<usize>()
            + self.decimals.iter().map(|values| 16 * values.capacity()).sum::<usize>()
            + self.sequences.iter().map(OptionalLongs::capacity_bytes).sum::<usize>()
            + self.conditions.capacity_bytes()
            + self.vendor_data.capacity_bytes()
    }

    fn finish(self) -> Result<RecordBatch, ArrowError> {
        let mut texts = self.texts.map(Some);
        let mut times = self.times.map(Some);
        let mut decimals = self.decimals.map(Some);
        let mut sequences = self.sequences.map(Some);
        let (mut conditions, mut vendor_data) = (Some(self.conditions), Some(self.vendor_data));
        let once = "each column stands in COLUMNS once";
        let array = |(_, column): &(&str, Column)| match *column {
            Column::Text(of) => texts[of as usize].take().expect(once).finish(),
            Column::Time(of) => columns::longs(times[of as usize].take().expect(once)),
            Column::Decimal(of) => columns::decimals(decimals[of as usize].take().expect(once)),
            Column::Sequence(of) => sequences[of as usize].take().expect(once).finish(),
            Column::TradeConditions => conditions.take().expect(once).finish(rows::condition_field()),
            Column::VendorData => vendor_data.take().expect(once).finish(),
        };
        let arrays: Vec<ArrayRef> = COLUMNS.iter().map(array).collect::<Result<_, _>>()?;
        RecordBatch::try_new(rows::schema(), arrays)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{Reason, TRADE_V2};

    fn plan() -> Plan {
        Plan::compile(TRADE_V2, &[]).unwrap()
    }

    /// A trade whose trade_id is as long as asked for; everything else is short.
    fn body(message_id: &str, event_time: u8, trade_id: usize) -> Vec<u8> {
        let mut body = Vec::new();
        let mut text = |text: &[u8]| {
            let mut length = 2 * text.len();
            while length >= 0x80 {
                body.push(length as u8 | 0x80);
                length >>= 7;
            }
            body.push(length as u8);
            body.extend_from_slice(text);
        };
        text(message_id.as_bytes());
        text(&vec![b'x'; trade_id]);
        text(b"BTC");
        text(b"BINANCE");
        body.extend_from_slice(&[2, 2 * event_time, 2, 1, 2, 0xff, 2, b'$', 0, 0, 0, 10, 0, 0]);
        body
    }

    #[test]
    fn a_row_can_be_taken_back_and_the_rest_is_a_batch() {
        let (plan, mut chunk) = (plan(), ChunkDecoder::new(8));
        for i in 0..3u8 {
            let id = format!("id-{i}");
            let meta = chunk.push(&plan, &body(&id, i, 1)).unwrap();
            assert_eq!(meta, DecodedMeta { id: MessageId::of(&id), event_time: i64::from(i) });
        }
        chunk.pop_row();
        assert!(chunk.push(&plan, &body("", 9, 1)).is_err());
        assert_eq!((chunk.rows(), chunk.message_id(1), chunk.event_time(1)), (2, "id-1", 1));
        let batch = chunk.finish();
        assert_eq!((batch.num_rows(), batch.num_columns()), (2, 15));
        assert!(chunk.is_empty());
        chunk.push(&plan, &body("next", 1, 1)).unwrap();
        assert_eq!(chunk.message_id(0), "next");
    }

    #[test]
    fn bytes_are_what_the_batch_takes() {
        let (plan, mut chunk) = (plan(), ChunkDecoder::new(8));
        for i in 0..100 {
            chunk.push(&plan, &body(&i.to_string(), 1, 100_000)).unwrap();
        }
        let before = chunk.bytes();
        assert!((10_000_000..25_000_000).contains(&before), "{before}");
        let batch = chunk.finish();
        assert!(batch.get_array_memory_size().abs_diff(before) < 20_000, "{} {before}", batch.get_array_memory_size());
        assert!(chunk.bytes() < 2 * RESERVED_BYTES_MAX, "a huge chunk isn't reserved for again: {}", chunk.bytes());
    }

    #[test]
    fn room_is_what_arrow_can_address_and_rows_taken_back_don_t_use_it_up() {
        let (plan, mut chunk) = (plan(), ChunkDecoder::new(8));
        assert!(chunk.has_room(BODY_BYTES_MAX) && !chunk.has_room(BODY_BYTES_MAX + 1));
        assert!(!chunk.has_room(usize::MAX));
        let large = body("id", 1, 10_000_000);
        for _ in 0..40 {
            chunk.push(&plan, &large).unwrap();
            chunk.pop_row();
        }
        assert!(chunk.has_room(BODY_BYTES_MAX));
        chunk.push(&plan, &large).unwrap();
        assert!(!chunk.has_room(BODY_BYTES_MAX));
        chunk.finish();
        assert!(chunk.has_room(BODY_BYTES_MAX));
    }

    #[test]
    fn an_error_names_the_field_and_the_place_but_no_payload() {
        let (plan, mut chunk) = (plan(), ChunkDecoder::new(8));
        let mut secret = body("secret", 1, 1);
        secret[1] = 0xff;
        let error = chunk.push(&plan, &secret).unwrap_err();
        assert_eq!(
            (error.reason, error.message.as_str()),
            (Reason::Utf8, "message_id, at byte 7 of the body: the text is not UTF-8")
        );
        let mut cut = body("id", 1, 1);
        cut.truncate(8);
        let error = chunk.push(&plan, &cut).unwrap_err();
        assert_eq!(error.message, "symbol, at byte 6 of the body: needs 3 bytes, 2 are left");
    }
}
