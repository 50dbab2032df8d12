//! What the manifest says of a data file, taken from the metadata of the Parquet file as written: counts, sizes, bounds,
//! split offsets (Iceberg specification, "Manifests", fields of `data_file`). Columns are matched by field id.

use std::collections::HashMap;

use iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, PrimitiveType, Schema, Struct, Type,
};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::statistics::Statistics;

/// String bounds are cut to so many characters, as Iceberg's own writers do by default (`truncate(16)`).
const STRING_BOUND_CHARS: usize = 16;

#[derive(Default)]
struct ColumnMetrics {
    sizes: HashMap<i32, u64>,
    values: HashMap<i32, u64>,
    nulls: HashMap<i32, u64>,
    lower: HashMap<i32, Bound>,
    upper: HashMap<i32, Bound>,
}

/// None once a row group has values and no bound that could be told of them.
type Bound = Option<Datum>;

/// The entry of a file that was written with `schema`. `partition` is in the order of the spec with this id.
pub fn data_file(
    path: &str,
    bytes: u64,
    metadata: &ParquetMetaData,
    schema: &Schema,
    partition_spec_id: i32,
    partition: Struct,
) -> DataFile {
    let mut metrics = ColumnMetrics::default();
    for column in metadata.row_groups().iter().flat_map(|group| group.columns()) {
        metrics.add(column, schema);
    }
    let rows = metadata.file_metadata().num_rows();
    DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(path.to_string())
        .file_format(DataFileFormat::Parquet)
        .partition_spec_id(partition_spec_id)
        .partition(partition)
        .record_count(u64::try_from(rows).expect("a file just written has no negative number of rows"))
        .file_size_in_bytes(bytes)
        .column_sizes(metrics.sizes)
        .value_counts(metrics.values)
        .null_value_counts(metrics.nulls)
        .lower_bounds(known(metrics.lower))
        .upper_bounds(known(metrics.upper))
        .split_offsets(Some(split_offsets(metadata)))
        .build()
        .expect("all fields without a default are set")
}

/// Where each row group begins, ascending.
fn split_offsets(metadata: &ParquetMetaData) -> Vec<i64> {
    metadata.row_groups().iter().filter_map(|g| g.columns().first()).map(|c| c.byte_range().0 as i64).collect()
}

impl ColumnMetrics {
    fn add(&mut self, column: &ColumnChunkMetaData, schema: &Schema) {
        let info = column.column_descr().self_type().get_basic_info();
        let Some(field) = info.has_id().then(|| schema.field_by_id(info.id())).flatten() else { return };
        let id = field.id;
        *self.sizes.entry(id).or_default() += column.compressed_size() as u64;
        *self.values.entry(id).or_default() += column.num_values() as u64;
        let Some(statistics) = column.statistics() else { return };
        if let Some(nulls) = statistics.null_count_opt() {
            *self.nulls.entry(id).or_default() += nulls;
        }
        let repeated = column.column_descr().max_rep_level() > 0;
        let only_nulls = statistics.null_count_opt() == Some(column.num_values() as u64);
        if let Type::Primitive(kind) = field.field_type.as_ref()
            && !repeated
            && !only_nulls
        {
            let bounds = bounds(kind, statistics);
            widen(&mut self.lower, id, bounds.lower, |new, old| new < old);
            widen(&mut self.upper, id, bounds.upper, |new, old| new > old);
        }
    }
}

/// Adds the bound of one more row group.
fn widen(bounds: &mut HashMap<i32, Bound>, id: i32, new: Bound, wider: impl Fn(&Datum, &Datum) -> bool) {
    match bounds.get_mut(&id) {
        None => {
            bounds.insert(id, new);
        }
        Some(old) => {
            if match (&new, &*old) {
                (Some(new), Some(old)) => wider(new, old),
                (None, _) => true,
                (_, None) => false,
            } {
                *old = new;
            }
        }
    }
}

