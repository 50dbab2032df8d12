//! What one field of a writer's record does: reads its bytes, and appends to a column or to none.

use crate::decode::chunk::Columns;
use crate::decode::plan::{SkipId, Skips};
use crate::decode::rows::{Column, DecimalColumn, SequenceColumn, TextColumn, TimeColumn};
use crate::decode::values::decimal::{self, Rescale};
use crate::decode::values::json;
use crate::decode::wire::{Cursor, Fault};

#[derive(Debug)]
pub enum Op {
    Text {
        to: TextColumn,
    },
    /// A text by the index of an enum's symbol.
    Symbol {
        to: TextColumn,
        symbols: Symbols,
    },
    Time {
        to: TimeColumn,
        unit: TimeUnit,
    },
    Sequence {
        to: SequenceColumn,
        width: IntegerWidth,
    },
    Decimal {
        to: DecimalColumn,
        rescale: Rescale,
    },
    FixedDecimal {
        to: DecimalColumn,
        size: usize,
        rescale: Rescale,
    },
    /// `trade_conditions`.
    Conditions {
        element: TextSource,
    },
    /// `vendor_data` from a map.
    VendorMap {
        value: TextSource,
    },
    /// `vendor_data` from a string that must be a JSON object.
    VendorJson,
    Union {
        branches: Box<[Branch]>,
    },
    Skip {
        id: SkipId,
    },
    /// The writer has no such field and null is its default, or its type is null.
    NoValue {
        to: Column,
    },
    /// The writer has no `trade_conditions`: their default is the empty list.
    NoConditions,
}

#[derive(Debug)]
pub enum Branch {
    Value(Op),
    /// Null, where the column takes it.
    Null {
        to: Column,
    },
    /// Null where TradeV2 has none.
    ForbiddenNull,
    /// A type that the column can't be read from.
    Unreadable,
}

/// How a text inside a list or a map is read. Its bytes are the body's own: a list can't grow beyond what was read.
#[derive(Debug)]
pub enum TextSource {
    Plain,
    Union(Box<[TextBranch]>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TextBranch {
    Plain,
    ForbiddenNull,
    Unreadable,
}

/// A schema with a longer symbol in an enum that Gold takes is refused: one byte of a body stands for all of it.
pub const SYMBOL_BYTES_MAX: usize = 1_024;

/// An enum's symbols by index, each of [`SYMBOL_BYTES_MAX`] at most.
pub type Symbols = Box<[Box<str>]>;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeUnit {
    /// A long; a plain one is taken for microseconds.
    Micros,
    Millis,
    /// An int, promoted.
    IntMicros,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IntegerWidth {
    Int,
    Long,
}

impl Op {
    /// Reads the field at the cursor. `body` is what the cursor reads from.
    #[inline(always)]
    pub fn run(&self, cursor: &mut Cursor<'_>, body: &[u8], columns: &mut Columns, skips: &Skips) -> Result<(), Fault> {
        match self {
            Op::Union { branches } => {
                let index = cursor.branch(branches.len())?;
                match &branches[index] {
                    Branch::Value(op) => op.run_value(cursor, body, columns, skips)?,
                    Branch::Null { to } => columns.push_null(*to),
                    Branch::ForbiddenNull => return Err(Fault::Null),
                    Branch::Unreadable => return Err(Fault::UnionBranch { index }),
                }
            }
            op => op.run_value(cursor, body, columns, skips)?,
        }
        Ok(())
    }

    #[inline(always)]
    fn run_value(&self, cursor: &mut Cursor<'_>, body: &[u8], columns: &mut Columns, skips: &Skips) -> Result<(), Fault> {
        match self {
            Op::Text { to } => columns.text(*to).push(cursor.text()?),
            Op::Symbol { to, symbols } => columns.text(*to).push(&symbols[cursor.symbol(symbols.len())?]),
            Op::Time { to, unit } => columns.time(*to).push(unit.read(cursor)?),
            Op::Sequence { to, width: IntegerWidth::Long } => columns.sequence(*to).push(cursor.long()?),
            Op::Sequence { to, width: IntegerWidth::Int } => columns.sequence(*to).push(i64::from(cursor.int()?)),
            Op::Decimal { to, rescale } => columns.decimal(*to).push(decimal::read(cursor.bytes()?, *rescale)?),
            Op::FixedDecimal { to, size, rescale } => {
                columns.decimal(*to).push(decimal::read(cursor.take(*size)?, *rescale)?)
            }
            Op::Conditions { element } => conditions(element, cursor, columns)?,
            Op::VendorMap { value } => vendor_map(value, cursor, body, columns)?,
            Op::VendorJson => vendor_json(cursor, columns)?,
            Op::Skip { id } => skips.pass(*id, cursor)?,
            Op::NoValue { to } => columns.push_null(*to),
            Op::NoConditions => columns.conditions.end(),
            Op::Union { .. } => unreachable!("Avro has no union directly inside a union; the parser refuses it"),
        }
        Ok(())
    }
}

impl TimeUnit {
    #[inline(always)]
    fn read(self, cursor: &mut Cursor<'_>) -> Result<i64, Fault> {
        match self {
            TimeUnit::Micros => cursor.long(),
            TimeUnit::IntMicros => cursor.int().map(i64::from),
            TimeUnit::Millis => {
                let millis = cursor.long()?;
                millis.checked_mul(1000).ok_or(Fault::TimestampRange(millis))
            }
        }
    }
}

impl TextSource {
    #[inline(always)]
    fn read<'a>(&self, cursor: &mut Cursor<'a>) -> Result<&'a str, Fault> {
        match self {
            TextSource::Plain => cursor.text(),
            TextSource::Union(branches) => {
                let index = cursor.branch(branches.len())?;
                match branches[index] {
                    TextBranch::Plain => cursor.text(),
                    TextBranch::ForbiddenNull => Err(Fault::Null),
                    TextBranch::Unreadable => Err(Fault::UnionBranch { index }),
                }
            }
        }
    }
}

fn conditions(element: &TextSource, cursor: &mut Cursor<'_>, columns: &mut Columns) -> Result<(), Fault> {
    while let Some(block) = cursor.block()? {
        for _ in 0..block.bounded(cursor)?.count {
            columns.conditions.elements.push(element.read(cursor)?);
        }
        block.close(cursor)?;
    }
    columns.conditions.end();
    Ok(())
}

fn vendor_map(value: &TextSource, cursor: &mut Cursor<'_>, body: &[u8], columns: &mut Columns) -> Result<(), Fault> {
    columns.entries.clear();
    while let Some(block) = cursor.block()? {
        for _ in 0..block.bounded(cursor)?.count {
            let key = cursor.text()?;
            let key_end = cursor.position();
            let value = value.read(cursor)?;
            columns.entries.push((key_end, key), (cursor.position(), value));
        }
        block.close(cursor)?;
    }
    columns.entries.write(body, &mut columns.vendor_data.texts.data);
    columns.vendor_data.end();
    Ok(())
}

fn vendor_json(cursor: &mut Cursor<'_>, columns: &mut Columns) -> Result<(), Fault> {
    let text = cursor.text()?;
    match json::is_object(text) {
        true => columns.vendor_data.push(text),
        false => return Err(Fault::NotJsonObject),
    }
    Ok(())
}
