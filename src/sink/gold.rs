//! The Gold table: columns, partitions, properties, and what a table made by somebody else must have to be written to.
//! Field ids are always those of the table at hand; the ids here serve only to create it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef as ArrowSchemaRef, TimeUnit};
use iceberg::spec::{
    FormatVersion, ListType, Literal, NestedField, PartitionSpec, PrimitiveType, Schema, Struct, TableMetadata, Transform,
    Type, UnboundPartitionSpec,
};

use crate::error::Stop;
use crate::types::EventHour;

/// Key of an Arrow field's metadata that carries the Iceberg field id into the Parquet file.
pub const FIELD_ID_KEY: &str = "PARQUET:field_id";

/// Time zone of a `timestamptz` column in Arrow, as Iceberg's own conversion writes it.
pub const UTC: &str = "+00:00";

pub const MESSAGE_ID: &str = "message_id";
pub const TIMESTAMP: &str = "timestamp";
pub const EXCHANGE_DATE: &str = "exchange_date";
pub const EXCHANGE_HOUR: &str = "exchange_hour";

/// What a Gold column holds. `Strings` is a list whose elements are optional.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ColumnType {
    String,
    Strings,
    Long,
    Int,
    Date,
    /// decimal(18,8)
    Amount,
    /// timestamptz, microseconds
    Instant,
}

/// What Silver promises about a column's values.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Presence {
    /// Identifier field, required in a table that we create.
    Key,
    /// Always there; optional in a table that we create, so that it may become optional in Silver.
    Always,
    /// Null in Silver's own schema.
    Nullable,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Column {
    pub name: &'static str,
    pub kind: ColumnType,
    pub presence: Presence,
    pub doc: &'static str,
}

const fn column(name: &'static str, kind: ColumnType, presence: Presence, doc: &'static str) -> Column {
    Column { name, kind, presence, doc }
}

/// The columns in the order of the table; rows on their way to a file have exactly these, in this order.
pub const COLUMNS: [Column; 18] = {
    use ColumnType::*;
    use Presence::*;
    [
        column(
            MESSAGE_ID,
            String,
            Key,
            "Id of the message, a UUID as a rule: the deduplication key together with the event hour",
        ),
        column("trade_id", String, Always, "Id of the trade at its exchange"),
        column("symbol", String, Always, "Trading pair or instrument"),
        column("exchange", String, Always, "Exchange of the trade, such as BINANCE or KRAKEN"),
        column("asset_class", String, Always, "Class of the instrument, such as crypto"),
        column(TIMESTAMP, Long, Always, "Event time: when the trade happened, in microseconds since 1970-01-01 UTC"),
        column("price", Amount, Always, "Price of one unit in `currency`"),
        column("quantity", Amount, Always, "Traded quantity"),
        column("currency", String, Always, "Currency of the price"),
        column("side", String, Always, "Side of the trade, such as BUY or SELL"),
        column("trade_conditions", Strings, Always, "Conditions of the trade as its exchange names them"),
        column("source_sequence", Long, Nullable, "Sequence number given by the exchange"),
        column(
            "ingestion_timestamp",
            Long,
            Always,
            "When the platform took the trade in, in microseconds since 1970-01-01 UTC",
        ),
        column("platform_sequence", Long, Nullable, "Sequence number given by the platform"),
        column("vendor_data", String, Nullable, "Fields of the exchange's own as a JSON object, keys sorted"),
        column("gold_ingestion_timestamp", Instant, Always, "When the batch of this row was sealed for Gold"),
        column(EXCHANGE_DATE, Date, Key, "Date of the event time, UTC: partition"),
        column(EXCHANGE_HOUR, Int, Key, "Hour of the event time, 0-23, UTC: partition"),
    ]
};

/// Properties of a table that we create. One that a table lacks is applied as if it had this value, and not written.
pub const PROPERTIES: [(&str, &str); 10] = [
    ("comment", "Gold layer - Unified cross-exchange analytics"),
    ("write.format.default", "parquet"),
    (COMPRESSION_CODEC, "zstd"),
    (COMPRESSION_LEVEL, "1"),
    (BLOOM_FILTER_MESSAGE_ID, "true"),
    (TARGET_FILE_SIZE, "134217728"),
    ("history.expire.max-snapshot-age-ms", "21600000"),
    ("history.expire.min-snapshots-to-keep", "100"),
    ("write.metadata.previous-versions-max", "20"),
    (DELETE_OLD_METADATA, "true"),
];

