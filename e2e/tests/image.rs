//! The images of `image/Dockerfile`, with the program as it is released (static), on what stands in for
//! upstream's image: nothing that upstream's has is lost.

use crate::harness::{Context, Lab};

mod builder;
mod life;
pub mod rootless;
mod serve;
mod sources;

/// A context whose steps show where they run, with this line as the last one.
fn context(lab: &Lab, name: &str, line: &str) -> Context {
    Context::with_shell(lab, name, &format!("{line}\n"))
}
