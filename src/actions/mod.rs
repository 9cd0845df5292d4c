//! The client of the Actions cache: one function per remote call, one send, one retry decision.
//!
//! A [`Client`] talks to one service with one token. It knows keys, entries, parts and byte
//! ranges, and nothing of BuildKit.

use std::{ops::Range, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::time::Instant;
use url::Url;

mod error;
mod token;

pub use error::{Error, Kind};
pub use token::{Token, TokenError};

use crate::{
    protocol::rest,
    secret::{Secret, SecretUrl},
};

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

/// An entry that a lookup found.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its full key.
    pub key: String,
    /// The version that was asked for, so that an expired URL can be renewed.
    pub version: String,
    /// Where its bytes are.
    pub location: SecretUrl,
}

/// What a reservation came to.
#[derive(Debug)]
pub enum Reserved {
    /// The key is ours to fill.
    Created(Reservation),
    /// The key is taken: by a finished entry or by an unfinished reservation, a lookup tells which.
    Exists,
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
}

/// Told how many bytes of an upload have been confirmed so far.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;
