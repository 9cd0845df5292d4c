//! What each repository, and each scope that is written, has under way at once. Whoever takes all of
//! its share waits for itself; the others do not notice.
//!
//! There is an account for each repository and scope of a token that the operator has signed, so
//! their number is the operator's.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Semaphore;

use super::{
    config::{
        MAX_HELD_BYTES, MAX_READS, MAX_REQUESTS, MAX_UPLOAD_BYTES, MAX_UPLOAD_PARTS, MAX_UPLOADS,
        SCOPES_SHARE,
    },
    error::Error,
    upload::Name,
};

/// All accounts.
#[derive(Debug, Default)]
pub struct Accounts(RwLock<HashMap<String, Arc<Account>>>);

/// The account of a repository, or of one scope of it.
#[derive(Debug)]
pub struct Account {
    /// Requests that are being answered.
    pub requests: Arc<Gauge>,
    /// Reservations that are open.
    pub uploads: Arc<Gauge>,
    /// Bytes on the disk that no entry has yet.
    pub bytes: Arc<Gauge>,
    /// Parts of which those bytes consist: each is an element of a map in memory.
    pub parts: Arc<Gauge>,
    /// Searches of the database.
    pub reads: Semaphore,
    /// Bytes of messages and block lists that are held in memory until they are whole.
    pub held: Arc<Gauge>,
}

impl Accounts {
    /// The account of a repository.
    pub fn repository(&self, repository: &str) -> Arc<Account> {
        self.get(repository, || Account::new(1))
    }

    /// The account of one scope: a pull request cannot take the share of the default branch.
    pub fn scope(&self, repository: &str, scope: &str) -> Arc<Account> {
        // No repository has this character in its name.
        let name = format!("{repository}\n{scope}");
        self.get(&name, || Account::new(SCOPES_SHARE))
    }

    fn get(&self, name: &str, make: impl FnOnce() -> Account) -> Arc<Account> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = known.get(name) {
            return Arc::clone(account);
        }
        drop(known);
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let account = all.entry(name.to_owned()).or_insert_with(|| make().into());
        Arc::clone(account)
    }
}

impl Account {
    /// An account that may have a `part`-th of what a repository may have of uploads.
    fn new(part: u64) -> Self {
        Self {
            requests: Gauge::new("requests", MAX_REQUESTS),
            uploads: Gauge::new("unfinished uploads", MAX_UPLOADS / part),
            bytes: Gauge::new("bytes of unfinished uploads", MAX_UPLOAD_BYTES / part),
            parts: Gauge::new("parts of unfinished uploads", MAX_UPLOAD_PARTS / part),
            reads: Semaphore::new(MAX_READS),
            held: Gauge::new("bytes of messages", MAX_HELD_BYTES),
        }
    }
}

/// What an upload has of the accounts of its repository and its scope.
#[derive(Debug)]
pub struct Holding {
    _uploads: [Share; 2],
    bytes: [Share; 2],
    parts: [Share; 2],
}

impl Holding {
    /// That of a new upload, if there may be one.
    pub fn open(accounts: &Accounts, name: &Name) -> Result<Self, Error> {
        let repository = accounts.repository(&name.repository);
        let scope = accounts.scope(&name.repository, &name.scope);
        Ok(Self {
            _uploads: [repository.uploads.take(1)?, scope.uploads.take(1)?],
            bytes: [repository.bytes.take(0)?, scope.bytes.take(0)?],
            parts: [repository.parts.take(0)?, scope.parts.take(0)?],
        })
    }

    /// Counts a part of `len` bytes.
    pub fn grow(&mut self, len: u64) -> Result<(), Error> {
        grow(&mut self.bytes, len)?;
        grow(&mut self.parts, 1).inspect_err(|_| shrink(&mut self.bytes, len))
    }

    /// The part of `len` bytes is gone.
    pub fn shrink(&mut self, len: u64) {
        shrink(&mut self.bytes, len);
        shrink(&mut self.parts, 1);
    }
}

fn grow([first, second]: &mut [Share; 2], amount: u64) -> Result<(), Error> {
    first.grow(amount)?;
    second.grow(amount).inspect_err(|_| first.shrink(amount))
}

fn shrink(shares: &mut [Share; 2], amount: u64) {
    for share in shares {
        share.shrink(amount);
    }
}

/// Counts something up to a limit.
#[derive(Debug)]
pub struct Gauge {
    what: &'static str,
    limit: u64,
    used: AtomicU64,
}

/// A part of what a gauge counts; given back when it is dropped.
#[derive(Debug)]
pub struct Share {
    of: Arc<Gauge>,
    amount: u64,
}

impl Gauge {
    /// Nothing of `what`, of which there may be `limit`.
    pub fn new(what: &'static str, limit: u64) -> Arc<Self> {
        Arc::new(Self {
            what,
            limit,
            used: AtomicU64::new(0),
        })
    }

    /// So much of it, if there is so much left.
    pub fn take(self: &Arc<Self>, amount: u64) -> Result<Share, Error> {
        let mut share = Share {
            of: Arc::clone(self),
            amount: 0,
        };
        share.grow(amount)?;
        Ok(share)
    }
}

impl Share {
    /// Takes more, if there is so much left.
    pub fn grow(&mut self, amount: u64) -> Result<(), Error> {
        let Gauge { what, limit, used } = &*self.of;
        let more = |used: u64| used.checked_add(amount).filter(|sum| sum <= limit);
        used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .map_err(|_| Error::Busy {
                what,
                limit: *limit,
            })?;
        self.amount += amount;
        Ok(())
    }

    /// Gives some of it back.
    pub fn shrink(&mut self, amount: u64) {
        let amount = amount.min(self.amount);
        self.of.used.fetch_sub(amount, Ordering::Relaxed);
        self.amount -= amount;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.shrink(self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_given_back_and_never_more_than_there_is() {
        let gauge = Gauge::new("things", 10);
        let mut first = gauge.take(6).unwrap();
        assert!(gauge.take(5).is_err());
        let second = gauge.take(4).unwrap();
        assert!(first.grow(1).is_err());
        first.shrink(100);
        drop(second);
        assert!(gauge.take(u64::MAX).is_err());
        gauge.take(10).unwrap();
        gauge.take(10).unwrap();
    }

    #[test]
    fn each_repository_and_each_scope_has_its_own() {
        let accounts = Accounts::default();
        let half = MAX_UPLOADS / SCOPES_SHARE;
        let taken = accounts.scope("o/r", "a").uploads.take(half);
        assert!(accounts.scope("o/r", "a").uploads.take(1).is_err());
        accounts.scope("o/r", "b").uploads.take(1).unwrap();
        accounts.repository("o/r").uploads.take(1).unwrap();
        accounts.repository("o/s").uploads.take(1).unwrap();
        drop(taken);
        accounts.scope("o/r", "a").uploads.take(1).unwrap();
    }
}
