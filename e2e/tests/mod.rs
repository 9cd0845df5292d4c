//! The tests, one file per promise.

mod harness;
mod stock;
