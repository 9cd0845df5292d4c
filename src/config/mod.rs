//! Flags, environment and files become typed values here, and nowhere else.

pub mod address;
mod buildkitd_flags;
mod buildkitd_toml;
mod default_cache;
mod defaults;
pub mod duration;
mod env;
mod gateway;
mod imports;
mod limits;
mod listen;
mod log;
mod owner;
pub mod settings;
pub mod size;
mod socket;

pub use address::{Address, AddressError};
pub use buildkitd_flags::{Flags, InfoFlag};
pub use buildkitd_toml::BuildkitdToml;
pub use default_cache::DefaultCache;
pub use defaults::Defaults;
pub use env::{Env, SECRET_VARIABLES};
pub use gateway::{Buildkitd, CONFIG_VARIABLE, ConfigError, GatewayConfig};
pub use imports::{ImportTransport, Imports};
pub use limits::Limits;
pub use listen::{InvalidListen, Listen};
pub use log::LogSettings;
pub use socket::{Owner, Tls};
