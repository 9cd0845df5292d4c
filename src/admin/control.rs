//! What the admin socket asks of the gateway.

use async_trait::async_trait;

use crate::stats::{FailedExports, Stats, UnfinishedExport};

/// The gateway as its operator sees it.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// Why it takes no builds now, in words; `None` if it takes them.
    async fn unready(&self) -> Option<String>;

    /// All metrics in the text form of Prometheus.
    fn metrics(&self) -> String;

    /// The last builds.
    fn stats(&self) -> Stats;

    /// Exports whose index is not written yet: those that go on after their builds, and those of builds
    /// in flight that have begun to write.
    fn unfinished(&self) -> Vec<UnfinishedExport>;

    /// How many exports have failed so far. One that fails is among them before it leaves the unfinished ones.
    fn failed(&self) -> FailedExports;

    /// Bytes of exports that are on disk.
    fn spool_bytes(&self) -> u64;
}
