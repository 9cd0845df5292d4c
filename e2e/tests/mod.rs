//! The tests, one file per promise.

mod bake;
mod beside;
mod compression;
mod daemon;
mod faults;
mod full_service;
mod harness;
mod heal;
mod index;
mod life;
mod memory;
mod mixed;
mod npm;
mod proxy;
mod round_trip;
mod sealed;
mod session;
mod shared;
mod signing;
mod sockets;
mod stock;
mod throttled;
mod tokens;
mod unusable_tokens;
mod upstream;
mod ways;
