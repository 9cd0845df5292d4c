//! Downloads: an object's name is all the permission that is asked for, since stock sends none.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt as _, TryStreamExt as _};
use url::Url;

use super::{backend::Readable, error::ErrorResponse, handle::Handle, state::ApiState};
use crate::protocol::range::{self, ContentRange, RangeError};

/// The URL of the object `name` behind `handle`.
pub(super) fn url(base: &Url, handle: &str, name: &str) -> Url {
    let mut url = base.clone();
    url.path_segments_mut()
        .expect("an http URL has a path")
        .pop_if_empty()
        .extend([handle, "objects", name]);
    url
}

pub(super) async fn get(
    State(shared): State<Arc<ApiState>>,
    Path((handle, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, ErrorResponse> {
    let gone = || ErrorResponse::new(StatusCode::NOT_FOUND, "no such object");
    let handle = shared.handles.get(&handle).ok_or_else(gone)?;
    let object = handle.object(&name).ok_or_else(gone)?;
    let content = tokio::select! {
        content = object.open() => content?,
        () = handle.closed.cancelled() => return Err(gone()),
    };
    answer(Download { handle, name }, content, &headers)
}

/// Where an object came from, to say that it has been download.
struct Download {
    handle: Arc<Handle>,
    name: String,
}

fn answer(
    download: Download,
    content: Box<dyn Readable>,
    headers: &HeaderMap,
) -> Result<Response, ErrorResponse> {
    let size = content.size();
    let Some(wanted) = headers.get(header::RANGE) else {
        let headers = [(header::CONTENT_LENGTH, size.to_string())];
        return Ok((headers, body(download, content, 0..size)).into_response());
    };
    let range =
        range::parse_request(wanted.to_str().unwrap_or_default(), size).map_err(|error| {
            let status = match error {
                RangeError::Malformed(_) => StatusCode::BAD_REQUEST,
                RangeError::Unsatisfiable { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            };
            ErrorResponse::new(status, error.to_string())
        })?;
    let part = ContentRange {
        range: range.clone(),
        total: Some(size),
    };
    let headers = [
        (
            header::CONTENT_LENGTH,
            (range.end - range.start).to_string(),
        ),
        (header::CONTENT_RANGE, part.to_string()),
    ];
    let body = body(download, content, range);
    Ok((StatusCode::PARTIAL_CONTENT, headers, body).into_response())
}

/// The bytes, cut when the handle is closed: buildkitd does not end a download when its client
/// has been killed, so the endpoint must. A body that is shorter than its `Content-Length` makes
/// the server break the connection, which the reader sees as an error.
fn body(download: Download, content: Box<dyn Readable>, range: std::ops::Range<u64>) -> Body {
    if range.is_empty() {
        return Body::empty();
    }
    let to_the_end = range.end == content.size();
    let closed = download.handle.closed.clone().cancelled_owned();
    let mut left = range.end - range.start;
    let pieces = content.read(range).inspect_ok(move |piece| {
        left = left.saturating_sub(piece.len() as u64);
        if left == 0 && to_the_end {
            download.handle.served(&download.name);
        }
    });
    Body::from_stream(pieces.take_until(closed))
}
