//! A writer's schema: apache-avro parses it, behind a reading of the JSON that takes out what its parser would change the
//! wire format by, or refuse for no reason that concerns a reader.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use apache_avro::schema::{DecimalSchema, Name, RecordSchema, Schema};
use serde_json::{Map, Value};

use crate::decode::plan::Unusable;

/// A parsed schema whose root is a record, and every named type in it and in its references.
pub struct Writer {
    root: Schema,
    names: HashMap<Name, Schema>,
}

impl Writer {
    pub fn parse(schema: &str, references: &[Arc<str>]) -> Result<Self, Unusable> {
        let root = readable(schema)?;
        let references = references.iter().map(|text| readable(text)).collect::<Result<Vec<_>, _>>()?;
        let (root, references) = parse_guarded(&root, &references)?;
        let mut names = Names::default();
        for schema in references.iter().chain([&root]) {
            names.collect(schema)?;
        }
        let writer = Self { root, names: names.0 };
        match writer.target(&writer.root) {
            Schema::Record(_) => Ok(writer),
            other => Err(Unusable::schema(format!("the schema is {}, not a record", describe(other)))),
        }
    }

    pub fn record(&self) -> &RecordSchema {
        match self.target(&self.root) {
            Schema::Record(record) => record,
            other => unreachable!("parse refused {}", describe(other)),
        }
    }

    /// The type that a schema stands for: a name is followed to its definition.
    pub fn target<'a>(&'a self, schema: &'a Schema) -> &'a Schema {
        match schema {
            Schema::Ref { name } => self.names.get(name).unwrap_or(schema),
            other => other,
        }
    }
}

/// The JSON without what apache-avro's parser would trip over:
/// - defaults, which it refuses where it can't resolve them; a reader never needs a writer's;
/// - the logical types `uuid` and `duration`, for which it forgets the underlying type: a uuid is a string or 16 bytes, and
///   it would read either as the other;
/// - aliases of types, which would stand for another type of that name. A writer's are of no use to a reader.
fn readable(schema: &str) -> Result<String, Unusable> {
    let mut json: Value = match serde_json::from_str(schema) {
        Ok(json) => json,
        Err(error) => return Err(Unusable::schema(format!("the schema is not JSON: {error}"))),
    };
    clean(&mut json)?;
    Ok(json.to_string())
}

fn clean(schema: &mut Value) -> Result<(), Unusable> {
    match schema {
        Value::String(name) => valid_name(name),
        Value::Array(branches) => branches.iter_mut().try_for_each(clean),
        Value::Object(object) => {
            object.remove("aliases");
            if let Some(Value::String(name)) = object.get("name") {
                valid_name(name)?;
            }
            clean_object(object)
        }
        other => Err(Unusable::schema(format!("a type in the schema is {other}, not a name, an object or a list"))),
    }
}

/// What a type and a field have in common.
fn clean_object(object: &mut Map<String, Value>) -> Result<(), Unusable> {
    for unneeded in ["default", "doc", "order"] {
        object.remove(unneeded);
    }
    if matches!(object.get("logicalType").and_then(Value::as_str), Some("uuid" | "duration")) {
        object.remove("logicalType");
    }
    for nested in ["type", "items", "values"] {
        if let Some(nested) = object.get_mut(nested) {
            clean(nested)?;
        }
    }
    match object.get_mut("fields") {
        None => Ok(()),
        Some(Value::Array(fields)) => fields.iter_mut().try_for_each(|field| match field {
            Value::Object(field) => clean_object(field),
            other => Err(Unusable::schema(format!("a field in the schema is {other}, not an object"))),
        }),
        Some(other) => Err(Unusable::schema(format!("fields in the schema are {other}, not a list"))),
    }
}

fn valid_name(name: &str) -> Result<(), Unusable> {
    match Name::new(name) {
        Ok(_) => Ok(()),
        Err(_) => Err(Unusable::schema(format!("{name:?} in the schema is not a name that Avro allows"))),
    }
}

