//! What a table's metadata says about its data files: where they go, how they are written, and by what ids and names the
//! two columns of the deduplication key are found in files that anybody wrote.

use arrow::datatypes::SchemaRef as ArrowSchemaRef;
use iceberg::spec::{DEFAULT_SCHEMA_NAME_MAPPING, NameMapping, Schema, SchemaRef, TableMetadata};
use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::schema::types::SchemaDescriptor;

use crate::error::Stop;
use crate::sink::gold;

#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error(transparent)]
    NotGold(#[from] gold::Difference),
    #[error("table property {DEFAULT_SCHEMA_NAME_MAPPING} is not a name mapping: {0}")]
    NameMapping(String),
}

impl LayoutError {
    /// `table` is its full name.
    pub fn into_stop(self, table: &str) -> Stop {
        match self {
            Self::NotGold(difference) => difference.into_stop(table),
            Self::NameMapping(_) => Stop::inconsistent(
                format!("table {table}: {self}"),
                "set the property to the JSON that Iceberg's specification describes, or remove it",
            ),
        }
    }
}

/// Taken from the table's metadata as last loaded; a value.
#[derive(Clone, Debug)]
pub struct FileLayout {
    /// Folder of new data files, without a slash at its end.
    pub folder: String,
    pub schema: SchemaRef,
    pub arrow: ArrowSchemaRef,
    pub partition_spec_id: i32,
    /// A file is closed when it has grown to this.
    pub target_file_bytes: usize,
    pub compression: Compression,
    /// Whether message_id gets a bloom filter.
    pub bloom_filter: bool,
    pub message_id: KeyColumn,
    pub timestamp: KeyColumn,
}

impl FileLayout {
    pub fn of(metadata: &TableMetadata) -> Result<Self, LayoutError> {
        let schema = metadata.current_schema();
        let arrow = gold::arrow_schema(schema)?;
        let mapping = name_mapping(metadata)?;
        let target = gold::property(metadata, gold::TARGET_FILE_SIZE).and_then(|v| v.parse().ok());
        Ok(Self {
            folder: gold::data_folder(metadata),
            arrow,
            partition_spec_id: metadata.default_partition_spec_id(),
            target_file_bytes: target.unwrap_or(DEFAULT_TARGET_FILE_BYTES),
            compression: compression(metadata),
            bloom_filter: gold::property(metadata, gold::BLOOM_FILTER_MESSAGE_ID) != Some("false"),
            message_id: KeyColumn::of(schema, mapping.as_ref(), gold::MESSAGE_ID),
            timestamp: KeyColumn::of(schema, mapping.as_ref(), gold::TIMESTAMP),
            schema: schema.clone(),
        })
    }
}

/// Where the property can't be read as a number.
const DEFAULT_TARGET_FILE_BYTES: usize = 128 << 20;

fn name_mapping(metadata: &TableMetadata) -> Result<Option<NameMapping>, LayoutError> {
    let Some(text) = metadata.properties().get(DEFAULT_SCHEMA_NAME_MAPPING) else { return Ok(None) };
    serde_json::from_str(text).map(Some).map_err(|e| LayoutError::NameMapping(e.to_string()))
}

/// The table's codec where every reader knows it, else zstd: a codec is no matter of what a file holds.
fn compression(metadata: &TableMetadata) -> Compression {
    match gold::property(metadata, gold::COMPRESSION_CODEC).map(str::to_ascii_lowercase).as_deref() {
        Some("snappy") => Compression::SNAPPY,
        Some("gzip") => Compression::GZIP(GzipLevel::default()),
        Some("uncompressed" | "none") => Compression::UNCOMPRESSED,
        _ => {
            let level = gold::property(metadata, gold::COMPRESSION_LEVEL).and_then(|v| v.parse().ok());
            let level = level.and_then(|level| ZstdLevel::try_new(level).ok());
            Compression::ZSTD(level.unwrap_or_default())
        }
    }
}

/// How a root column is found in a data file: by the table's field id; a column that carries no id by the names that
/// the table's name mapping has for this id, or by the column's name where the table has no mapping (Iceberg
/// specification, "Column Projection").
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyColumn {
    pub name: &'static str,
    pub field_id: i32,
    pub names: Vec<String>,
}

impl KeyColumn {
    fn of(schema: &Schema, mapping: Option<&NameMapping>, name: &'static str) -> Self {
        let field_id = schema.field_id_by_name(name).expect("the schema was validated when its Arrow schema was made");
        let names = match mapping {
            None => vec![name.to_string()],
            Some(mapping) => {
                let of_id = mapping.fields().iter().filter(|f| f.field_id() == Some(field_id));
                of_id.flat_map(|f| f.names()).cloned().collect()
            }
        };
        Self { name, field_id, names }
    }

    /// Index of the leaf; none where the file lacks the column, so that all its values are null.
    pub fn leaf(&self, schema: &SchemaDescriptor) -> Option<usize> {
        let roots = schema.root_schema().get_fields();
        let by_id = roots.iter().position(|f| f.get_basic_info().has_id() && f.get_basic_info().id() == self.field_id);
        let by_name =
            || roots.iter().position(|f| !f.get_basic_info().has_id() && self.names.iter().any(|name| name == f.name()));
        let root = by_id.or_else(by_name)?;
        (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == root)
    }
}
