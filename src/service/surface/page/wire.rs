//! What the API of the page reads and writes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    protocol::rest::{Direction, SortBy},
    service::{
        api_error::ApiError,
        auth::Administrator,
        config::ACTIVITY_DAYS,
        entries::RepositoryOverview,
        grant::Role,
        store::{Activity, Day, Entry, Replica, ScopeUsage, Usage},
        upload::UploadOverview,
    },
};

/// Most rows of a page, and how many those are given who do not say.
const MAX_PER_PAGE: u32 = 100;
const DEFAULT_PER_PAGE: u32 = 50;

/// For how many days activity is told to those who do not say.
const DEFAULT_DAYS: u32 = 30;

/// How many rows come before a page, and how many it has.
fn place(page: Option<u32>, per_page: Option<u32>) -> (u64, u32) {
    let take = per_page.unwrap_or(DEFAULT_PER_PAGE).clamp(1, MAX_PER_PAGE);
    let before = page.unwrap_or(1).max(1) - 1;
    (u64::from(before) * u64::from(take), take)
}

#[derive(Debug, Deserialize)]
pub(super) struct RepositoryQuery {
    pub(super) repository: Option<String>,
    days: Option<u32>,
    page: Option<u32>,
    per_page: Option<u32>,
}

impl RepositoryQuery {
    /// For how many days activity is asked for.
    pub(super) fn days(&self) -> u32 {
        self.days.unwrap_or(DEFAULT_DAYS).clamp(1, ACTIVITY_DAYS)
    }

