//! The Gold table: its schema, its files, and the snapshots that commit them.

pub mod gold;
mod lane_json;
pub mod storage;
pub mod summary;
