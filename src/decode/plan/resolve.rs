//! Writer to reader: which field of the writer gives which column, and how its type is read into it. What isn't listed
//! here is refused with the field and the type, never read some other way.

use std::collections::HashMap;
use std::sync::LazyLock;

use apache_avro::schema::{DecimalSchema, RecordField, RecordSchema, Schema, UnionSchema};

use crate::decode::error::Reason;
use crate::decode::plan::op::{Branch, IntegerWidth, Op, SYMBOL_BYTES_MAX, Symbols, TextBranch, TextSource, TimeUnit};
use crate::decode::plan::writer::{Writer, describe};
use crate::decode::plan::{Plan, Skip, SkipId, Skips, Step, Unusable};
use crate::decode::rows::{COLUMNS, Column};
use crate::decode::values::decimal::Rescale;

pub fn plan(writer: &Writer) -> Result<Plan, Unusable> {
    let fields = &writer.record().fields;
    if let Some(envelope) = change_envelope(fields) {
        return Err(envelope);
    }
    let columns_of_fields = match_fields(fields)?;
    let mut skips = SkipBuilder { writer, skips: Skips::default(), known: HashMap::new() };
    let mut steps = Vec::with_capacity(fields.len());
    for (i, field) in fields.iter().enumerate() {
        let op = match columns_of_fields.get(&i) {
            Some(&(name, column)) => read(writer, name, column, &field.schema)?,
            None => Op::Skip { id: skips.add(&field.schema)? },
        };
        steps.push(Step { op, field: field.name.as_str().into() });
    }
    for (name, column) in COLUMNS {
        if !columns_of_fields.values().any(|(known, _)| *known == name) {
            steps.push(Step { op: default(name, column)?, field: name.into() });
        }
    }
    let mut skips = skips.skips;
    skips.seal();
    Ok(Plan { steps: steps.into(), skips })
}

/// The envelope that change data capture writes: its records are changes, not trades.
fn change_envelope(fields: &[RecordField]) -> Option<Unusable> {
    let has = |name: &str| fields.iter().any(|field| field.name == name);
    let is_one = has("op") && has("after") && has("before") && !has("message_id");
    is_one.then(|| Unusable {
        field: "before, after, op".into(),
        reason: "a change envelope; Silver topics carry plain records, appended and never changed".into(),
        kind: Reason::ChangeEnvelope,
    })
}

type FieldColumns = HashMap<usize, (&'static str, Column)>;

/// By name; else by an alias that the reader's schema has; else by an alias that the writer's field has. Each field of the
/// writer gives one column at most.
fn match_fields(fields: &[RecordField]) -> Result<FieldColumns, Unusable> {
    let mut matched = FieldColumns::new();
    let by_name = |wanted: &str| fields.iter().position(|field| field.name == wanted);
    for (name, column) in COLUMNS {
        if let Some(i) = by_name(name) {
            matched.insert(i, (name, column));
        }
    }
    for (name, column) in COLUMNS {
        if by_name(name).is_some() {
            continue;
        }
        let aliases = reader_aliases(name);
        let candidates: Vec<usize> = fields
            .iter()
            .enumerate()
            .filter(|(i, field)| {
                let writers = field.aliases.iter().flatten().any(|alias| alias == name);
                !matched.contains_key(i) && (writers || aliases.contains(&field.name))
            })
            .map(|(i, _)| i)
            .collect();
        match candidates[..] {
            [] => {}
            [i] => drop(matched.insert(i, (name, column))),
            _ => {
                let names: Vec<&str> = candidates.iter().map(|i| fields[*i].name.as_str()).collect();
                return Err(Unusable::field(name, format!("more than one field has it as an alias: {}", names.join(", "))));
            }
        }
    }
    Ok(matched)
}

fn reader_aliases(column: &str) -> &'static [String] {
    static READER: LazyLock<RecordSchema> = LazyLock::new(|| match Schema::parse_str(crate::decode::TRADE_V2) {
        Ok(Schema::Record(record)) => record,
        other => panic!("the embedded reader schema is no record: {other:?}"),
    });
    let field = READER.fields.iter().find(|field| field.name == column);
    field.and_then(|field| field.aliases.as_deref()).unwrap_or_default()
}

/// The reader's default for a column that the writer lacks.
fn default(name: &'static str, column: Column) -> Result<Op, Unusable> {
    match column {
        Column::TradeConditions => Ok(Op::NoConditions),
        column if column.is_optional() => Ok(Op::NoValue { to: column }),
        _ => Err(Unusable::field(name, "the writer's schema has no such field, and TradeV2 no default for it")),
    }
}

fn read(writer: &Writer, name: &str, column: Column, schema: &Schema) -> Result<Op, Unusable> {
    let refused = |schema: &Schema| Unusable::field(name, format!("can't be read from {}", describe(schema)));
    match writer.target(schema) {
        Schema::Union(union) => {
            let branches = union.variants().iter().map(|branch| match writer.target(branch) {
                Schema::Null if column.is_optional() => Branch::Null { to: column },
                Schema::Null => Branch::ForbiddenNull,
                branch => read_value(writer, column, branch).map_or(Branch::Unreadable, Branch::Value),
            });
            let branches: Box<[Branch]> = branches.collect();
            match branches.iter().any(|branch| matches!(branch, Branch::Value(_) | Branch::Null { .. })) {
                true => Ok(Op::Union { branches }),
                false => Err(Unusable::field(name, format!("can't be read from any of {}", branches_of(writer, union)))),
            }
        }
        Schema::Null if column.is_optional() => Ok(Op::NoValue { to: column }),
        target => read_value(writer, column, target).ok_or_else(|| refused(target)),
    }
}

