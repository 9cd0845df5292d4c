//! The embedded Actions cache service: what GitHub's does, on a disk of one's own.
//!
//! | module | what it does |
//! |---|---|
//! | [`surface`] | one file per protocol (v1, v2, Azure blobs, REST): parse, call, answer |
//! | `entries` | the rules, without protocol and without SQL |
//! | `active_uploads`, `upload`, `extent`, `upload_file` | uploads in progress: in memory, and their bytes |
//! | `db`, `blobs` | what was committed: SQLite and content files |
//! | `data_dir` | whose the data directory is, and what stands in it |
//! | `ballast` | space that is set aside for a full disk |
//! | `auth`, `sign`, `key` | tokens and signed URLs, from one secret |
//! | `transfer` | bodies to files and back, in bounded memory |
//! | `gc`, `metrics`, `server` | garbage, counters, connections |
//! | `quotas` | what one repository may take of the service |
//! | `tls` | the certificate, read again when it changes |
//! | `network` | addresses of trusted proxies |
//!
//! [`Service::open`] and [`serve`] are all that a program or a test needs.

mod active_uploads;
mod api_error;
mod auth;
mod ballast;
mod blobs;
mod clock;
pub mod config;
mod data_dir;
mod db;
mod entries;
mod extent;
mod gc;
mod key;
mod metrics;
mod network;
mod quotas;
mod server;
mod sign;
mod surface;
mod tls;
mod transfer;
mod upload;
mod upload_file;

use std::{fs::File, io, path::Path, sync::Arc, time::Duration};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

pub use self::{
    api_error::{ApiError, ErrorKind},
    auth::{DEFAULT_REPOSITORY, MintError},
    clock::{Clock, system as system_clock},
    config::Config,
    metrics::Metrics,
    server::{serve, warn_if_in_clear},
    tls::TlsError,
};
use self::{
    auth::Tokens, data_dir::DataDir, entries::Entries, key::MasterKey, quotas::Quotas, sign::Signer,
};
use crate::{protocol::scope::Scope, secret::Secret};

/// An open service. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    config: Config,
    clock: Clock,
    tokens: Tokens,
    signer: Signer,
    metrics: Metrics,
    quotas: Arc<Quotas>,
    /// Searches of all repositories.
    searches: Semaphore,
    entries: Entries,
    tls: Option<TlsAcceptor>,
    /// Held for as long as the service is open: two processes on one directory would not know of
    /// each other's uploads.
    _lock: File,
}

/// Why a data directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("the data directory {0} is in use by another process")]
    InUse(String),
    /// It cannot be read or written.
    #[error("the data directory {path} cannot be used: {error}")]
    Unusable {
        /// The directory.
        path: String,
        /// What happened.
        error: ApiError,
    },
    /// Its certificate is of no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Service {
    /// Opens a data directory, creating it if there is none. Blocks for a moment.
    pub fn open(config: Config, clock: Clock) -> Result<Self, OpenError> {
        let path = config.data_dir.display().to_string();
        let unusable = |error: ApiError| OpenError::Unusable {
            path: path.clone(),
            error,
        };
        let tls = config.tls.clone().map(tls::acceptor).transpose()?;
        let dir = DataDir::open(&config.data_dir).map_err(|error| unusable(error.into()))?;
        let lock = lock_dir(&dir).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::InUse(path.clone()),
            _ => unusable(error.into()),
        })?;
        let master = MasterKey::load_or_create(&dir).map_err(|error| unusable(error.into()))?;
        let quotas = Arc::<Quotas>::default();
        let entries =
            Entries::open(&dir, Arc::clone(&clock), Arc::clone(&quotas)).map_err(unusable)?;
        Ok(Self(Arc::new(Inner {
            tokens: Tokens::new(&master),
            signer: Signer::new(&master),
            metrics: Metrics::default(),
            quotas,
            searches: Semaphore::new(db::SEARCHES),
            entries,
            tls,
            config,
            clock,
            _lock: lock,
        })))
    }

    /// A token that this service accepts, from now on for `ttl`.
    pub fn mint_token(
        &self,
        repository: &str,
        scopes: &[Scope],
        ttl: Duration,
    ) -> Result<Secret, MintError> {
        self.0.tokens.mint(repository, scopes, ttl, self.now())
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    fn config(&self) -> &Config {
        &self.0.config
    }

    fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    fn signer(&self) -> &Signer {
        &self.0.signer
    }

    /// What makes TLS connections, if the service speaks TLS.
    fn tls(&self) -> Option<&TlsAcceptor> {
        self.0.tls.as_ref()
    }

    /// What URLs of the service begin with.
    pub fn scheme(&self) -> &'static str {
        if self.tls().is_some() {
            "https"
        } else {
            "http"
        }
    }

    fn quotas(&self) -> &Quotas {
        &self.0.quotas
    }

    fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    /// Runs a search for `repository` in its turn. Each may read on and on; whoever has many of them
    /// waits for itself.
    async fn search<T: Send + 'static>(
        &self,
        repository: &str,
        work: impl FnOnce(&Entries) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let quota = self.quotas().repository(repository);
        // Neither is ever closed.
        let _own = quota.reads.acquire().await.map_err(io::Error::other)?;
        let _of_all = self.0.searches.acquire().await.map_err(io::Error::other)?;
        self.blocking(work).await
    }

    /// Runs `work` where it may block. It runs to its end even if nobody waits for it any more, so
    /// a client that leaves cannot interrupt a commit.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Entries) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let service = self.clone();
        tokio::task::spawn_blocking(move || work(&service.0.entries))
            .await
            .map_err(|error| io::Error::other(error.to_string()))?
    }
}

/// Mints a token for the service of `data_dir`, whether it is running or not.
pub fn mint_token(
    data_dir: &Path,
    repository: &str,
    scopes: &[Scope],
    ttl: Duration,
) -> Result<Secret, MintError> {
    let master = MasterKey::load_or_create(&DataDir::open_existing(data_dir)?)?;
    Tokens::new(&master).mint(repository, scopes, ttl, Timestamp::now())
}

#[cfg(test)]
mod tests;

fn lock_dir(data_dir: &DataDir) -> io::Result<File> {
    let file = data_dir.file("lock")?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}
