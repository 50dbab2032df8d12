//! `sluice demo`: the main job with nothing installed, told as it happens.

pub mod cluster;
pub mod registry;
