//! Reads the source of the program as the compiler names it: files, modules, and what they import.
//!
//! | file | what |
//! |---|---|
//! | `tokens` | a text as tokens, without comments and without the code of tests |
//! | `paths` | the paths that a file writes, and the names that it defines |
//! | `tree` | all files as modules, and the file that a path leads to |
//!
//! It knows enough of Rust for this program and no more: paths in macros are read as they stand, and
//! names that come from a glob are looked for where the glob leads.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test uses a part of it, and may end so"
)]

mod paths;
mod tokens;
mod tree;

pub use tree::{Import, Tree};
