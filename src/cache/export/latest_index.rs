//! The newest index, read ahead of need.
//!
//! It is read when the build begins, for what it names: a layer that it names is looked up before
//! it is reserved, one call instead of two if it is still there. It is also compared with what the
//! export comes to. Where steps or uploads take so long that others may have written meanwhile, it
//! is read again for that: when BuildKit begins to write, beside the last uploads, and after them.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    other_scopes::OtherScopes,
    previous_index::{IndexReader, PreviousIndex},
    scopes::{IndexKeys, reads_own_scope},
};
use crate::{
    actions::{Client, Error},
    digest::Digest,
    lifecycle::{TaskGuard, Tasks},
    protocol::key::IndexKey,
};

/// What was read so long ago is read again: others may have written, and after uploads that took
/// longer than this the two calls do not matter.
const FRESH: Duration = Duration::from_secs(2);

/// How long a layer waits for the index that may name it. It is there long before, unless the
/// service is in trouble; then a layer is reserved as if it were new.
const INDEX_WAIT: Duration = Duration::from_secs(1);

type ReadResult = Result<Option<Arc<PreviousIndex>>, Error>;

/// What was read, and when.
type Read = (Instant, ReadResult);

/// Where the index is read from.
struct Source {
    reader: IndexReader,
    /// `None` if the token does not read the scope that it writes to.
    key: Option<IndexKey>,
    tasks: Tasks,
}

/// The newest index, which begins to be read when this is made. Clones share the reading.
#[derive(Clone)]
pub(in crate::cache) struct LatestIndex {
    source: Arc<Source>,
    read: watch::Receiver<Option<Read>>,
    other_scopes: OtherScopes,
    _task: Arc<TaskGuard>,
}

impl LatestIndex {
    /// Begins to read, the indexes of the other scopes too.
    pub fn begin(reader: IndexReader, keys: &IndexKeys, tasks: &Tasks, client: Client) -> Self {
        let other_scopes = OtherScopes::begin(&reader, &keys.other_scopes, tasks, &client);
        let source = Source {
            reader,
            key: reads_own_scope(client.token()).then(|| keys.own.clone()),
            tasks: tasks.clone(),
        };
        Self::reading(Arc::new(source), client, other_scopes)
    }

    /// Begins to read the index again. What other scopes have need not be newer.
    pub(super) fn read_again(&self, client: Client) -> Self {
        Self::reading(Arc::clone(&self.source), client, self.other_scopes.clone())
    }

    fn reading(source: Arc<Source>, client: Client, other_scopes: OtherScopes) -> Self {
        let (sender, read) = watch::channel(None);
        let from = Arc::clone(&source);
        let task = async move {
            let result = match &from.key {
                Some(key) => from.reader.newest(&client, key).await,
                None => Ok(None),
            };
            sender.send_replace(Some((Instant::now(), result)));
        };
        let task = source.tasks.spawn_guarded("read the newest index", task);
        Self {
            source,
            read,
            other_scopes,
            _task: Arc::new(task),
        }
    }

    /// True if it has just been read.
    pub(super) fn is_fresh(&self) -> bool {
        let read = self.read.borrow();
        let read = read.as_ref().filter(|(_, result)| result.is_ok());
        read.is_some_and(|(at, _)| at.elapsed() < FRESH)
    }

    /// The same, or one that begins to be read now if that was read, or failed, too long ago.
    pub(super) fn refreshed(&self, client: &Client) -> Self {
        let is_old = |(at, _): &Read| at.elapsed() >= FRESH;
        if self.read.borrow().as_ref().is_some_and(is_old) {
            return self.read_again(client.clone());
        }
        self.clone()
    }

    /// Whether an index that the token reads names this layer, so that it is probably there. An
    /// index proves nothing.
    pub async fn names(&self, digest: Digest) -> bool {
        let own = async {
            let result = self.result().await;
            matches!(result, Some(Ok(Some(index))) if index.layers.contains_key(&digest))
        };
        let both = async {
            let (own, other_scopes) = tokio::join!(own, self.other_scopes.names(digest));
            own || other_scopes
        };
        timeout(INDEX_WAIT, both).await.unwrap_or(false)
    }

    /// All layers that the indexes name and that have a size, once they have been read.
    pub async fn layers(&self) -> Vec<(Digest, u64)> {
        let (own, mut all) = tokio::join!(self.result(), self.other_scopes.layers());
        if let Some(Ok(Some(index))) = own {
            all.extend(&index.layers);
        }
        all.into_iter().filter(|(_, size)| *size > 0).collect()
    }

    /// What was read. `None` if the process is shutting down.
    pub(super) async fn result(&self) -> Option<ReadResult> {
        let mut read = self.read.clone();
        let read = read.wait_for(Option::is_some).await.ok()?;
        read.as_ref().map(|(_, result)| result.clone())
    }
}
