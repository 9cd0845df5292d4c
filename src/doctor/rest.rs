//! The REST API, which `ls`, `inspect`, `du`, `prune` and `verify` list with.

use tokio::time::Instant;

use super::{Check, check::cure, service::PATIENCE};
use crate::{
    actions::{RestClient, RestTarget},
    protocol::key::IndexName,
};

pub(super) async fn check(client: &RestClient, target: &RestTarget) -> Check {
    const NAME: &str = "rest api";
    let client = client.with_deadline(Instant::now() + PATIENCE);
    let origin = target.base.origin().ascii_serialization();
    match client.page(IndexName::PREFIX, 1).await {
        Ok(page) => Check::ok(
            NAME,
            format!(
                "{origin} lists {} indexes of {}",
                page.total_count, target.repository
            ),
        ),
        Err(error) => {
            let denied = "the token may not list the caches of the repository: give it the permission `actions: read` \
                          (`actions: write` to prune), or renew it";
            let not_found = "there is no such repository, or the token may not see it, or the service has no REST API: \
                             check GITHUB_REPOSITORY and GITHUB_API_URL";
            Check::failed(NAME, error.to_string(), cure(&error, denied, not_found))
        }
    }
}
