//! Which remote operation a request is, read from the request alone.

use std::{collections::HashMap, sync::Mutex};

use hyper::{Method, http::request::Parts};
use serde_json::Value;

use super::lock;

/// A remote operation of the Actions cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// v1: `GET cache`.
    Lookup,
    /// v1: `POST caches`.
    Reserve,
    /// v1: `PATCH caches/{id}`.
    Patch,
    /// v1: `POST caches/{id}`.
    Commit,
    /// v2: `CreateCacheEntry`.
    Create,
    /// v2: Put Blob.
    PutBlob,
    /// v2: Put Block.
    PutBlock,
    /// v2: Put Block List.
    PutBlockList,
    /// v2: `FinalizeCacheEntryUpload`.
    Finalize,
    /// v2: `GetCacheEntryDownloadURL`.
    DownloadUrl,
    /// v1 and v2: a GET on a signed URL that looks whether an entry is there.
    Probe,
    /// v1 and v2: any other GET on a signed URL.
    Read,
    /// REST: the list of entries.
    List,
    /// None of these.
    Other,
}

/// The kind of entry that an operation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The index of a cache.
    Index,
    /// A layer.
    Layer,
    /// Neither, or it cannot be told.
    Unknown,
}

impl Subject {
    /// By the key of the entry.
    fn from_key(key: &str) -> Self {
        match key {
            key if key.starts_with("index-") => Self::Index,
            key if key.starts_with("buildkit-blob-") => Self::Layer,
            _ => Self::Unknown,
        }
    }
}

/// A GET of no more bytes from the start asks whether the entry is there, rather than for it.
const PROBE_BYTES: u64 = 256 << 10;

/// Where the service has its v1 API.
const V1: &str = "/_apis/artifactcache/";

/// Where the service has signed URLs; the number of the entry follows.
const BLOBS: &str = "/blobs/actions-cache/";

impl Operation {
    /// What a request is.
    pub(super) fn from_request(request: &Parts) -> Self {
        let path = request.uri.path();
        let method = &request.method;
        if let Some(rest) = path.strip_prefix(V1) {
            return v1(method, rest);
        }
        if path.starts_with(BLOBS) {
            return blob(request);
        }
        match path.rsplit_once('/') {
            Some((_, "CreateCacheEntry")) => Self::Create,
            Some((_, "FinalizeCacheEntryUpload")) => Self::Finalize,
            Some((_, "GetCacheEntryDownloadURL")) => Self::DownloadUrl,
            Some(_) if path.ends_with("/actions/caches") && method == Method::GET => Self::List,
            _ => Self::Other,
        }
    }

    /// Whether the request is a small JSON text that names a key.
    pub(super) fn names_key(self) -> bool {
        use Operation::{Create, DownloadUrl, Finalize, Reserve};
        matches!(self, Reserve | Create | Finalize | DownloadUrl)
    }

    /// Whether the answer is a small JSON text that says where the entry's bytes are.
    pub(super) fn names_location(self) -> bool {
        use Operation::{Create, DownloadUrl, Lookup, Reserve};
        matches!(self, Lookup | Reserve | Create | DownloadUrl)
    }

    /// Whether the bytes of an entry travel, by whichever protocol.
    pub(super) fn carries_bytes(self) -> bool {
        self.is_blob() || self == Self::Patch
    }

    /// Whether the request goes to a signed URL.
    pub(super) fn is_blob(self) -> bool {
        use Operation::{Probe, PutBlob, PutBlock, PutBlockList, Read};
        matches!(self, PutBlob | PutBlock | PutBlockList | Probe | Read)
    }
}

fn v1(method: &Method, rest: &str) -> Operation {
    match (method, rest) {
        (&Method::GET, "cache") => Operation::Lookup,
        (&Method::POST, "caches") => Operation::Reserve,
        (&Method::PATCH, _) => Operation::Patch,
        (&Method::POST, _) => Operation::Commit,
        _ => Operation::Other,
    }
}

fn blob(request: &Parts) -> Operation {
    let query = request.uri.query().unwrap_or_default();
    let has = |pair| query.split('&').any(|found| found == pair);
    match request.method {
        Method::PUT if has("comp=block") => Operation::PutBlock,
        Method::PUT if has("comp=blocklist") => Operation::PutBlockList,
        Method::PUT => Operation::PutBlob,
        Method::GET if probes(request) => Operation::Probe,
        Method::GET => Operation::Read,
        _ => Operation::Other,
    }
}

fn probes(request: &Parts) -> bool {
    let range = request.headers.get("range");
    let range = range.and_then(|range| range.to_str().ok());
    let last = range.and_then(|range| range.strip_prefix("bytes=0-")?.parse::<u64>().ok());
    last.is_some_and(|last| last < PROBE_BYTES)
}

/// What the entries are whose numbers stand in URLs: the answers that named them told.
#[derive(Default)]
pub(super) struct Entries(Mutex<HashMap<u64, Subject>>);

impl Entries {
    /// What a request is about. `body` is there if [`Operation::names_key`].
    pub fn subject(&self, request: &Parts, body: Option<&[u8]>) -> Subject {
        if let Some(body) = body {
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            return Subject::from_key(body["key"].as_str().unwrap_or_default());
        }
        if let Some(query) = request.uri.query()
            && let Some(keys) = query.split('&').find_map(|pair| pair.strip_prefix("keys="))
        {
            return Subject::from_key(keys);
        }
        let number = number(request.uri.path());
        let known = number.and_then(|number| lock(&self.0).get(&number).copied());
        known.unwrap_or(Subject::Unknown)
    }

    /// Learns from an answer where the bytes of an entry are.
    pub fn register(&self, subject: Subject, answer: &[u8]) {
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let urls = [
            "archiveLocation",
            "signed_upload_url",
            "signed_download_url",
        ];
        let location = urls.iter().find_map(|name| {
            let url = answer[name].as_str()?;
            number(url.split('?').next()?)
        });
        if let Some(number) = location.or_else(|| answer["cacheId"].as_u64()) {
            lock(&self.0).insert(number, subject);
        }
    }
}

/// The number of an entry at the end of a path.
fn number(path: &str) -> Option<u64> {
    path.rsplit('/').next()?.parse().ok()
}
