//! Version 1, one function per call: see [`crate::protocol::v1`] for the language.

use std::ops::Range;

use bytes::Bytes;
use http::{Method, StatusCode, header};
use url::Url;

use super::{
    Client, Entry, Error, Kind, Location, Reservation, UploadTarget,
    client::below,
    http::{Call, Request},
};
use crate::protocol::{
    range::ContentRange,
    v1::{
        ACCEPT, BASE_PATH, CommitRequest, LookupResponse as Found, ReserveRequest, ReserveResponse,
    },
};

/// `GET cache?keys=&version=`: 200 with the entry, 204 for a miss. A 200 that names no key is a
/// miss, too: some services and some proxies before them say it so, with `{}` or with nothing.
pub(super) async fn lookup(
    client: &Client,
    base: &Url,
    keys: &[&str],
    version: &str,
) -> Result<Option<Entry>, Error> {
    let mut url = below(base, &format!("{BASE_PATH}cache"));
    url.query_pairs_mut()
        .append_pair("keys", &keys.join(","))
        .append_pair("version", version);
    let answer = client
        .call(request(client, Call::Lookup, Method::GET, url))
        .await?;
    if answer.status() == StatusCode::NO_CONTENT {
        return Ok(None);
    }
    let context = answer.context().clone();
    let found = answer.json_unless_empty::<Option<Found>>().await?.flatten();
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

/// `POST caches`: an id to upload to, or 409.
pub(super) async fn reserve(
    client: &Client,
    base: &Url,
    key: &str,
    version: &str,
) -> Result<Reservation, Error> {
    let url = below(base, &format!("{BASE_PATH}caches"));
    let body = ReserveRequest {
        key: key.to_owned(),
        version: version.to_owned(),
        cache_size: None,
    };
    let request = request(client, Call::Reserve, Method::POST, url).json(&body);
    let answer: ReserveResponse = client.call(request).await?.json().await?;
    Ok(Reservation {
        key: key.to_owned(),
        version: version.to_owned(),
        upload: UploadTarget::V1 {
            cache_id: answer.cache_id,
        },
    })
}

/// `PATCH caches/{id}` with the bytes of `range`, in any order.
pub(super) async fn upload_part(
    client: &Client,
    base: &Url,
    cache_id: i64,
    range: Range<u64>,
    bytes: Bytes,
) -> Result<(), Error> {
    let url = below(base, &format!("{BASE_PATH}caches/{cache_id}"));
    let range = ContentRange { range, total: None };
    let request = request(client, Call::UploadPart, Method::PATCH, url)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header_text(header::CONTENT_RANGE, &range.to_string())
        .body(bytes);
    client.call(request).await.map(drop)
}

/// `POST caches/{id}` with the size.
pub(super) async fn commit(
    client: &Client,
    base: &Url,
    cache_id: i64,
    size: u64,
) -> Result<(), Error> {
    let url = below(base, &format!("{BASE_PATH}caches/{cache_id}"));
    let request = request(client, Call::Finish, Method::POST, url).json(&CommitRequest { size });
    client.call(request).await.map(drop)
}

fn request(client: &Client, call: Call, method: Method, url: Url) -> Request {
    Request::api(call, method, url, client.token().raw()).header(header::ACCEPT, ACCEPT)
}
