//! The name of BuildKit's vertex for an import: "importing cache manifest from gha:1394…".
//!
//! The number is a hash of the import's type and attributes, which are of one build alone where an
//! import is ours. Users know one number for each scope.

use std::collections::BTreeMap;

use super::cache_entry::{CacheEntry, GHA};
use crate::cache::attributes;

/// What BuildKit calls the vertex of `import` (`cmKey` in solver/llbsolver/bridge.go; the hash is that of
/// hashstructure in its second format, seen in v0.20.2 to v0.34.2).
pub(super) fn from_entry(import: &CacheEntry) -> String {
    format!(
        "importing cache manifest from {}:{}",
        import.kind,
        number(import)
    )
}

/// The name that the vertex has for users: the same for all imports of a scope.
pub(super) fn from_scope(scope: &str) -> String {
    from_entry(&CacheEntry {
        kind: GHA.to_owned(),
        attrs: BTreeMap::from([(attributes::name::SCOPE.to_owned(), scope.to_owned())]),
    })
}

fn number(import: &CacheEntry) -> u64 {
    let attrs = (import.attrs.iter())
        .map(|(name, value)| pair(fnv1(name.as_bytes()), fnv1(value.as_bytes())))
        .fold(0, |all, one| all ^ one);
    let fields = [
        ("Type", fnv1(import.kind.as_bytes())),
        ("Attrs", finish(attrs)),
    ];
    fields
        .into_iter()
        .fold(fnv1(b"CacheOptionsEntry"), |all, (name, value)| {
            finish(all ^ pair(fnv1(name.as_bytes()), value))
        })
}

fn pair(a: u64, b: u64) -> u64 {
    fnv1(&[a.to_le_bytes(), b.to_le_bytes()].concat())
}

fn finish(hash: u64) -> u64 {
    fnv1(&hash.to_le_bytes())
}

/// FNV-1 of 64 bits; the crates that there are have FNV-1a.
fn fnv1(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x100_0000_01b3;
    bytes.iter().fold(OFFSET, |hash, byte| {
        hash.wrapping_mul(PRIME) ^ u64::from(*byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with both libraries that BuildKit has used.
    #[test]
    fn the_number_is_buildkits() {
        let attrs = [
            ("scope", "main"),
            ("url", "http://127.0.0.1:1/h/"),
            ("token", "t"),
        ];
        let entry = |kind: &str, attrs: &[(&str, &str)]| CacheEntry {
            kind: kind.to_owned(),
            attrs: attrs
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
                .collect(),
        };
        for (entry, expected) in [
            (entry("gha", &attrs), 14_885_262_570_588_396_903),
            (entry("local", &[]), 7_237_937_004_287_695_758),
            (entry("gha", &[]), 9_870_259_958_468_968_118),
        ] {
            assert_eq!(number(&entry), expected);
        }
    }
}
