//! GitHub's REST API: listing and deleting entries.

use http::{HeaderName, Method, header};
use url::Url;

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
        let attempt = |client| page(client, target, prefix, number);
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
    client: Client,
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
    let request = request(Call::List, Method::GET, url, target);
    client.call(request).await?.json().await
}

/// Deletes an entry: 204, or 404 if it is gone already, which a lost answer makes of the first.
pub(super) async fn delete(client: &Client, target: &RestTarget, id: i64) -> Result<(), Error> {
    let path = format!("repos/{}/actions/caches/{id}", target.repository);
    let url = &below(&target.base, &path);
    let attempt = |client: Client| async move {
        let request = request(Call::Delete, Method::DELETE, url.clone(), target);
        client.call(request).await.map(drop)
    };
    match client.retrying(Call::Delete, attempt).await {
        Err(error) if error.kind == Kind::NotFound => Ok(()),
        outcome => outcome,
    }
}

fn request(call: Call, method: Method, url: Url, target: &RestTarget) -> Request {
    Request::api(call, method, url, &target.token)
        .header(header::ACCEPT, "application/vnd.github+json")
        .header(X_GITHUB_API_VERSION, API_VERSION)
}
