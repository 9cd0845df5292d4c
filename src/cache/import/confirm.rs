//! Promises: a layer is there if a lookup finds it and its first bytes can be read, or all of
//! them where the import wants that.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::{OnceCell, Semaphore};

use super::{
    Core,
    small_blobs::{SmallBlob, SmallMemory},
    wait_budget::WaitBudget,
};
use crate::{
    actions::{self, Client, Entry, Probe},
    cache::{FetchError, SpoolError, attributes::Verify, lookup, unreachable},
    digest::Digest,
};

/// An import warns of so many layers one by one.
const MAX_WARNINGS: usize = 5;

/// A layer that is there for certain.
#[derive(Clone)]
pub(super) struct ConfirmedLayer {
    pub entry: Entry,
    pub size: u64,
    /// All of it, verified, if it is small or was fetched before it was promised.
    pub kept: SmallBlob,
}

type Cell = Arc<OnceCell<Option<ConfirmedLayer>>>;

/// What one import has found out about layers. Only layers that an index names are in it.
pub(super) struct Confirmations {
    cells: Mutex<HashMap<Digest, Cell>>,
    lookups: Semaphore,
    small: SmallMemory,
    warnings: AtomicUsize,
    pub told_of_room: AtomicBool,
    patience: WaitBudget,
}

impl Confirmations {
    pub fn new(parallel: usize, patience: Duration) -> Self {
        Self {
            cells: Mutex::default(),
            lookups: Semaphore::new(parallel.max(1)),
            small: SmallMemory::default(),
            warnings: AtomicUsize::new(0),
            told_of_room: AtomicBool::new(false),
            patience: WaitBudget::new(patience),
        }
    }

    fn cell(&self, digest: Digest) -> Cell {
        Arc::clone(self.cells().entry(digest).or_default())
    }

    /// A layer that was promised before.
    pub fn known(&self, digest: Digest) -> Option<ConfirmedLayer> {
        self.cells().get(&digest)?.get()?.clone()
    }

    /// Forgets what was found out about a layer: it has changed.
    pub fn forget(&self, digest: Digest) {
        self.cells().remove(&digest);
    }

    fn cells(&self) -> MutexGuard<'_, HashMap<Digest, Cell>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the content that waits to be pulled, and keeps none from now on.
    pub fn drop_content(&self) {
        self.small.close();
        let cells = self.cells();
        let promised = cells.values().filter_map(|cell| cell.get()?.as_ref());
        for promised in promised {
            promised.kept.take();
        }
    }
}

/// Why a layer is not promised.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unavailable {
    #[error(transparent)]
    Remote(#[from] actions::Error),
    #[error(
        "lookups have waited {} s for the service in all (BUILDKIT_GHA_LOOKUP_WAIT): from now on a \
         layer that is not answered at once counts as missing",
        .0.as_secs()
    )]
    Late(Duration),
    #[error("there is no room to fetch it: {0}")]
    NoRoom(#[from] SpoolError),
    #[error("it is in the index and no longer in the cache (evicted)")]
    Gone,
    #[error("it is damaged in the cache: {reason}")]
    Damaged { key: String, reason: String },
    #[error("its entry {0} could not be had before, so it is not relied on")]
    Denied(String),
    #[error("it was fetched to be verified, and {0}")]
    Unverified(FetchError),
    #[error("it was fetched to be verified, and {0}")]
    Misdescribed(String),
}

impl Core {
    /// A layer that is there, looked up once for the whole import.
    pub(super) async fn promised(&self, digest: Digest) -> Option<ConfirmedLayer> {
        let recorded = self.recorded(digest).next()?;
        let cell = self.promises.cell(digest);
        let promised = cell.get_or_init(|| self.look(digest, recorded.size)).await;
        // It may have failed since it was promised.
        let promised = promised.clone()?;
        let denied = self.is_denied(digest, &promised.entry.key);
        (!denied).then_some(promised)
    }

    fn is_denied(&self, digest: Digest, key: &str) -> bool {
        let identity = self.client.identity();
        self.cache.quarantine.holds(identity, digest, key)
    }

