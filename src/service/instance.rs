//! An open service: its parts, and how requests reach the rules.

use std::{
    fs::File,
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::{
    api_error::ApiError,
    auth::{MintError, Tokens},
    blocking::{run_blocking, run_rule},
    clock::Clock,
    config::{Config, DatabaseUrl},
    data_dir::DataDir,
    entries::Entries,
    issuer::{Issuers, IssuersError},
    key::MasterKey,
    metrics::Metrics,
    quotas::Quotas,
    sign::Signer,
    store::PostgresStore,
    stores::{StoreLocations, Stores, StoresError},
    tls::{self, TlsError},
};
use crate::{protocol::scope::Scope, secret::Secret};

/// An open service. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    config: Config,
    clock: Clock,
    tokens: Tokens,
    issuers: Issuers,
    signer: Signer,
    metrics: Metrics,
    quotas: Arc<Quotas>,
    /// Turns of searches, of all repositories.
    searches: Semaphore,
    entries: Arc<Entries>,
    tls: Option<TlsAcceptor>,
    /// Whether the process takes no new uploads, since it is about to end.
    ending: AtomicBool,
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
    /// The database cannot be reached or used.
    #[error("the database cannot be used: {0}")]
    Database(String),
    /// The bucket cannot be reached or used.
    #[error("the store {store} cannot be used: {message}")]
    Bucket {
        /// Where it is.
        store: String,
        /// What happened, in the provider's words.
        message: String,
    },
    /// There is a bucket and no database that replicas could share.
    #[error("--store needs --database: entries in the data directory would be lost with it")]
    BucketWithoutDatabase,
    /// The database has entries of another content.
    #[error(
        "the database {database} has the entries of other content than {path}: give each a database of its own"
    )]
    OtherContent {
        /// Where the database is.
        database: String,
        /// The directory, or the place in a bucket.
        path: String,
    },
    /// Its certificate is of no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Issuers of tokens cannot be trusted so.
    #[error(transparent)]
    Issuers(#[from] IssuersError),
}

