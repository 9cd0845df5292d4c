//! Flags, environment and files become typed values here, and nowhere else.

pub mod address;
mod socket;

pub use address::{Address, AddressError};
pub use socket::{Owner, Tls};