    async fn look(&self, digest: Digest, recorded: Option<u64>) -> Option<ConfirmedLayer> {
        let identity = self.client.identity();
        let found = match self.try_look(digest, recorded).await {
            Ok(promised) if self.verify == Verify::Full => self.verified(digest, promised).await,
            outcome => outcome,
        };
        match found {
            Ok(promised) => {
                self.cache.proofs.note(identity, digest);
                Some(promised)
            }
            Err(miss) => {
                if let Unavailable::Damaged { key, .. } = &miss {
                    self.cache.quarantine.add(identity, digest, key);
                }
                if matches!(
                    miss,
                    Unavailable::Gone | Unavailable::Damaged { .. } | Unavailable::Denied(_)
                ) {
                    self.cache.disprove(identity, digest);
                }
                self.warn_of(digest, &miss);
                None
            }
        }
    }

    async fn try_look(
        &self,
        digest: Digest,
        recorded: Option<u64>,
    ) -> Result<ConfirmedLayer, Unavailable> {
        let permit = self.promises.lookups.acquire().await;
        let _permit = permit.expect("the semaphore is never closed");
        let patience = &self.promises.patience;
        let found = patience.bear(self.find(digest, recorded)).await;
        found.unwrap_or_else(|| Err(Unavailable::Late(patience.budget())))
    }

    async fn find(
        &self,
        digest: Digest,
        recorded: Option<u64>,
    ) -> Result<ConfirmedLayer, Unavailable> {
        let client = self.client.with_deadline(self.promises.patience.deadline());
        let mut seen = self.seen(&client, digest, recorded).await?;
        if seen.damage.is_some() {
            // A proxy may have answered with a page of its own: only what a URL of its own shows
            // again is in the cache.
            seen = self.seen(&client, digest, recorded).await?;
        }
        if let Some(reason) = seen.damage {
            return Err(Unavailable::Damaged {
                key: seen.entry.key,
                reason,
            });
        }
        let Probe { total, head } = seen.probe;
        let whole = head.len() as u64 == total;
        let kept = whole.then_some(head);
        let kept = kept.and_then(|all| self.promises.small.keep(all));
        if kept.is_none() {
            self.cache.imports.admits(total).await?;
        }
        Ok(ConfirmedLayer {
            entry: seen.entry,
            size: total,
            kept: kept.unwrap_or_default(),
        })
    }

    /// Looks a layer up, through a URL of its own, and at its first bytes.
    async fn seen(
        &self,
        client: &Client,
        digest: Digest,
        recorded: Option<u64>,
    ) -> Result<Seen, Unavailable> {
        let found = lookup::blob(client, digest, &self.version).await?;
        let entry = found.ok_or(Unavailable::Gone)?;
        if self.is_denied(digest, &entry.key) {
            return Err(Unavailable::Denied(entry.key));
        }
        let small = self.cache.settings.small_bytes;
        let may_be_small = recorded.is_none_or(|size| size <= small);
        let head = if may_be_small { small } else { 1 };
        let probe = client.probe(&entry, head).await?;
        Ok(Seen {
            damage: damage(digest, recorded, &probe),
            entry,
            probe,
        })
    }

    fn warn_of(&self, digest: Digest, miss: &Unavailable) {
        if let Unavailable::Late(_) = miss
            && !self.promises.patience.tell()
        {
            return;
        }
        if let Unavailable::Remote(error) = miss
            && let Some(warning) = unreachable::warning(error)
        {
            self.reporter.report(warning);
            return;
        }
        let before = self.promises.warnings.fetch_add(1, Ordering::Relaxed);
        let short = match before {
            0..MAX_WARNINGS => "cache import: a layer cannot be used, its step runs again",
            MAX_WARNINGS => "cache import: more layers cannot be used; the log has them all",
            _ => "",
        };
        tracing::info!(%digest, %miss, "a layer is not promised");
        if !short.is_empty() {
            self.warn(short, format!("{digest}: {miss}"));
        }
    }
}

/// What a look at an entry has shown.
struct Seen {
    entry: Entry,
    probe: Probe,
    /// What is wrong with it.
    damage: Option<String>,
}

/// What the first bytes tell: the size, and of small content everything.
fn damage(digest: Digest, recorded: Option<u64>, probe: &Probe) -> Option<String> {
    let total = probe.total;
    if let Some(recorded) = recorded.filter(|recorded| *recorded != total) {
        return Some(format!(
            "it has {total} bytes where the index says {recorded}"
        ));
    }
    let damaged = probe.head.len() as u64 == total && Digest::of(&probe.head) != digest;
    damaged.then(|| "its bytes are not what its name says".into())
}
