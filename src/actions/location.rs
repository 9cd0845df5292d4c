//! Where an entry's bytes are: a signed URL that may expire.

use std::{fmt, sync::Arc};

use tokio::sync::{Mutex, MutexGuard};

use super::Kind;
use crate::secret::SecretUrl;

/// A signed URL, which is replaced when it has expired or stalls. Clones share it.
#[derive(Clone)]
pub struct Location(Arc<Mutex<SignedUrl>>);

#[derive(Clone)]
pub(super) struct SignedUrl {
    pub url: SecretUrl,
    pub state: UrlState,
}

/// What the last read with a URL told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum UrlState {
    Good,
    /// Nothing moved: another URL may lead elsewhere.
    Stalled,
    Expired,
}

impl Location {
    /// A location that was just learnt.
    pub(super) fn new(url: SecretUrl) -> Self {
        let state = UrlState::Good;
        Self(Arc::new(Mutex::new(SignedUrl { url, state })))
    }

    /// The URL, locked for as long as it takes to replace it.
    pub(super) async fn lock(&self) -> MutexGuard<'_, SignedUrl> {
        self.0.lock().await
    }

    /// Notes that a read with `url` failed, unless it has been replaced since.
    pub(super) async fn read_failed(&self, url: &SecretUrl, kind: &Kind) {
        let state = match kind {
            Kind::UrlExpired => UrlState::Expired,
            Kind::Timeout => UrlState::Stalled,
            _ => return,
        };
        let mut signed = self.0.lock().await;
        if signed.url == *url {
            signed.state = state;
        }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