pub const COMPRESSION_CODEC: &str = "write.parquet.compression-codec";
pub const COMPRESSION_LEVEL: &str = "write.parquet.compression-level";
pub const BLOOM_FILTER_MESSAGE_ID: &str = "write.parquet.bloom-filter-enabled.column.message_id";
/// Bytes.
pub const TARGET_FILE_SIZE: &str = "write.target-file-size-bytes";
pub const DELETE_OLD_METADATA: &str = "write.metadata.delete-after-commit.enabled";

const LIST_ELEMENT_ID: i32 = COLUMNS.len() as i32 + 1;

impl ColumnType {
    fn iceberg(self) -> Type {
        let primitive = match self {
            Self::String => PrimitiveType::String,
            Self::Long => PrimitiveType::Long,
            Self::Int => PrimitiveType::Int,
            Self::Date => PrimitiveType::Date,
            Self::Amount => PrimitiveType::Decimal { precision: 18, scale: 8 },
            Self::Instant => PrimitiveType::Timestamptz,
            Self::Strings => {
                let element = NestedField::list_element(LIST_ELEMENT_ID, PrimitiveType::String.into(), false);
                return Type::List(ListType::new(Arc::new(element)));
            }
        };
        Type::Primitive(primitive)
    }

    fn accepts(self, found: &Type) -> bool {
        match (self, found) {
            (Self::Strings, Type::List(list)) => *list.element_field.field_type == Type::Primitive(PrimitiveType::String),
            (Self::Strings, _) => false,
            (_, found) => self.iceberg() == *found,
        }
    }

    fn arrow(self, field: &NestedField) -> DataType {
        match self {
            Self::String => DataType::Utf8,
            Self::Long => DataType::Int64,
            Self::Int => DataType::Int32,
            Self::Date => DataType::Date32,
            Self::Amount => DataType::Decimal128(18, 8),
            Self::Instant => DataType::Timestamp(TimeUnit::Microsecond, Some(UTC.into())),
            Self::Strings => match &*field.field_type {
                Type::List(list) => DataType::List(Arc::new(with_id(
                    Field::new(&list.element_field.name, DataType::Utf8, !list.element_field.required),
                    list.element_field.id,
                ))),
                other => panic!("{} was validated as a list of strings and is {other}", field.name),
            },
        }
    }
}

fn with_id(field: Field, id: i32) -> Field {
    field.with_metadata(HashMap::from([(FIELD_ID_KEY.to_string(), id.to_string())]))
}

/// The schema of a table that we create.
pub fn table_schema() -> Schema {
    let fields = COLUMNS.iter().zip(1..).map(|(c, id)| {
        let field = NestedField::new(id, c.name, c.kind.iceberg(), c.presence == Presence::Key);
        Arc::new(field.with_doc(c.doc))
    });
    let keys = COLUMNS.iter().zip(1..).filter(|(c, _)| c.presence == Presence::Key).map(|(_, id)| id);
    Schema::builder()
        .with_fields(fields)
        .with_identifier_field_ids(keys)
        .build()
        .expect("the columns are distinct and the identifier fields are required primitives")
}

/// The partitions of a table that we create: identity(exchange_date), identity(exchange_hour), over [`table_schema`].
pub fn partition_spec() -> UnboundPartitionSpec {
    let schema = table_schema();
    [EXCHANGE_DATE, EXCHANGE_HOUR]
        .into_iter()
        .try_fold(UnboundPartitionSpec::builder(), |spec, name| {
            let id = schema.field_id_by_name(name).expect("a column of the schema");
            spec.add_partition_field(id, name, Transform::Identity)
        })
        .expect("two partition fields of different names")
        .build()
}

/// The partition tuple of a data file of this hour, in the order of the partition spec.
pub fn partition_values(hour: EventHour) -> Struct {
    Struct::from_iter([Some(Literal::date(hour.exchange_date())), Some(Literal::int(hour.exchange_hour()))])
}

/// The hour that a partition tuple names, where `spec` is the Gold spec by the names of its source columns; none for
/// another spec, or a tuple with nulls or an hour outside 0-23.
pub fn hour_of_partition(spec: &PartitionSpec, schema: &Schema, tuple: &Struct) -> Option<EventHour> {
    if !is_gold_spec(spec, schema) {
        return None;
    }
    let int = |i: usize| match tuple.fields().get(i)?.as_ref()? {
        Literal::Primitive(iceberg::spec::PrimitiveLiteral::Int(value)) => Some(*value),
        _ => None,
    };
    let (date, hour) = (int(0)?, int(1)?);
    (0..24).contains(&hour).then(|| EventHour::from_partition(date, hour))
}

/// identity(exchange_date), identity(exchange_hour) by the names that the source columns have in `schema`.
pub fn is_gold_spec(spec: &PartitionSpec, schema: &Schema) -> bool {
    let names = [EXCHANGE_DATE, EXCHANGE_HOUR];
    spec.fields().len() == names.len()
        && spec.fields().iter().zip(names).all(|(field, name)| {
            field.transform == Transform::Identity && schema.name_by_field_id(field.source_id) == Some(name)
        })
}

