//! Promises: a layer is there if a lookup finds it and its first bytes can be read, or all of
//! them where the import wants that.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{OnceCell, Semaphore};

use super::{Core, patience::Patience, verify::Kept};
use crate::{
    actions::{self, Entry, Probe},
    cache::{FetchError, SpoolError, lookup, settings::SMALL_MEMORY, spec::Verify, unreachable},
    digest::Digest,
};

/// An import warns of so many layers one by one.
const MAX_WARNINGS: usize = 5;

/// A layer that is there for certain.
#[derive(Clone)]
pub(super) struct Promised {
    pub entry: Entry,
    pub size: u64,
    /// All of it, verified, if it is small.
    pub content: Option<Bytes>,
    /// All of it, verified, if it was fetched before it was promised and not pulled yet.
    pub verified: Kept,
}

type Cell = Arc<OnceCell<Option<Promised>>>;

/// What one import has found out about layers. Only layers that an index names are in it.
pub(super) struct Promises {
    cells: Mutex<HashMap<Digest, Cell>>,
    lookups: Semaphore,
    small_bytes: AtomicU64,
    warnings: AtomicUsize,
    pub told_of_room: AtomicBool,
    patience: Patience,
}

impl Promises {
    pub fn new(parallel: usize, patience: Duration) -> Self {
        Self {
            cells: Mutex::default(),
            lookups: Semaphore::new(parallel.max(1)),
            small_bytes: AtomicU64::new(0),
            warnings: AtomicUsize::new(0),
            told_of_room: AtomicBool::new(false),
            patience: Patience::new(patience),
        }
    }

    fn cell(&self, digest: Digest) -> Cell {
        Arc::clone(self.cells().entry(digest).or_default())
    }

    /// A layer that was promised before.
    pub fn known(&self, digest: Digest) -> Option<Promised> {
        self.cells().get(&digest)?.get()?.clone()
    }

    /// Forgets what was found out about a layer: it has changed.
    pub fn forget(&self, digest: Digest) {
        self.cells().remove(&digest);
    }

    fn cells(&self) -> MutexGuard<'_, HashMap<Digest, Cell>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps small content if there is memory for it.
    fn keep(&self, content: Bytes) -> Option<Bytes> {
        let len = content.len() as u64;
        let room = |held: u64| Some(held + len).filter(|held| *held <= SMALL_MEMORY);
        let order = Ordering::Relaxed;
        let kept = self.small_bytes.fetch_update(order, order, room);
        kept.is_ok().then_some(content)
    }
}

/// Why a layer is not promised.
#[derive(Debug, thiserror::Error)]
pub(super) enum Miss {
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
}

impl Core {
    /// A layer that is there, looked up once for the whole import.
    pub(super) async fn promised(&self, digest: Digest) -> Option<Promised> {
        let recorded = self
            .indexes()
            .find_map(|index| index.layers.get(&digest).copied())?;
        let cell = self.promises.cell(digest);
        let promised = cell.get_or_init(|| self.look(digest, recorded)).await;
        // It may have failed since it was promised.
        let promised = promised.clone()?;
        let denied = self.is_denied(digest, &promised.entry.key);
        (!denied).then_some(promised)
    }

    fn is_denied(&self, digest: Digest, key: &str) -> bool {
        let identity = self.client.identity();
        self.cache.damage.denies(identity, digest, key)
    }

    async fn look(&self, digest: Digest, recorded: Option<u64>) -> Option<Promised> {
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
                if let Miss::Damaged { key, .. } = &miss {
                    self.cache.damage.note(identity, digest, key);
                }
                if matches!(miss, Miss::Gone | Miss::Damaged { .. } | Miss::Denied(_)) {
                    self.cache.proofs.revoke(identity, digest);
                }
                self.warn_of(digest, &miss);
                None
            }
        }
    }

    async fn try_look(&self, digest: Digest, recorded: Option<u64>) -> Result<Promised, Miss> {
        let permit = self.promises.lookups.acquire().await;
        let _permit = permit.expect("the semaphore is never closed");
        let patience = &self.promises.patience;
        let found = patience.bear(self.find(digest, recorded)).await;
        found.unwrap_or_else(|| Err(Miss::Late(patience.budget())))
    }

    async fn find(&self, digest: Digest, recorded: Option<u64>) -> Result<Promised, Miss> {
        if let Some(promised) = self.listed(digest, recorded).await? {
            return Ok(promised);
        }
        let client = self.client.with_deadline(self.promises.patience.deadline());
        let found = lookup::blob(&client, digest, &self.version).await?;
        let entry = found.ok_or(Miss::Gone)?;
        if self.is_denied(digest, &entry.key) {
            return Err(Miss::Denied(entry.key));
        }

        let small = self.cache.settings.small_bytes;
        let may_be_small = recorded.is_none_or(|size| size <= small);
        let probe = client
            .probe(&entry, if may_be_small { small } else { 1 })
            .await?;
        check(&entry.key, digest, recorded, &probe)?;
        let whole = probe.head.len() as u64 == probe.total;
        let content = whole.then_some(probe.head);
        let content = content.and_then(|all| self.promises.keep(all));
        if content.is_none() {
            self.cache.imports.admits(probe.total).await?;
        }
        Ok(Promised {
            entry,
            size: probe.total,
            content,
            verified: Kept::default(),
        })
    }

    /// A layer that the listing has, with the right size.
    async fn listed(
        &self,
        digest: Digest,
        recorded: Option<u64>,
    ) -> Result<Option<Promised>, Miss> {
        let Some(listing) = &self.listing else {
            return Ok(None);
        };
        let row = listing.row(&self.cache, digest).await;
        let row = row.filter(|row| recorded.is_none_or(|size| size == row.size));
        let Some(row) = row else { return Ok(None) };
        self.cache.imports.admits(row.size).await?;
        Ok(Some(Promised {
            entry: row.entry(&self.version),
            size: row.size,
            content: None,
            verified: Kept::default(),
        }))
    }

    fn warn_of(&self, digest: Digest, miss: &Miss) {
        if let Miss::Late(_) = miss
            && !self.promises.patience.tell()
        {
            return;
        }
        if let Miss::Remote(error) = miss
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

/// What the first bytes tell: the size, and of small content everything.
fn check(key: &str, digest: Digest, recorded: Option<u64>, probe: &Probe) -> Result<(), Miss> {
    let total = probe.total;
    let damaged = |reason: String| Miss::Damaged {
        key: key.to_owned(),
        reason,
    };
    if let Some(recorded) = recorded.filter(|recorded| *recorded != total) {
        return Err(damaged(format!(
            "it has {total} bytes where the index says {recorded}"
        )));
    }
    if probe.head.len() as u64 == total && Digest::of(&probe.head) != digest {
        return Err(damaged("its bytes are not what its name says".into()));
    }
    Ok(())
}
