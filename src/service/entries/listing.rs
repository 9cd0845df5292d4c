//! Which entries there are, as far as a caller may know.

use super::Entries;
use crate::service::{
    api_error::ApiError,
    auth::Caller,
    store::{Entry, Filter, Page, Totals},
};

impl Entries {
    /// What there is in all.
    pub(in crate::service) async fn totals(&self) -> Result<Totals, ApiError> {
        Ok(self.store.totals().await?)
    }

    /// How many entries match, and one page of them: those that the caller may read, in `scope` if one is
    /// named.
    pub(in crate::service) async fn list(
        &self,
        caller: &Caller,
        scope: Option<&str>,
        key_prefix: String,
        page: Page,
    ) -> Result<(u64, Vec<Entry>), ApiError> {
        let filter = Filter {
            repository: Some(caller.repository.clone()),
            scopes: Some(only(scope, caller.readable())),
            key_prefix,
        };
        let count = self.store.count(&filter).await?;
        Ok((count, self.store.list(&filter, page).await?))
    }

    /// How many entries whose keys begin so are in scopes that the caller does not read; for one that may delete:
    /// it must know whether indexes that it does not see may name what it removes.
    pub(in crate::service) async fn hidden(
        &self,
        caller: &Caller,
        key_prefix: &str,
    ) -> Result<Option<u64>, ApiError> {
        if caller.deletable().next().is_none() {
            return Ok(None);
        }
        let filter = |scopes| Filter {
            repository: Some(caller.repository.clone()),
            scopes,
            key_prefix: key_prefix.to_owned(),
        };
        let all = self.store.count(&filter(None)).await?;
        let readable = Some(only(None, caller.readable()));
        let readable = self.store.count(&filter(readable)).await?;
        Ok(Some(all.saturating_sub(readable)))
    }
}

/// Those of `scopes` that are meant: all, or the one that is named.
pub(super) fn only<'a>(named: Option<&str>, scopes: impl Iterator<Item = &'a str>) -> Vec<String> {
    let meant = scopes.filter(|scope| named.is_none_or(|named| named == *scope));
    meant.map(str::to_owned).collect()
}
