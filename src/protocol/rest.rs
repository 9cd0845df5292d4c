//! GitHub's REST API for caches: `/repos/{owner}/{repo}/actions/caches`, as far as it is used.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Largest page that the API gives.
pub const MAX_PER_PAGE: u32 = 100;

/// The value of the header `X-GitHub-Api-Version`.
pub const API_VERSION: &str = "2022-11-28";

/// One page of a listing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// How many entries match in all.
    pub total_count: u64,
    /// This page of them.
    pub actions_caches: Vec<Cache>,
}

/// One entry of the cache as the REST API shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// The entry's id.
    pub id: i64,
    /// The scope, e.g. `refs/heads/main`.
    #[serde(rename = "ref")]
    pub git_ref: String,
    /// The full key.
    pub key: String,
    /// The version.
    pub version: String,
    /// When it was last read or written.
    pub last_accessed_at: Timestamp,
    /// When it was created.
    pub created_at: Timestamp,
    /// Its size.
    pub size_in_bytes: u64,
}
