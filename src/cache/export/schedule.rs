//! When the parts of an export must be done.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::Instant;

use super::expiry::warn_of_expiry;
use crate::{
    actions::{Client, Deadline},
    cache::report::Reporter,
};

/// Of an export's time, uploads may not use the last part: the index is still to be written.
/// One tenth, and no more than four calls need at a slow service.
const INDEX_SHARE: u32 = 10;
const INDEX_TIME: Duration = Duration::from_secs(20);

/// How long layers may take beyond the time of their export, while bytes move. Stock has no bound;
/// this one is how long a signed upload URL is good for at least.
pub(in crate::cache) const OVERTIME: Duration = Duration::from_hours(1);

/// The time of one export, which begins when BuildKit begins to write: the job is made before the
/// build's first step, which may take longer than any export.
pub(super) struct Schedule {
    client: Client,
    reporter: Arc<dyn Reporter>,
    /// The attribute `timeout=`.
    timeout: Duration,
    begun: OnceLock<Instant>,
}

impl Schedule {
    pub fn new(client: Client, reporter: Arc<dyn Reporter>, timeout: Duration) -> Self {
        Self {
            client,
            reporter,
            timeout,
            begun: OnceLock::new(),
        }
    }

    /// When the parts must be done; the time has begun with the first call.
    pub fn times(&self) -> Times {
        let begun = *self.begun.get_or_init(|| {
            warn_of_expiry(self.client.token(), self.reporter.as_ref(), self.timeout);
            Instant::now()
        });
        Times::new(&self.client, begun, self.timeout)
    }

    pub fn has_begun(&self) -> bool {
        self.begun.get().is_some()
    }

    /// How long it has lasted.
    pub fn elapsed(&self) -> Duration {
        self.begun.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    pub fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// When an export's parts must be done.
pub(super) struct Times {
    /// Every layer; those that are on their way go on while bytes move.
    pub uploads: Deadline,
    /// The index too, unless layers go on beyond this.
    pub all: Instant,
    /// What of it is the index's.
    index_share: Duration,
}

impl Times {
    fn new(client: &Client, begun: Instant, timeout: Duration) -> Self {
        let index_share = (timeout / INDEX_SHARE).min(INDEX_TIME);
        let uploads = begun + timeout.saturating_sub(index_share);
        Self {
            uploads: client.while_moving(uploads, OVERTIME),
            all: begun + timeout,
            index_share,
        }
    }

    /// When the index must be done, once the uploads have ended.
    pub fn index(&self) -> Instant {
        let now = Instant::now();
        if now > self.all {
            now + INDEX_TIME
        } else {
            self.all.max(now + self.index_share)
        }
    }
}
