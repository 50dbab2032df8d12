//! Fingerprints of rows, column by column, so that a row of Gold and a record of Silver can be compared without keeping
//! either. Both sides come through here as Arrow.

use std::hash::{DefaultHasher, Hash, Hasher};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};

use crate::core::verify::RowPrint;
use crate::core::verify::key::SILVER_COLUMNS;

/// One print a row, over the 15 columns that come from Silver; others are passed over.
///
/// # Errors
/// Names the column that is missing or of a type that isn't Gold's.
pub fn row_prints(batch: &RecordBatch) -> Result<Vec<RowPrint>, String> {
    let mut hashes = vec![[0u64; 15]; batch.num_rows()];
    for (at, name) in SILVER_COLUMNS.iter().enumerate() {
        let column = batch.column_by_name(name).ok_or_else(|| format!("column {name} is missing"))?;
        for (row, hash) in hashes.iter_mut().enumerate() {
            hash[at] = value_hash(column, row).ok_or_else(|| format!("column {name} is {:?}", column.data_type()))?;
        }
    }
    Ok(hashes.into_iter().map(RowPrint::of_columns).collect())
}

/// None for a type that no Silver column has.
fn value_hash(column: &ArrayRef, row: usize) -> Option<u64> {
    let mut hasher = DefaultHasher::new();
    column.is_null(row).hash(&mut hasher);
    if column.is_null(row) {
        return Some(hasher.finish());
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).hash(&mut hasher),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row).hash(&mut hasher),
        DataType::Int64 => column.as_primitive::<Int64Type>().value(row).hash(&mut hasher),
        // The scale is Gold's on both sides: a value of another one would be another number.
        DataType::Decimal128(_, 8) => column.as_primitive::<Decimal128Type>().value(row).hash(&mut hasher),
        DataType::List(_) => {
            let elements = column.as_list::<i32>().value(row);
            let elements = elements.as_string_opt::<i32>()?;
            elements.len().hash(&mut hasher);
            elements.iter().for_each(|element| element.hash(&mut hasher));
        }
        _ => return None,
    }
    Some(hasher.finish())
}
