//! What an index says of the steps that made it: a field of our own, which BuildKit reads past.
//!
//! ```json
//! "buildkit-gha:steps": {
//!   "mode": "max",                       // of the export
//!   "truncated": true,                   // it had more steps than are kept; absent otherwise
//!   "steps": [
//!     {
//!       "def": "9f86d081884c7d659a2feaa0c55ad015",  // the step's key
//!       "ms": 12345,                     // how long it ran, in milliseconds; absent: not known
//!       "layer": "2c26b46b68ffc68f"      // begins its layer's digest; "": the export had none; absent: not known
//!     }
//!   ]
//! }
//! ```
//!
//! It holds no text of a Dockerfile: whoever can read the cache learns no more than before, and whoever
//! can write to it puts no words into other builds' logs.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::digest::Digest;

/// The most steps that are kept of one build: more than Dockerfiles have, on all platforms together. With
/// about 80 bytes each that is less than 1 MB, where an index of as many steps has some 5 MB.
pub const MAX_STEPS: usize = 10_000;

/// Steps that ran longer than this are not believed: their time would only spoil a sum. BuildKit's
/// builds of a day are rare; this is a week.
const MAX_MILLIS: u64 = 7 * 24 * 60 * 60 * 1000;

/// Tells a step from others, in all builds: a hash of its definition and of all that it stands upon.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StepKey([u8; 16]);

impl StepKey {
    /// The key of the step whose definition has this digest, once all that differs between builds is
    /// out of it.
    pub fn from_definition(digest: &Digest) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&digest.as_bytes()[..16]);
        Self(key)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for StepKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Serialize for StepKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex::encode(self.0))
    }
}

impl<'de> Deserialize<'de> for StepKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        bytes(deserializer).map(Self)
    }
}

/// The beginning of a layer's digest: enough to find it among the layers of its index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LayerPrefix([u8; 8]);

impl LayerPrefix {
    /// That of a layer.
    pub fn from_digest(digest: &Digest) -> Self {
        let mut prefix = [0; 8];
        prefix.copy_from_slice(&digest.as_bytes()[..8]);
        Self(prefix)
    }
}

impl fmt::Debug for LayerPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// What is known of a step's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StepLayer {
    /// Nothing.
    #[default]
    Unknown,
    /// The export had no result of it.
    NotExported,
    /// The export had it: this layer upon its parents. It may have been left out of the index since.
    Exported(LayerPrefix),
}

impl StepLayer {
    fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}

impl Serialize for StepLayer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Unknown => serializer.serialize_none(),
            Self::NotExported => serializer.serialize_str(""),
            Self::Exported(prefix) => serializer.serialize_str(&hex::encode(prefix.0)),
        }
    }
}

impl<'de> Deserialize<'de> for StepLayer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self::NotExported);
        }
        let mut prefix = [0; 8];
        hex::decode_to_slice(&text, &mut prefix).map_err(de::Error::custom)?;
        Ok(Self::Exported(LayerPrefix(prefix)))
    }
}

/// A step of the build that wrote an index, or something that its steps stand upon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepEntry {
    /// Which step it is.
    #[serde(rename = "def")]
    pub key: StepKey,
    /// How long it ran when it ran last.
    #[serde(rename = "ms", default, skip_serializing_if = "Option::is_none")]
    pub millis: Option<u64>,
    /// What the index has of it.
    #[serde(default, skip_serializing_if = "StepLayer::is_unknown")]
    pub layer: StepLayer,
}

/// What an index says of steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTable {
    /// The export's `mode`.
    pub mode: String,
    /// The build had more steps than are kept.
    #[serde(default, skip_serializing_if = "is_false")]
    pub truncated: bool,
    /// One entry for each.
    pub steps: Vec<StepEntry>,
}

/// Reads a table. One that is not as above says nothing: the index is as good without it.
pub(super) fn or_none<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<StepTable>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    let table = StepTable::deserialize(value).ok();
    Ok(table
        .filter(|table| table.steps.len() <= MAX_STEPS)
        .map(|mut table| {
            for step in &mut table.steps {
                step.millis = step.millis.filter(|millis| *millis <= MAX_MILLIS);
            }
            table
        }))
}

fn bytes<'de, const N: usize, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; N], D::Error> {
    let text = String::deserialize(deserializer)?;
    let mut bytes = [0; N];
    hex::decode_to_slice(&text, &mut bytes).map_err(de::Error::custom)?;
    Ok(bytes)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index_format;

    fn table(json: &str) -> Option<StepTable> {
        let json = format!(r#"{{"buildkit-gha:steps":{json}}}"#);
        index_format::parse(json.as_bytes()).unwrap().steps
    }

    #[test]
    fn a_table_is_written_as_it_was_read() {
        let json = r#"{"buildkit-gha:steps":{"mode":"max","steps":[{"def":"00112233445566778899aabbccddeeff","ms":12345,"layer":"0011223344556677"},{"def":"ff112233445566778899aabbccddeeff","layer":""},{"def":"ee112233445566778899aabbccddeeff"}]}}"#;
        let config = index_format::parse(json.as_bytes()).unwrap();
        let steps = &config.steps.as_ref().unwrap().steps;
        assert_eq!(steps[0].millis, Some(12345));
        let layers: Vec<_> = steps.iter().map(|step| step.layer).collect();
        let prefix = LayerPrefix([0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77]);
        let expected = [
            StepLayer::Exported(prefix),
            StepLayer::NotExported,
            StepLayer::Unknown,
        ];
        assert_eq!(layers, expected);
        assert_eq!(String::from_utf8(config.to_json()).unwrap(), json);
    }

    #[test]
    fn a_table_that_is_none_costs_nothing_but_itself() {
        for odd in [
            "null",
            "7",
            r#""text""#,
            r#"{"mode":"max"}"#,
            r#"{"mode":"max","steps":[{"def":"0011"}]}"#,
            r#"{"mode":"max","steps":[{"def":"00112233445566778899aabbccddeeff","ms":-1}]}"#,
        ] {
            assert_eq!(table(odd), None, "{odd}");
        }
        let entry = r#"{"def":"00112233445566778899aabbccddeeff","ms":99999999999999}"#;
        let of = |count: usize| {
            format!(
                r#"{{"mode":"min","steps":[{}]}}"#,
                vec![entry; count].join(",")
            )
        };
        assert_eq!(
            table(&of(1)).unwrap().steps[0].millis,
            None,
            "no step runs so long"
        );
        assert!(table(&of(MAX_STEPS)).is_some());
        assert_eq!(table(&of(MAX_STEPS + 1)), None);
    }
}
