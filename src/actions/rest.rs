//! GitHub's REST API: how listing and deleting are encoded. [`crate::protocol::rest`] has the
//! language.

use http::{HeaderName, Method, header};
use url::Url;

use super::{
    Call, RestTarget,
    request::{Request, below},
};
use crate::protocol::rest::{API_VERSION, MAX_PER_PAGE};

const X_GITHUB_API_VERSION: HeaderName = HeaderName::from_static("x-github-api-version");

/// One page of the entries whose keys begin with `prefix`; pages count from 1.
pub(super) fn list(target: &RestTarget, prefix: &str, page: u32) -> Request {
    let path = format!("repos/{}/actions/caches", target.repository);
    let mut url = below(&target.base, &path);
    // In the order of creation what is added meanwhile comes last, and no page shifts.
    url.query_pairs_mut()
        .append_pair("key", prefix)
        .append_pair("sort", "created_at")
        .append_pair("direction", "asc")
        .append_pair("per_page", &MAX_PER_PAGE.to_string())
        .append_pair("page", &page.to_string());
    request(Call::List, Method::GET, url, target)
}

/// Deletes an entry: 204, or 404 if it is gone already.
pub(super) fn delete(target: &RestTarget, id: i64) -> Request {
    let path = format!("repos/{}/actions/caches/{id}", target.repository);
    let url = below(&target.base, &path);
    request(Call::Delete, Method::DELETE, url, target)
}

fn request(call: Call, method: Method, url: Url, target: &RestTarget) -> Request {
    Request::api(call, method, url, &target.token)
        .header(header::ACCEPT, "application/vnd.github+json")
        .header(X_GITHUB_API_VERSION, API_VERSION)
}
