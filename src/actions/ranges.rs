//! Reading with signed URLs: how ranges are asked for, and whether the answer holds them.

use std::ops::Range;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode, header};

use super::{Call, Error, Kind, request::Request, response::Response};
use crate::{protocol::range::ContentRange, secret::SecretUrl};

/// Asks for a range, or for all there is.
pub(super) fn get(call: Call, url: &SecretUrl, range: Option<&Range<u64>>) -> Request {
    let request = Request::blob(call, Method::GET, url.clone());
    match range {
        None => request,
        Some(range) => {
            let text = format!("bytes={}-{}", range.start, range.end - 1);
            request.header_text(header::RANGE, &text)
        }
    }
}

/// Exactly the first `length` bytes of a body.
pub(super) async fn first(mut response: Response, length: u64) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    loop {
        let left = length - bytes.len() as u64;
        if left == 0 {
            return Ok(bytes.freeze());
        }
        let Some(mut chunk) = response.chunk().await? else {
            return Err(cut_off(&response, left));
        };
        chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        bytes.extend_from_slice(&chunk);
    }
}

pub(super) fn cut_off(response: &Response, missing: u64) -> Error {
    let message = format!("the body ended {missing} bytes too early");
    response.context().error(Kind::Incomplete, &message)
}

/// The `Content-Range` of a partial answer.
fn content_range(response: &Response) -> Option<ContentRange> {
    let text = response
        .headers()
        .get(header::CONTENT_RANGE)?
        .to_str()
        .ok()?;
    ContentRange::parse(text).ok()
}

/// The size of the whole entry, of which the bytes up to `end` were asked for, or all.
pub(super) fn total(response: &Response, end: Option<u64>) -> Result<u64, Error> {
    let total = match response.status() {
        StatusCode::PARTIAL_CONTENT => content_range(response).and_then(|got| {
            let total = got.total?;
            (got.range == (0..end.map_or(total, |end| end.min(total)))).then_some(total)
        }),
        // The first byte was asked for and there is none.
        StatusCode::RANGE_NOT_SATISFIABLE => Some(0),
        _ => response.content_length(),
    };
    total.ok_or_else(|| response.protocol("the answer does not say how large the entry is"))
}

/// Whether an answer holds what was asked for.
pub(super) fn check_range(response: &Response, asked: &Range<u64>) -> Result<(), Error> {
    let fits = match response.status() {
        StatusCode::PARTIAL_CONTENT => {
            content_range(response).is_some_and(|got| got.range == *asked)
        }
        StatusCode::RANGE_NOT_SATISFIABLE => false,
        // A service that does not know ranges: all that is asked for is at the front.
        _ => asked.start == 0 && response.content_length().is_none_or(|all| all >= asked.end),
    };
    if fits {
        return Ok(());
    }
    Err(response.protocol(&format!(
        "bytes {} to {} were asked for and not given ({})",
        asked.start,
        asked.end,
        response.status(),
    )))
}
