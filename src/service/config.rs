//! What an operator may choose about the service, and the limits that nobody may pass.

use std::{path::PathBuf, time::Duration};

use url::Url;

pub use super::network::Network;

/// How long a signed blob URL opens its door. Clients renew an expired one by a new lookup; an hour
/// lets one URL carry even a slow transfer of a large layer.
pub const DEFAULT_URL_TTL: Duration = Duration::from_hours(1);

/// How long a reservation without any upload activity keeps its key taken. What GitHub waits is
/// not known. BuildKit gives a whole export ten minutes, so an upload that has been silent for
/// longer has lost its owner, and its key is in the way of the next build.
pub const DEFAULT_RESERVATION_AGE: Duration = Duration::from_mins(15);

/// How often abandoned reservations and stray files are collected.
pub const COLLECT_INTERVAL: Duration = Duration::from_mins(10);

/// Most reservations that are open at once: they live in memory until they are finished.
pub const MAX_OPEN_UPLOADS: usize = 10_000;

/// Most parts of one upload: what Azure allows in a block list.
pub const MAX_PARTS: usize = 50_000;

/// Largest part of an upload: what Azure allows for one block (4000 MiB).
pub const MAX_PART_BYTES: u64 = 4000 << 20;

/// Largest blob that is put in one request: what Azure allows (5000 MiB).
pub const MAX_PUT_BYTES: u64 = 5000 << 20;

/// Longest block id once decoded from base64: what Azure allows.
pub const MAX_BLOCK_ID_BYTES: usize = 64;

pub use crate::protocol::key::MAX_LOOKUP_KEYS;

/// Where the service keeps its things and how it behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Database, content and secret. Created when missing; one process at a time.
    pub data_dir: PathBuf,
    /// What signed URLs begin with; `None` takes the `Host` of each request, or what a trusted
    /// proxy says it was.
    pub base_url: Option<Url>,
    /// Proxies whose `X-Forwarded-` headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// Whether each request is a line of the log.
    pub access_log: bool,
    /// How long signed URLs live.
    pub url_ttl: Duration,
    /// After how long without activity a reservation is given up.
    pub reservation_age: Duration,
}

impl Config {
    /// The defaults for a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            base_url: None,
            trusted_proxies: Vec::new(),
            access_log: true,
            url_ttl: DEFAULT_URL_TTL,
            reservation_age: DEFAULT_RESERVATION_AGE,
        }
    }
}
