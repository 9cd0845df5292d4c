//! What an operator may choose about the service, and the limits that nobody may pass.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::{Resource, getrlimit};
use url::Url;

use crate::{protocol::block_list::MAX_BLOCKS, secret::Secret};

pub use super::{
    audit::AuditTarget,
    budgets::{Budgets, DEFAULT_LOW_WATER, Limit},
    issuer::{IssuerUrl, KeysUrl, TrustedIssuer, TrustedRepository, UrlError},
    network::Network,
    rate_limits::RateLimits,
    store::{BucketUrl, DatabaseUrl, DatabaseUrlError, StoreUrl, StoreUrlError},
    tls::Identity,
    upstream::{UpstreamUrl, UpstreamUrlError},
};

/// How long a signed blob URL opens its door. Clients renew an expired one by a new lookup; an hour
/// lets one URL carry even a slow transfer of a large layer.
pub const DEFAULT_URL_TTL: Duration = Duration::from_hours(1);

/// How long a reservation without any upload activity keeps its key taken. What GitHub waits is
/// not known. BuildKit gives a whole export ten minutes, so an upload that has been silent for
/// longer has lost its owner, and its key is in the way of the next build.
pub const DEFAULT_RESERVATION_AGE: Duration = Duration::from_mins(15);

/// How long a process that is asked to end waits for uploads that go on: what orchestrators give a process is 30 s, and
/// transfers in flight have some of it after this.
pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// After how long without activity an upload is not waited for when the process ends: clients that go on pause for
/// less.
pub(super) const DRAIN_IDLE: Duration = Duration::from_secs(5);

/// How often a process that ends looks whether uploads go on.
pub(super) const DRAIN_POLL: Duration = Duration::from_millis(100);

/// How often abandoned reservations and stray files are collected.
pub(super) const COLLECT_INTERVAL: Duration = Duration::from_mins(10);

/// How often entries are compared that came since: until then what is equal takes its room twice.
pub(super) const SHARE_INTERVAL: Duration = COLLECT_INTERVAL;

/// How long the URL of a redirect to the store is good: whoever follows one does so at once.
pub(super) const REDIRECT_TTL: Duration = Duration::from_mins(5);

/// For how many days it is kept what has happened in each repository: a quarter, of which people compare the months.
pub(super) const ACTIVITY_DAYS: u32 = 90;

/// How often a process says that what it has reserved is still its own: four times in the life of a lease, so that a
/// database may be away for most of a minute.
pub(super) const RENEW_INTERVAL: Duration = Duration::from_secs(15);

/// Most reservations that are open at once: they live in memory, and each holds a file, until they
/// are finished.
pub(super) const MAX_OPEN_UPLOADS: usize = 10_000;

/// Most of them for one repository: an image of a thousand layers can be exported from two branches at
/// once.
pub(super) const MAX_UPLOADS: u64 = 2_000;

/// What one scope may have of a repository's uploads, their bytes and parts: a half. A pull request
/// leaves the rest to others.
pub(super) const SCOPES_SHARE: u64 = 2;

/// Most requests of one repository that are answered at once: a quarter of all connections. A build has
/// a few dozen.
pub(super) const MAX_REQUESTS: u64 = 512;

/// Most bytes of one repository that lie on the disk and belong to no entry yet. GitHub's whole cache
/// of a repository has 10 GB.
pub(super) const MAX_UPLOAD_BYTES: u64 = 64 << 30;

/// Most parts of which they may consist. Each costs some 150 bytes of memory; clients send parts of
/// megabytes.
pub(super) const MAX_UPLOAD_PARTS: u64 = 200_000;

/// Most lookups and listings of one repository that read the database at once. One that goes through
/// many keys takes milliseconds, and others must find a connection meanwhile.
pub(super) const MAX_READS: usize = 4;

/// Most bytes of messages and block lists of one repository that wait in memory to become whole: one
/// block list of the largest kind and thousands of usual messages.
pub(super) const MAX_HELD_BYTES: u64 = 16 << 20;

/// Most parts of one upload: what Azure allows in a block list.
pub(super) const MAX_PARTS: usize = MAX_BLOCKS;

/// Largest part of an upload: what Azure allows for one block (4000 MiB).
pub(super) const MAX_PART_BYTES: u64 = 4000 << 20;

/// Largest blob that is put in one request: what Azure allows (5000 MiB).
pub(super) const MAX_PUT_BYTES: u64 = 5000 << 20;

pub(super) use crate::protocol::key::MAX_LOOKUP_KEYS;

