//! The client of the Actions cache: one function per remote call, one send, one retry decision.
//!
//! A [`Client`] talks to one service with one token. It knows keys, entries, parts and byte
//! ranges, and nothing of BuildKit.
//!
//! | file | what |
//! |---|---|
//! | `client`, `attempts`, `deadline` | the calls as others see them; attempts, waits and the deadline |
//! | `v1`, `v2`, `azure`, `rest` | one function per remote call: one attempt, exact bytes |
//! | `call`, `request`, `http`, `body`, `answer`, `speed`, `failure` | the one send, and how its outcome is read |
//! | `retry`, `plan` | pure decisions: when again, and how an entry is cut into parts |
//! | `governor`, `pace`, `weight`, `allowance` | who may call and when: one budget for each service and token |
//! | `outage`, `connect`, `resolve` | services that cannot be reached: why, and for how long that is remembered |
//! | `upload`, `download` | what takes several calls |
//! | `width` | how many transfers run side by side |
//! | `token`, `config`, `error` | what they say |

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use url::Url;

mod adaptive_concurrency;
mod allowance;
mod answer;
mod attempts;
mod azure;
mod body;
mod call;
mod client;
mod config;
mod connect;
mod deadline;
mod download;
mod error;
mod failure;
mod governor;
mod http;
mod metrics;
mod min_throughput;
mod outage;
mod pace;
pub mod plan;
mod priority;
mod request;
mod resolve;
mod rest;
mod retry;
mod tls;
mod token;
mod upload;
mod v1;
mod v2;

pub use adaptive_concurrency::{AdaptiveConcurrency, Permit};
pub use client::Client;
pub use config::{
    ClientConfig, HttpConfig, Jitter, Observer, PART_BYTES, RetryPolicy, Unobserved, WaitGuard,
};
pub use deadline::{Deadline, TimeoutReason};
pub use download::{Location, Probe};
pub use error::{Error, Kind, NoConnection};
pub use governor::{Budgets, PerMinute};
pub use http::{Call, Count, Http, HttpError};
pub use min_throughput::owed;
pub use outage::REMEMBERED;
pub use priority::Priority;
pub use token::{Token, TokenError};

use crate::secret::{Secret, SecretUrl};

/// Which version of the API a service speaks, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Api {
    /// `<url>/_apis/artifactcache/…`
    V1(Url),
    /// `<url>/twirp/…` and Azure blobs.
    V2(Url),
}

/// Where GitHub's REST API is, for listings.
#[derive(Debug, Clone)]
pub struct RestTarget {
    /// `https://api.github.com/`, or a GHES's `/api/v3/`.
    pub base: Url,
    /// `owner/repo`.
    pub repository: String,
    /// A GitHub token (not the runtime token).
    pub token: Secret,
}

/// One service and one identity there.
#[derive(Debug, Clone)]
pub struct Target {
    /// The cache API.
    pub api: Api,
    /// The runtime token.
    pub token: Token,
    /// The REST API, if a listing is possible.
    pub rest: Option<RestTarget>,
}

/// Names a service and the repository and scopes of a token there, without the token: what proofs
/// of existence are kept under. Equal identities see the same entries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity(pub(crate) String);

impl Identity {
    /// The identity of a token at a service; [`Token::subject`] says what of the token counts.
    fn new(api: &Api, token: &Token) -> Self {
        let (version, url) = match api {
            Api::V1(url) => ("v1", url),
            Api::V2(url) => ("v2", url),
        };
        // GHES and others carry an account in the path, so the path counts.
        let place = format!("{}{}", url.origin().ascii_serialization(), url.path());
        let place = place.trim_end_matches('/');
        Self(format!("{version} {place} {}", token.subject().hex()))
    }
}

/// An entry that a lookup found.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its full key.
    pub key: String,
    /// The version that was asked for, so that an expired URL can be renewed.
    pub version: String,
    /// Where its bytes are. All clones share it, so that one renewal serves them all.
    pub location: Location,
}

/// What a reservation came to.
#[derive(Debug)]
pub enum Reserved {
    /// The key is ours to fill.
    Created(Reservation),
    /// The key is taken: by a finished entry or by an unfinished reservation, a lookup tells which.
    Exists,
    /// The key is taken, and an earlier attempt of this call got no answer: most likely by a
    /// reservation of our own, which nobody can fill and the service forgets in time.
    ExistsAfterDoubt,
}

/// A key that this client may fill: upload parts, then finish.
#[derive(Debug, Clone)]
pub struct Reservation {
    /// The reserved key.
    pub key: String,
    /// Its version.
    pub version: String,
    pub(crate) upload: UploadTarget,
}

/// Where the parts of a reservation go.
#[derive(Debug, Clone)]
pub(crate) enum UploadTarget {
    V1 { cache_id: i64 },
    V2 { url: SecretUrl },
}

/// Bytes that may still be arriving. An upload reads its parts from here, more than once if a
/// part must be sent again.
#[async_trait]
pub trait Source: Send + Sync {
    /// The bytes of `range`, waiting until all of them are there. An error means that they never
    /// will be.
    async fn read(&self, range: Range<u64>) -> std::io::Result<Bytes>;

    /// The far side has these bytes: they are not read again.
    fn confirmed(&self, _range: Range<u64>) {}

    /// Waits until the bytes before `end` are there, and takes no memory for it. A part asks for
    /// memory after this, so that uploads whose bytes are late do not keep it from others.
    async fn available(&self, _end: u64) -> std::io::Result<()> {
        Ok(())
    }
}

/// Told how many bytes of an upload have been confirmed so far, after each part.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;
