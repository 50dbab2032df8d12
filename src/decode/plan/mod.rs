//! A writer's schema, compiled once into what its records do to the columns.
//!
//! [`writer`] parses the schema, [`resolve`] finds for each column of TradeV2 the writer's field and how its type is read
//! into it, [`op`] is what remains for each record: operations in the order of the wire.

mod op;
mod resolve;
mod skip;
#[cfg(test)]
mod tests;
mod writer;

use std::sync::Arc;

use op::Op;
pub use op::SYMBOL_BYTES_MAX;
use skip::{Skip, SkipId, Skips};

use crate::decode::error::{Reason, RowError};

/// How records of one writer schema are read. Immutable; shared by all partitions.
#[derive(Debug)]
pub struct Plan {
    /// In the order of the wire; columns that the writer lacks come last.
    pub(super) steps: Box<[Step]>,
    pub(super) skips: Skips,
}

/// One operation, and the field that it is of, for messages.
#[derive(Debug)]
pub(super) struct Step {
    pub op: Op,
    pub field: Box<str>,
}

/// Why no record of a writer schema can become a TradeV2.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Unusable {
    /// The field of TradeV2 that can't be read, or `schema` where the schema as a whole is none that can be read.
    pub field: String,
    pub reason: String,
    /// [`Reason::Schema`] or [`Reason::ChangeEnvelope`].
    pub kind: Reason,
}

impl Unusable {
    fn schema(reason: impl Into<String>) -> Self {
        Self { field: "schema".into(), reason: reason.into(), kind: Reason::Schema }
    }

    fn field(field: &str, reason: impl Into<String>) -> Self {
        Self { field: field.into(), reason: reason.into(), kind: Reason::Schema }
    }

    /// A schema of the registry that isn't Avro.
    pub fn not_avro(schema_type: &str) -> Self {
        Self::schema(format!("the schema is of type {schema_type}, Sluice reads AVRO"))
    }

    /// The letter of a record with this schema.
    pub fn row_error(&self, schema_id: u32) -> RowError {
        let message = format!("schema {schema_id} gives no TradeV2: {self}");
        RowError::new(self.kind, message).of_schema(schema_id)
    }
}

impl Plan {
    /// Compiles a writer's schema. `references` are the schemas that it names, each behind those that it needs itself.
    pub fn compile(schema: &str, references: &[Arc<str>]) -> Result<Plan, Unusable> {
        let writer = writer::Writer::parse(schema, references)?;
        resolve::plan(&writer)
    }
}
