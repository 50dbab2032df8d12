//! The Gold table: its schema, its files, and the snapshots that commit them.

pub mod data_files;
pub mod file_layout;
pub mod file_metrics;
pub mod gold;
pub mod ids;
pub mod parquet_file;
pub mod parquet_writer;
pub mod probe;
pub mod storage;
