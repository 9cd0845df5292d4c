//! What the gateway has in hand: counted for its log, and waited for when it is to end.

use std::fmt;

use super::interceptor::BuildInterceptor;
use crate::{
    cache::Usage,
    stats::{FailedExports, UnfinishedExport},
};

/// What the gateway has in hand at a moment. All but `connections` is 0 when no client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Activity {
    /// Builds in flight.
    pub builds: usize,
    /// Their cache exports that have begun and are not done.
    pub exports: usize,
    /// Cache exports that go on after their builds.
    pub pending: usize,
    /// Layers that are on their way to the cache.
    pub uploads: usize,
    /// Sessions of clients.
    pub sessions: usize,
    /// Connections of buildkitd to the loopback endpoint, which it keeps for a while when idle.
    pub connections: usize,
    /// Handles of the loopback endpoint.
    pub handles: usize,
    /// Bytes in the spools.
    pub spool: Usage,
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |count: usize, what: &str| match count {
            1 => format!("1 {what}"),
            count => format!("{count} {what}s"),
        };
        let (builds, exports) = (
            count(self.builds, "build"),
            count(self.exports, "cache export"),
        );
        write!(f, "{builds}, {exports}")?;
        match self.pending {
            0 => Ok(()),
            pending => write!(
                f,
                ", {} of builds that have ended",
                count(pending, "cache export")
            ),
        }
    }
}

impl BuildInterceptor {
    /// Refuses builds from now on. Those in flight go on.
    pub fn close(&self) {
        self.builds.close();
    }

    /// True once builds are refused.
    pub fn is_closed(&self) -> bool {
        self.builds.is_closed()
    }

    /// Returns when no build is in flight and no export goes on after its build. Once builds are refused, none
    /// begins meanwhile.
    pub async fn idle(&self) {
        self.builds.idle().await;
        self.cache.none_pending().await;
    }

    /// The exports whose index is not written yet: those that go on after their builds first.
    pub fn unfinished_exports(&self) -> Vec<UnfinishedExport> {
        let mut exports = self.cache.pending();
        exports.extend(self.builds.exports());
        exports
    }

    /// How many exports have failed so far.
    pub fn failed_exports(&self) -> FailedExports {
        self.builds.failed_exports()
    }

    /// What there is now.
    pub fn activity(&self) -> Activity {
        Activity {
            builds: self.builds.count(),
            exports: self.builds.exports().len(),
            pending: self.cache.pending_count(),
            uploads: self.cache.uploads_pending(),
            sessions: self.sessions.count(),
            connections: self.builds.endpoint().connections(),
            handles: self.builds.endpoint().handles(),
            spool: self.cache.usage(),
        }
    }
}
