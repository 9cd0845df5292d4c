//! The composition root of the gateway: every part is made here and given what it needs.

use std::{ffi::OsString, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use rustix::process::Signal;
use tokio::signal::unix::SignalKind;

use crate::{
    actions::{Http, HttpConfig, HttpError},
    cache::{Cache, Settings},
    config::{Address, Buildkitd, GatewayConfig},
    gateway::{
        self, BindError, BuildInterceptor, Gateway, InterceptorConfig,
        endpoint::{
            self, Endpoint,
            tls::{Identity, TlsError},
        },
        supervise::{self, Child, ChildSignals, StartError, Trust},
    },
    lifecycle::{Signals, Tasks},
};

mod imports;
mod life;

use imports::Way;
use life::Life;

/// How long calls may take after the last build and after buildkitd: what is left then are answers
/// on their way.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Signals that buildkitd may get. The first two ask for the end and come to it last, see
/// [`life`]; the others go to it as they are.
const FORWARDED: [(SignalKind, Signal); 6] = [
    (SignalKind::terminate(), Signal::TERM),
    (SignalKind::interrupt(), Signal::INT),
    (SignalKind::hangup(), Signal::HUP),
    (SignalKind::quit(), Signal::QUIT),
    (SignalKind::user_defined1(), Signal::USR1),
    (SignalKind::user_defined2(), Signal::USR2),
];

/// A gateway that is ready to serve, with the buildkitd behind it.
pub struct App {
    gateway: Gateway,
    life: Life,
}

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// buildkitd does not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// An address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The HTTP client cannot be made.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The spool folder cannot be used.
    #[error("cannot keep spool files in {0}: {1}; BUILDKIT_GHA_SPOOL_DIR names another folder")]
    Spool(PathBuf, io::Error),
    /// The endpoint cannot listen.
    #[error("cannot listen on {0} for imports: {1}; --import-listen names another address")]
    Endpoint(SocketAddr, io::Error),
    /// The endpoint cannot speak TLS.
    #[error("imports: {0}")]
    Tls(TlsError),
    /// Signals cannot be listened for.
    #[error("cannot listen for signals: {0}")]
    Signals(io::Error),
}

impl App {
    /// Makes all parts, starts buildkitd, waits until it answers, and only then binds the
    /// addresses of clients. `via` is the command that ties buildkitd's life to ours.
    pub async fn build(config: GatewayConfig, via: &[OsString]) -> Result<Self, BuildError> {
        let kinds = FORWARDED.map(|(kind, _)| kind);
        let mut signals = Signals::listen(&kinds).map_err(BuildError::Signals)?;
        let tasks = Tasks::default();
        say_which_cache(&config);
        let identity = imports::identity(&config)?;
        let cache = cache(&config, &tasks)?;
        let endpoint = endpoint(&config, identity.as_ref(), &tasks).await?;
        let mut child = match &config.buildkitd {
            Buildkitd::Child { program, args } => {
                let trust = identity.as_ref().map(|identity| Trust {
                    certificate: identity.pem(),
                    folders: config.imports.certificate_folders.clone(),
                });
                Some(Child::start(via, program, args, trust.as_ref())?)
            }
            Buildkitd::Running(address) => {
                supervise::warn_if_silent(address).await;
                None
            }
        };
        if let Some(child) = &mut child {
            let leash = child.signals();
            let answers = child.wait_until_ready();
            relaying(&mut signals, answers, |kind| forward(leash, kind)).await?;
        }
        let upstream = match (&child, &config.buildkitd) {
            (Some(child), _) => child.address().clone(),
            (None, Buildkitd::Running(address)) => address.clone(),
            (None, Buildkitd::Child { .. }) => unreachable!("a child was started for it"),
        };
        let steps_share = supervise::steps_share_network(&upstream).await;
        let way = imports::choose(config.imports.way, endpoint.url(), steps_share);
        imports::warn(&config, way, steps_share);
        let front = Arc::new(BuildInterceptor::new(
            front_settings(&config, way),
            cache,
            endpoint,
        ));
        let drain = config.limits.drain;
        let config = gateway::Config {
            listen: config.listen,
            owner: config.owner,
            tls: config.tls,
            upstream,
        };
        let interceptor = Arc::clone(&front);
        let gateway = Gateway::bind(config, interceptor, tasks.clone()).await?;
        let life = Life {
            child,
            front,
            signals,
            tasks,
            drain,
        };
        Ok(Self { gateway, life })
    }

    /// Where clients come in.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.gateway.addresses()
    }

    /// Serves until buildkitd ends, by itself or asked to by a signal after its last build; its
    /// exit code is the answer. With `--upstream`, until that signal and the last build.
    pub async fn run(self) -> u8 {
        let Self { gateway, life } = self;
        let tasks = life.tasks.clone();
        tasks.spawn("gateway", gateway.run());
        let code = life.run().await;
        if !tasks.drain(LAST_ANSWERS).await {
            tracing::warn!("some calls were cut off");
        }
        code
    }
}

/// Runs `work` to its end, and `on_signal` for every signal that comes meanwhile.
async fn relaying<T>(
    signals: &mut Signals,
    work: impl Future<Output = T>,
    on_signal: impl Fn(SignalKind),
) -> T {
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            kind = signals.next() => on_signal(kind),
        }
    }
}

fn forward(leash: ChildSignals, kind: SignalKind) {
    tracing::info!(
        signal = kind.as_raw_value(),
        "passing a signal on to buildkitd"
    );
    for (_, signal) in FORWARDED.iter().filter(|(known, _)| *known == kind) {
        leash.signal(*signal);
    }
}

/// An operator who has set a cache up should see whether builds will have it.
fn say_which_cache(config: &GatewayConfig) {
    let Some(url) = config.overrides.service.url() else {
        return;
    };
    let who = if config.default_cache.is_some() {
        "all builds have this cache, those that name none of type gha by BUILDKIT_GHA_DEFAULT_CACHE"
    } else {
        "builds that name a cache of type gha have this one, and others none: \
         BUILDKIT_GHA_DEFAULT_CACHE is not set"
    };
    tracing::info!(url = url.origin().ascii_serialization(), "{who}");
}

fn cache(config: &GatewayConfig, tasks: &Tasks) -> Result<Cache, BuildError> {
    let http = Http::new(&HttpConfig {
        budgets: config.limits.budgets,
        ..HttpConfig::default()
    })?;
    let mut settings = Settings::new(config.spool_dir.clone());
    settings.signed = config.signed;
    config.limits.apply(&mut settings);
    Cache::new(settings, http, tasks.clone())
        .map_err(|error| BuildError::Spool(config.spool_dir.clone(), error))
}

async fn endpoint(
    config: &GatewayConfig,
    identity: Option<&Identity>,
    tasks: &Tasks,
) -> Result<Endpoint, BuildError> {
    let (listen, url) = (config.imports.listen, config.imports.url.clone());
    Endpoint::bind(listen, url, identity, endpoint::STALL_TIMEOUT, tasks)
        .await
        .map_err(|error| BuildError::Endpoint(listen, error))
}

fn front_settings(config: &GatewayConfig, way: Way) -> InterceptorConfig {
    InterceptorConfig {
        overrides: config.overrides.clone(),
        default_cache: config.default_cache.clone(),
        signed: config.signed,
        import: way.import,
        steps_can_listen: way.overheard,
        index_wait: (config.limits.index_wait)
            .unwrap_or_else(|| InterceptorConfig::default().index_wait),
    }
}
