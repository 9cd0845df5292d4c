//! An open service: its parts, and how requests reach the rules.

use std::{
    fs::File,
    future::Future,
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::{
    api_error::ApiError,
    audit::AuditLog,
    blocking::{run_blocking, run_rule},
    clock::Clock,
    config::Config,
    data_dir::Lock,
    entries::Entries,
    forgejo::ForgejoKey,
    gitea::GiteaJobs,
    grant::Grant,
    issuer::Issuers,
    key::{MasterKey, new_secret},
    metrics::Metrics,
    open_error::OpenError,
    quotas::Quotas,
    rate_limits::RateLimiter,
    revocations::Revocations,
    sign::Signer,
    store_locations::StoreLocations,
    stores::LockedStores,
    stores_error::StoresError,
    tls,
    token::{MintError, NewToken, Tokens},
};
use crate::{protocol::scope::Scope, secret::Secret, telemetry::trace::Tracer};

/// An open service. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Service(Arc<Inner>);

struct Inner {
    config: Config,
    clock: Clock,
    tokens: Tokens,
    revocations: Revocations,
    issuers: Issuers,
    forgejo: Option<ForgejoKey>,
    gitea: Option<GiteaJobs>,
    signer: Signer,
    metrics: Metrics,
    quotas: Arc<Quotas>,
    rate_limiter: RateLimiter,
    /// Turns of searches, of all repositories.
    searches: Semaphore,
    entries: Arc<Entries>,
    audit: Arc<AuditLog>,
    tls: Option<TlsAcceptor>,
    /// Records requests, if somebody wants their spans.
    tracer: OnceLock<Tracer>,
    /// Whether the process takes no new uploads, since it is about to end.
    ending: AtomicBool,
    /// Held for as long as the service is open: two processes on one directory would not know of
    /// each other's uploads.
    _lock: File,
}

impl Service {
    /// Has requests recorded from now on, unless they are already.
    pub fn record_with(&self, tracer: Tracer) {
        // The first one stays.
        let _ = self.0.tracer.set(tracer);
    }

    /// What records requests.
    pub(super) fn tracer(&self) -> Option<&Tracer> {
        self.0.tracer.get()
    }

    /// Opens a data directory, creating it if there is none.
    pub async fn open(config: Config, clock: Clock) -> Result<Self, OpenError> {
        let tls = config.tls.clone().map(tls::acceptor).transpose()?;
        let issuers = Issuers::new(
            &config.trusted_issuers,
            &config.trusted_repositories,
            &clock,
        )?;
        let locations = StoreLocations::from(&config);
        let opened = locations.open(Lock::Shared).await?;
        let LockedStores {
            stores,
            pairing,
            lock,
        } = opened;
        let unusable = |error| OpenError::new(error, locations);
        let secret = new_secret().map_err(|error| unusable(StoresError::DataDir(error.into())))?;
        let secret = pairing.confirm(secret).await.map_err(unusable)?;
        let master = MasterKey::from_hex(&secret);
        let master = master.ok_or_else(|| unusable(StoresError::Secret))?;
        let audit = open_audit_log(&config, &clock).await?;
        let revocations = Revocations::new(Arc::clone(&stores.tokens), Arc::clone(&clock));
        let (gitea_secret, tokens) = (config.gitea_secret.clone(), Arc::clone(&stores.tokens));
        let quotas = Arc::<Quotas>::default();
        let budgets = config.budgets;
        let metrics = Metrics::new(config.content_dir(), budgets);
        let entries = Entries::new(
            stores.metered(metrics.engines()),
            Arc::clone(&clock),
            Arc::clone(&quotas),
            Arc::clone(&audit),
            budgets,
        );
        let service = Self(Arc::new(Inner {
            tokens: Tokens::new(&master),
            revocations,
            issuers,
            forgejo: config.forgejo_secret.as_ref().map(ForgejoKey::new),
            gitea: gitea_secret.map(|secret| GiteaJobs::new(secret, tokens)),
            signer: Signer::new(&master),
            metrics,
            quotas,
            rate_limiter: RateLimiter::new(config.rate_limits, Arc::clone(&clock)),
            searches: Semaphore::new(entries.max_searches()),
            entries: Arc::new(entries),
            audit,
            tls,
            tracer: OnceLock::new(),
            ending: AtomicBool::new(false),
            config,
            clock,
            _lock: lock,
        }));
        let recover = |entries: Arc<Entries>| async move { entries.recover().await };
        let recovered = service.run(recover).await;
        recovered.map_err(|error| OpenError::unusable(&service.config().data_dir, error))?;
        Ok(service)
    }

    /// Ends what the stores have under way, when no request is in flight any more.
    pub async fn close(&self) -> Result<(), ApiError> {
        self.audit().tell_left_out().await;
        self.run(async |entries| entries.close().await).await
    }

    /// A token that this service accepts, from now on for `ttl`.
    pub fn mint_token(
        &self,
        repository: &str,
        scopes: &[Scope],
        ttl: Duration,
    ) -> Result<Secret, MintError> {
        self.mint(NewToken {
            grant: Grant::Cache {
                repository: repository.to_owned(),
                scopes: scopes.to_vec(),
            },
            ttl,
            name: None,
        })
    }

    /// The same for any token. It is in no list of tokens, so that nobody can revoke it.
    pub fn mint(&self, new: NewToken) -> Result<Secret, MintError> {
        Ok(self.0.tokens.mint(new, self.now())?.secret)
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

    pub(super) fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }

    pub(super) fn issuers(&self) -> &Issuers {
        &self.0.issuers
    }

    /// What verifies jobs of Forgejo, if the service takes them.
    pub(super) fn forgejo(&self) -> Option<&ForgejoKey> {
        self.0.forgejo.as_ref()
    }

    /// The jobs of Gitea, if the service takes them.
    pub(super) fn gitea(&self) -> Option<&GiteaJobs> {
        self.0.gitea.as_ref()
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

    pub(super) fn rate_limiter(&self) -> &RateLimiter {
        &self.0.rate_limiter
    }

    pub(super) fn quotas(&self) -> &Quotas {
        &self.0.quotas
    }

    pub(super) fn now(&self) -> Timestamp {
        (self.0.clock)()
    }

    pub(super) fn audit(&self) -> &AuditLog {
        &self.0.audit
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

async fn open_audit_log(config: &Config, clock: &Clock) -> Result<Arc<AuditLog>, OpenError> {
    let (target, clock) = (config.audit_log.clone(), Arc::clone(clock));
    let name = target.as_ref().map(ToString::to_string);
    let opened = run_blocking(move || AuditLog::open(target.as_ref(), clock)).await;
    let unusable = |error| OpenError::AuditLog(name.unwrap_or_default(), error);
    opened.map(Arc::new).map_err(unusable)
}
