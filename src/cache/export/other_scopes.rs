//! What the indexes of the other scopes that a token reads say.
//!
//! A pull request reads the default branch's cache and writes its own. What is stored there is not
//! stored again, and what is known there to be damaged is not used.

use std::sync::Arc;

use futures_util::future::join_all;
use tokio::sync::watch;

use super::previous_index::{IndexReader, Sizes};
use crate::{
    actions::Client,
    digest::Digest,
    lifecycle::{TaskGuard, Tasks},
    protocol::key::IndexKey,
};

/// The indexes of the other scopes, which begin to be read when this is made. Clones share the
/// reading.
#[derive(Clone)]
pub(super) struct OtherScopes {
    layers: watch::Receiver<Option<Sizes>>,
    _task: Option<Arc<TaskGuard>>,
}

impl OtherScopes {
    /// Begins to read.
    pub fn begin(reader: &IndexReader, keys: &[IndexKey], tasks: &Tasks, client: &Client) -> Self {
        if keys.is_empty() {
            let (_, layers) = watch::channel(Some(Sizes::new()));
            return Self {
                layers,
                _task: None,
            };
        }
        let (sender, layers) = watch::channel(None);
        let (reader, keys, client) = (reader.clone(), keys.to_vec(), client.clone());
        let task = tasks.spawn_guarded("read indexes of other scopes", async move {
            sender.send_replace(Some(named(&reader, &keys, &client).await));
        });
        Self {
            layers,
            _task: Some(Arc::new(task)),
        }
    }

    /// Whether one of the indexes names this layer, once they have been read.
    pub async fn names(&self, digest: Digest) -> bool {
        let mut layers = self.layers.clone();
        let read = layers.wait_for(Option::is_some).await;
        read.is_ok_and(|layers| layers.as_ref().is_some_and(|all| all.contains_key(&digest)))
    }

    /// What they name, once they have been read.
    pub async fn layers(&self) -> Sizes {
        let mut layers = self.layers.clone();
        let read = layers.wait_for(Option::is_some).await;
        read.map_or_else(
            |_| Sizes::new(),
            |layers| layers.clone().unwrap_or_default(),
        )
    }
}

/// What the indexes name; one that cannot be had names nothing.
async fn named(reader: &IndexReader, keys: &[IndexKey], client: &Client) -> Sizes {
    let read = keys.iter().map(|key| async move {
        let index = reader.newest(client, key).await;
        let key = key.base();
        index.inspect_err(|error| tracing::info!(%error, key, "an index is not read"))
    });
    let read = join_all(read).await.into_iter().flatten().flatten();
    read.flat_map(|index| index.layers.clone()).collect()
}
