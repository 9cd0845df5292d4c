//! One layer on its way out: reserved, uploaded while it arrives, confirmed.
//!
//! An [`Upload`] belongs to everybody who waits for it and ends with the last of them. All
//! exports that write the same layer at the same time share it and feed it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::watch;

use super::{
    ExportContext, Failure,
    key_allocator::{Allocation, KeyAllocator},
    latest_index::LatestIndex,
};
use crate::{
    actions::{Client, Deadline, Identity, Kind, Priority, Progress, Reservation},
    cache::{
        Shared,
        report::TransferProgress,
        spool::SpoolFile,
        tail::{JoinHandle, TailReader, TailWriter, tail, tail_of_whole},
    },
    digest::Digest,
    lifecycle::TaskGuard,
};

type Outcome = Option<Result<(), Failure>>;

/// An upload under way, or what it came to.
pub(in crate::cache) struct Upload {
    outcome: watch::Receiver<Outcome>,
    ending: watch::Sender<bool>,
    gate: JoinHandle,
    weight: Priority,
    deadline: Deadline,
    _task: TaskGuard,
}

/// A share in an upload.
pub(in crate::cache) struct Share {
    pub upload: Arc<Upload>,
    /// Where to bring the bytes; `None` if they are there already.
    pub writer: Option<TailWriter>,
}

impl Upload {
    /// Starts to upload what will be written to `file` as the blob `digest`, until `deadline`.
    /// `total` is its size, if known.
    pub(super) fn start(
        lane: ExportContext,
        known: LatestIndex,
        deadline: Deadline,
        digest: Digest,
        total: Option<u64>,
        file: SpoolFile,
    ) -> Share {
        let (writer, gate, source) = tail(file);
        Share {
            upload: Self::of(lane, known, deadline, digest, total, gate, source),
            writer: Some(writer),
        }
    }

    /// Starts to upload the blob `digest`, which `file` has in its first `size` bytes.
    pub fn whole(
        lane: ExportContext,
        known: LatestIndex,
        deadline: Deadline,
        digest: Digest,
        size: u64,
        file: Arc<SpoolFile>,
    ) -> Arc<Self> {
        let (gate, source) = tail_of_whole(file, size);
        Self::of(lane, known, deadline, digest, Some(size), gate, source)
    }

    fn of(
        lane: ExportContext,
        known: LatestIndex,
        deadline: Deadline,
        digest: Digest,
        total: Option<u64>,
        gate: JoinHandle,
        source: TailReader,
    ) -> Arc<Self> {
        let (sender, outcome) = watch::channel(None);
        let (ending, ends) = watch::channel(false);
        let weight = Priority::new(total.unwrap_or(0));
        let client = lane.client.with_deadline(deadline.clone());
        let client = client.with_priority(&weight);
        let until = deadline.clone();
        let tasks = lane.cache.tasks.clone();
        let task = tasks.spawn_guarded("upload", async move {
            let steps = lane.upload(&client, &known, digest, total, source, ends);
            let outcome = until.bound(steps).await;
            let outcome = outcome.unwrap_or_else(|| Err(Failure::Late(until.reason())));
            if outcome.is_ok() {
                lane.cache.proofs.note(lane.client.identity(), digest);
            }
            sender.send_replace(Some(outcome));
        });
        Arc::new(Self {
            outcome,
            ending,
            gate,
            weight,
            deadline,
            _task: task,
        })
    }

    /// What it came to, once that is known; at `deadline` at the latest. Whoever asks has nothing
    /// else left to do, so nobody is waited for longer than must be.
    pub async fn settled(&self, deadline: &Deadline) -> Result<(), Failure> {
        self.ending.send_replace(true);
        let mut outcome = self.outcome.clone();
        match deadline.bound(outcome.wait_for(Option::is_some)).await {
            Some(Ok(outcome)) => outcome.clone().unwrap_or(Err(Failure::Interrupted)),
            // The task was ended without an outcome: the process is shutting down.
            Some(Err(_)) => Err(Failure::Interrupted),
            None => Err(Failure::Late(deadline.reason())),
        }
    }

    /// Says how much it is worth: until the whole build is known, that is its size.
    pub fn weigh(&self, weight: u64) {
        // Another export may have more use for it.
        self.weight.raise(weight);
    }

