//! End-to-end tests on the real programs; see `e2e/README.md`.

mod attack;
mod faults;
mod harness;
mod proxy;
mod screens;
mod soak;
mod tests;
