//! Flags, environment and files become typed values here, and nowhere else. Modules own what they
//! are told and the defaults of it; this fills in what an operator says.

mod admin;
mod buildkitd_flags;
mod buildkitd_toml;
mod default_cache;
mod defaults;
mod env;
mod error;
mod gateway;
mod imports;
mod limit;
mod limits;
mod log;
mod modules;
mod owner;
mod remote;
pub(crate) mod settings;
mod traces;
mod urls;

pub use admin::{default_socket as default_admin_socket, socket_path as admin_socket_path};
pub use buildkitd_flags::{Flags, InfoFlag};
pub use env::Env;
pub use gateway::{Buildkitd, GatewayConfig};
pub use imports::Imports;
pub use log::LogSettings;
pub use modules::ModuleConfigs;
pub use remote::{RemoteError, RemoteFlags, access, job_variables, runtime, surroundings};
pub use traces::Traces;
