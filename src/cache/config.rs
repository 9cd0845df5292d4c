//! The limits of the cache, each with its default and the reason for it.

use std::time::Duration;

use crate::{actions::ClientConfig, telemetry::Metrics};

/// Bytes that exports may keep on disk until the service has them. A repository's cache holds
/// 10 GB, so a larger export could not stay there anyway.
pub const EXPORT_SPOOL_BYTES: u64 = 10 << 30;

/// Bytes of fetched layers that may be on disk until BuildKit has read them. BuildKit pulls four
/// layers at once, so this allows four of 2 GiB; a larger layer waits for its turn.
pub const IMPORT_SPOOL_BYTES: u64 = 8 << 30;

/// Free space that exports leave on the disk of the spool, at least: it is that of buildkitd's state
/// and of every build on the machine, and a cache must not fail a build. A step of a usual build
/// writes less.
pub const SPOOL_FREE_BYTES: u64 = 1 << 30;

/// The part of the disk that exports leave free, if that is more: one of so many. Larger disks have
/// larger builds.
pub const SPOOL_FREE_PART: u64 = 10;

/// What exports leave free at most: a large disk that is nearly full has room for a build and for the
/// layers under way beside it. A runner of GitHub has some 20 of 145 GB left when its job starts.
pub const SPOOL_FREE_MAX_BYTES: u64 = 4 << 30;

/// How long a writer waits for room in the spool before its layer is given up. Other builds of
/// the daemon wait behind it.
pub const SPOOL_WAIT: Duration = Duration::from_secs(1);

/// How long a proof that a blob exists is believed. Entries are evicted at any time; this bounds
/// how old the knowledge is on which an index is built.
pub const PROOF_AGE: Duration = Duration::from_mins(10);

/// Lookups of one job in flight. BuildKit asks for all layers of a record at once, without a
/// bound of its own; few builds have more layers than this, so they wait for one answer's time.
pub const PARALLEL_LOOKUPS: usize = 64;

/// How long somebody else's reservation is waited for before it is stepped over, from when it was
/// first seen. An upload that is alive finishes a layer of the usual size in that time; a second
/// upload of a larger one costs nothing but its bytes.
pub const UNFINISHED_GRACE: Duration = Duration::from_secs(15);

/// How long the lookups of one import may keep BuildKit waiting in all. After that what is not
/// answered at once is a miss and its step runs again, which costs about as much as waiting for a
/// throttled service.
pub const LOOKUP_WAIT: Duration = Duration::from_secs(30);

/// Size of one ranged read; as for the parts of uploads, latency is a quarter of its time on a
/// usual link.
pub const RANGE_BYTES: u64 = 4 << 20;

/// Ranged reads of the process in flight at most: with [`RANGE_BYTES`] each, they hold 64 MiB of
/// memory whatever is imported. How many there are is found out as they run.
pub const RANGES_IN_FLIGHT: usize = 16;

/// Content up to this size is fetched whole by the probe that proves it is there: it costs the
/// same request, and the bytes are verified before the layer is confirmed.
pub const SMALL_BYTES: u64 = 256 << 10;

/// Bytes of small content that one import keeps in memory between confirmation and pull.
pub const SMALL_MEMORY: u64 = 16 << 20;

/// How the cache works. One for the process.
#[derive(Clone)]
pub struct Config {
    /// See [`EXPORT_SPOOL_BYTES`].
    pub export_spool_bytes: u64,
    /// See [`IMPORT_SPOOL_BYTES`].
    pub import_spool_bytes: u64,
    /// What exports leave free on the disk; `None` is a [`SPOOL_FREE_PART`]th of it, from
    /// [`SPOOL_FREE_BYTES`] to [`SPOOL_FREE_MAX_BYTES`].
    pub spool_free: Option<u64>,
    /// See [`SPOOL_WAIT`].
    pub spool_wait: Duration,
    /// See [`PROOF_AGE`].
    pub proof_age: Duration,
    /// See [`UNFINISHED_GRACE`].
    pub unfinished_grace: Duration,
    /// See [`PARALLEL_LOOKUPS`].
    pub parallel_lookups: usize,
    /// See [`LOOKUP_WAIT`].
    pub lookup_wait: Duration,
    /// See [`RANGE_BYTES`].
    pub range_bytes: u64,
    /// See [`RANGES_IN_FLIGHT`].
    pub ranges_in_flight: usize,
    /// See [`SMALL_BYTES`].
    pub small_bytes: u64,
    /// buildkitd signs or verifies (`[cache.gha]` in its configuration): its indexes have names
    /// of their own.
    pub signed: bool,
    /// How the Actions client works.
    pub client: ClientConfig,
    /// Counts what is found, what is not, and what exports come to.
    pub metrics: Metrics,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            export_spool_bytes: EXPORT_SPOOL_BYTES,
            import_spool_bytes: IMPORT_SPOOL_BYTES,
            spool_free: None,
            spool_wait: SPOOL_WAIT,
            proof_age: PROOF_AGE,
            unfinished_grace: UNFINISHED_GRACE,
            parallel_lookups: PARALLEL_LOOKUPS,
            lookup_wait: LOOKUP_WAIT,
            range_bytes: RANGE_BYTES,
            ranges_in_flight: RANGES_IN_FLIGHT,
            small_bytes: SMALL_BYTES,
            signed: false,
            client: ClientConfig::default(),
            metrics: Metrics::default(),
        }
    }
}