fn branches_of(writer: &Writer, union: &UnionSchema) -> String {
    let names: Vec<String> = union.variants().iter().map(|branch| describe(writer.target(branch))).collect();
    format!("[{}]", names.join(", "))
}

/// How a type that is neither union nor name is read into a column; none where it can't be.
fn read_value(writer: &Writer, column: Column, schema: &Schema) -> Option<Op> {
    match (column, schema) {
        // Avro's promotion of bytes to string; on the wire they are the same.
        (Column::Text(to), Schema::String | Schema::Bytes) => Some(Op::Text { to }),
        (Column::Text(to), Schema::Enum(inner)) if inner.symbols.iter().all(|symbol| symbol.len() <= SYMBOL_BYTES_MAX) => {
            let symbols: Symbols = inner.symbols.iter().map(|symbol| symbol.as_str().into()).collect();
            Some(Op::Symbol { to, symbols })
        }
        (Column::Time(to), Schema::TimestampMicros | Schema::Long) => Some(Op::Time { to, unit: TimeUnit::Micros }),
        (Column::Time(to), Schema::TimestampMillis) => Some(Op::Time { to, unit: TimeUnit::Millis }),
        (Column::Time(to), Schema::Int) => Some(Op::Time { to, unit: TimeUnit::IntMicros }),
        (Column::Sequence(to), Schema::Long) => Some(Op::Sequence { to, width: IntegerWidth::Long }),
        (Column::Sequence(to), Schema::Int) => Some(Op::Sequence { to, width: IntegerWidth::Int }),
        (Column::Decimal(to), Schema::Decimal(DecimalSchema { scale, inner, .. })) => {
            let rescale = Rescale::from_scale(*scale);
            match &**inner {
                Schema::Bytes => Some(Op::Decimal { to, rescale }),
                Schema::Fixed(fixed) => Some(Op::FixedDecimal { to, size: fixed.size, rescale }),
                _ => None,
            }
        }
        (Column::TradeConditions, Schema::Array(array)) => {
            text_source(writer, &array.items).map(|element| Op::Conditions { element })
        }
        (Column::VendorData, Schema::Map(map)) => text_source(writer, &map.types).map(|value| Op::VendorMap { value }),
        (Column::VendorData, Schema::String) => Some(Op::VendorJson),
        _ => None,
    }
}

/// A text in a list or a map: TradeV2 has no null there.
fn text_source(writer: &Writer, schema: &Schema) -> Option<TextSource> {
    match writer.target(schema) {
        Schema::String | Schema::Bytes => Some(TextSource::Plain),
        Schema::Union(union) => {
            let branch = |branch: &Schema| match writer.target(branch) {
                Schema::String | Schema::Bytes => TextBranch::Plain,
                Schema::Null => TextBranch::ForbiddenNull,
                _ => TextBranch::Unreadable,
            };
            let branches: Box<[TextBranch]> = union.variants().iter().map(branch).collect();
            branches.contains(&TextBranch::Plain).then_some(TextSource::Union(branches))
        }
        _ => None,
    }
}

/// Compiles types that are passed over; a named one once.
struct SkipBuilder<'a> {
    writer: &'a Writer,
    skips: Skips,
    known: HashMap<String, SkipId>,
}

impl SkipBuilder<'_> {
    fn add(&mut self, schema: &Schema) -> Result<SkipId, Unusable> {
        let skip = match schema {
            Schema::Ref { name } => match self.writer.target(schema) {
                Schema::Ref { .. } => return Err(Unusable::schema(format!("nothing defines the type {name}"))),
                target => return self.add(&target.clone()),
            },
            Schema::Record(record) => return self.add_record(record),
            Schema::Null => Skip::Null,
            Schema::Boolean => Skip::Boolean,
            Schema::Int | Schema::Date | Schema::TimeMillis => Skip::Int,
            Schema::Long
            | Schema::TimeMicros
            | Schema::TimestampMillis
            | Schema::TimestampMicros
            | Schema::TimestampNanos
            | Schema::LocalTimestampMillis
            | Schema::LocalTimestampMicros
            | Schema::LocalTimestampNanos => Skip::Long,
            Schema::Float => Skip::Fixed(4),
            Schema::Double => Skip::Fixed(8),
            Schema::Bytes | Schema::BigDecimal => Skip::Bytes,
            Schema::String => Skip::Text,
            Schema::Fixed(fixed) => Skip::Fixed(fixed.size),
            Schema::Enum(inner) => Skip::Enum(inner.symbols.len()),
            Schema::Decimal(decimal) => return self.add(&decimal.inner),
            Schema::Array(array) => Skip::Array(self.add(&array.items)?),
            Schema::Map(map) => Skip::Map(self.add(&map.types)?),
            Schema::Union(union) => {
                Skip::Union(union.variants().iter().map(|branch| self.add(branch)).collect::<Result<_, _>>()?)
            }
            // The parser never gives these: their logical types are taken out before it.
            Schema::Uuid | Schema::Duration => {
                return Err(Unusable::schema(format!("a field of type {} can't be passed over", describe(schema))));
            }
        };
        Ok(self.skips.add(skip))
    }

    fn add_record(&mut self, record: &RecordSchema) -> Result<SkipId, Unusable> {
        let name = record.name.fullname(None);
        if let Some(&id) = self.known.get(&name) {
            return Ok(id);
        }
        let id = self.skips.add(Skip::Null);
        self.known.insert(name, id);
        let fields = record.fields.iter().map(|field| self.add(&field.schema)).collect::<Result<_, _>>()?;
        self.skips.set(id, Skip::Record(fields));
        Ok(id)
    }
}
