//! Arrow columns in the making. Each can be cut back to any earlier number of rows, which is how a bad record leaves
//! its neighbours untouched.

use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, ListArray, StringArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::FieldRef;
use arrow::error::ArrowError;

use crate::decode::values::decimal::{PRECISION, SCALE};
use crate::decode::words;

/// A text column never holds more: Arrow's offsets are 32 bits.
pub const TEXT_BYTES_MAX: usize = i32::MAX as usize;

/// UTF-8 texts one behind the other.
pub struct Texts {
    pub data: Vec<u8>,
    /// `offsets[i]..offsets[i + 1]` is the i-th text.
    offsets: Vec<i32>,
}

impl Texts {
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { data: Vec::with_capacity(bytes), offsets }
    }

    #[inline(always)]
    pub fn push(&mut self, text: &str) {
        self.data.extend_from_slice(text.as_bytes());
        self.end();
    }

    /// Ends a text whose bytes were appended to `data`. They are UTF-8, and [`TEXT_BYTES_MAX`] isn't passed.
    #[inline(always)]
    pub fn end(&mut self) {
        self.offsets.push(self.data.len() as i32);
    }

    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    #[inline]
    pub fn get(&self, i: usize) -> &str {
        let bytes = &self.data[self.offsets[i] as usize..self.offsets[i + 1] as usize];
        words::utf8(bytes).expect("only UTF-8 is appended")
    }

    #[inline]
    pub fn last_is_empty(&self) -> bool {
        let [.., from, to] = self.offsets[..] else { return false };
        from == to
    }

    pub fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        self.data.truncate(self.offsets[len] as usize);
    }

    pub fn capacity_bytes(&self) -> usize {
        self.data.capacity() + 4 * self.offsets.capacity()
    }

    fn into_array(self, nulls: Option<NullBuffer>) -> Result<StringArray, ArrowError> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        StringArray::try_new(offsets, Buffer::from_vec(self.data), nulls)
    }

    pub fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(self.into_array(None)?))
    }
}

/// Which rows are not null: one byte a row, packed to bits at the end, where any is null.
#[derive(Default)]
pub struct Validity {
    valid: Vec<bool>,
}

impl Validity {
    fn with_capacity(rows: usize) -> Self {
        Self { valid: Vec::with_capacity(rows) }
    }

    fn finish(self) -> Option<NullBuffer> {
        self.valid.contains(&false).then(|| NullBuffer::from(self.valid))
    }
}

pub struct OptionalTexts {
    pub texts: Texts,
    validity: Validity,
}

impl OptionalTexts {
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        Self { texts: Texts::with_capacity(rows, bytes), validity: Validity::with_capacity(rows) }
    }

    #[inline(always)]
    pub fn push(&mut self, text: &str) {
        self.texts.push(text);
        self.validity.valid.push(true);
    }

    /// Ends a text whose bytes were appended to `texts.data`.
    #[inline(always)]
    pub fn end(&mut self) {
        self.texts.end();
        self.validity.valid.push(true);
    }

    #[inline(always)]
    pub fn push_null(&mut self) {
        self.texts.end();
        self.validity.valid.push(false);
    }

    pub fn truncate(&mut self, len: usize) {
        self.texts.truncate(len);
        self.validity.valid.truncate(len);
    }

    pub fn capacity_bytes(&self) -> usize {
        self.texts.capacity_bytes() + self.validity.valid.capacity()
    }

    pub fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(self.texts.into_array(self.validity.finish())?))
    }
}

pub struct OptionalLongs {
    pub values: Vec<i64>,
    validity: Validity,
}

impl OptionalLongs {
    pub fn with_capacity(rows: usize) -> Self {
        Self { values: Vec::with_capacity(rows), validity: Validity::with_capacity(rows) }
    }

    #[inline(always)]
    pub fn push(&mut self, value: i64) {
        self.values.push(value);
        self.validity.valid.push(true);
    }

    #[inline(always)]
    pub fn push_null(&mut self) {
        self.values.push(0);
        self.validity.valid.push(false);
    }

    pub fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.validity.valid.truncate(len);
    }

    pub fn capacity_bytes(&self) -> usize {
        8 * self.values.capacity() + self.validity.valid.capacity()
    }

    pub fn finish(self) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(Int64Array::try_new(ScalarBuffer::from(self.values), self.validity.finish())?))
    }
}

/// A column of longs without nulls.
pub fn longs(values: Vec<i64>) -> Result<ArrayRef, ArrowError> {
    Ok(Arc::new(Int64Array::try_new(ScalarBuffer::from(values), None)?))
}

/// A column of decimal(18,8) without nulls, from unscaled values.
pub fn decimals(values: Vec<i128>) -> Result<ArrayRef, ArrowError> {
    let array = Decimal128Array::try_new(ScalarBuffer::from(values), None)?;
    Ok(Arc::new(array.with_precision_and_scale(PRECISION, SCALE as i8)?))
}

/// Lists of texts, none null.
pub struct TextLists {
    pub elements: Texts,
    /// `offsets[i]..offsets[i + 1]` are the i-th list's elements.
    offsets: Vec<i32>,
}

impl TextLists {
    pub fn with_capacity(rows: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { elements: Texts::with_capacity(rows, bytes), offsets }
    }

    /// Ends a list whose elements were appended.
    #[inline(always)]
    pub fn end(&mut self) {
        self.offsets.push(self.elements.len() as i32);
    }

    pub fn truncate(&mut self, len: usize) {
        self.offsets.truncate(len + 1);
        self.elements.truncate(self.offsets[len] as usize);
    }

    pub fn capacity_bytes(&self) -> usize {
        self.elements.capacity_bytes() + 4 * self.offsets.capacity()
    }

    pub fn finish(self, element: FieldRef) -> Result<ArrayRef, ArrowError> {
        let offsets = OffsetBuffer::new(ScalarBuffer::from(self.offsets));
        Ok(Arc::new(ListArray::try_new(element, offsets, self.elements.finish()?, None)?))
    }
}