impl Service {
    /// Opens a data directory, creating it if there is none.
    pub async fn open(config: Config, clock: Clock) -> Result<Self, OpenError> {
        let path = config.data_dir.display().to_string();
        let unusable = |error: ApiError| OpenError::Unusable {
            path: path.clone(),
            error,
        };
        let tls = config.tls.clone().map(tls::acceptor).transpose()?;
        let issuers = Issuers::new(
            &config.trusted_issuers,
            &config.trusted_repositories,
            &clock,
        )?;
        let opened = open_dir(config.data_dir.clone()).await;
        let dir = opened.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => OpenError::InUse(path.clone()),
            _ => unusable(error.into()),
        })?;
        let quotas = Arc::<Quotas>::default();
        let locations = StoreLocations {
            database: config.database.as_ref(),
            bucket: config.store.as_ref(),
            direct: config.direct,
        };
        let opened = Stores::open(dir.data_dir, locations).await;
        let (stores, master) = opened.map_err(|error| stores_error(error, &config))?;
        let budgets = config.budgets;
        let entries = Entries::new(stores, Arc::clone(&clock), Arc::clone(&quotas), budgets);
        let service = Self(Arc::new(Inner {
            tokens: Tokens::new(&master),
            issuers,
            signer: Signer::new(&master),
            metrics: Metrics::new(&config.data_dir, budgets),
            quotas,
            searches: Semaphore::new(entries.max_searches()),
            entries: Arc::new(entries),
            tls,
            ending: AtomicBool::new(false),
            config,
            clock,
            _lock: dir.lock,
        }));
        let recover = |entries: Arc<Entries>| async move { entries.recover().await };
        service.run(recover).await.map_err(unusable)?;
        Ok(service)
    }

    /// Ends what the stores have under way, when no request is in flight any more.
    pub async fn close(&self) -> Result<(), ApiError> {
        self.run(async |entries| entries.close().await).await
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

    pub(super) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(super) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    pub(super) fn issuers(&self) -> &Issuers {
        &self.0.issuers
    }

    pub(super) fn signer(&self) -> &Signer {
        &self.0.signer
    }

    /// The acceptor of TLS connections, if the service speaks TLS.
    pub(super) fn tls(&self) -> Option<&TlsAcceptor> {
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

    pub(super) fn ending(&self) -> &AtomicBool {
        &self.0.ending
    }

    /// Refuses what a process that is about to end does not begin any more.
    pub(super) fn check_not_ending(&self) -> Result<(), ApiError> {
        if self.ending().load(Ordering::Relaxed) {
            return Err(ApiError::ending());
        }
        Ok(())
    }

    pub(super) fn quotas(&self) -> &Quotas {
        &self.0.quotas
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    /// The entries, for what needs no store.
    pub(super) fn entries(&self) -> &Entries {
        &self.0.entries
    }

    /// Runs a search for `repository` in its turn. Each may read on and on; whoever has many of them
    /// waits for itself.
    pub(super) async fn search<T, F>(
        &self,
        repository: &str,
        rule: impl FnOnce(Arc<Entries>) -> F + Send + 'static,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ApiError>>,
    {
        let quota = self.quotas().repository(repository);
        // Neither is ever closed.
        let _own = quota.reads.acquire().await.map_err(io::Error::other)?;
        let _of_all = self.0.searches.acquire().await.map_err(io::Error::other)?;
        self.run(rule).await
    }

    /// Runs a rule to its end, even if nobody waits for it any more: a client that leaves cannot interrupt
    /// a commit.
    pub(super) async fn run<T, F>(
        &self,
        rule: impl FnOnce(Arc<Entries>) -> F + Send + 'static,
    ) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ApiError>>,
    {
        let service = self.clone();
        run_rule(move || {
            let rule = rule(Arc::clone(&service.0.entries));
            // The lock of the directory is held until the rule has ended.
            async move {
                let _service = service;
                rule.await
            }
        })
        .await
    }
}

fn stores_error(error: StoresError, config: &Config) -> OpenError {
    let path = config.data_dir.display().to_string();
    let store = config.store.as_ref().map(ToString::to_string);
    let database = config.database.as_ref().map(DatabaseUrl::location);
    match error {
        StoresError::DataDir(error) => OpenError::Unusable {
            path,
            error: error.into(),
        },
        StoresError::Database(error) => OpenError::Database(error.message()),
        StoresError::Secret => OpenError::Database("its secret is damaged".to_owned()),
        StoresError::Bucket(error) => OpenError::Bucket {
            store: store.unwrap_or_default(),
            message: error.message(),
        },
        StoresError::BucketWithoutDatabase => OpenError::BucketWithoutDatabase,
        StoresError::OtherContent => OpenError::OtherContent {
            database: database.unwrap_or_default(),
            path: store.unwrap_or(path),
        },
    }
}

/// A data directory that is this process's own.
struct OpenedDir {
    data_dir: DataDir,
    lock: File,
}

async fn open_dir(path: PathBuf) -> io::Result<OpenedDir> {
    run_blocking(move || {
        let data_dir = DataDir::open(&path)?;
        Ok(OpenedDir {
            lock: lock_dir(&data_dir)?,
            data_dir,
        })
    })
    .await
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

/// Mints a token for the services of a database, whether one is running or not.
pub async fn mint_token_of_database(
    database: &DatabaseUrl,
    repository: &str,
    scopes: &[Scope],
    ttl: Duration,
) -> Result<Secret, MintError> {
    let secret = PostgresStore::existing_secret(database).await;
    let secret = secret.map_err(|error| MintError::Database(error.message()))?;
    let master = secret.as_ref().and_then(MasterKey::from_hex);
    let master = master.ok_or(MintError::NoDatabaseSecret)?;
    Tokens::new(&master).mint(repository, scopes, ttl, Timestamp::now())
}

fn lock_dir(data_dir: &DataDir) -> io::Result<File> {
    let file = data_dir.file("lock")?;
    flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}
