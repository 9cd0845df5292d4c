//! What the proxy of Forgejo's runner writes into the requests of a job: whose it is, and where its answer leads to.
//!
//! As `act/cacheproxy/handler.go` and `act/artifactcache/handler.go` of forgejo-runner v12 have it.

use axum::http::HeaderMap;
use url::Url;

use crate::{secret::SecretUrl, service::forgejo::JobHeaders};

/// What the runner's proxy says of a job; `None` where no proxy does.
pub(super) fn job_headers(headers: &HeaderMap) -> Option<JobHeaders<'_>> {
    Some(JobHeaders {
        mac: text(headers, "forgejo-cache-mac")?,
        repository: text(headers, "forgejo-cache-repo").unwrap_or_default(),
        run: text(headers, "forgejo-cache-runnumber").unwrap_or_default(),
        timestamp: text(headers, "forgejo-cache-timestamp").unwrap_or_default(),
        isolation_key: text(headers, "forgejo-cache-writeisolationkey").unwrap_or_default(),
    })
}

/// Where a job reads the content `id` by way of the proxy that has sent its lookup.
pub(super) fn proxied_url(headers: &HeaderMap, id: i64) -> Option<SecretUrl> {
    let proxy = SecretUrl::http(text(headers, "forgejo-cache-host")?)?;
    let mut url: Url = proxy.expose().clone();
    let run = text(headers, "forgejo-cache-runid")?;
    url.path_segments_mut().ok()?.pop_if_empty().extend([
        run,
        "_apis",
        "artifactcache",
        "artifacts",
        &id.to_string(),
    ]);
    Some(SecretUrl::new(url))
}

/// A header; one that is no text is an empty one, which no MAC is good for.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let value = headers.get(name)?;
    Some(value.to_str().unwrap_or_default())
}
