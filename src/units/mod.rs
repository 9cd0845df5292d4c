//! Durations, sizes and shares as people write them: one grammar each, for flags, environment, files and
//! attributes; and as docker prints them.

pub mod duration;
pub mod human;
pub mod percent;
pub mod size;