/// As many as `most` if the process may open so many files that each can have `files`: the smaller
/// the limit of the system, the fewer there are.
pub(super) fn affordable(most: usize, files: u64) -> usize {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(limit / files).map_or(most, |affordable| affordable.min(most))
}

/// Where the service keeps its things and how it behaves.
#[derive(Debug, Clone)]
pub struct Config {
    /// Database, content and secret, or what of these is not elsewhere, and what is on its way to a bucket. Created
    /// when missing; one process at a time.
    pub data_dir: PathBuf,
    /// A database elsewhere, which has the secret then, too; `None` for one in the data directory.
    pub database: Option<DatabaseUrl>,
    /// Where the content is; `None` for files in the data directory. A bucket needs a database elsewhere.
    pub store: Option<StoreUrl>,
    /// Whether clients are given URLs of the bucket.
    pub direct: bool,
    /// Where other replicas reach this process; `None` takes where it listens.
    pub advertise: Option<Url>,
    /// What signed URLs begin with; `None` takes the `Host` of each request, or what a trusted
    /// proxy says it was.
    pub base_url: Option<Url>,
    /// The certificate that it shows; without one it speaks plain HTTP.
    pub tls: Option<Identity>,
    /// Issuers whose runtime tokens are good here, beside the service's own.
    pub trusted_issuers: Vec<TrustedIssuer>,
    /// Which of their repositories may use the service; all if none is named.
    pub trusted_repositories: Vec<TrustedRepository>,
    /// What the proxies of Forgejo's runners prove with that they speak for a job; `None` believes none.
    pub forgejo_secret: Option<Secret>,
    /// What Gitea's runners show that tell of their jobs; `None` takes none.
    pub gitea_secret: Option<Secret>,
    /// Proxies whose `X-Forwarded-` headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// Proxies whose connections begin with a header of the PROXY protocol.
    pub proxy_protocol: Vec<Network>,
    /// Where requests go that are not for the cache; `None` answers 404.
    pub upstream_results: Option<UpstreamUrl>,
    /// Whether the page for administrators is served.
    pub page: bool,
    /// Whether each request is a line of the log.
    pub access_log: bool,
    /// Where the audit log goes, beside the log of the process.
    pub audit_log: Option<AuditTarget>,
    /// What entries may take before some are evicted.
    pub budgets: Budgets,
    /// How often one repository may ask.
    pub rate_limits: RateLimits,
    /// How long signed URLs live.
    pub url_ttl: Duration,
    /// After how long without activity a reservation is given up.
    pub reservation_age: Duration,
}

impl Config {
    /// The defaults for a data directory.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            ..Self::default()
        }
    }

    /// The directory of the content, or of what is on its way to a bucket.
    pub(super) fn content_dir(&self) -> &Path {
        match &self.store {
            Some(StoreUrl::Directory(path)) => path,
            _ => &self.data_dir,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            // None that is good for all: whoever opens a service says where.
            data_dir: PathBuf::new(),
            // Needs nothing to be set up.
            database: None,
            store: None,
            // Not all clients reach the bucket.
            direct: false,
            // What it listens on, or the address by which this machine reaches others.
            advertise: None,
            // What a client has reached us by is what it can reach us by again.
            base_url: None,
            // A certificate is somebody's choice; `warn_if_in_clear` says when one is missed.
            tls: None,
            // All whom GitHub gives tokens would be let in.
            trusted_issuers: Vec::new(),
            // Of an enterprise server all are somebody's own. For GitHub `warn_if_open` says what that means.
            trusted_repositories: Vec::new(),
            // Whoever has no Forgejo and no Gitea has no secret of them.
            forgejo_secret: None,
            gitea_secret: None,
            // Anybody can write the headers of a proxy.
            trusted_proxies: Vec::new(),
            // Such a header is read from those that are named, and from nobody else.
            proxy_protocol: Vec::new(),
            // Whom tokens are sent to is somebody's choice.
            upstream_results: None,
            // It shows nothing without an administrator's token.
            page: true,
            // What people ask for first when a build misses its cache.
            access_log: true,
            // Its events are in the log of the process, too.
            audit_log: None,
            // What is the right share of a disk is its owner's to say.
            budgets: Budgets::default(),
            // Whoever runs the service has no reason to slow builds down, but to try what GitHub does.
            rate_limits: RateLimits::default(),
            url_ttl: DEFAULT_URL_TTL,
            reservation_age: DEFAULT_RESERVATION_AGE,
        }
    }
}
