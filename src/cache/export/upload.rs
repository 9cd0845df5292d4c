//! One layer on its way out: reserved, uploaded while it arrives, confirmed.
//!
//! An [`Upload`] belongs to everybody who waits for it and ends with the last of them. Two
//! exports that write the same layer at the same time share it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use futures_util::TryFutureExt as _;
use tokio::{sync::watch, time::Instant};

use super::{Failure, Lane};
use crate::{
    actions::{Client, Identity, Progress, Reserved},
    cache::{growing::Growing, report::Bar},
    digest::Digest,
    lifecycle::TaskGuard,
    protocol::key,
};

type Outcome = Option<Result<(), Failure>>;

/// An upload under way, or what it came to.
pub(in crate::cache) struct Upload {
    outcome: watch::Receiver<Outcome>,
    _task: TaskGuard,
}

impl Upload {
    /// Starts to upload `source` as the blob `digest`, until `deadline`. `total` is its size, if
    /// known.
    pub fn start(
        lane: Lane,
        deadline: Instant,
        digest: Digest,
        total: Option<u64>,
        source: Growing,
    ) -> Self {
        let (sender, outcome) = watch::channel(None);
        let tasks = lane.cache.tasks.clone();
        let task = tasks.spawn_guarded("upload", async move {
            let client = lane.client.with_deadline(deadline);
            let steps = lane.upload(&client, digest, total, source);
            let outcome = tokio::time::timeout_at(deadline, steps)
                .await
                .unwrap_or(Err(Failure::Late));
            if outcome.is_ok() {
                lane.cache.proofs.note(lane.client.identity(), digest);
            }
            sender.send_replace(Some(outcome));
        });
        Self {
            outcome,
            _task: task,
        }
    }

    /// What it came to, once that is known; at `deadline` at the latest.
    pub async fn settled(&self, deadline: Instant) -> Result<(), Failure> {
        let mut outcome = self.outcome.clone();
        let known = tokio::time::timeout_at(deadline, outcome.wait_for(Option::is_some)).await;
        match known {
            Ok(Ok(outcome)) => outcome.clone().unwrap_or(Err(Failure::Interrupted)),
            // The task was ended without an outcome: the process is shutting down.
            Ok(Err(_)) => Err(Failure::Interrupted),
            Err(_) => Err(Failure::Late),
        }
    }

    /// True if it came to nothing, so that another writer may try.
    fn has_failed(&self) -> bool {
        matches!(*self.outcome.borrow(), Some(Err(_)))
    }
}

impl Lane {
    async fn upload(
        &self,
        client: &Client,
        digest: Digest,
        total: Option<u64>,
        source: Growing,
    ) -> Result<(), Failure> {
        let key = key::blob(&digest);
        let reservation = match client.reserve(&key, &self.version).await? {
            Reserved::Exists | Reserved::ExistsAfterDoubt => {
                return self.confirm(client, &key).await;
            }
            Reserved::Created(reservation) => reservation,
        };
        let size = match total {
            Some(total) if total > 0 => total,
            _ => source.size().map_err(|_| Failure::Interrupted).await?,
        };
        let bar = Bar::new(&self.reporter, "uploading", digest, size);
        let told: Progress = {
            let bar = Arc::clone(&bar);
            Arc::new(move |confirmed| bar.reached(confirmed))
        };
        let source = Arc::new(source);
        client.upload(&reservation, size, source, told).await?;
        bar.done();
        Ok(())
    }

    /// A key that cannot be reserved is an entry, or a reservation that somebody else has not
    /// finished: only a lookup tells.
    async fn confirm(&self, client: &Client, key: &str) -> Result<(), Failure> {
        match client.lookup(key, &self.version).await? {
            Some(entry) if entry.key == key => Ok(()),
            _ => Err(Failure::Unfinished),
        }
    }
}

/// The uploads of the process that somebody waits for.
#[derive(Default)]
pub(in crate::cache) struct Uploads(Mutex<HashMap<(Identity, Digest), Weak<Upload>>>);

impl Uploads {
    /// The upload of this blob, if one is under way or has just been confirmed.
    pub fn find(&self, identity: &Identity, digest: Digest) -> Option<Arc<Upload>> {
        let uploads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let upload = uploads.get(&(identity.clone(), digest))?.upgrade()?;
        (!upload.has_failed()).then_some(upload)
    }

    /// The upload of this blob: the one under way, else the one that `start` makes. True if it
    /// was started.
    pub fn join(
        &self,
        identity: &Identity,
        digest: Digest,
        start: impl FnOnce() -> Upload,
    ) -> (Arc<Upload>, bool) {
        let mut uploads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.retain(|_, upload| upload.strong_count() > 0);
        let key = (identity.clone(), digest);
        if let Some(upload) = uploads.get(&key).and_then(Weak::upgrade)
            && !upload.has_failed()
        {
            return (upload, false);
        }
        let upload = Arc::new(start());
        uploads.insert(key, Arc::downgrade(&upload));
        (upload, true)
    }
}
