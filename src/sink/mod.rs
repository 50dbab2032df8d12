//! The Gold table: its schema, its files, and the snapshots that commit them.

pub mod gold;
pub mod storage;
