//! Values that Gold doesn't take: read past, with every check that reading them would make.

use crate::decode::wire::{Cursor, Fault};

/// Values nested deeper are refused.
const DEPTH_MAX: usize = 64;

/// Elements without bytes (null, an empty record) in one block: their count isn't bounded by the bytes left.
const ZERO_WIDTH_ELEMENTS_MAX: u64 = 65_536;

/// Index of a type in [`Skips`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SkipId(u32);

/// A type as far as passing over it needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Skip {
    Null,
    Boolean,
    Int,
    Long,
    /// Fixed-size types: bytes.
    Fixed(usize),
    Bytes,
    Text,
    /// Number of symbols.
    Enum(usize),
    Array(SkipId),
    /// Type of the values.
    Map(SkipId),
    Union(Box<[SkipId]>),
    Record(Box<[SkipId]>),
}

/// The types of one writer schema that are passed over. Recursive types name each other by index.
#[derive(Clone, Default, Debug)]
pub struct Skips {
    types: Vec<Skip>,
    zero_width: Vec<bool>,
}

impl Skips {
    pub fn add(&mut self, skip: Skip) -> SkipId {
        self.types.push(skip);
        SkipId(u32::try_from(self.types.len() - 1).expect("a schema has fewer than 2^32 types"))
    }

    pub fn set(&mut self, id: SkipId, skip: Skip) {
        self.types[id.0 as usize] = skip;
    }

    /// Call once all types are there: finds those whose values have no bytes.
    pub fn seal(&mut self) {
        self.zero_width = (0..self.types.len()).map(|i| self.is_zero_width(SkipId(i as u32), 0)).collect();
    }

    fn is_zero_width(&self, id: SkipId, depth: usize) -> bool {
        match &self.types[id.0 as usize] {
            Skip::Null | Skip::Fixed(0) => true,
            Skip::Record(fields) => depth < DEPTH_MAX && fields.iter().all(|&field| self.is_zero_width(field, depth + 1)),
            _ => false,
        }
    }

    /// Reads past one value.
    pub fn pass(&self, id: SkipId, cursor: &mut Cursor<'_>) -> Result<(), Fault> {
        self.pass_nested(id, cursor, 0)
    }

    fn pass_nested(&self, id: SkipId, cursor: &mut Cursor<'_>, depth: usize) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::Depth(DEPTH_MAX));
        }
        match &self.types[id.0 as usize] {
            Skip::Null => {}
            Skip::Boolean => drop(cursor.boolean()?),
            Skip::Int => drop(cursor.int()?),
            Skip::Long => drop(cursor.long()?),
            Skip::Fixed(size) => drop(cursor.take(*size)?),
            Skip::Bytes => drop(cursor.bytes()?),
            Skip::Text => drop(cursor.text()?),
            Skip::Enum(symbols) => drop(cursor.symbol(*symbols)?),
            Skip::Array(element) => self.pass_array(*element, cursor, depth)?,
            Skip::Map(value) => self.pass_map(*value, cursor, depth)?,
            Skip::Union(branches) => {
                let branch = cursor.branch(branches.len())?;
                self.pass_nested(branches[branch], cursor, depth + 1)?;
            }
            Skip::Record(fields) => {
                for &field in fields {
                    self.pass_nested(field, cursor, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn pass_array(&self, element: SkipId, cursor: &mut Cursor<'_>, depth: usize) -> Result<(), Fault> {
        while let Some(block) = cursor.block()? {
            if self.zero_width[element.0 as usize] {
                if block.count > ZERO_WIDTH_ELEMENTS_MAX {
                    return Err(Fault::ElementCount { count: block.count, left: cursor.left() });
                }
            } else {
                for _ in 0..block.bounded(cursor)?.count {
                    self.pass_nested(element, cursor, depth + 1)?;
                }
            }
            block.close(cursor)?;
        }
        Ok(())
    }

    fn pass_map(&self, value: SkipId, cursor: &mut Cursor<'_>, depth: usize) -> Result<(), Fault> {
        while let Some(block) = cursor.block()? {
            for _ in 0..block.bounded(cursor)?.count {
                cursor.text()?;
                self.pass_nested(value, cursor, depth + 1)?;
            }
            block.close(cursor)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skips(types: Vec<Skip>) -> (Skips, SkipId) {
        let mut skips = Skips::default();
        let last = types.into_iter().map(|skip| skips.add(skip)).last().unwrap();
        skips.seal();
        (skips, last)
    }

    #[test]
    fn an_endless_type_ends_at_the_depth_limit() {
        let (skips, list) = skips(vec![Skip::Null, Skip::Union(Box::new([SkipId(0), SkipId(1)]))]);
        let deep = vec![0x02; 1_000_000];
        assert_eq!(skips.pass(list, &mut Cursor::new(&deep)), Err(Fault::Depth(DEPTH_MAX)));
    }

    #[test]
    fn a_record_that_contains_itself_ends_too() {
        let (skips, record) = skips(vec![Skip::Record(Box::new([SkipId(0)]))]);
        assert_eq!(skips.pass(record, &mut Cursor::new(&[])), Err(Fault::Depth(DEPTH_MAX)));
    }

    #[test]
    fn a_bomb_of_elements_without_bytes_is_refused() {
        let (skips, nulls) = skips(vec![Skip::Null, Skip::Array(SkipId(0))]);
        let mut few = Cursor::new(&[0x06, 0x00]);
        assert_eq!(skips.pass(nulls, &mut few), Ok(()));
        assert_eq!(few.left(), 0);
        let bomb = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 0x00];
        assert!(matches!(skips.pass(nulls, &mut Cursor::new(&bomb)), Err(Fault::ElementCount { .. })));
    }
}
