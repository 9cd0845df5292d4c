//! Stores whose calls are counted and timed.

mod blobs;
mod entries;

use std::sync::Arc;

use self::{blobs::MeteredBlobs, entries::MeteredEntries};
use super::{engine_metrics::EngineMetrics, stores::Stores};

impl Stores {
    /// The same stores, whose calls `metrics` knows.
    pub(super) fn metered(self, metrics: &EngineMetrics) -> Self {
        Self {
            entries: Arc::new(MeteredEntries::new(self.entries, metrics.clone())),
            blobs: Arc::new(MeteredBlobs::new(self.blobs, metrics.clone())),
            tokens: self.tokens,
            overviews: self.overviews,
        }
    }
}

/// A trait whose calls go on to `inner` and are timed under their names; those in `plain` take no time.
macro_rules! metered {
    (
        impl $trait:ident for $store:ident as $engine:ident;
        $($(#[$attribute:meta])* async fn $name:ident(&self $(, $arg:ident: $type:ty)* $(,)?) -> $answer:ty;)*
        plain { $($plain:item)* }
    ) => {
        #[async_trait]
        impl $trait for $store {
            $(async fn $name(&self $(, $arg: $type)*) -> Result<$answer, StoreError> {
                let call = self.metrics.begin(StoreKind::$engine, stringify!($name));
                call.end(self.inner.$name($($arg),*).await)
            })*
            $($plain)*
        }
    };
}
use metered;