/// apache-avro's parser panics where it doesn't expect a name to be wrong. Names were checked; this is for what that missed.
fn parse_guarded(root: &str, references: &[String]) -> Result<(Schema, Vec<Schema>), Unusable> {
    match catch_unwind(AssertUnwindSafe(|| Schema::parse_str_with_list(root, references))) {
        Ok(Ok(parsed)) => Ok(parsed),
        Ok(Err(error)) => Err(Unusable::schema(format!("the schema is no Avro schema: {error}"))),
        Err(_) => Err(Unusable::schema("the schema is no Avro schema: it can't be parsed")),
    }
}

#[derive(Default)]
struct Names(HashMap<Name, Schema>);

impl Names {
    /// Every definition under its full name, which the parser has completed. A decimal fixed is known by the name of its
    /// fixed.
    fn collect(&mut self, schema: &Schema) -> Result<(), Unusable> {
        match schema {
            Schema::Record(record) => {
                self.define(&record.name, schema)?;
                record.fields.iter().try_for_each(|field| self.collect(&field.schema))
            }
            Schema::Enum(inner) => self.define(&inner.name, schema),
            Schema::Fixed(inner) => self.define(&inner.name, schema),
            Schema::Decimal(DecimalSchema { inner, .. }) => match &**inner {
                Schema::Fixed(fixed) => self.define(&fixed.name, schema),
                _ => Ok(()),
            },
            Schema::Array(array) => self.collect(&array.items),
            Schema::Map(map) => self.collect(&map.types),
            Schema::Union(union) => union.variants().iter().try_for_each(|branch| self.collect(branch)),
            _ => Ok(()),
        }
    }

    /// A second definition must be the first one again, else a name in the schema could mean either.
    fn define(&mut self, name: &Name, schema: &Schema) -> Result<(), Unusable> {
        let known = self.0.entry(name.clone()).or_insert_with(|| schema.clone());
        match same_wire(known, schema) {
            true => Ok(()),
            false => Err(Unusable::schema(format!("type {name} is defined twice, differently"))),
        }
    }
}

/// Same shape on the wire, logical types included, which `==` of apache-avro leaves out.
fn same_wire(a: &Schema, b: &Schema) -> bool {
    match (serde_json::to_value(a), serde_json::to_value(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => false,
    }
}

/// A type's name as a schema writes it.
pub fn describe(schema: &Schema) -> String {
    let logical = |name: &str, base: &str| format!("{base} ({name})");
    match schema {
        Schema::Null => "null".into(),
        Schema::Boolean => "boolean".into(),
        Schema::Int => "int".into(),
        Schema::Long => "long".into(),
        Schema::Float => "float".into(),
        Schema::Double => "double".into(),
        Schema::Bytes => "bytes".into(),
        Schema::String => "string".into(),
        Schema::Array(array) => format!("array of {}", describe(&array.items)),
        Schema::Map(map) => format!("map of {}", describe(&map.types)),
        Schema::Union(_) => "union".into(),
        Schema::Record(record) => format!("record {}", record.name),
        Schema::Enum(inner) => format!("enum {}", inner.name),
        Schema::Fixed(fixed) => format!("fixed {}", fixed.name),
        Schema::Decimal(decimal) => format!("decimal({},{})", decimal.precision, decimal.scale),
        Schema::BigDecimal => logical("big-decimal", "bytes"),
        Schema::Uuid => "uuid".into(),
        Schema::Date => logical("date", "int"),
        Schema::TimeMillis => logical("time-millis", "int"),
        Schema::TimeMicros => logical("time-micros", "long"),
        Schema::TimestampMillis => logical("timestamp-millis", "long"),
        Schema::TimestampMicros => logical("timestamp-micros", "long"),
        Schema::TimestampNanos => logical("timestamp-nanos", "long"),
        Schema::LocalTimestampMillis => logical("local-timestamp-millis", "long"),
        Schema::LocalTimestampMicros => logical("local-timestamp-micros", "long"),
        Schema::LocalTimestampNanos => logical("local-timestamp-nanos", "long"),
        Schema::Duration => "duration".into(),
        Schema::Ref { name } => name.to_string(),
    }
}
