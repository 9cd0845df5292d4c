use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use async_trait::async_trait;
use futures_util::future::join_all;
use parking_lot::Mutex;

use super::*;
use crate::service::store::TokenRecord;

const START: i64 = 1_800_000_000;

/// A database that may be away, and counts what it is asked.
#[derive(Debug, Default)]
struct Database {
    revoked: Mutex<HashSet<String>>,
    away: Mutex<bool>,
    asked: AtomicUsize,
}

#[async_trait]
impl TokenStore for Database {
    async fn record(&self, _token: &TokenRecord) -> Result<(), StoreError> {
        unimplemented!("nobody records here")
    }

    async fn tokens(&self) -> Result<Vec<TokenRecord>, StoreError> {
        unimplemented!("nobody lists here")
    }

    async fn token(&self, _: &str) -> Result<Option<TokenRecord>, StoreError> {
        unimplemented!("nobody asks for one here")
    }

    async fn revoke(&self, _: &str, _: Timestamp) -> Result<Vec<TokenRecord>, StoreError> {
        unimplemented!("nobody revokes here")
    }

    async fn revoked(&self, _now: Timestamp) -> Result<HashSet<String>, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        // Others come meanwhile.
        tokio::task::yield_now().await;
        if *self.away.lock() {
            return Err(std::io::Error::other("it is away").into());
        }
        Ok(self.revoked.lock().clone())
    }

    async fn forget_expired(&self, _before: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }
}

/// What a process knows of a database, and its clock.
struct Process {
    revocations: Revocations,
    database: Arc<Database>,
    now: Arc<AtomicI64>,
}

impl Process {
    fn start() -> Self {
        let database = Arc::<Database>::default();
        let now = Arc::new(AtomicI64::new(START));
        let clock: Clock = {
            let now = Arc::clone(&now);
            Arc::new(move || Timestamp::from_second(now.load(Ordering::SeqCst)).unwrap())
        };
        Self {
            revocations: Revocations::new(Arc::clone(&database) as _, clock),
            database,
            now,
        }
    }

    fn revoke(&self, id: &str) {
        self.database.revoked.lock().insert(id.to_owned());
    }

    fn set_away(&self, away: bool) {
        *self.database.away.lock() = away;
    }

    fn advance(&self, by: SignedDuration) {
        self.now.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    fn asked(&self) -> usize {
        self.database.asked.load(Ordering::SeqCst)
    }

    async fn is_revoked(&self, id: &str) -> Option<bool> {
        self.revocations.is_revoked(id).await
    }
}

#[tokio::test]
async fn a_revocation_is_known_within_ten_seconds() {
    let process = Process::start();
    assert_eq!(process.is_revoked("a").await, Some(false));
    process.revoke("a");
    process.advance(MAX_DELAY - SignedDuration::from_secs(1));
    assert_eq!(process.is_revoked("a").await, Some(false), "not known yet");
    process.advance(SignedDuration::from_secs(1));
    assert_eq!(process.is_revoked("a").await, Some(true));
    assert_eq!(process.is_revoked("b").await, Some(false));
    assert_eq!(process.asked(), 2);
}

#[tokio::test]
async fn many_at_once_ask_once() {
    let process = Process::start();
    process.revoke("a");
    let answers = join_all((0..100).map(|_| process.is_revoked("a"))).await;
    assert!(answers.iter().all(|answer| *answer == Some(true)));
    assert_eq!(process.asked(), 1);
}

#[tokio::test]
async fn what_is_known_counts_for_some_minutes_without_the_database() {
    let process = Process::start();
    process.revoke("a");
    assert_eq!(process.is_revoked("a").await, Some(true));
    process.set_away(true);
    process.advance(MAX_AGE - SignedDuration::from_secs(1));
    for _ in 0..10 {
        assert_eq!(process.is_revoked("a").await, Some(true));
        assert_eq!(process.is_revoked("b").await, Some(false));
    }
    assert_eq!(process.asked(), 2, "it is not asked again at once");
    process.advance(SignedDuration::from_secs(1));
    assert_eq!(process.is_revoked("b").await, None);
    process.set_away(false);
    process.advance(RETRY_INTERVAL);
    assert_eq!(process.is_revoked("b").await, Some(false));
}

#[tokio::test]
async fn a_clock_that_was_set_back_makes_nothing_fresh() {
    let process = Process::start();
    assert_eq!(process.is_revoked("a").await, Some(false));
    process.revoke("a");
    process.advance(-SignedDuration::from_hours(1));
    assert_eq!(process.is_revoked("a").await, Some(true));
}
