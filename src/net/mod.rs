//! Where servers listen, and who may use their sockets.

mod address;
mod listen;
mod loopback;
pub mod proxy_protocol;
mod socket;
mod unix_socket;

pub use address::{Address, AddressError};
pub use listen::{InvalidListen, Listen};
pub use loopback::is_loopback;
pub use socket::{Owner, Tls};
pub use unix_socket::bind_unix;
