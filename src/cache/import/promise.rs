//! Promises: a layer is there if a lookup finds it and its first bytes can be read.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{OnceCell, Semaphore},
    time::{Instant, timeout_at},
};

use super::Core;
use crate::{
    actions::{self, Entry, Probe},
    cache::{SpoolError, settings::SMALL_MEMORY},
    digest::Digest,
    protocol::key,
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
}

type Cell = Arc<OnceCell<Option<Promised>>>;

/// What one import has found out about layers. Only layers that an index names are in it.
pub(super) struct Promises {
    cells: Mutex<HashMap<Digest, Cell>>,
    lookups: Semaphore,
    small_bytes: AtomicU64,
    warnings: AtomicUsize,
}

impl Promises {
    pub fn new(parallel: usize) -> Self {
        Self {
            cells: Mutex::default(),
            lookups: Semaphore::new(parallel.max(1)),
            small_bytes: AtomicU64::new(0),
            warnings: AtomicUsize::new(0),
        }
    }

    fn cell(&self, digest: Digest) -> Cell {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(cells.entry(digest).or_default())
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
enum Miss {
    #[error(transparent)]
    Remote(#[from] actions::Error),
    #[error("the service had not answered after {} s", .0.as_secs())]
    Late(Duration),
    #[error("there is no room to fetch it: {0}")]
    NoRoom(#[from] SpoolError),
    #[error("it is in the index and no longer in the cache (evicted)")]
    Gone,
    #[error("it is damaged in the cache: {0}")]
    Damaged(String),
}

impl Core {
    /// A layer that is there, looked up once for the whole import.
    pub(super) async fn promised(&self, digest: Digest) -> Option<Promised> {
        let recorded = self
            .indexes()
            .find_map(|index| index.layers.get(&digest).copied())?;
        let identity = self.client.identity();
        if self.cache.damaged.holds(identity, digest) {
            return None;
        }
        let cell = self.promises.cell(digest);
        let promised = cell.get_or_init(|| self.look(digest, recorded)).await;
        promised.clone()
    }

    async fn look(&self, digest: Digest, recorded: Option<u64>) -> Option<Promised> {
        let identity = self.client.identity();
        match self.try_look(digest, recorded).await {
            Ok(promised) => {
                self.cache.proofs.note(identity, digest);
                Some(promised)
            }
            Err(miss) => {
                if let Miss::Damaged(_) = miss {
                    self.cache.damaged.note(identity, digest);
                }
                if matches!(miss, Miss::Gone | Miss::Damaged(_)) {
                    self.cache.proofs.revoke(identity, digest);
                }
                self.warn_of(digest, &miss);
                None
            }
        }
    }

    async fn try_look(&self, digest: Digest, recorded: Option<u64>) -> Result<Promised, Miss> {
        let wait = self.cache.settings.promise_wait.min(self.timeout);
        let deadline = Instant::now() + wait;
        let permit = timeout_at(deadline, self.promises.lookups.acquire()).await;
        let _permit = permit
            .map_err(|_| Miss::Late(wait))?
            .expect("the semaphore is never closed");
        let client = self.client.with_deadline(deadline);
        let key = key::blob(&digest);
        let found = client.lookup(&key, &self.version).await?;
        let entry = found.filter(|entry| entry.key == key).ok_or(Miss::Gone)?;

        let small = self.cache.settings.small_bytes;
        let may_be_small = recorded.is_none_or(|size| size <= small);
        let probe = client
            .probe(&entry, if may_be_small { small } else { 1 })
            .await?;
        check(digest, recorded, &probe)?;
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
        })
    }

    fn warn_of(&self, digest: Digest, miss: &Miss) {
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
fn check(digest: Digest, recorded: Option<u64>, probe: &Probe) -> Result<(), Miss> {
    let total = probe.total;
    if let Some(recorded) = recorded.filter(|recorded| *recorded != total) {
        return Err(Miss::Damaged(format!(
            "it has {total} bytes where the index says {recorded}"
        )));
    }
    if probe.head.len() as u64 == total && Digest::of(&probe.head) != digest {
        return Err(Miss::Damaged("its bytes are not what its name says".into()));
    }
    Ok(())
}
