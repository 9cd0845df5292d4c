//! Keys, digests and scopes, as a service or a token names them.

use buildkit_gha::{
    digest::Digest,
    protocol::{
        key::{IndexKey, blob, blob_digest},
        scope,
    },
};

/// A key, digest or list of scopes.
pub fn body(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Some(digest) = blob_digest(text) {
        assert_eq!(blob(&digest), text);
    }
    if let Ok(digest) = text.parse::<Digest>() {
        assert_eq!(digest.to_string(), text);
    }
    let index = IndexKey::new("buildkit", "refs/heads/main", false);
    if let Some(number) = index.number(text) {
        assert_eq!(index.number(&index.entry(number)), Some(number));
        assert!(text.starts_with(&index.prefix()));
    }
    if let Ok(scopes) = scope::parse(text) {
        assert!(scopes.len() <= scope::MAX_SCOPES);
        assert_eq!(scope::parse(&scope::format(&scopes)).ok(), Some(scopes));
    }
}
