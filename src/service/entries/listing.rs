//! Which entries there are, as far as a caller may know.

use super::Entries;
use crate::service::{
    api_error::ApiError,
    rights::Rights,
    store::{Entry, Filter, Page, Totals},
};

impl Entries {
    /// What there is in all.
    pub(in crate::service) async fn totals(&self) -> Result<Totals, ApiError> {
        Ok(self.store.totals().await?)
    }

    /// How many entries match, and one page of them: those that may be read, in `scope` if one is named.
    pub(in crate::service) async fn list(
        &self,
        rights: &Rights,
        scope: Option<&str>,
        key_prefix: String,
        page: Page,
    ) -> Result<(u64, Vec<Entry>), ApiError> {
        let filter = Filter {
            repository: Some(rights.repository.clone()),
            scopes: rights.readable.named(scope).into_filter(),
            key_prefix,
            ..Filter::default()
        };
        let count = self.store.count(&filter).await?;
        Ok((count, self.store.list(&filter, page).await?))
    }

    /// How many entries whose keys begin so are in scopes that may not be read; for one that may delete: it must know
    /// whether indexes that it does not see may name what it removes.
    pub(in crate::service) async fn hidden(
        &self,
        rights: &Rights,
        key_prefix: &str,
    ) -> Result<Option<u64>, ApiError> {
        let Some(readable) = rights.readable.clone().into_filter() else {
            return Ok(Some(0));
        };
        if rights.deletable.is_empty() {
            return Ok(None);
        }
        let filter = |scopes| Filter {
            repository: Some(rights.repository.clone()),
            scopes,
            key_prefix: key_prefix.to_owned(),
            ..Filter::default()
        };
        let all = self.store.count(&filter(None)).await?;
        let readable = self.store.count(&filter(Some(readable))).await?;
        Ok(Some(all.saturating_sub(readable)))
    }
}
