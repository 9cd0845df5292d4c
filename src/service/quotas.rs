//! What each repository, and each scope that is written, has under way at once. Whoever takes all of
//! its share waits for itself; the others do not notice.
//!
//! There is a quota for each repository and scope of a token that the operator has signed, so
//! their number is the operator's.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;
use tokio::sync::Semaphore;

use super::{
    api_error::ApiError,
    config::{
        MAX_HELD_BYTES, MAX_READS, MAX_REQUESTS, MAX_UPLOAD_BYTES, MAX_UPLOAD_PARTS, MAX_UPLOADS,
        SCOPES_SHARE,
    },
    store::EntryName,
};

/// Stands between a repository and its scope: no repository has it in its name.
const SCOPE_MARK: char = '\n';

/// The quotas that anybody has asked for so far.
#[derive(Debug, Default)]
pub(super) struct Quotas(RwLock<HashMap<String, Arc<Quota>>>);

/// The quota of a repository, or of one scope of it.
#[derive(Debug)]
pub(super) struct Quota {
    /// Requests that are being answered.
    pub(super) requests: Arc<LimitedCounter>,
    /// Reservations that are open.
    pub(super) uploads: Arc<LimitedCounter>,
    /// Bytes on the disk that no entry has yet.
    pub(super) bytes: Arc<LimitedCounter>,
    /// Parts of which those bytes consist: each is an element of a map in memory.
    pub(super) parts: Arc<LimitedCounter>,
    /// Searches of the database.
    pub(super) reads: Semaphore,
    /// Bytes of messages and block lists that are held in memory until they are whole.
    pub(super) held: Arc<LimitedCounter>,
}

/// What is uploaded and no entry yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct OpenUploads {
    /// Reservations that are open.
    pub(super) uploads: u64,
    /// Bytes that have come for them, or are expected now.
    pub(super) bytes: u64,
}

impl Quotas {
    /// What all repositories upload.
    pub(super) fn open_uploads(&self) -> OpenUploads {
        let all = self.0.read();
        let repositories = all.iter().filter(|(name, _)| !name.contains(SCOPE_MARK));
        let mut open = OpenUploads::default();
        for (_, quota) in repositories {
            open.uploads += quota.uploads.used.load(Ordering::Relaxed);
            open.bytes += quota.bytes.used.load(Ordering::Relaxed);
        }
        open
    }

    /// The quota of a repository.
    pub(super) fn repository(&self, repository: &str) -> Arc<Quota> {
        self.get(repository, || Quota::new(1))
    }

    /// The quota of one scope: a pull request cannot take the share of the default branch.
    pub(super) fn scope(&self, repository: &str, scope: &str) -> Arc<Quota> {
        let name = format!("{repository}{SCOPE_MARK}{scope}");
        self.get(&name, || Quota::new(SCOPES_SHARE))
    }

    fn get(&self, name: &str, make: impl FnOnce() -> Quota) -> Arc<Quota> {
        let known = self.0.read();
        if let Some(quota) = known.get(name) {
            return Arc::clone(quota);
        }
        drop(known);
        let mut all = self.0.write();
        let quota = all.entry(name.to_owned()).or_insert_with(|| make().into());
        Arc::clone(quota)
    }
}

impl Quota {
    /// A quota with which uploads have a `part`-th of what a repository may have.
    fn new(part: u64) -> Self {
        Self {
            requests: LimitedCounter::new("requests", MAX_REQUESTS),
            uploads: LimitedCounter::new("unfinished uploads", MAX_UPLOADS / part),
            bytes: LimitedCounter::new("bytes of unfinished uploads", MAX_UPLOAD_BYTES / part),
            parts: LimitedCounter::new("parts of unfinished uploads", MAX_UPLOAD_PARTS / part),
            reads: Semaphore::new(MAX_READS),
            held: LimitedCounter::new("bytes of messages", MAX_HELD_BYTES),
        }
    }
}

/// What an upload uses of the quotas of its repository and its scope.
#[derive(Debug)]
pub(super) struct UploadUsage {
    _uploads: [Usage; 2],
    bytes: [Usage; 2],
    parts: [Usage; 2],
}

