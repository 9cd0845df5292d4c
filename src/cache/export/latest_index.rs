//! The newest index, read ahead of need.
//!
//! It is read when the build begins, for what it names: a layer that it names is looked up before
//! it is reserved, one call instead of two if it is still there. It is also compared with what the
//! export comes to. Where steps or uploads take so long that others may have written meanwhile, it
//! is read again for that: when BuildKit begins to write, beside the last uploads, and after them.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{ExportContext, other_scopes::OtherScopes};
use crate::{
    actions::{Client, Error},
    cache::{
        graph::Graph,
        index::{self, Newest},
        index_format::{self, Layer},
        repair,
    },
    digest::Digest,
    lifecycle::{TaskGuard, run_blocking},
    protocol::key::IndexKey,
};

/// What was read so long ago is read again: others may have written, and after uploads that took
/// longer than this the two calls do not matter.
const FRESH: Duration = Duration::from_secs(2);

/// How long a layer waits for the index that may name it. It is there long before, unless the
/// service is in trouble; then a layer is reserved as if it were new.
const PATIENCE: Duration = Duration::from_secs(1);

/// Layers and their sizes; 0 where nobody has said it.
pub(super) type Sizes = HashMap<Digest, u64>;

/// What the newest index in the cache says. One that is not valid says nothing.
#[derive(Default)]
pub(super) struct PreviousIndex {
    pub key: String,
    pub graph: Option<Graph>,
    /// Entries that it knows to be damaged.
    pub damaged: Vec<String>,
    /// The layers that it names, with their sizes.
    pub layers: Sizes,
    /// Why its bytes could not be had.
    pub unreadable: Option<Error>,
}

impl PreviousIndex {
    /// Reads the newest index, and learns what other gateways have found damaged.
    pub async fn read(
        lane: &ExportContext,
        client: &Client,
        key: &IndexKey,
    ) -> Result<Option<Arc<Self>>, Error> {
        match index::newest(client, key, &lane.version).await? {
            Some(newest) => Ok(Some(Self::of(lane, client, newest).await)),
            None => Ok(None),
        }
    }

    /// What an index says.
    pub async fn of(lane: &ExportContext, client: &Client, newest: Newest) -> Arc<Self> {
        let Newest { key, body } = newest;
        let raw = match body {
            Ok(raw) => raw,
            Err(error) => {
                let unreadable = Some(error);
                let nothing = Self::default();
                return Arc::new(Self {
                    key,
                    unreadable,
                    ..nothing
                });
            }
        };
        let parsed = run_blocking::<_, io::Error>(move || {
            let config = index_format::parse(&raw).ok();
            Ok(config.map(|config| (Graph::from_index(&config).ok(), config)))
        });
        let Ok(Some((graph, config))) = parsed.await else {
            let nothing = Self::default();
            return Arc::new(Self { key, ..nothing });
        };
        repair::learn(&lane.cache.quarantine, client.identity(), &config);
        Arc::new(Self {
            key,
            graph,
            layers: config.layers.iter().map(size).collect(),
            damaged: config.damaged,
            unreadable: None,
        })
    }
}

fn size(layer: &Layer) -> (Digest, u64) {
    let size = layer.annotations.as_ref().map_or(0, |known| known.size);
    (layer.blob, u64::try_from(size).unwrap_or(0))
}

type Outcome = Result<Option<Arc<PreviousIndex>>, Error>;

/// What was read, and when.
type Read = (Instant, Outcome);

/// The newest index, which begins to be read when this is made. Clones share the reading.
#[derive(Clone)]
pub(in crate::cache) struct LatestIndex {
    read: watch::Receiver<Option<Read>>,
    other_scopes: OtherScopes,
    _task: Arc<TaskGuard>,
}

impl LatestIndex {
    /// Begins to read, the indexes of the other scopes too.
    pub fn begin(lane: ExportContext, client: Client) -> Self {
        let other_scopes = OtherScopes::begin(&lane, &client);
        Self::reading(lane, client, other_scopes)
    }

    /// Begins to read the index again. What other scopes have need not be newer.
    pub(super) fn again(&self, lane: &ExportContext, client: &Client) -> Self {
        Self::reading(lane.clone(), client.clone(), self.other_scopes.clone())
    }

    fn reading(lane: ExportContext, client: Client, other_scopes: OtherScopes) -> Self {
        let (sender, read) = watch::channel(None);
        let tasks = lane.cache.tasks.clone();
        let task = tasks.spawn_guarded("read the newest index", async move {
            let outcome = if lane.cannot_read_own_scope() {
                Ok(None)
            } else {
                PreviousIndex::read(&lane, &client, &lane.index).await
            };
            sender.send_replace(Some((Instant::now(), outcome)));
        });
        Self {
            read,
            other_scopes,
            _task: Arc::new(task),
        }
    }

    /// True if it has just been read.
    pub(super) fn is_fresh(&self) -> bool {
        let read = self.read.borrow();
        let read = read.as_ref().filter(|(_, outcome)| outcome.is_ok());
        read.is_some_and(|(at, _)| at.elapsed() < FRESH)
    }

    /// The same, or one that begins to be read now if that was read, or failed, too long ago.
    pub(super) fn renewed(&self, lane: &ExportContext, client: &Client) -> Self {
        let is_old = |(at, _): &Read| at.elapsed() >= FRESH;
        if self.read.borrow().as_ref().is_some_and(is_old) {
            return self.again(lane, client);
        }
        self.clone()
    }

    /// Whether an index that the token reads names this layer, so that it is probably there. An
    /// index proves nothing.
    pub async fn names(&self, digest: Digest) -> bool {
        let own = async {
            let known = self.outcome().await;
            matches!(known, Some(Ok(Some(older))) if older.layers.contains_key(&digest))
        };
        let both = async {
            let (own, other_scopes) = tokio::join!(own, self.other_scopes.names(digest));
            own || other_scopes
        };
        timeout(PATIENCE, both).await.unwrap_or(false)
    }

    /// All layers that the indexes name and that have a size, once they have been read.
    pub async fn layers(&self) -> Vec<(Digest, u64)> {
        let (own, mut all) = tokio::join!(self.outcome(), self.other_scopes.layers());
        if let Some(Ok(Some(older))) = own {
            all.extend(&older.layers);
        }
        all.into_iter().filter(|(_, size)| *size > 0).collect()
    }

    /// What was read. `None` if the process is shutting down.
    pub(super) async fn outcome(&self) -> Option<Outcome> {
        let mut read = self.read.clone();
        let known = read.wait_for(Option::is_some).await.ok()?;
        known.as_ref().map(|(_, outcome)| outcome.clone())
    }
}
