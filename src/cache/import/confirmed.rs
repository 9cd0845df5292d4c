//! A layer that an import vouches for, as those who serve it hold it.

use std::sync::Arc;

use super::{layer_fetcher::LayerFetcher, located::LocatedLayer};
use crate::cache::{blob::Blob, fetch_error::FetchError};

/// A layer that is there for certain: it was looked up, and its URL answers. It keeps what was found
/// out, so that opening it asks nothing again.
#[derive(Clone)]
pub struct ConfirmedLayer {
    layer: Arc<LocatedLayer>,
    fetcher: Arc<LayerFetcher>,
}

impl ConfirmedLayer {
    pub(super) fn new(layer: Arc<LocatedLayer>, fetcher: Arc<LayerFetcher>) -> Self {
        Self { layer, fetcher }
    }

    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.layer.size
    }

    /// Whether it has not failed since it was confirmed.
    pub(in crate::cache) fn is_usable(&self) -> bool {
        self.fetcher.is_usable(&self.layer)
    }

    /// The verified bytes. One download serves everybody who asks meanwhile; it ends when nobody
    /// waits any more.
    pub async fn open(&self) -> Result<Blob, FetchError> {
        self.fetcher.fetch(&self.layer).await
    }
}