    pub(super) fn place(&self) -> (u64, u32) {
        place(self.page, self.per_page)
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct ScopesQuery {
    pub(super) repository: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct IndexQuery {
    pub(super) repository: String,
    pub(super) id: i64,
}

#[derive(Debug, Deserialize)]
pub(super) struct EntryQuery {
    /// All that the token is about, without one.
    pub(super) repository: Option<String>,
    pub(super) scope: Option<String>,
    /// What keys begin with.
    #[serde(default)]
    pub(super) prefix: String,
    /// What keys have somewhere.
    #[serde(default)]
    pub(super) text: String,
    #[serde(default)]
    pub(super) sort: SortBy,
    #[serde(default)]
    pub(super) direction: Direction,
    page: Option<u32>,
    per_page: Option<u32>,
}

impl EntryQuery {
    pub(super) fn place(&self) -> (u64, u32) {
        place(self.page, self.per_page)
    }
}

/// What is to go: entries by their ids, or all of a scope.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteRequest {
    repository: String,
    ids: Option<Vec<i64>>,
    scope: Option<String>,
}

/// The same, once it is known which of both.
pub(super) enum Deletion {
    Entries(Vec<i64>),
    Scope(String),
}

impl DeleteRequest {
    /// The repository, and what is to go there.
    pub(super) fn split(self, most: usize) -> Result<(String, Deletion), ApiError> {
        let deletion = match (self.ids, self.scope) {
            (Some(ids), None) if ids.len() <= most => Deletion::Entries(ids),
            (Some(_), None) => {
                let message = format!("at most {most} entries may be deleted at once");
                return Err(ApiError::malformed(message));
            }
            (None, Some(scope)) => Deletion::Scope(scope),
            _ => return Err(ApiError::malformed("either ids or a scope must be named")),
        };
        Ok((self.repository, deletion))
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Deleted {
    #[serde(flatten)]
    deleted: Size,
    /// How many entries of the scope are left.
    left: u64,
}

impl Deleted {
    pub(super) fn new(usage: Usage, left: u64) -> Self {
        Self {
            deleted: usage.into(),
            left,
        }
    }
}

/// What entries take.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Size {
    bytes: u64,
    entries: u64,
}

impl From<Usage> for Size {
    fn from(usage: Usage) -> Self {
        Self {
            bytes: usage.bytes,
            entries: usage.entries,
        }
    }
}

/// Whose token it is.
#[derive(Debug, Serialize)]
pub(super) struct Session {
    name: String,
    role: Role,
    /// The one repository that it is about.
    repository: Option<String>,
    may_delete: bool,
    version: &'static str,
}

impl Session {
    pub(super) fn new(administrator: &Administrator) -> Self {
        Self {
            name: administrator.token.name.clone(),
            role: administrator.role,
            repository: administrator.repository.clone(),
            may_delete: administrator.role >= Role::Prune,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct RepositoriesPage {
    total: u64,
    /// The service's day, in UTC.
    today: String,
    repositories: Vec<RepositoryRow>,
}

#[derive(Debug, Serialize)]
struct RepositoryRow {
    repository: String,
    #[serde(flatten)]
    size: Size,
    days: Vec<DayOfRepository>,
}

#[derive(Debug, Serialize)]
struct DayOfRepository {
    /// In UTC, as in `2026-11-28`.
    day: String,
    hits: u64,
    misses: u64,
    added: Size,
    evicted: Size,
}

impl RepositoriesPage {
    pub(super) fn new(total: u64, now: Timestamp, page: Vec<RepositoryOverview>) -> Self {
        let day = |(day, activity): (Day, Activity)| DayOfRepository {
            day: day.to_string(),
            hits: activity.hits,
            misses: activity.misses,
            added: activity.added.into(),
            evicted: activity.evicted.into(),
        };
        let row = |row: RepositoryOverview| RepositoryRow {
            repository: row.repository,
            size: row.usage.into(),
            days: row.days.into_iter().map(day).collect(),
        };
        Self {
            total,
            today: Day::of(now).to_string(),
            repositories: page.into_iter().map(row).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct ScopesPage {
    total: u64,
    scopes: Vec<ScopeRow>,
}

#[derive(Debug, Serialize)]
struct ScopeRow {
    scope: String,
    #[serde(flatten)]
    size: Size,
    /// When its newest entry was committed.
    newest: Timestamp,
}

impl ScopesPage {
    pub(super) fn new(total: u64, scopes: Vec<ScopeUsage>) -> Self {
        let row = |row: ScopeUsage| ScopeRow {
            scope: row.scope,
            size: row.usage.into(),
            newest: row.newest,
        };
        Self {
            total,
            scopes: scopes.into_iter().map(row).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct EntriesPage {
    total: u64,
    entries: Vec<EntryRow>,
}

#[derive(Debug, Serialize)]
pub(super) struct EntryRow {
    id: i64,
    repository: String,
    scope: String,
    key: String,
    version: String,
    bytes: u64,
    created: Timestamp,
    accessed: Timestamp,
}

impl From<Entry> for EntryRow {
    fn from(entry: Entry) -> Self {
        Self {
            id: entry.id,
            repository: entry.name.repository,
            scope: entry.name.scope,
            key: entry.name.key,
            version: entry.name.version,
            bytes: entry.size,
            created: entry.created,
            accessed: entry.accessed,
        }
    }
}

impl EntriesPage {
    pub(super) fn new(total: u64, entries: Vec<Entry>) -> Self {
        Self {
            total,
            entries: entries.into_iter().map(Into::into).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct UploadsPage {
    /// The service's time.
    now: Timestamp,
    uploads: Vec<Upload>,
    /// The processes of the database, for whoever looks after all repositories.
    replicas: Vec<ReplicaRow>,
}

#[derive(Debug, Serialize)]
pub(super) struct ReplicaRow {
    address: Option<String>,
    /// Whether it is the one that answers.
    own: bool,
    /// How many uploads it takes.
    uploads: u64,
}

impl ReplicaRow {
    pub(super) fn all(replicas: Vec<Replica>) -> Vec<Self> {
        let row = |replica: Replica| Self {
            address: replica.address,
            own: replica.own,
            uploads: replica.uploads,
        };
        replicas.into_iter().map(row).collect()
    }
}

#[derive(Debug, Serialize)]
struct Upload {
    repository: String,
    scope: String,
    key: String,
    /// `None` where the client sends them to the bucket itself.
    bytes: Option<u64>,
    begun: Timestamp,
    last_active: Timestamp,
}

impl UploadsPage {
    pub(super) fn new(
        now: Timestamp,
        uploads: Vec<UploadOverview>,
        replicas: Vec<Replica>,
    ) -> Self {
        let row = |upload: UploadOverview| Upload {
            repository: upload.name.repository,
            scope: upload.name.scope,
            key: upload.name.key,
            bytes: (!upload.direct).then_some(upload.bytes),
            begun: upload.begun,
            last_active: upload.last_active,
        };
        Self {
            now,
            uploads: uploads.into_iter().map(row).collect(),
            replicas: ReplicaRow::all(replicas),
        }
    }
}
