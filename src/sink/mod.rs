//! The Gold table: its schema, its files, and the snapshots that commit them.

pub mod catalog;
pub mod data_files;
pub mod file_layout;
mod file_metrics;
pub mod foreign;
pub mod gold;
pub mod history;
mod ids;
mod lane_json;
pub mod listing;
pub mod local_fs;
mod manifests;
mod parquet_file;
pub mod parquet_writer;
mod probe;
pub mod proven_store;
pub mod read_rows;
pub mod roll_back;
pub mod row_print;
pub mod snapshot;
pub mod storage;
pub mod summary;
pub mod table;
#[cfg(test)]
pub mod testing;

/// Data files of ours, by the beginning of their name.
pub const FILE_PREFIX: &str = "sluice-";

/// Did Sluice write this data file?
pub fn is_ours(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| name.starts_with(FILE_PREFIX))
}
