//! Where servers listen, and who may use their sockets.

mod address;
mod listen;
mod socket;

pub use address::{Address, AddressError};
pub use listen::{InvalidListen, Listen};
pub use socket::{Owner, Tls};
