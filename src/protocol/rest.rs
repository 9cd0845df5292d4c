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
    /// How many more match in scopes that the token does not read. The embedded service says so to whoever may
    /// delete; GitHub lists all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden_count: Option<u64>,
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

/// How many entries GitHub gives to those who do not say.
const DEFAULT_PER_PAGE: u32 = 30;

/// What a listing is sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SortBy {
    /// When the entry was committed.
    CreatedAt,
    /// When it was last found.
    #[default]
    LastAccessedAt,
    /// How large it is.
    SizeInBytes,
}

/// Which end of a listing comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The smallest or oldest.
    Asc,
    /// The largest or newest.
    #[default]
    Desc,
}

/// The query of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ListQuery {
    /// What keys begin with; empty for all.
    #[serde(default)]
    pub key: String,
    /// The one scope that is meant.
    #[serde(rename = "ref")]
    pub git_ref: Option<String>,
    per_page: Option<u32>,
    page: Option<u32>,
    /// The order.
    #[serde(default)]
    pub sort: SortBy,
    /// Its direction.
    #[serde(default)]
    pub direction: Direction,
}

impl ListQuery {
    /// How many entries are asked for.
    pub fn take(&self) -> u32 {
        let take = self.per_page.unwrap_or(DEFAULT_PER_PAGE);
        take.clamp(1, MAX_PER_PAGE)
    }

    /// How many entries come before the page.
    pub fn skip(&self) -> u64 {
        let pages_before = self.page.unwrap_or(1).max(1) - 1;
        u64::from(pages_before) * u64::from(self.take())
    }
}

/// The query of a deletion by key.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DeleteQuery {
    /// The full key.
    pub key: String,
    /// The one scope that is meant.
    #[serde(rename = "ref")]
    pub git_ref: Option<String>,
}
