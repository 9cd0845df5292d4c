//! Version 1: how each call is encoded and its response decoded. [`crate::protocol::v1`] has the
//! language.

use std::ops::Range;

use bytes::Bytes;
use http::{Method, StatusCode, header};
use url::Url;

use super::{
    Call, Entry, Error, Kind, Location, Reservation, Token,
    entry::UploadTarget,
    request::{Request, below},
    response::Response,
};
use crate::protocol::{
    range::ContentRange,
    v1::{
        ACCEPT, BASE_PATH, CommitRequest, LookupResponse as Found, ReserveRequest, ReserveResponse,
    },
};

/// `GET cache?keys=&version=`
pub(super) fn lookup(base: &Url, token: &Token, keys: &[&str], version: &str) -> Request {
    let mut url = below(base, &format!("{BASE_PATH}cache"));
    url.query_pairs_mut()
        .append_pair("keys", &keys.join(","))
        .append_pair("version", version);
    request(token, Call::Lookup, Method::GET, url)
}

/// 200 with the entry, 204 for a miss. A 200 that names no key is a miss, too: some services and
/// some proxies before them say it so, with `{}` or with nothing.
pub(super) async fn read_lookup(response: Response, version: &str) -> Result<Option<Entry>, Error> {
    if response.status() == StatusCode::NO_CONTENT {
        return Ok(None);
    }
    let context = response.context().clone();
    let found = response
        .json_unless_empty::<Option<Found>>()
        .await?
        .flatten();
    let Some((key, location)) = found.and_then(Found::key_and_location) else {
        return Ok(None);
    };
    let location = location.ok_or_else(|| {
        context.error(Kind::Protocol, "the answer names an entry without its URL")
    })?;
    Ok(Some(Entry {
        key,
        version: version.to_owned(),
        location: Location::new(location),
    }))
}

/// `POST caches`
pub(super) fn reserve(base: &Url, token: &Token, key: &str, version: &str) -> Request {
    let url = below(base, &format!("{BASE_PATH}caches"));
    let body = ReserveRequest {
        key: key.to_owned(),
        version: version.to_owned(),
        cache_size: None,
    };
    request(token, Call::Reserve, Method::POST, url).json(&body)
}

/// An id to upload to; a key that is taken is a 409.
pub(super) async fn read_reserve(
    response: Response,
    key: &str,
    version: &str,
) -> Result<Reservation, Error> {
    let answer: ReserveResponse = response.json().await?;
    Ok(Reservation {
        key: key.to_owned(),
        version: version.to_owned(),
        upload: UploadTarget::V1 {
            cache_id: answer.cache_id,
        },
    })
}

/// `PATCH caches/{id}` with the bytes of `range`, in any order.
pub(super) fn upload_part(
    base: &Url,
    token: &Token,
    cache_id: i64,
    range: Range<u64>,
    bytes: Bytes,
) -> Request {
    let url = below(base, &format!("{BASE_PATH}caches/{cache_id}"));
    let range = ContentRange { range, total: None };
    request(token, Call::UploadPart, Method::PATCH, url)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header_text(header::CONTENT_RANGE, &range.to_string())
        .body(bytes)
}

/// `POST caches/{id}` with the size.
pub(super) fn commit(base: &Url, token: &Token, cache_id: i64, size: u64) -> Request {
    let url = below(base, &format!("{BASE_PATH}caches/{cache_id}"));
    request(token, Call::Finish, Method::POST, url).json(&CommitRequest { size })
}

fn request(token: &Token, call: Call, method: Method, url: Url) -> Request {
    Request::api(call, method, url, token.raw()).header(header::ACCEPT, ACCEPT)
}
