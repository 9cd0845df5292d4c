//! Durations and sizes as people write them: one grammar each, for flags, environment, files and
//! attributes.

pub mod duration;
pub mod size;
