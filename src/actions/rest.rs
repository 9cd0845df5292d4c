//! GitHub's REST API: listing entries.

use http::{HeaderName, Method, header};

use super::{
    Client, Error, Kind, RestTarget,
    client::below,
    http::{Call, Request},
};
use crate::protocol::rest::{API_VERSION, Cache, List, MAX_PER_PAGE};

/// Most pages of one listing: the API allows 1000 requests in an hour, and 10 GB of entries that
/// are worth keeping fit in far fewer.
const MAX_PAGES: u32 = 500;

const X_GITHUB_API_VERSION: HeaderName = HeaderName::from_static("x-github-api-version");

/// All entries whose keys begin with `prefix`, over all pages.
pub(super) async fn list(
    client: &Client,
    target: &RestTarget,
    prefix: &str,
) -> Result<Vec<Cache>, Error> {
    let mut caches: Vec<Cache> = Vec::new();
    for number in 1..=MAX_PAGES {
        let attempt = || page(client, target, prefix, number);
        let page = client.retrying(Call::List, attempt).await?;
        let empty = page.actions_caches.is_empty();
        caches.extend(page.actions_caches);
        if empty || caches.len() as u64 >= page.total_count {
            return Ok(caches);
        }
    }
    let message = format!("the listing has more than {MAX_PAGES} pages");
    Err(client.error(Call::List, Kind::Protocol, &message))
}

async fn page(
    client: &Client,
    target: &RestTarget,
    prefix: &str,
    number: u32,
) -> Result<List, Error> {
    let path = format!("repos/{}/actions/caches", target.repository);
    let mut url = below(&target.base, &path);
    // In the order of creation what is added meanwhile comes last, and no page shifts.
    url.query_pairs_mut()
        .append_pair("key", prefix)
        .append_pair("sort", "created_at")
        .append_pair("direction", "asc")
        .append_pair("per_page", &MAX_PER_PAGE.to_string())
        .append_pair("page", &number.to_string());
    let request = Request::api(Call::List, Method::GET, url, &target.token)
        .header(header::ACCEPT, "application/vnd.github+json")
        .header(X_GITHUB_API_VERSION, API_VERSION);
    client.call(request).await?.json().await
}
