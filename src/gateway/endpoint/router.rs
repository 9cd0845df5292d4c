//! Which handler answers which call.

use std::sync::Arc;

use axum::{
    Router,
    extract::DefaultBodyLimit,
    routing::{get, post},
};
use url::Url;

use super::{api, handle::Handles, objects, state::ApiState};

/// Largest body of a call that is no upload: a key of 512 characters of four bytes, escaped, and
/// a version fit many times.
const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// The endpoint's calls, for the handles in `handles`.
pub(super) fn router(handles: Arc<Handles>, url: Url) -> Router {
    Router::new()
        .route("/{handle}/_apis/artifactcache/cache", get(api::lookup))
        .route("/{handle}/_apis/artifactcache/caches", post(api::reserve))
        .route(
            "/{handle}/_apis/artifactcache/caches/{id}",
            post(api::commit).patch(api::write),
        )
        .route("/{handle}/objects/{name}", get(objects::get))
        .layer(DefaultBodyLimit::max(MAX_MESSAGE_BYTES))
        .with_state(Arc::new(ApiState { handles, url }))
}
