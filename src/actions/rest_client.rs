//! A client of GitHub's REST API, which needs no runtime token.

use std::{fmt, sync::Arc};

use super::{
    Call, ClientConfig, Deadline, Error, Http, Kind, Priority, RestTarget, policy::CallPolicy,
    response::Response, rest,
};
use crate::{
    digest::Digest,
    protocol::rest::{Cache, List},
};

/// Most pages of one listing: the API allows 1000 requests in an hour, and 10 GB of entries that
/// are worth keeping fit in far fewer.
const MAX_PAGES: u32 = 500;

/// Lists and deletes the entries of one repository. A clone shares all but the deadline.
#[derive(Clone)]
pub struct RestClient {
    target: Arc<RestTarget>,
    policy: CallPolicy,
}

impl fmt::Debug for RestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RestClient")
            .field("target", &self.target)
            .field("deadline", &self.policy.deadline())
            .finish_non_exhaustive()
    }
}

impl RestClient {
    /// A client without a deadline.
    pub fn new(http: Http, target: RestTarget, config: ClientConfig) -> Self {
        // The API counts the calls of a token, whatever their repository.
        let subject = Digest::sha256(target.token.expose());
        let policy = CallPolicy::new(http, config, &target.base, subject, None);
        Self {
            target: Arc::new(target),
            policy,
        }
    }

    /// The same client, whose calls and waits all end by `deadline`.
    #[must_use]
    pub fn with_deadline(&self, deadline: impl Into<Deadline>) -> Self {
        self.with_policy(self.policy.with_deadline(deadline.into()))
    }

    pub(super) fn with_priority(&self, priority: &Priority) -> Self {
        self.with_policy(self.policy.with_priority(priority.clone()))
    }

    pub(super) fn ignoring_outages(&self) -> Self {
        self.with_policy(self.policy.ignoring_outages())
    }

    fn with_policy(&self, policy: CallPolicy) -> Self {
        Self {
            target: Arc::clone(&self.target),
            policy,
        }
    }

    /// All entries of the repository whose keys begin with `prefix`, over all pages.
    pub async fn list(&self, prefix: &str) -> Result<Vec<Cache>, Error> {
        let mut caches: Vec<Cache> = Vec::new();
        for page in 1..=MAX_PAGES {
            let page = self.page(prefix, page).await?;
            let empty = page.actions_caches.is_empty();
            caches.extend(page.actions_caches);
            if empty || caches.len() as u64 >= page.total_count {
                return Ok(caches);
            }
        }
        Err(self.too_many_pages())
    }

    /// One page of that listing, which is in the order of creation; pages count from 1.
    pub async fn page(&self, prefix: &str, page: u32) -> Result<List, Error> {
        if page > MAX_PAGES {
            return Err(self.too_many_pages());
        }
        let request = rest::list(&self.target, prefix, page);
        self.policy.call(request, Response::json).await
    }

    fn too_many_pages(&self) -> Error {
        let message = format!("the listing has more than {MAX_PAGES} pages");
        self.policy.error(Call::List, Kind::Protocol, message)
    }

    /// Deletes the entry with this id. One that is gone already is a success: a lost answer makes
    /// a 404 of the first.
    pub async fn delete(&self, id: i64) -> Result<(), Error> {
        let request = rest::delete(&self.target, id);
        match self.policy.call(request, Response::success).await {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            outcome => outcome,
        }
    }
}
