//! The keys of an issuer, kept: fetched before they are old, and when a token names one that is not known.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use jsonwebtoken::Header;
use tokio::{
    sync::{Notify, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{key_set::KeySet, key_source::KeySource};
use crate::service::clock::Clock;

/// After this time keys are fetched again: a key that the issuer takes back is good for no longer.
const REFRESH_AGE: Duration = Duration::from_hours(1);

/// How long keys stay good while the issuer does not answer. A job runs for six hours, and GitHub's keys for months;
/// but nobody could say that one was stolen.
const MAX_AGE: Duration = Duration::from_hours(24);

/// Least time between two fetches. Anybody may send tokens that name keys which do not exist.
const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// How often it is looked whether keys are old.
const CHECK_INTERVAL: Duration = Duration::from_mins(1);

/// How long a request waits for keys. `@actions/cache` gives up after 5 s.
const MAX_WAIT: Duration = Duration::from_secs(4);

/// The keys of one issuer. One task fetches them ([`KeyCache::refresh_until`]); all requests wait for the same fetch.
pub(super) struct KeyCache {
    source: KeySource,
    clock: Clock,
    state: watch::Sender<State>,
    wanted: Notify,
}

/// Why there is no key for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoKey {
    /// The issuer has no such key.
    Unknown,
    /// The issuer does not answer.
    Unavailable,
}

#[derive(Debug, Default)]
struct State {
    held: Option<CachedKeys>,
    /// How many fetches have ended, and when the last one has.
    attempts: u64,
    attempted: Option<Timestamp>,
    /// Whether it was in vain.
    failed: bool,
}

#[derive(Debug, Clone)]
struct CachedKeys {
    keys: Arc<KeySet>,
    fetched: Timestamp,
}

impl State {
    fn keys_for(&self, header: &Header, now: Timestamp) -> Result<Arc<KeySet>, NoKey> {
        let held = self.held.as_ref();
        let held = held.filter(|held| elapsed(held.fetched, now) < MAX_AGE);
        let held = held.ok_or(NoKey::Unavailable)?;
        if held.keys.candidates(header).next().is_some() {
            return Ok(Arc::clone(&held.keys));
        }
        // It may have come after what is held.
        Err(if self.failed {
            NoKey::Unavailable
        } else {
            NoKey::Unknown
        })
    }

    fn may_fetch(&self, now: Timestamp) -> bool {
        // After a clock that was set back, the last one is in the future.
        self.attempted
            .is_none_or(|last| last > now || elapsed(last, now) >= MIN_INTERVAL)
    }

    fn is_old(&self, now: Timestamp) -> bool {
        let held = self.held.as_ref();
        held.is_none_or(|held| elapsed(held.fetched, now) >= REFRESH_AGE)
    }
}

impl KeyCache {
    pub(super) fn new(source: KeySource, clock: Clock) -> Self {
        Self {
            source,
            clock,
            state: watch::Sender::default(),
            wanted: Notify::new(),
        }
    }

    /// Keys of which one at least is what `header` names. A key that is not known is waited for.
    pub(super) async fn keys_for(&self, header: &Header) -> Result<Arc<KeySet>, NoKey> {
        let now = (self.clock)();
        let attempts = {
            let state = self.state.borrow();
            match state.keys_for(header, now) {
                Err(_) if state.may_fetch(now) => state.attempts,
                answer => return answer,
            }
        };
        self.wanted.notify_one();
        let mut changes = self.state.subscribe();
        let fetched = changes.wait_for(|state| state.attempts > attempts);
        if timeout(MAX_WAIT, fetched).await.is_err() {
            return Err(NoKey::Unavailable);
        }
        self.state.borrow().keys_for(header, (self.clock)())
    }

    /// Fetches keys when they are old and when they are wanted, until `shutdown`.
    pub(super) async fn refresh_until(&self, shutdown: CancellationToken) {
        shutdown.run_until_cancelled(self.refresh()).await;
    }

    async fn refresh(&self) {
        loop {
            if self.state.borrow().is_old((self.clock)()) {
                self.fetch().await;
            }
            tokio::select! {
                () = self.wanted.notified() => self.fetch().await,
                () = sleep(CHECK_INTERVAL) => {}
            }
        }
    }

    /// Fetches them, unless that was done just now.
    async fn fetch(&self) {
        if !self.state.borrow().may_fetch((self.clock)()) {
            return;
        }
        let fetched = self.source.fetch().await;
        let now = (self.clock)();
        let failed_before = self.state.borrow().failed;
        match &fetched {
            Ok(_) => tracing::debug!("the keys of an issuer were fetched"),
            Err(error) if failed_before => {
                tracing::debug!(%error, "the keys of an issuer still cannot be fetched");
            }
            Err(error) => tracing::warn!(
                %error,
                "the keys of an issuer cannot be fetched: its tokens are good for as long as its old keys are"
            ),
        }
        self.state.send_modify(|state| {
            state.attempts += 1;
            state.attempted = Some(now);
            state.failed = fetched.is_err();
            if let Ok(keys) = fetched {
                state.held = Some(CachedKeys {
                    keys: Arc::new(keys),
                    fetched: now,
                });
            }
        });
    }
}

/// The time between two moments; none if the clock was set back.
fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(since)
        .try_into()
        .unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::Algorithm;

    use super::*;

    fn time(second: u64) -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap() + Duration::from_secs(second)
    }

    fn named(kid: &str) -> Header {
        Header {
            kid: Some(kid.to_owned()),
            ..Header::new(Algorithm::RS256)
        }
    }

    fn fetched(second: u64) -> State {
        let keys = br#"{"keys": [{"kty": "RSA", "kid": "known", "n": "AQAB", "e": "AQAB"}]}"#;
        State {
            held: Some(CachedKeys {
                keys: Arc::new(KeySet::parse(keys).unwrap()),
                fetched: time(second),
            }),
            attempts: 1,
            attempted: Some(time(second)),
            failed: false,
        }
    }

    #[test]
    fn keys_are_fetched_again_long_before_they_are_too_old() {
        let state = fetched(0);
        let (old, too_old) = (REFRESH_AGE.as_secs(), MAX_AGE.as_secs());
        assert!(!state.is_old(time(old - 1)));
        assert!(state.is_old(time(old)));
        state.keys_for(&named("known"), time(too_old - 1)).unwrap();
        let late = state.keys_for(&named("known"), time(too_old));
        assert_eq!(late.unwrap_err(), NoKey::Unavailable);
        assert!(State::default().is_old(time(0)));
    }

    #[test]
    fn a_key_that_nobody_can_be_asked_for_may_exist() {
        let mut state = fetched(0);
        let unknown = state.keys_for(&named("new"), time(1)).unwrap_err();
        assert_eq!(unknown, NoKey::Unknown);
        state.failed = true;
        let unknown = state.keys_for(&named("new"), time(1)).unwrap_err();
        assert_eq!(unknown, NoKey::Unavailable);
        state.keys_for(&named("known"), time(1)).unwrap();
    }

    #[test]
    fn fetches_keep_their_distance() {
        let state = fetched(100);
        let least = MIN_INTERVAL.as_secs();
        assert!(!state.may_fetch(time(100 + least - 1)));
        assert!(state.may_fetch(time(100 + least)));
        assert!(state.may_fetch(time(0)), "the clock was set back");
        assert!(!state.is_old(time(0)));
        assert!(State::default().may_fetch(time(0)));
    }
}
