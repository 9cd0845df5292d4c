//! One entry of `--cache-to` or `--cache-from`.

use std::collections::BTreeMap;

use zeroize::Zeroize;

/// The type of the entries that the gateway takes over.
pub(super) const GHA: &str = "gha";

/// One cache export or import.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CacheEntry {
    /// Its type: `gha`, `local`, `registry`, …
    pub kind: String,
    /// What the user wrote and the client added. Holds tokens: never print it.
    pub attrs: BTreeMap<String, String>,
}

impl Drop for CacheEntry {
    fn drop(&mut self) {
        self.attrs.values_mut().for_each(Zeroize::zeroize);
    }
}

impl CacheEntry {
    pub(super) fn is_gha(&self) -> bool {
        self.kind == GHA
    }
}
