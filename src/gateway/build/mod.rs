//! What becomes of a build's cache options: the calls that carry them, and what the build's log says.
//!
//! [`BuildInterceptor`] reads and [`rewrite`]s Solve and `LLBBridge.Solve`. What it decides about each
//! entry ([`exports`], [`imports`]) is kept with the build ([`builds`]), which lives as long as its
//! Solve. What the cache has to say is collected in the build's [`progress`] and added to its Status
//! streams ([`status_stream`]). [`definition`] reads what the build is going to do, and [`records`] keeps what
//! the last builds did.

mod activity;
mod backends;
mod builds;
mod cache_entry;
mod counters;
mod default_cache;
mod definition;
mod entry;
mod exports;
mod import_name;
mod imports;
mod interceptor;
mod own_manifest;
mod progress;
mod records;
mod redactor;
pub mod rewrite;
mod sessions;
mod status_stream;

pub(crate) use activity::Activity;
pub(crate) use interceptor::BuildInterceptor;
