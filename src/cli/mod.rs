//! Commands: the only place where concrete parts meet.

pub mod columns;
pub mod offsets;
pub mod table;
pub mod verify;
