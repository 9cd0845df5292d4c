//! What people see of a service who look after it: repositories, scopes, uploads in progress.

use futures_util::StreamExt as _;

use super::Entries;
use crate::service::{
    api_error::ApiError,
    config::ACTIVITY_DAYS,
    store::{Activity, Day, Entry, Filter, Page, Replica, RepositoryUsage, ScopeUsage, Usage},
    upload::UploadOverview,
};

/// A repository, what its entries take, and what has happened there.
pub(crate) struct RepositoryOverview {
    pub(crate) repository: String,
    pub(crate) usage: Usage,
    /// Days on which something has happened, the first of them first.
    pub(crate) days: Vec<(Day, Activity)>,
}

impl Entries {
    /// Notes what has happened in a repository. Nobody's request fails for that.
    pub(in crate::service) async fn note_activity(&self, repository: &str, activity: Activity) {
        let today = Day::of((self.clock)());
        if let Err(error) = self.overviews.note(repository, today, activity).await {
            tracing::warn!(%error, "what has happened in repositories could not be noted");
        }
    }

    /// Writes down what was noted so, and forgets what is older than [`ACTIVITY_DAYS`].
    pub(in crate::service) async fn write_activity(&self) {
        let oldest = Day::of((self.clock)()).before(ACTIVITY_DAYS);
        if let Err(error) = self.overviews.write_activity(oldest).await {
            tracing::warn!(%error, "what has happened in repositories could not be written");
        }
    }

    /// How many repositories there are, and a page of them with what has happened in the last `days` days.
    pub(in crate::service) async fn repositories(
        &self,
        only: Option<&str>,
        skip: u64,
        take: u32,
        days: u32,
    ) -> Result<(u64, Vec<RepositoryOverview>), ApiError> {
        let (count, page) = self.overviews.repositories(only, skip, take).await?;
        let names: Vec<String> = page.iter().map(|row| row.repository.clone()).collect();
        // Today is one of them.
        let since = Day::of((self.clock)()).before(days.saturating_sub(1));
        let mut activity = self.overviews.activity(&names, since).await?;
        let overview = |row: RepositoryUsage| {
            let own = activity.extract_if(.., |day| day.repository == row.repository);
            RepositoryOverview {
                days: own.map(|day| (day.day, day.activity)).collect(),
                repository: row.repository,
                usage: row.usage,
            }
        };
        Ok((count, page.into_iter().map(overview).collect()))
    }

    /// How many scopes a repository has, and those that take most.
    pub(in crate::service) async fn scopes(
        &self,
        repository: &str,
        take: u32,
    ) -> Result<(u64, Vec<ScopeUsage>), ApiError> {
        Ok(self.overviews.scopes(repository, take).await?)
    }

    /// How many entries match, and a page of them.
    pub(in crate::service) async fn search(
        &self,
        filter: &Filter,
        page: Page,
    ) -> Result<(u64, Vec<Entry>), ApiError> {
        let count = self.store.count(filter).await?;
        Ok((count, self.store.list(filter, page).await?))
    }

    /// The uploads of this process, in one repository if it is named; the first that began first.
    pub(in crate::service) fn uploads(&self, only: Option<&str>) -> Vec<UploadOverview> {
        let uploads = self.uploads.all();
        let own = uploads
            .iter()
            .filter(|upload| only.is_none_or(|only| upload.name.repository == only));
        let mut all: Vec<_> = own.map(|upload| upload.overview()).collect();
        all.sort_by_key(|upload| upload.begun);
        all
    }

    /// The processes that share the entries.
    pub(in crate::service) async fn replicas(&self) -> Result<Vec<Replica>, ApiError> {
        Ok(self.overviews.replicas().await?)
    }

    /// What the entries of a repository take, or all.
    pub(in crate::service) async fn usage(
        &self,
        repository: Option<&str>,
    ) -> Result<Usage, ApiError> {
        Ok(self.store.usage(repository).await?)
    }

    /// Fails if no content can be read.
    pub(in crate::service) async fn ping_storage(&self) -> Result<(), ApiError> {
        self.blobs.ids().next().await.transpose()?;
        Ok(())
    }
}
