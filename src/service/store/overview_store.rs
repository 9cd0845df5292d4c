//! What people ask of a service who look after it, and no build does.

use std::fmt::Debug;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    activity::{Activity, Day, RepositoryDay},
    entry_store::{Entry, Usage},
    error::StoreError,
};

/// A repository, and what its entries take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RepositoryUsage {
    /// `owner/repo`.
    pub(crate) repository: String,
    pub(crate) usage: Usage,
}

/// A scope of a repository, and what its entries take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScopeUsage {
    /// The ref.
    pub(crate) scope: String,
    pub(crate) usage: Usage,
    /// When its newest entry was committed.
    pub(crate) newest: Timestamp,
}

/// A process that shares the store, as far as its lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replica {
    /// Where others reach it, once it has said so.
    pub(crate) address: Option<String>,
    /// Whether it is this one.
    pub(crate) own: bool,
    /// How many uploads it takes.
    pub(crate) uploads: u64,
}

/// Overviews of the entries of an [`super::EntryStore`], and what has happened to them.
#[async_trait]
pub(crate) trait OverviewStore: Debug + Send + Sync {
    /// Adds to what has happened in a repository on a day. May be lost with the process.
    async fn note(&self, repository: &str, day: Day, activity: Activity) -> Result<(), StoreError>;

    /// Writes down what was noted, and forgets the days before `oldest`. Where the answer of a database is lost, some of
    /// it may count twice.
    async fn write_activity(&self, oldest: Day) -> Result<(), StoreError>;

    /// What has happened in these repositories from the day `since` on: of each repository in the order of days.
    async fn activity(
        &self,
        repositories: &[String],
        since: Day,
    ) -> Result<Vec<RepositoryDay>, StoreError>;

    /// How many repositories have entries or an activity that is not forgotten, and some of them: those whose entries
    /// take most bytes first, and of equal ones by their names. `only` one, if it is named.
    async fn repositories(
        &self,
        only: Option<&str>,
        skip: u64,
        take: u32,
    ) -> Result<(u64, Vec<RepositoryUsage>), StoreError>;

    /// How many scopes a repository has, and at most `take` of them: those whose entries take most bytes first, and of
    /// equal ones by their names. Looks at each entry of the repository.
    async fn scopes(
        &self,
        repository: &str,
        take: u32,
    ) -> Result<(u64, Vec<ScopeUsage>), StoreError>;

    /// The entries of a repository whose keys are among these up to their first `#`, of all scopes. Looks at each entry
    /// of the repository.
    async fn numbered(&self, repository: &str, keys: Vec<String>)
    -> Result<Vec<Entry>, StoreError>;

    /// The processes that share the store; none where no others can.
    async fn replicas(&self) -> Result<Vec<Replica>, StoreError>;
}
