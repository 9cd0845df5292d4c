//! The cache-config record: BuildKit's index of what a cache holds, as JSON.
//!
//! ```json
//! {
//!   "layers": [                          // blobs, each upon its parent
//!     {
//!       "blob": "sha256:…",              // the digest of the (compressed) blob
//!       "parent": -1,                    // a place in this list; -1: a root; absent: 0
//!       "annotations": {                 // in an index of type=gha only
//!         "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
//!         "diffID": "sha256:…",          // the digest of the uncompressed blob
//!         "size": 1064331,
//!         "createdAt": "2026-02-03T04:05:06.7Z"
//!       }
//!     }
//!   ],
//!   "records": [                         // cache keys and what they lead to
//!     {
//!       "layers": [                      // results: this layer with all its parents
//!         {"layer": 0, "createdAt": "2026-02-03T04:05:06.7Z"}
//!       ],
//!       "chains": [                      // results: exactly these layers
//!         {"layers": [0], "createdAt": "2026-02-03T04:05:06.7Z"}
//!       ],
//!       "digest": "sha256:…",            // the key
//!       "inputs": [                      // per input: the records that may stand there
//!         [{"selector": "sha256:…", "link": 3}]
//!       ]
//!     }
//!   ]
//! }
//! ```
//!
//! Types, order of fields and what is omitted are those of `CacheConfig` in BuildKit's
//! `cache/remotecache/v1/types`, so that the bytes are the ones that BuildKit would write. Two fields
//! are our own: `buildkit-gha:damaged`, written only where something is damaged, and
//! `buildkit-gha:steps` (`step_table`).

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;

mod check;
mod step_table;
mod time;
mod usable;

pub(crate) use check::MAX_BYTES;
pub use check::{IndexError, parse};
pub(crate) use check::{layer_order, record_order};
pub use step_table::{LayerPrefix, MAX_STEPS, StepEntry, StepKey, StepLayer, StepTable};
pub use time::{InvalidTime, Time};

/// The parent of a layer that has none.
pub const NO_PARENT: i64 = -1;

/// The media type of a cache-config record.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.buildkit.cacheconfig.v0";

/// All that one index holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheConfig {
    /// Blobs, each upon its parent.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_null")]
    pub layers: Vec<Layer>,
    /// Cache keys and what they lead to.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_null")]
    pub records: Vec<Record>,
    /// Keys of entries that were read and found damaged. BuildKit reads past it.
    #[serde(
        rename = "buildkit-gha:damaged",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "or_null"
    )]
    pub damaged: Vec<String>,
    /// What is known of the steps that made it. BuildKit reads past it.
    #[serde(
        rename = "buildkit-gha:steps",
        skip_serializing_if = "Option::is_none",
        deserialize_with = "step_table::or_none"
    )]
    pub steps: Option<StepTable>,
}

/// A blob at one place in a chain. One blob may be at several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layer {
    /// The digest of the blob.
    pub blob: Digest,
    /// A place in [`CacheConfig::layers`], or [`NO_PARENT`].
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "or_null")]
    pub parent: i64,
    /// What an importer must know of the blob. Only an index of `type=gha` has it here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<Annotations>,
}

/// What an importer must know of a blob before it pulls it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Annotations {
    /// The media type of the blob.
    #[serde(
        rename = "mediaType",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    pub media_type: String,
    /// The digest of the uncompressed blob. BuildKit refuses an index where one is missing.
    #[serde(rename = "diffID", default, skip_serializing_if = "Option::is_none")]
    pub diff_id: Option<Digest>,
    /// The size of the blob.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "or_null")]
    pub size: i64,
    /// When the blob was made.
    #[serde(rename = "createdAt", default, deserialize_with = "or_null")]
    pub created_at: Time,
}

/// A cache key and what it leads to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Results that are a layer with all its parents.
    #[serde(
        rename = "layers",
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "or_null"
    )]
    pub results: Vec<LayerResult>,
    /// Results that are exactly the named layers.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_null")]
    pub chains: Vec<ChainResult>,
    /// The key. BuildKit's choice of text: nothing here reads it.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "or_null")]
    pub digest: String,
    /// Per input, the records that may stand there.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "or_null")]
    pub inputs: Vec<Vec<Link>>,
}

/// A result: a layer with all its parents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerResult {
    /// A place in [`CacheConfig::layers`].
    #[serde(default)]
    pub layer: u32,
    /// When it was made.
    #[serde(rename = "createdAt", default, deserialize_with = "or_null")]
    pub created_at: Time,
}

/// A result: exactly these layers, bottom first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainResult {
    /// Places in [`CacheConfig::layers`].
    #[serde(default, deserialize_with = "or_null")]
    pub layers: Vec<u32>,
    /// When it was made.
    #[serde(rename = "createdAt", default, deserialize_with = "or_null")]
    pub created_at: Time,
}

/// A record that may stand at an input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The part of the record's result that is used.
    #[serde(
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "or_null"
    )]
    pub selector: String,
    /// A place in [`CacheConfig::records`].
    #[serde(default)]
    pub link: u32,
}

impl CacheConfig {
    /// When the newest result or blob was made, which is about when the index was written: nobody
    /// keeps that.
    pub(crate) fn newest_creation(&self) -> Option<Timestamp> {
        let blobs = self.layers.iter().filter_map(|layer| {
            let annotations = layer.annotations.as_ref()?;
            annotations.created_at.moment()
        });
        let results = self.records.iter().flat_map(|record| {
            let layers = record.results.iter().map(|result| &result.created_at);
            layers.chain(record.chains.iter().map(|chain| &chain.created_at))
        });
        blobs.chain(results.filter_map(Time::moment)).max()
    }

    /// The JSON as Go writes it.
    #[expect(
        clippy::missing_panics_doc,
        reason = "it never does, as the words below say"
    )]
    pub fn to_json(&self) -> Vec<u8> {
        let text = serde_json::to_string(self).expect("texts, numbers and lists are always JSON");
        escape_as_go(text).into_bytes()
    }
}

/// Go's `json.Marshal` writes these five characters as escapes, so that JSON can stand in HTML.
/// They occur inside texts only, and everywhere in a JSON text an escape stands for the character.
fn escape_as_go(text: String) -> String {
    const ESCAPED: [(char, &str); 5] = [
        ('<', "\\u003c"),
        ('>', "\\u003e"),
        ('&', "\\u0026"),
        ('\u{2028}', "\\u2028"),
        ('\u{2029}', "\\u2029"),
    ];
    ESCAPED.into_iter().fold(text, |text, (character, escape)| {
        if text.contains(character) {
            text.replace(character, escape)
        } else {
            text
        }
    })
}

/// Go leaves a field at its zero value where the JSON says null.
fn or_null<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests;
