//! The manifest and config of a local cache, and the way from them to an index and back.

use buildkit_gha::{
    cache::{
        graph::Graph,
        index_format,
        manifest::{LocalCache, Manifest},
    },
    digest::Digest,
};

/// A manifest up to the first byte 0, and a config after it.
pub fn body(data: &[u8]) {
    let (manifest, config) = super::split_at_mark(data, 0);
    if let Ok(mut manifest) = Manifest::parse(manifest) {
        let again = Manifest::parse(&manifest.to_json()).expect("what was written can be read");
        assert_eq!(again, manifest);
        // No fuzzer finds the digest of its own bytes.
        manifest.config.digest = Digest::sha256(config);
        if let Ok(index) = manifest.index(config) {
            index.check().expect("what was made is an index");
        }
    }
    if let Ok(index) = index_format::parse(config)
        && let Ok(local) = LocalCache::from_index(&index)
    {
        let Ok(manifest) = Manifest::parse(&local.manifest) else {
            return; // a media type that no manifest may have
        };
        let back = manifest.index(&local.config).expect("one names the other");
        assert_eq!(
            Graph::from_index(&back).ok(),
            Graph::from_index(&index).ok()
        );
    }
}
