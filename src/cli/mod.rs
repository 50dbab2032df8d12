//! Commands: the only place where concrete parts meet.

pub mod produce;
