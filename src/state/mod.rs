//! What an instance keeps for itself: its directory on disk, the cache of ids per data file, and the account of its memory.
//!
//! Nothing here is needed for correctness. A directory that is missing, damaged, full or deleted while running costs time,
//! never a record: every answer is right or absent.

mod atomic_file;
pub mod dir;
pub mod ids;
mod ids_of_table;
pub mod memory;
mod notes;

pub use ids_of_table::IdsOfTable;
pub use notes::NotesOnDisk;
