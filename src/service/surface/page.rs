//! The page for whoever looks after the service, and the small API behind it (ADR 77).
//!
//! The page is plain files that are part of the program. All that they show comes from the API, which wants an
//! administrator's token with each request, so that the files themselves are anybody's to read.

mod api;
mod assets;
mod health;
mod request;
mod tree;
mod wire;

use axum::{
    Router,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header},
    middleware,
    response::{IntoResponse as _, Response},
    routing::get,
};

use self::assets::Asset;
use super::context::AppState;
use crate::service::metrics::Operation;

/// What all paths of the page begin with.
pub(super) const PAGE_PATH: &str = "/ui/";

/// What a browser may do on the page: load its own files and ask its own API, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, HeaderValue); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(POLICY),
    ),
    (
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    ),
    (
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    ),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
];

/// Files may be kept as long as they are asked after: a new version has others.
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("no-cache");

/// What the API answers is nobody's to keep.
const KEEP_NOTHING: HeaderValue = HeaderValue::from_static("no-store");

pub(super) fn routes() -> Router<AppState> {
    Router::new()
        .merge(api::routes())
        .route("/ui", get(to_page))
        .route(PAGE_PATH, get(file))
        .route("/ui/{*path}", get(file))
        .layer(middleware::map_response(protected))
}

/// What every answer about the page has.
async fn protected(mut response: Response) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, value);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(KEEP_NOTHING);
    let extensions = response.extensions_mut();
    if extensions.get::<Operation>().is_none() {
        extensions.insert(Operation::Page);
    }
    response
}

/// The page is a folder, so that its files are found whatever stands before its path.
async fn to_page() -> Response {
    let location = [(header::LOCATION, "ui/")];
    (StatusCode::PERMANENT_REDIRECT, location).into_response()
}

async fn file(uri: Uri, headers: HeaderMap) -> Response {
    let name = uri.path().strip_prefix(PAGE_PATH).unwrap_or_default();
    let Some(asset) = Asset::find(name) else {
        return (StatusCode::NOT_FOUND, "there is no such page\n").into_response();
    };
    let etag = asset.etag();
    let known = headers.get(header::IF_NONE_MATCH);
    let answer = [
        (header::ETAG, etag.clone()),
        (header::CACHE_CONTROL, ASK_AGAIN),
        (header::CONTENT_TYPE, asset.content_type()),
    ];
    if known.is_some_and(|known| *known == etag) {
        return (StatusCode::NOT_MODIFIED, answer).into_response();
    }
    (answer, asset.content).into_response()
}
