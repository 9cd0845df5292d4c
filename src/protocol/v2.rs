//! Version 2 of the Actions cache API: Twirp, spoken as JSON (here) or protobuf
//! ([`crate::proto::actions`]). Requests may have protobuf's other JSON names too.
//!
//! Calls are `POST <url>/twirp/github.actions.results.api.v1.CacheService/<method>`. Bytes go to
//! and come from Azure Blob storage on the signed URLs of the answers.

use serde::{Deserialize, Serialize};

/// The path below the service's URL, without the method.
pub const BASE_PATH: &str = "twirp/github.actions.results.api.v1.CacheService/";

/// Reserves a key and answers where to upload.
pub const CREATE: &str = "CreateCacheEntry";
/// Makes an uploaded entry visible.
pub const FINALIZE: &str = "FinalizeCacheEntryUpload";
/// Looks a key up, exactly and then by prefix.
pub const LOOKUP: &str = "GetCacheEntryDownloadURL";

/// Twirp error code for a key that is there already (HTTP 409).
pub const ALREADY_EXISTS: &str = "already_exists";

/// Request of [`CREATE`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CreateRequest {
    /// The key to reserve.
    pub key: String,
    /// Its version.
    pub version: String,
}

/// Answer of [`CREATE`]. `ok: false` means that the key exists, or that the write was denied, as
/// `message` tells.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CreateResponse {
    /// Whether the key was reserved.
    pub ok: bool,
    /// Where to put the bytes. A secret: `Debug` is not derived.
    pub signed_upload_url: String,
    /// The service's own words.
    pub message: String,
}

/// Request of [`FINALIZE`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FinalizeRequest {
    /// The reserved key.
    pub key: String,
    /// Its version.
    pub version: String,
    /// The size of the uploaded bytes. Protobuf's JSON writes 64-bit numbers as text; both are read.
    #[serde(with = "int64", alias = "sizeBytes")]
    pub size_bytes: i64,
}

/// Answer of [`FINALIZE`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FinalizeResponse {
    /// Whether the entry is now visible.
    pub ok: bool,
    /// Its id; text on the wire, as protobuf's JSON has it.
    #[serde(with = "int64")]
    pub entry_id: i64,
    /// The service's own words.
    pub message: String,
}

/// Request of [`LOOKUP`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LookupRequest {
    /// The key to find exactly, or as a prefix.
    pub key: String,
    /// Further prefixes in order of preference.
    #[serde(alias = "restoreKeys")]
    pub restore_keys: Vec<String>,
    /// The version.
    pub version: String,
}

/// Answer of [`LOOKUP`]; `ok: false` is a miss.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LookupResponse {
    /// Whether an entry was found.
    pub ok: bool,
    /// Where its bytes are. A secret: `Debug` is not derived.
    pub signed_download_url: String,
    /// The full key of the entry.
    pub matched_key: String,
}

/// An error answer of Twirp.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorBody {
    /// Twirp's code, e.g. `already_exists`, `permission_denied`, `resource_exhausted`.
    pub code: String,
    /// The service's own words. Twirp says `msg`; GitHub's service has also said `message`.
    #[serde(alias = "message")]
    pub msg: String,
}

/// 64-bit numbers as protobuf's JSON mapping has them: written as text, read as text or number.
mod int64 {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Number(i64),
        Text(String),
    }

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub fn serialize<S: Serializer>(value: &i64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
        match Either::deserialize(deserializer)? {
            Either::Number(value) => Ok(value),
            Either::Text(text) => text.parse().map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_number_are_read() {
        for text in [
            r#"{"ok":true,"entry_id":"7"}"#,
            r#"{"ok":true,"entry_id":7}"#,
        ] {
            let answer: FinalizeResponse = serde_json::from_str(text).unwrap();
            assert_eq!(answer.entry_id, 7);
        }
        let request = FinalizeRequest {
            size_bytes: 9,
            ..Default::default()
        };
        assert!(
            serde_json::to_string(&request)
                .unwrap()
                .contains(r#""size_bytes":"9""#)
        );
    }
}