/// The Arrow schema of rows for a table: the 18 columns in the order of [`COLUMNS`], each with the table's own field id
/// under [`FIELD_ID_KEY`]. A column counts as nullable where the table says so. Further columns of the table are left
/// out, and read back as null.
pub fn arrow_schema(schema: &Schema) -> Result<ArrowSchemaRef, Difference> {
    let lines = column_differences(schema);
    if !lines.is_empty() {
        return Err(Difference(lines));
    }
    let fields = COLUMNS.iter().map(|c| {
        let field = schema.field_by_name(c.name).expect("validated above");
        with_id(Field::new(c.name, c.kind.arrow(field), !field.required), field.id)
    });
    Ok(Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>())))
}

/// The value of a table property, the table's own or the one that we would have given it.
pub fn property<'a>(metadata: &'a TableMetadata, key: &str) -> Option<&'a str> {
    let default = || PROPERTIES.iter().find(|(k, _)| *k == key).map(|(_, v)| *v);
    metadata.properties().get(key).map(String::as_str).or_else(default)
}

/// Folder of new data files, without a slash at its end.
pub fn data_folder(metadata: &TableMetadata) -> String {
    folder(metadata, "write.data.path", "data")
}

/// Folder of new manifests, manifest lists and metadata files, without a slash at its end.
pub fn metadata_folder(metadata: &TableMetadata) -> String {
    folder(metadata, "write.metadata.path", "metadata")
}

fn folder(metadata: &TableMetadata, property: &str, name: &str) -> String {
    match metadata.properties().get(property) {
        Some(path) => path.trim_end_matches('/').to_string(),
        None => format!("{}/{name}", metadata.location()),
    }
}

/// How a table differs from Gold in what decides: never empty.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Difference(Vec<String>);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.join("; "))
    }
}

impl Difference {
    pub fn lines(&self) -> &[String] {
        &self.0
    }

    /// `table` is its full name.
    pub fn into_stop(self, table: &str) -> Stop {
        Stop::inconsistent(
            format!("table {table} is not a Gold table: {self}"),
            "name another table in iceberg.table, or bring this one back to the Gold schema and partition spec",
        )
    }
}

/// Can this table be written to? Names, types and the two partition fields decide. Column order, docs, field ids,
/// identifier fields, optional instead of required, further optional columns, sort order and properties don't.
pub fn validate(metadata: &TableMetadata) -> Result<(), Difference> {
    let schema = metadata.current_schema();
    let mut lines = column_differences(schema);
    if metadata.format_version() != FormatVersion::V2 {
        lines.push(format!("format version is {}, expected 2", metadata.format_version() as u8));
    }
    let spec = metadata.default_partition_spec();
    if !is_gold_spec(spec, schema) {
        let found = partitions_as_text(spec, schema);
        lines.push(format!("partitioned by ({found}), expected (identity({EXCHANGE_DATE}), identity({EXCHANGE_HOUR}))"));
    }
    if lines.is_empty() { Ok(()) } else { Err(Difference(lines)) }
}

fn column_differences(schema: &Schema) -> Vec<String> {
    let fields = schema.as_struct();
    let mut lines = Vec::new();
    for c in &COLUMNS {
        match fields.field_by_name(c.name) {
            None => lines.push(format!("column {} is missing, expected {}", c.name, type_as_text(&c.kind.iceberg()))),
            Some(field) if !c.kind.accepts(&field.field_type) => lines.push(format!(
                "column {} is {}, expected {}",
                c.name,
                type_as_text(&field.field_type),
                type_as_text(&c.kind.iceberg())
            )),
            Some(field) if field.required && c.presence == Presence::Nullable => {
                lines.push(format!("column {} is required, and Silver has nulls in it", c.name));
            }
            Some(_) => {}
        }
    }
    let foreign = fields.fields().iter().filter(|f| f.required && !COLUMNS.iter().any(|c| c.name == f.name));
    lines.extend(foreign.map(|f| format!("column {} is not Gold's and is required", f.name)));
    lines
}

fn type_as_text(found: &Type) -> String {
    match found {
        Type::List(list) => format!("list<{}>", type_as_text(&list.element_field.field_type)),
        other => other.to_string(),
    }
}

fn partitions_as_text(spec: &PartitionSpec, schema: &Schema) -> String {
    let fields = spec.fields().iter().map(|f| {
        let source = schema.name_by_field_id(f.source_id).map_or_else(|| format!("field {}", f.source_id), String::from);
        format!("{}({source})", f.transform)
    });
    fields.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "gold_tests.rs"]
mod tests;
