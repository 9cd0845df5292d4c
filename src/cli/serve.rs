//! `buildkit-gha serve`: the embedded Actions cache service.

use std::{io, iter, path::PathBuf, pin::pin, process::ExitCode, time::Duration};

use clap::{ArgAction, Args, Subcommand, builder::BoolishValueParser};
use url::Url;

use super::{
    budgets::BudgetFlags, database::Database, exit::fail, front::FrontFlags, logging::Logging,
    migrate::Migrate, page::PageFlags, rate_limits::RateLimitFlags, serve_traces,
};
use crate::{
    lifecycle::{ENDING, Signals, Tasks, raise_file_limit},
    net::Listen,
    service::{
        self, Config, Service,
        config::{
            AuditTarget, DEFAULT_DRAIN_TIMEOUT, DEFAULT_RESERVATION_AGE, DEFAULT_URL_TTL, Identity,
            IssuerUrl, KeysUrl, StoreUrl, TrustedIssuer, TrustedRepository,
        },
    },
    units::duration,
};

/// How long transfers in flight may take once the service was asked to end.
const GRACE: Duration = Duration::from_secs(10);

/// Runs an Actions cache service of its own: v1, v2, signed blob URLs and the REST listing.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Serve {
    #[command(subcommand)]
    command: Option<ServeCommand>,

    /// Where to listen; port 0 takes a free one, `:3000` all interfaces. The address is printed
    /// when it is bound.
    #[arg(long, env = "BUILDKIT_GHA_LISTEN", default_value = "127.0.0.1:3000")]
    listen: Listen,

    /// Where entries and the secret are kept; created when missing.
    #[arg(
        long,
        env = "BUILDKIT_GHA_DATA_DIR",
        value_name = "DIR",
        required = true
    )]
    data_dir: Option<PathBuf>,

    #[command(flatten)]
    database: Database,

    /// Where the content is kept: `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`, with keys
    /// and endpoints in the variables of the provider (`AWS_*`, `GOOGLE_*`, `AZURE_*`), which need `--database`; or
    /// `file:///DIRECTORY`, which processes with one `--database` share (default: files in the data directory).
    #[arg(
        long,
        env = "BUILDKIT_GHA_STORE",
        value_name = "URL",
        value_parser = StoreUrl::parse
    )]
    store: Option<StoreUrl>,

    /// Sends clients to the bucket for what they read, by URLs that the provider has signed, and to Azure for what they
    /// write, too (on, off). They must reach it.
    #[arg(
        long, env = "BUILDKIT_GHA_DIRECT", value_name = "SWITCH", default_value = "off", default_missing_value = "on",
        num_args = 0..=1, action = ArgAction::Set, value_parser = BoolishValueParser::new()
    )]
    direct: bool,

    /// The URL under which other replicas of the same database reach this one: what a client sends to one of them about
    /// an upload that another takes is sent on. With TLS a name that the certificate has (default: the address
    /// on which it listens, or else this machine's).
    #[arg(long, env = "BUILDKIT_GHA_ADVERTISE", value_name = "URL", value_parser = base_url)]
    advertise: Option<Url>,

    /// The URL under which clients reach the service, for signed URLs (default: each request's Host).
    #[arg(long, env = "BUILDKIT_GHA_BASE_URL", value_name = "URL", value_parser = base_url)]
    base_url: Option<Url>,

    /// The certificate of the service, and those above it, in PEM: it speaks TLS then. It is read again
    /// when it changes.
    #[arg(
        long,
        env = "BUILDKIT_GHA_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,

    /// The private key of the certificate, in PEM.
    #[arg(
        long,
        env = "BUILDKIT_GHA_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,

    /// An issuer whose runtime tokens are good here, beside the service's own: `https://token.actions.githubusercontent.com`,
    /// or `https://HOSTNAME/_services/token` of a GitHub Enterprise Server; may be repeated, or be a list with commas.
    #[arg(
        long,
        env = "BUILDKIT_GHA_TRUST_ISSUER",
        value_name = "URL",
        value_delimiter = ','
    )]
    trust_issuer: Vec<IssuerUrl>,

    /// Where the keys of these issuers are, in the same order (default: where the issuer says, in
    /// `/.well-known/openid-configuration`, or else its /.well-known/jwks).
    #[arg(
        long,
        env = "BUILDKIT_GHA_JWKS_URL",
        value_name = "URL",
        value_delimiter = ',',
        requires = "trust_issuer"
    )]
    jwks_url: Vec<KeysUrl>,

    /// A repository of these issuers that may use the service, by its id (`gh api repos/OWNER/NAME --jq .id`), or as
    /// HOST/ID where issuers share ids; may be repeated, or be a list with commas (default: all of them).
    #[arg(
        long,
        env = "BUILDKIT_GHA_TRUST_REPOSITORY",
        value_name = "ID",
        value_delimiter = ',',
        requires = "trust_issuer"
    )]
    trust_repository: Vec<TrustedRepository>,

    #[command(flatten)]
    front: FrontFlags,

    /// Whether each request is a line of the log (on, off).
    #[arg(
        long, env = "BUILDKIT_GHA_ACCESS_LOG", value_name = "SWITCH", default_value = "on",
        action = ArgAction::Set, value_parser = BoolishValueParser::new()
    )]
    access_log: bool,

    /// A file to which each deletion, eviction and refusal is written as a line of JSON, or `-` for standard output. It
    /// may be moved away at any time (default: none, the log has them).
    #[arg(long, env = "BUILDKIT_GHA_AUDIT_LOG", value_name = "FILE")]
    audit_log: Option<AuditTarget>,

    /// How long a signed URL is good for (default: 1h).
    #[arg(long, env = "BUILDKIT_GHA_URL_TTL", value_name = "DURATION", value_parser = duration::parse_positive)]
    url_ttl: Option<Duration>,

    /// After how long without activity an unfinished upload is given up (default: 15m).
    #[arg(long, env = "BUILDKIT_GHA_RESERVATION_AGE", value_name = "DURATION", value_parser = duration::parse_positive)]
    reservation_age: Option<Duration>,

    /// How long to wait, once asked to end, for uploads that go on (default: 15s); new ones are refused meanwhile, and
    /// /healthz says 503.
    #[arg(long, env = "BUILDKIT_GHA_DRAIN_TIMEOUT", value_name = "DURATION", value_parser = duration::parse)]
    drain_timeout: Option<Duration>,

    #[command(flatten)]
    budgets: BudgetFlags,

    #[command(flatten)]
    rate_limits: RateLimitFlags,

    #[command(flatten)]
    page: PageFlags,

    #[command(flatten)]
    logging: Logging,
}

