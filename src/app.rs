//! The composition root of the gateway: every part is made here and given what it needs.

use std::{ffi::OsString, sync::Arc, time::Duration};

use crate::{
    actions::{Http, HttpConfig},
    admin::start as start_admin,
    cache::{self, Cache},
    config::{Buildkitd, GatewayConfig, ModuleConfigs},
    gateway::{
        self, BuildInterceptor, Gateway, UnaryClient,
        endpoint::{self, Endpoint, tls::Identity},
        supervise::{self, Child, Trust},
    },
    lifecycle::{Signals, Tasks},
    net::Address,
    telemetry::Metrics,
};

mod admin;
mod error;
mod imports;
mod lifecycle;
mod metrics;
mod signals;
mod traces;

use admin::Operated;
pub use error::BuildError;
use lifecycle::Lifecycle;
use metrics::SpoolLimits;
pub use metrics::described as described_metrics;
use signals::{FORWARDED, forward_signal, run_with_signals};
use traces::{Destination, Recording};

/// How long calls may take after the last build and after buildkitd: what is left then are answers
/// on their way.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// A gateway that is ready to serve, with the buildkitd behind it.
pub struct App {
    gateway: Gateway,
    lifecycle: Lifecycle,
}

impl App {
    /// Makes all parts, starts buildkitd, waits until it answers, and only then binds the
    /// addresses of clients. `via` is the command that ties buildkitd's life to ours.
    pub async fn build(config: GatewayConfig, via: &[OsString]) -> Result<Self, BuildError> {
        let kinds = FORWARDED.map(|(kind, _)| kind);
        let mut signals = Signals::listen(&kinds).map_err(BuildError::Signals)?;
        let tasks = Tasks::default();
        log_operator_cache(&config.modules);
        let identity = imports::identity(&config)?;
        let metrics = Metrics::default();
        let recording = Recording::begin(config.traces.clone(), &metrics);
        let http = http(&config, &metrics)?;
        let cache = cache(&config, &metrics, http.clone(), &tasks)?;
        let limits = SpoolLimits {
            exports: config.modules.cache.export_spool_bytes,
            imports: config.modules.cache.import_spool_bytes,
        };
        let endpoint = endpoint(&config, identity.as_ref(), &tasks).await?;
        let child = start_buildkitd(&config, identity.as_ref(), via, &mut signals).await?;
        let upstream = match (&child, &config.buildkitd) {
            (Some(child), _) => child.address().clone(),
            (None, Buildkitd::Running(address)) => address.clone(),
            (None, Buildkitd::Child { .. }) => unreachable!("a child was started for it"),
        };
        let steps_share = supervise::steps_share_network(&upstream).await;
        let import = imports::choose(config.imports.transport, endpoint.url(), steps_share);
        imports::warn(&config, import, steps_share);
        let ModuleConfigs {
            drain,
            mut interceptor,
            ..
        } = config.modules;
        interceptor.import = import.transport;
        interceptor.steps_share_network = steps_share;
        interceptor.steps_can_listen = import.overheard;
        interceptor.tracer = recording.tracer.clone();
        interceptor.metrics = metrics.clone();
        let daemon = Arc::new(UnaryClient::new(upstream.clone()));
        let interceptor =
            BuildInterceptor::new(interceptor, cache, endpoint, daemon.clone(), tasks.clone());
        let interceptor = Arc::new(interceptor);
        metrics::register(&metrics, &interceptor, &http, limits);
        let admin = config.admin;
        let operated = Operated::new(&interceptor, &metrics, upstream.clone());
        let config = gateway::Config {
            listen: config.listen,
            owner: config.owner,
            tls: config.tls,
            upstream,
            tracer: recording.tracer.clone(),
        };
        let gateway = Gateway::bind(config, interceptor.clone(), tasks.clone()).await?;
        start_admin(&admin, Arc::new(operated), &tasks).await;
        let destination = Destination {
            daemon,
            is_child: child.is_some(),
            interceptor: Arc::clone(&interceptor),
        };
        recording.send_to(destination, &tasks);
        let lifecycle = Lifecycle {
            child,
            interceptor,
            signals,
            tasks,
            drain,
            metrics,
        };
        Ok(Self { gateway, lifecycle })
    }

    /// Where clients come in.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.gateway.addresses()
    }

    /// Serves until buildkitd ends, by itself or asked to by a signal after its last build; its
    /// exit code is the answer. With `--upstream`, until that signal and the last build.
    pub async fn run(self) -> u8 {
        let Self { gateway, lifecycle } = self;
        let tasks = lifecycle.tasks.clone();
        tasks.spawn("gateway", gateway.run());
        let code = lifecycle.run().await;
        if !tasks.drain(LAST_ANSWERS).await {
            tracing::warn!("some calls were cut off");
        }
        code
    }
}

/// Starts buildkitd and waits until it answers; `None` where one is running already.
async fn start_buildkitd(
    config: &GatewayConfig,
    identity: Option<&Identity>,
    via: &[OsString],
    signals: &mut Signals,
) -> Result<Option<Child>, BuildError> {
    let (program, args) = match &config.buildkitd {
        Buildkitd::Child { program, args } => (program, args),
        Buildkitd::Running(address) => {
            supervise::warn_if_silent(address).await;
            return Ok(None);
        }
    };
    let trust = identity.map(|identity| Trust {
        certificate: identity.pem(),
        folders: config.imports.certificate_folders.clone(),
    });
    let mut child = Child::start(via, program, args, trust.as_ref())?;
    let child_signals = child.signals();
    let answers = child.wait_until_ready();
    let forward = |kind| forward_signal(child_signals, kind);
    run_with_signals(signals, answers, forward).await?;
    Ok(Some(child))
}

/// An operator who has set a cache up should see whether builds will have it.
fn log_operator_cache(modules: &ModuleConfigs) {
    let Some(url) = modules.interceptor.overrides.service.url() else {
        return;
    };
    let who = if modules.interceptor.default_cache.is_some() {
        "all builds have this cache, those that name none of type gha by BUILDKIT_GHA_DEFAULT_CACHE"
    } else {
        "builds that name a cache of type gha have this one, and others none: \
         BUILDKIT_GHA_DEFAULT_CACHE is not set"
    };
    tracing::info!(url = url.origin().ascii_serialization(), "{who}");
}

fn http(config: &GatewayConfig, metrics: &Metrics) -> Result<Http, BuildError> {
    let http = Http::new(&HttpConfig {
        metrics: metrics.clone(),
        ..config.modules.http.clone()
    })?;
    Ok(http)
}

fn cache(
    config: &GatewayConfig,
    metrics: &Metrics,
    http: Http,
    tasks: &Tasks,
) -> Result<Cache, BuildError> {
    let dir = config.spool_dir.clone();
    let settings = cache::Config {
        metrics: metrics.clone(),
        ..config.modules.cache.clone()
    };
    Cache::new(dir, settings, http, tasks.clone())
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
