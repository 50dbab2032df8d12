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
    /// No text column holds more: the most that the bodies so far can have given.
    text_bytes: usize,
    /// The share of the row that was pushed last.
    last_row_bytes: usize,
}

impl ChunkDecoder {
    /// `rows` is what a chunk usually has: memory is reserved for so many.
    pub fn new(rows: usize) -> Self {
        Self {
            columns: Columns::with_capacity(rows, &Reserve::default()),
            rows_reserved: rows,
            text_bytes: 0,
            last_row_bytes: 0,
        }
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

    /// Decodes one body and appends its row; on an error the chunk is as it was before. Ask [`Self::has_room`] first.
    #[inline]
    pub fn push(&mut self, plan: &Plan, body: &[u8]) -> Result<DecodedMeta, RowError> {
        if !self.has_room(body.len()) {
            return Err(row_error("value", 0, Fault::TooLarge { limit: BODY_BYTES_MAX }));
        }
        let rows = self.rows();
        let mut cursor = Cursor::new(body);
        match self.columns.append(plan, &mut cursor, body) {
            Ok(()) => {
                self.last_row_bytes = row_bytes_max(body.len());
                self.text_bytes += self.last_row_bytes;
                Ok(self.last_meta())
            }
            Err((field, fault)) => {
                self.columns.truncate(rows);
                Err(row_error(field, cursor.position(), fault))
            }
        }
    }

    /// Can a body of so many bytes be appended? If not, take the batch first; an empty chunk has room for 357 MB.
    #[inline]
    pub fn has_room(&self, body_bytes: usize) -> bool {
        row_bytes_max(body_bytes) <= TEXT_BYTES_MAX - self.text_bytes
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
        self.text_bytes -= std::mem::take(&mut self.last_row_bytes);
    }

    /// The rows as a batch of [`rows::schema`], in the order pushed. The chunk is empty afterwards.
    pub fn finish(&mut self) -> RecordBatch {
        (self.text_bytes, self.last_row_bytes) = (0, 0);
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