/// What can be done beside serving.
#[derive(Debug, Subcommand)]
enum ServeCommand {
    Migrate(Box<Migrate>),
}

impl Serve {
    /// Whether it is `serve migrate`.
    pub(super) fn is_migration(&self) -> bool {
        self.command.is_some()
    }

    /// Where and what it logs.
    pub(super) fn logging(&self) -> Logging {
        match &self.command {
            Some(ServeCommand::Migrate(migrate)) => migrate.logging.clone(),
            None => self.logging.clone(),
        }
    }

    /// Serves until SIGTERM or SIGINT, or runs the subcommand.
    pub fn run(self) -> ExitCode {
        if let Some(ServeCommand::Migrate(migrate)) = self.command {
            return migrate.run();
        }
        let runtime = match tokio::runtime::Runtime::new() {
            Ok(runtime) => runtime,
            Err(error) => return fail(&error),
        };
        match runtime.block_on(self.serve()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        }
    }

    async fn serve(self) -> io::Result<()> {
        let listen = self.listen;
        let drain_timeout = self.drain_timeout.unwrap_or(DEFAULT_DRAIN_TIMEOUT);
        if let Err(error) = raise_file_limit() {
            tracing::warn!(%error, "the limit of open files stays");
        }
        let database = self.database.parse()?;
        if self.direct && !matches!(self.store, Some(StoreUrl::Bucket(_))) {
            return Err(io::Error::other(
                "--direct needs a bucket (--store): nothing else is reached by others",
            ));
        }
        let trusted_issuers = trusted_issuers(self.trust_issuer, self.jwks_url)?;
        let identity = |(certificate, key)| Identity { certificate, key };
        let config = Config {
            tls: self.tls_cert.zip(self.tls_key).map(identity),
            // It is required.
            data_dir: self.data_dir.unwrap_or_default(),
            database,
            store: self.store,
            direct: self.direct,
            advertise: self.advertise,
            base_url: self.base_url,
            trusted_issuers,
            trusted_repositories: self.trust_repository,
            forgejo_secret: self.front.forgejo_secret()?,
            gitea_secret: self.front.gitea_secret()?,
            trusted_proxies: self.front.trusted_proxy,
            proxy_protocol: self.front.proxy_protocol,
            upstream_results: self.front.upstream_results_url,
            page: self.page.page,
            access_log: self.access_log,
            audit_log: self.audit_log,
            budgets: self.budgets.budgets(),
            rate_limits: self.rate_limits.rate_limits(),
            url_ttl: self.url_ttl.unwrap_or(DEFAULT_URL_TTL),
            reservation_age: self.reservation_age.unwrap_or(DEFAULT_RESERVATION_AGE),
        };
        let service = Service::open(config, service::system_clock())
            .await
            .map_err(io::Error::other)?;
        let listener = (listen.bind().await)
            .map_err(|error| io::Error::other(format!("cannot listen on {listen}: {error}")))?;
        let mut signals = Signals::listen(&ENDING)?;
        let local = listener.local_addr()?;
        service.check_upstream(local).map_err(io::Error::other)?;
        service::warn_if_in_clear(local, &service);
        service::warn_if_open(&service);
        println!("listening on {}://{local}", service.scheme());

        let tasks = Tasks::default();
        if let Some(tracer) = serve_traces::start(service.metrics().spans(), &tasks) {
            service.record_with(tracer);
        }
        let mut serving = pin!(service::serve(listener, service.clone(), &tasks));
        tokio::select! {
            served = &mut serving => served?,
            _ = signals.next() => {}
        }
        tokio::select! {
            served = &mut serving => served?,
            left = service.finish_uploads(drain_timeout) => if left > 0 {
                tracing::warn!(uploads = left, "uploads in progress are given up (--drain-timeout)");
            },
            _ = signals.next() => {}
        }
        tokio::select! {
            drained = tasks.drain(GRACE) => if !drained {
                tracing::warn!("some transfers were cut off");
            },
            _ = signals.next() => {}
        }
        if let Err(error) = service.close().await {
            tracing::warn!(%error, "what is under way could not be ended");
        }
        Ok(())
    }
}

/// Issuers with the addresses of their keys, if there are any.
fn trusted_issuers(issuers: Vec<IssuerUrl>, keys: Vec<KeysUrl>) -> io::Result<Vec<TrustedIssuer>> {
    if !keys.is_empty() && keys.len() != issuers.len() {
        let message = format!(
            "--jwks-url: there are {} for {} of --trust-issuer: give one for each, in the same order, or none",
            keys.len(),
            issuers.len()
        );
        return Err(io::Error::other(message));
    }
    let keys = keys.into_iter().map(Some).chain(iter::repeat(None));
    let trusted = issuers.into_iter().zip(keys);
    let trusted = trusted.map(|(issuer, keys)| TrustedIssuer { issuer, keys });
    Ok(trusted.collect())
}

/// Why `--base-url` cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum BaseUrlError {
    #[error(transparent)]
    Parse(#[from] url::ParseError),
    #[error("it must be an http or https URL without a query")]
    Kind,
}

fn base_url(text: &str) -> Result<Url, BaseUrlError> {
    let url = Url::parse(text)?;
    let usable = matches!(url.scheme(), "http" | "https") && url.query().is_none();
    usable.then_some(url).ok_or(BaseUrlError::Kind)
}