fn known(bounds: HashMap<i32, Bound>) -> HashMap<i32, Datum> {
    bounds.into_iter().filter_map(|(id, bound)| Some((id, bound?))).collect()
}

struct Bounds {
    lower: Option<Datum>,
    upper: Option<Datum>,
}

impl Bounds {
    fn of<T: Copy>(least: Option<&T>, greatest: Option<&T>, datum: impl Fn(T) -> Datum) -> Self {
        Self { lower: least.map(|v| datum(*v)), upper: greatest.map(|v| datum(*v)) }
    }
    const NONE: Self = Self { lower: None, upper: None };
}

/// For the types that Gold has.
fn bounds(kind: &PrimitiveType, statistics: &Statistics) -> Bounds {
    match (kind, statistics) {
        (PrimitiveType::Int, Statistics::Int32(s)) => Bounds::of(s.min_opt(), s.max_opt(), Datum::int::<i32>),
        (PrimitiveType::Date, Statistics::Int32(s)) => Bounds::of(s.min_opt(), s.max_opt(), Datum::date),
        (PrimitiveType::Long, Statistics::Int64(s)) => Bounds::of(s.min_opt(), s.max_opt(), Datum::long::<i64>),
        (PrimitiveType::Timestamptz, Statistics::Int64(s)) => {
            Bounds::of(s.min_opt(), s.max_opt(), Datum::timestamptz_micros)
        }
        (PrimitiveType::Decimal { .. }, Statistics::Int64(s)) => {
            Bounds::of(s.min_opt(), s.max_opt(), |unscaled| decimal(kind, unscaled))
        }
        (PrimitiveType::String, Statistics::ByteArray(s)) => {
            let least = s.min_opt().and_then(|v| v.as_utf8().ok());
            let greatest = s.max_opt().and_then(|v| v.as_utf8().ok());
            Bounds { lower: least.map(string_lower), upper: greatest.and_then(string_upper) }
        }
        _ => Bounds::NONE,
    }
}

fn decimal(kind: &PrimitiveType, unscaled: i64) -> Datum {
    Datum::try_from_bytes(&unscaled.to_be_bytes(), kind.clone()).expect("8 bytes are a decimal of any scale")
}

fn string_lower(least: &str) -> Datum {
    Datum::string(cut(least))
}

/// The least string of 16 characters that is not below any string that begins like `greatest`; none where there is none.
fn string_upper(greatest: &str) -> Option<Datum> {
    let head = cut(greatest);
    if head.len() == greatest.len() {
        return Some(Datum::string(greatest));
    }
    let mut characters: Vec<char> = head.chars().collect();
    while let Some(last) = characters.pop() {
        // `char` steps over the surrogates, as the order of UTF-8 does.
        if let Some(next) = (last..=char::MAX).nth(1) {
            characters.push(next);
            return Some(Datum::string(characters.into_iter().collect::<String>()));
        }
    }
    None
}

fn cut(text: &str) -> &str {
    text.char_indices().nth(STRING_BOUND_CHARS).map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_bound_is_cut_and_never_below_a_value() {
        let upper = |text: &str| string_upper(text);
        assert_eq!(upper("short"), Some(Datum::string("short")));
        assert_eq!(upper("0123456789abcdef"), Some(Datum::string("0123456789abcdef")));
        assert_eq!(upper("0123456789abcdefg"), Some(Datum::string("0123456789abcdeg")));
        let last = char::MAX.to_string();
        assert_eq!(upper(&format!("a{}", last.repeat(16))), Some(Datum::string("b")));
        assert_eq!(upper(&last.repeat(17)), None);
        let before_surrogates = format!("{}\u{d7ff}x", "é".repeat(15));
        assert_eq!(upper(&before_surrogates), Some(Datum::string(format!("{}\u{e000}", "é".repeat(15)))));
        assert_eq!(string_lower(&"é".repeat(17)), Datum::string("é".repeat(16)));
    }
}