    /// A share in it, unless it came to nothing or is about to, so that another must begin. It goes on
    /// for as long as the one who joins can wait.
    fn join(self: Arc<Self>, deadline: &Deadline) -> Option<Share> {
        self.deadline.extend(deadline);
        let confirmed = match &*self.outcome.borrow() {
            Some(Err(_)) => return None,
            Some(Ok(())) => true,
            None => false,
        };
        let writer = self.gate.join();
        let goes_on = writer.is_some() || confirmed || self.gate.is_verified();
        goes_on.then_some(Share {
            upload: self,
            writer,
        })
    }
}

impl ExportContext {
    async fn upload(
        &self,
        client: &Client,
        known: &LatestIndex,
        digest: Digest,
        total: Option<u64>,
        source: TailReader,
        ending: watch::Receiver<bool>,
    ) -> Result<(), Failure> {
        let source = Arc::new(source);
        let total = total.filter(|total| *total > 0);
        let mut claims = KeyAllocator::new(self, client, known, digest, total, ending);
        let mut expired = false;
        loop {
            let reservation = match claims.allocate().await? {
                Allocation::There => return Ok(()),
                Allocation::Ours(reservation) => reservation,
            };
            match self.fill(client, reservation, digest, total, &source).await {
                // The service gives no other URL for this key. What was sent is in the spool yet,
                // unless others needed the room.
                Err(Failure::Remote(e))
                    if e.kind == Kind::UrlExpired && !expired && source.start_over() =>
                {
                    tracing::info!(%digest, "an upload URL has expired: starting over");
                    expired = true;
                }
                outcome => return outcome,
            }
        }
    }

    /// Uploads the layer under a key of ours.
    async fn fill(
        &self,
        client: &Client,
        reservation: Reservation,
        digest: Digest,
        total: Option<u64>,
        source: &Arc<TailReader>,
    ) -> Result<(), Failure> {
        let mut held = Held {
            cache: &self.cache,
            identity: client.identity(),
            key: &reservation.key,
            filled: false,
        };
        let size = match total {
            Some(total) => total,
            None => source.size().await.map_err(|_| Failure::Interrupted)?,
        };
        let bar = TransferProgress::new(&self.reporter, "uploading", digest, size);
        let told: Progress = {
            let bar = Arc::clone(&bar);
            Arc::new(move |confirmed| bar.reached(confirmed))
        };
        let bytes = Arc::clone(source);
        client.upload(&reservation, size, bytes, told).await?;
        held.filled = true;
        bar.done();
        self.cache.quarantine.release(client.identity(), digest);
        Ok(())
    }
}

/// A reservation that is remembered as dead if it is dropped before it was filled.
struct Held<'a> {
    cache: &'a Shared,
    identity: &'a Identity,
    key: &'a str,
    filled: bool,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        if !self.filled {
            self.cache.abandoned.note(self.identity, self.key);
        }
    }
}

/// The uploads of the process that somebody waits for.
#[derive(Default)]
pub(in crate::cache) struct Uploads(Mutex<HashMap<(Identity, Digest), Weak<Upload>>>);

impl Uploads {
    /// A share in the upload of this blob, if one is under way or has just been confirmed.
    pub fn find(&self, identity: &Identity, digest: Digest, deadline: &Deadline) -> Option<Share> {
        let uploads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uploads
            .get(&(identity.clone(), digest))?
            .upgrade()
            .and_then(|upload| upload.join(deadline))
    }

    /// A share in the upload of this blob: the one under way, else the one that `start` makes.
    pub fn join(
        &self,
        identity: &Identity,
        digest: Digest,
        deadline: Deadline,
        start: impl FnOnce(Deadline) -> Share,
    ) -> Share {
        let mut uploads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.retain(|_, upload| upload.strong_count() > 0);
        let key = (identity.clone(), digest);
        let found = uploads.get(&key).and_then(Weak::upgrade);
        if let Some(share) = found.and_then(|upload| upload.join(&deadline)) {
            return share;
        }
        let share = start(deadline);
        uploads.insert(key, Arc::downgrade(&share.upload));
        share
    }
}