impl UploadUsage {
    /// That of a new upload, if there may be another one.
    pub(super) fn new(quotas: &Quotas, name: &EntryName) -> Result<Self, ApiError> {
        let repository = quotas.repository(&name.repository);
        let scope = quotas.scope(&name.repository, &name.scope);
        Ok(Self {
            _uploads: [repository.uploads.acquire(1)?, scope.uploads.acquire(1)?],
            bytes: [repository.bytes.acquire(0)?, scope.bytes.acquire(0)?],
            parts: [repository.parts.acquire(0)?, scope.parts.acquire(0)?],
        })
    }

    /// How many bytes its parts have.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes[0].amount
    }

    /// Counts a part of `len` bytes.
    pub(super) fn grow(&mut self, len: u64) -> Result<(), ApiError> {
        grow(&mut self.bytes, len)?;
        grow(&mut self.parts, 1).inspect_err(|_| shrink(&mut self.bytes, len))
    }

    /// The part of `len` bytes is gone.
    pub(super) fn shrink(&mut self, len: u64) {
        shrink(&mut self.bytes, len);
        shrink(&mut self.parts, 1);
    }
}

fn grow([first, second]: &mut [Usage; 2], amount: u64) -> Result<(), ApiError> {
    first.grow(amount)?;
    second.grow(amount).inspect_err(|_| first.shrink(amount))
}

fn shrink(usages: &mut [Usage; 2], amount: u64) {
    for usage in usages {
        usage.shrink(amount);
    }
}

/// Counts something up to a limit.
#[derive(Debug)]
pub(super) struct LimitedCounter {
    what: &'static str,
    limit: u64,
    used: AtomicU64,
}

/// A part of what a counter counts, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Usage {
    counter: Arc<LimitedCounter>,
    amount: u64,
}

impl LimitedCounter {
    /// Nothing of `what`, of which there may be `limit`.
    pub(super) fn new(what: &'static str, limit: u64) -> Arc<Self> {
        Arc::new(Self {
            what,
            limit,
            used: AtomicU64::new(0),
        })
    }

    /// So much of it, if there is so much left.
    pub(super) fn acquire(self: &Arc<Self>, amount: u64) -> Result<Usage, ApiError> {
        let mut usage = Usage {
            counter: Arc::clone(self),
            amount: 0,
        };
        usage.grow(amount)?;
        Ok(usage)
    }
}

impl Usage {
    /// Takes more, if there is so much left.
    pub(super) fn grow(&mut self, amount: u64) -> Result<(), ApiError> {
        let LimitedCounter { what, limit, used } = &*self.counter;
        let more = |used: u64| used.checked_add(amount).filter(|sum| sum <= limit);
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_err(|_| ApiError::quota_exceeded(what, *limit))?;
        self.amount += amount;
        Ok(())
    }

    /// Gives some of it back.
    pub(super) fn shrink(&mut self, amount: u64) {
        let amount = amount.min(self.amount);
        self.counter.used.fetch_sub(amount, Ordering::Relaxed);
        self.amount -= amount;
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        self.shrink(self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_given_back_and_never_more_than_there_is() {
        let counter = LimitedCounter::new("things", 10);
        let mut first = counter.acquire(6).unwrap();
        assert!(counter.acquire(5).is_err());
        let second = counter.acquire(4).unwrap();
        assert!(first.grow(1).is_err());
        first.shrink(100);
        drop(second);
        assert!(counter.acquire(u64::MAX).is_err());
        counter.acquire(10).unwrap();
        counter.acquire(10).unwrap();
    }

    #[test]
    fn each_repository_and_each_scope_has_its_own() {
        let quotas = Quotas::default();
        let half = MAX_UPLOADS / SCOPES_SHARE;
        let taken = quotas.scope("o/r", "a").uploads.acquire(half);
        assert!(quotas.scope("o/r", "a").uploads.acquire(1).is_err());
        quotas.scope("o/r", "b").uploads.acquire(1).unwrap();
        quotas.repository("o/r").uploads.acquire(1).unwrap();
        let open = quotas.repository("o/s").uploads.acquire(2).unwrap();
        let bytes = quotas.repository("o/r").bytes.acquire(7).unwrap();
        let expected = OpenUploads {
            uploads: 2,
            bytes: 7,
        };
        assert_eq!(
            quotas.open_uploads(),
            expected,
            "what a scope has is its repository's"
        );
        drop((taken, open, bytes));
        quotas.scope("o/r", "a").uploads.acquire(1).unwrap();
    }
}
