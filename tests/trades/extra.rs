//! Fields that TradeV2 doesn't have, of any type, and values for them.

use std::collections::HashMap;

use apache_avro::types::Value;
use apache_avro::{Decimal, Schema};
use rand::Rng;
use rand::rngs::StdRng;
use serde_json::{Value as Json, json};

/// Named types need names of their own; once defined, they are also named again.
#[derive(Default)]
pub struct Types {
    count: usize,
    defined: Vec<String>,
}

impl Types {
    pub fn random(&mut self, rng: &mut StdRng, depth: usize) -> Json {
        const PLAIN: [&str; 8] = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];
        if depth >= 3 {
            return json!(PLAIN[rng.random_range(0..PLAIN.len())]);
        }
        match rng.random_range(0..16) {
            0 => json!({"type": "array", "items": self.random(rng, depth + 1)}),
            1 => json!({"type": "map", "values": self.random(rng, depth + 1)}),
            2 => {
                let name = self.name();
                let fields: Vec<Json> = (0..rng.random_range(0..4))
                    .map(|i| json!({"name": format!("f{i}"), "type": self.random(rng, depth + 1)}))
                    .collect();
                self.defined.push(name.clone());
                json!({"type": "record", "name": name, "fields": fields})
            }
            3 => {
                let name = self.name();
                self.defined.push(name.clone());
                json!({"type": "enum", "name": name, "symbols": ["A", "B", "C"]})
            }
            4 => {
                let name = self.name();
                self.defined.push(name.clone());
                json!({"type": "fixed", "name": name, "size": rng.random_range(1..20)})
            }
            5 => {
                let tree = json!({"type": "array", "items": self.random(rng, depth + 1)});
                json!(["null", "long", "string", tree])
            }
            6 => {
                let name = self.name();
                json!({"type": "record", "name": name, "fields": [
                    {"name": "value", "type": self.random(rng, depth + 1)}, {"name": "next", "type": ["null", name]}]})
            }
            7 => json!({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 3}),
            8 => json!({"type": "long", "logicalType": "timestamp-micros"}),
            9 if !self.defined.is_empty() => json!(self.defined[rng.random_range(0..self.defined.len())]),
            _ => json!(PLAIN[rng.random_range(0..PLAIN.len())]),
        }
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("Extra{}", self.count)
    }
}

/// Every named type in a schema, by its name without namespace.
pub fn names(schema: &Schema) -> HashMap<String, Schema> {
    let mut found = HashMap::new();
    collect(schema, &mut found);
    found
}

fn collect(schema: &Schema, found: &mut HashMap<String, Schema>) {
    if let Some(name) = schema.name()
        && !matches!(schema, Schema::Ref { .. })
    {
        found.insert(name.name.clone(), schema.clone());
    }
    match schema {
        Schema::Record(record) => record.fields.iter().for_each(|field| collect(&field.schema, found)),
        Schema::Array(array) => collect(&array.items, found),
        Schema::Map(map) => collect(&map.types, found),
        Schema::Union(union) => union.variants().iter().for_each(|branch| collect(branch, found)),
        _ => {}
    }
}

pub fn value(schema: &Schema, names: &HashMap<String, Schema>, rng: &mut StdRng, depth: usize) -> Value {
    let some = if depth > 12 { 0 } else { rng.random_range(0..4) };
    match schema {
        Schema::Null => Value::Null,
        Schema::Boolean => Value::Boolean(rng.random()),
        Schema::Int => Value::Int(rng.random()),
        Schema::Long => Value::Long(super::long(rng)),
        Schema::Float => Value::Float(f32::from_bits(rng.random())),
        Schema::Double => Value::Double(f64::from_bits(rng.random())),
        Schema::Bytes => Value::Bytes((0..some).map(|_| rng.random()).collect()),
        Schema::String => Value::String(super::text(rng)),
        Schema::TimestampMicros => Value::TimestampMicros(super::long(rng)),
        Schema::Decimal(_) => Value::Decimal(Decimal::from(rng.random::<i16>().to_be_bytes())),
        Schema::Enum(inner) => {
            let index = rng.random_range(0..inner.symbols.len());
            Value::Enum(index as u32, inner.symbols[index].clone())
        }
        Schema::Fixed(fixed) => Value::Fixed(fixed.size, (0..fixed.size).map(|_| rng.random()).collect()),
        Schema::Array(array) => Value::Array((0..some).map(|_| value(&array.items, names, rng, depth + 1)).collect()),
        Schema::Map(map) => {
            Value::Map((0..some).map(|_| (super::text(rng), value(&map.types, names, rng, depth + 1))).collect())
        }
        Schema::Union(union) => {
            let index = if depth > 8 { 0 } else { rng.random_range(0..union.variants().len()) };
            Value::Union(index as u32, Box::new(value(&union.variants()[index], names, rng, depth + 1)))
        }
        Schema::Record(record) => Value::Record(
            record.fields.iter().map(|field| (field.name.clone(), value(&field.schema, names, rng, depth + 1))).collect(),
        ),
        Schema::Ref { name } => value(&names[&name.name], names, rng, depth + 1),
        other => unreachable!("{other:?}"),
    }
}
