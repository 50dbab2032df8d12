//! Records of Silver to rows of Gold: [`frame()`] splits a value, the [`registry`] knows its schema, a [`plan`] says how
//! bodies of that schema are read, a [`ChunkDecoder`] makes rows of them. What can't be read right is refused, never
//! read some other way.

pub mod chunk;
mod columns;
pub mod error;
pub mod event_time;
pub mod frame;
pub mod plan;
pub mod plans;
pub mod registry;
pub mod rows;
mod values;
mod wire;
mod words;

pub use chunk::{ChunkDecoder, DecodedMeta};
pub use error::{Reason, RowError};
pub use event_time::EventTimeBounds;
pub use frame::{Framed, frame, schema_ids};
pub use plan::{Plan, Unusable};
pub use plans::{PlanSet, Plans, Reading};

/// The reader's schema: what a record of Silver is, as Avro JSON.
pub const TRADE_V2: &str = include_str!("../../schemas/trade_v2.avsc");
