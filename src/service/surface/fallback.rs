//! What is not the cache: it goes to the results service upstream, as it came.
//!
//! A runner has one URL for caches and artifacts. Whoever gives it ours has artifacts here, too, which GitHub keeps.

use axum::{
    body::Body,
    http::{Method, StatusCode},
    response::{IntoResponse as _, Response},
};

use super::{context::Context, forward::RequestHead};
use crate::{
    protocol::v2::BASE_PATH,
    service::{metrics::Operation, sign::BLOB_PATH, surface::page::PAGE_PATH},
};

/// What paths of the cache begin with: what is wrong with one of these is ours to say.
const OWN_PATHS: [&str; 5] = [
    "/_apis/artifactcache/",
    "/repos/",
    BLOB_PATH,
    BASE_PATH,
    PAGE_PATH,
];

/// A request for which there is no route here.
pub(super) async fn forward(context: Context, head: RequestHead, body: Body) -> Response {
    let upstream = context.upstream();
    let Some(upstream) = upstream.filter(|_| head.method() != Method::CONNECT) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let url = upstream.url_of(&head);
    if is_own(url.path()) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let mut response = upstream.forward(url, head, body).await;
    if response.status().is_success() {
        context.authorized();
    }
    response.extensions_mut().insert(Operation::Forward);
    response
}

/// Whether a path is one of the cache, however many slashes it begins with.
fn is_own(path: &str) -> bool {
    let path = path.trim_start_matches('/');
    let mut own = OWN_PATHS.iter().map(|own| own.trim_start_matches('/'));
    own.any(|own| path.starts_with(own))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::upstream::UpstreamUrl;

    #[test]
    fn paths_of_the_cache_are_known_in_any_writing() {
        let upstream = UpstreamUrl::parse("https://results.example/").unwrap();
        for (path, own) in [
            (
                "/twirp/github.actions.results.api.v1.CacheService/Unknown",
                true,
            ),
            (
                "/x/../twirp/github.actions.results.api.v1.CacheService/Unknown",
                true,
            ),
            (
                "//twirp/github.actions.results.api.v1.CacheService/Unknown",
                true,
            ),
            ("/_apis/artifactcache/x", true),
            ("/repos/o/r/actions/caches/x/y", true),
            ("/ui/api/v1/unknown", true),
            (
                "/twirp/github.actions.results.api.v1.ArtifactService/ListArtifacts",
                false,
            ),
            ("/", false),
        ] {
            let url = upstream.with(path, None);
            assert_eq!(is_own(url.path()), own, "{path}");
        }
    }
}
