//! Version 1 of the Actions cache API: GitHub Enterprise Server, act, and BuildKit's loopback.
//!
//! All paths lie under `<url>/_apis/artifactcache/`.
//!
//! | call | request | answer |
//! |---|---|---|
//! | lookup | `GET cache?keys=a,b&version=` | 200 [`Entry`]; 204, or a 200 without a key, for a miss |
//! | reserve | `POST caches` [`ReserveRequest`] | 201 [`ReserveResponse`], 409 if the key exists |
//! | upload | `PATCH caches/{id}`, `Content-Range: bytes a-b/*` | 204, any order, in parallel |
//! | commit | `POST caches/{id}` [`CommitRequest`] | 204, 400 if the size does not match |

use serde::{Deserialize, Serialize};

use crate::secret::SecretUrl;

/// The path below the service's URL.
pub const BASE_PATH: &str = "_apis/artifactcache/";

/// The `Accept` header of every call.
pub const ACCEPT: &str = "application/json;api-version=6.0-preview.1";

/// Largest body of one `PATCH`; what stock and the npm client send (32 MiB).
pub const MAX_CHUNK: u64 = 32 << 20;

/// `typeKey` of the error for a key that is there already.
pub const ALREADY_EXISTS: &str = "ArtifactCacheItemAlreadyExistsException";

/// The answer to a lookup that hit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The full key of the entry that matched.
    pub cache_key: String,
    /// The scope it was found in.
    #[serde(default)]
    pub scope: String,
    /// Where its bytes are; no `Authorization` is sent there.
    #[serde(with = "secret_url")]
    pub archive_location: SecretUrl,
}

/// The same, as it is read: one without a key is a miss, whatever else it says.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LookupResponse {
    cache_key: Option<String>,
    #[serde(deserialize_with = "secret_url::deserialize_optional")]
    archive_location: Option<SecretUrl>,
}

impl LookupResponse {
    /// The full key of the entry that matched, with where its bytes are.
    pub fn key_and_location(self) -> Option<(String, Option<SecretUrl>)> {
        let key = self.cache_key.filter(|key| !key.is_empty())?;
        Some((key, self.archive_location))
    }
}

/// Asks for a key to be reserved.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReserveRequest {
    /// The key, see [`super::key`].
    pub key: String,
    /// The version, see [`super::key::version`].
    pub version: String,
    /// The size, where the client knows it (the npm client sends it, BuildKit does not).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_size: Option<u64>,
}

/// The reservation.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct ReserveResponse {
    /// The id under which bytes are uploaded and committed.
    #[serde(rename = "cacheId", alias = "cacheID")]
    pub cache_id: i64,
}

/// Finishes an upload.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct CommitRequest {
    /// The size of the whole entry in bytes.
    pub size: u64,
}

/// What an error answer says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorBody {
    /// The service's own words.
    pub message: String,
    /// The kind of exception, e.g. [`ALREADY_EXISTS`].
    pub type_key: String,
    /// The exception's full name.
    pub type_name: String,
}

mod secret_url {
    use crate::secret::SecretUrl;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(url: &SecretUrl, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(url.expose().as_str())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SecretUrl, D::Error> {
        parse(&String::deserialize(deserializer)?)
    }

    pub fn deserialize_optional<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SecretUrl>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let text = text.filter(|text| !text.is_empty());
        text.map(|text| parse(&text)).transpose()
    }

    fn parse<E: Error>(text: &str) -> Result<SecretUrl, E> {
        // The text is not quoted in the error: it may hold a signature.
        SecretUrl::http(text).ok_or_else(|| E::custom("not an http or https URL"))
    }
}
