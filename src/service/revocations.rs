//! Which tokens were revoked, as far as this process knows. It asks the database again when a token comes and what it
//! knows is too old, once for all who wait.

use std::{collections::HashSet, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use parking_lot::RwLock;

use super::{
    api_error::ApiError,
    auth::Principal,
    auth_error::AuthError,
    clock::Clock,
    store::{StoreError, TokenStore},
};

/// How long what is known counts: a token that is revoked is refused everywhere after this time. One question in
/// ten seconds is nothing to any database, and nobody acts on a lost token faster than that.
const MAX_DELAY: SignedDuration = SignedDuration::from_secs(10);

/// How long what is known counts while the database does not answer. Nearly all that a token opens needs the database;
/// what does not are parts of uploads, which should outlive its restart.
const MAX_AGE: SignedDuration = SignedDuration::from_mins(5);

/// How long to wait for a database that has not answered before it is asked again.
const RETRY_INTERVAL: SignedDuration = SignedDuration::from_secs(5);

/// How long a token is still listed after it has ended: what it was for may be asked a month later.
const RETENTION: Duration = Duration::from_hours(30 * 24);

/// Which tokens were revoked.
pub(super) struct Revocations {
    store: Arc<dyn TokenStore>,
    clock: Clock,
    known: RwLock<Known>,
    /// Whoever asks the database has its turn.
    asking: tokio::sync::Mutex<()>,
}

/// What the database has answered.
#[derive(Debug, Default)]
struct Known {
    revoked: HashSet<String>,
    /// When it was asked for that.
    at: Option<Timestamp>,
    /// When it was last asked in vain, if it has not answered since.
    failed: Option<Timestamp>,
}

impl Known {
    /// Whether a token was revoked, if that was known less than `age` ago.
    fn answer(&self, id: &str, age: SignedDuration, now: Timestamp) -> Option<bool> {
        let is_fresh = is_within(age, self.at?, now);
        is_fresh.then(|| self.revoked.contains(id))
    }

    fn has_just_failed(&self, now: Timestamp) -> bool {
        let failed = self.failed;
        failed.is_some_and(|failed| is_within(RETRY_INTERVAL, failed, now))
    }
}

impl Revocations {
    /// Those of a store, of which nothing is known yet.
    pub(super) fn new(store: Arc<dyn TokenStore>, clock: Clock) -> Self {
        Self {
            store,
            clock,
            known: RwLock::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// Refuses a token that was revoked. One without an id cannot be.
    pub(super) async fn check(&self, principal: &Principal) -> Result<(), AuthError> {
        let Some(token) = principal.token() else {
            return Ok(());
        };
        match self.is_revoked(&token.id).await {
            Some(false) => Ok(()),
            Some(true) => Err(AuthError::Revoked(token.clone())),
            None => Err(AuthError::RevocationsUnavailable),
        }
    }

    /// `None` if that is not known.
    async fn is_revoked(&self, id: &str) -> Option<bool> {
        if let Some(answer) = self.known(id, MAX_DELAY) {
            return Some(answer);
        }
        let _turn = self.asking.lock().await;
        // Somebody may have asked meanwhile.
        if let Some(answer) = self.known(id, MAX_DELAY) {
            return Some(answer);
        }
        if !self.known.read().has_just_failed((self.clock)()) {
            self.ask().await;
        }
        self.known(id, MAX_AGE)
    }

    fn known(&self, id: &str, age: SignedDuration) -> Option<bool> {
        self.known.read().answer(id, age, (self.clock)())
    }

    async fn ask(&self) {
        // Before the question: what is revoked meanwhile may not be in the answer.
        let now = (self.clock)();
        match self.store.revoked(now).await {
            Ok(revoked) => {
                *self.known.write() = Known {
                    revoked,
                    at: Some(now),
                    failed: None,
                };
            }
            Err(error) => {
                self.warn(&error);
                self.known.write().failed = Some((self.clock)());
            }
        }
    }

    fn warn(&self, error: &StoreError) {
        let cause = error.message();
        let known_at = self.known.read().at.map(tracing::field::display);
        tracing::warn!(cause, known_at, "which tokens were revoked cannot be read");
    }

    /// Forgets tokens that ended long ago.
    pub(super) async fn forget_expired(&self) -> Result<(), ApiError> {
        let before = (self.clock)().checked_sub(RETENTION);
        let before = before.unwrap_or(Timestamp::MIN);
        let forgotten = self.store.forget_expired(before).await?;
        if forgotten > 0 {
            tracing::debug!(
                tokens = forgotten,
                "tokens that ended long ago are forgotten"
            );
        }
        Ok(())
    }
}

/// True if less than `age` has passed; false after a clock that was set back.
fn is_within(age: SignedDuration, since: Timestamp, now: Timestamp) -> bool {
    let passed = now.duration_since(since);
    !passed.is_negative() && passed < age
}

#[cfg(test)]
mod tests;
