//! End-to-end tests on the real programs; see `e2e/README.md`.

#[allow(dead_code)]
mod harness;
mod tests;
