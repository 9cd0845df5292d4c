//! The calls of both versions of the Actions cache, as requests, and what their answers say.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use hyper::{Request, header, http::request::Builder};
use serde_json::{Value, json};

use crate::failure::Failure;

/// Where the calls of v2 are.
const TWIRP: &str = "/twirp/github.actions.results.api.v1.CacheService/";

/// What tells entries of one key apart: hexadecimal, as a hash is.
const VERSION: &str = "be4c";

/// Which one a server speaks.
#[derive(Clone, Debug)]
pub enum Protocol {
    /// The first one, with what its paths begin with.
    V1(String),
    /// The second one.
    V2,
}

/// A part of an entry.
#[derive(Clone)]
pub struct Part {
    pub number: usize,
    /// Where it begins in the entry.
    pub offset: usize,
    pub bytes: Bytes,
}

impl Protocol {
    pub fn look_up(&self, key: &str) -> Request<Bytes> {
        match self {
            Self::V1(base) => get(&format!("{base}cache?keys={key}&version={VERSION}")),
            Self::V2 => {
                let body = json!({ "key": key, "restore_keys": [], "version": VERSION });
                post(&format!("{TWIRP}GetCacheEntryDownloadURL"), &body)
            }
        }
    }

    /// The path of the content that was found, if any was.
    pub fn found(&self, answer: &Bytes) -> Result<Option<String>, Failure> {
        if answer.is_empty() {
            return Ok(None);
        }
        let answer: Value = serde_json::from_slice(answer)?;
        let url = match self {
            Self::V1(_) => &answer["archiveLocation"],
            Self::V2 => &answer["signed_download_url"],
        };
        Ok(url.as_str().filter(|url| !url.is_empty()).map(path))
    }

    pub fn reserve(&self, key: &str) -> Request<Bytes> {
        let body = json!({ "key": key, "version": VERSION });
        match self {
            Self::V1(base) => post(&format!("{base}caches"), &body),
            Self::V2 => post(&format!("{TWIRP}CreateCacheEntry"), &body),
        }
    }

    /// The path that the reserved entry's bytes go to.
    pub fn reserved(&self, answer: &Bytes) -> Result<String, Failure> {
        let answer: Value = serde_json::from_slice(answer)?;
        let path = match self {
            Self::V1(base) => {
                let id = answer["cacheId"].as_u64();
                id.map(|id| format!("{base}caches/{id}"))
            }
            Self::V2 => answer["signed_upload_url"].as_str().map(path),
        };
        path.ok_or_else(|| Failure(format!("not reserved: {answer}")))
    }

    /// Sends all bytes of an entry in one request.
    pub fn put(&self, path: &str, bytes: Bytes) -> Request<Bytes> {
        match self {
            Self::V1(_) => patch(path, 0, bytes),
            Self::V2 => put(path, bytes),
        }
    }

    pub fn put_part(&self, path: &str, part: Part) -> Request<Bytes> {
        match self {
            Self::V1(_) => patch(path, part.offset, part.bytes),
            Self::V2 => {
                let id = block_id(part.number);
                put(&with(path, &format!("comp=block&blockid={id}")), part.bytes)
            }
        }
    }

    /// Says which parts are the content, if that must be said.
    pub fn join(&self, path: &str, count: usize) -> Option<Request<Bytes>> {
        match self {
            Self::V1(_) => None,
            Self::V2 => {
                let latest = |number| format!("<Latest>{}</Latest>", block_id(number));
                let list: String = (0..count).map(latest).collect();
                let list = format!("<BlockList>{list}</BlockList>");
                Some(put(&with(path, "comp=blocklist"), list.into()))
            }
        }
    }

    pub fn commit(&self, path: &str, key: &str, size: usize) -> Request<Bytes> {
        match self {
            Self::V1(_) => post(path, &json!({ "size": size })),
            Self::V2 => {
                let size = size.to_string();
                let body = json!({ "key": key, "version": VERSION, "size_bytes": size });
                post(&format!("{TWIRP}FinalizeCacheEntryUpload"), &body)
            }
        }
    }

    pub fn committed(&self, answer: &Bytes) -> Result<(), Failure> {
        match self {
            Self::V1(_) => Ok(()),
            Self::V2 => {
                let answer: Value = serde_json::from_slice(answer)?;
                let ok = answer["ok"] == true;
                ok.then_some(())
                    .ok_or_else(|| Failure(format!("not committed: {answer}")))
            }
        }
    }
}

pub fn get(path: &str) -> Request<Bytes> {
    build(Request::get(path), Bytes::new())
}

fn post(path: &str, body: &Value) -> Request<Bytes> {
    let request = Request::post(path).header(header::CONTENT_TYPE, "application/json");
    build(request, body.to_string().into())
}

fn put(path: &str, bytes: Bytes) -> Request<Bytes> {
    build(
        Request::put(path).header("x-ms-blob-type", "BlockBlob"),
        bytes,
    )
}

fn patch(path: &str, offset: usize, bytes: Bytes) -> Request<Bytes> {
    let last = offset + bytes.len() - 1;
    let request = Request::patch(path)
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CONTENT_RANGE, format!("bytes {offset}-{last}/*"));
    build(request, bytes)
}

fn build(request: Builder, body: Bytes) -> Request<Bytes> {
    request.body(body).expect("a request")
}

/// As the clients of GitHub make them: 48 bytes, a UUID and a number.
fn block_id(number: usize) -> String {
    let id = STANDARD.encode(format!("00000000-0000-4000-8000-000000000000{number:012}"));
    url::form_urlencoded::byte_serialize(id.as_bytes()).collect()
}

/// A URL without its origin.
fn path(url: &str) -> String {
    let rest = url.strip_prefix("http://").expect("a URL of the service");
    rest[rest.find('/').expect("a path")..].to_owned()
}

fn with(path: &str, parameters: &str) -> String {
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}{parameters}")
}
