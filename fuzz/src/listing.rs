//! A page of the REST listing, as the client reads it: what it takes for a blob is one.

use buildkit_gha::protocol::{
    key::{BlobKey, IndexKey},
    rest::List,
};

/// The body of an answer.
pub fn body(data: &[u8]) {
    let Ok(list) = serde_json::from_slice::<List>(data) else {
        return;
    };
    let written = serde_json::to_vec(&list).expect("protocol types are plain");
    assert_eq!(serde_json::from_slice(&written).ok(), Some(list.clone()));
    let index = IndexKey::new("buildkit", "refs/heads/main", false);
    for cache in list.actions_caches {
        let digest = BlobKey::parse_digest(&cache.key);
        if let Some(digest) = digest {
            let key = BlobKey::new(digest);
            let number = key.number(&cache.key).expect("the key of this blob");
            assert_eq!(key.number(&key.entry(number)), Some(number));
        }
        if index.number(&cache.key).is_some() {
            assert_eq!(digest, None, "an index is no blob");
        }
        // The age of an entry is a difference of times.
        let now = jiff::Timestamp::UNIX_EPOCH;
        let _ = now.duration_since(cache.last_accessed_at);
    }
}
