//! The gateway on buildkitd's socket: clients in front, stock buildkitd behind.
//!
//! | module | what |
//! |---|---|
//! | `transport` | HTTP/2 and gRPC's framing between a client and buildkitd |
//! | `interceptor` | where transport and build meet: the traits of whoever changes calls |
//! | `session` | `Control.Session`, so that calls inside of it can be answered |
//! | `build` | what becomes of a build's cache options, and what its log says |
//! | `endpoint` | the loopback endpoint that buildkitd imports from |
//! | `supervise` | buildkitd as a child |
//! | `health` | gRPC's health checks, for the gateway and buildkitd |
//! | `dispatch` | which of them carries a call |

mod build;
mod config;
mod dispatch;
pub(crate) mod endpoint;
mod health;
mod interceptor;
mod session;
pub(crate) mod supervise;
mod transport;

use std::{sync::Arc, time::Duration};

pub(crate) use build::{Activity, BuildInterceptor};
pub use config::{
    CONFIG_VARIABLE, Config, DefaultCache, ImportTransport, InterceptorConfig, SECRET_VARIABLES,
};
use dispatch::Client;
use health::HealthService;
pub use interceptor::{
    Code, Daemon, GrpcStatus, Interceptor, RewrittenSolve, SolveCompletion, StatusEditor,
};
pub use transport::listener::BindError;
use transport::{
    connection,
    listener::{self, Listener},
    upstream::Upstream,
};

pub(crate) use transport::unary::UnaryClient;

use tracing::Instrument as _;

pub use crate::telemetry::trace::Tracer;

use crate::{
    http1::ConnectionLimiter,
    lifecycle::{Tasks, share_of_files},
    net::Address,
    telemetry::{spans, trace::ConnectionTrace},
};

/// What fuzz targets and benches reach of the inside.
pub mod internals {
    pub use super::{build::rewrite, session::bytes_message, transport::frame};
}

/// How long to wait after the system refused a connection, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections of clients in all. A build has two or three; a farm's builder has some hundred builds.
const MAX_CLIENTS: usize = 4096;

/// They take at most this part of the files that the process may have open: each may need as many to
/// buildkitd, and layers need theirs.
const FILES: u64 = 4;

/// A gateway whose addresses are bound.
pub struct Gateway {
    listeners: Vec<Listener>,
    shared: Shared,
}

/// What all connections share.
struct Shared {
    upstream: Address,
    interceptor: Arc<dyn Interceptor>,
    connections: connection::ConnectionContext,
    health: Arc<HealthService>,
    tasks: Tasks,
    tracer: Tracer,
}

impl Gateway {
    /// Binds all addresses. Clients that connect wait until [`Gateway::run`].
    pub async fn bind(
        config: Config,
        interceptor: Arc<dyn Interceptor>,
        tasks: Tasks,
    ) -> Result<Self, BindError> {
        let tls = config.tls.as_ref().map(listener::acceptor).transpose()?;
        let mut listeners = Vec::new();
        for address in &config.listen {
            listeners.push(Listener::bind(address, config.owner, tls.as_ref()).await?);
        }
        let health = HealthService {
            daemon: Arc::new(UnaryClient::new(config.upstream.clone())),
            interceptor: Arc::clone(&interceptor),
            tasks: tasks.clone(),
        };
        let shared = Shared {
            upstream: config.upstream,
            interceptor,
            health: Arc::new(health),
            tracer: config.tracer,
            connections: connection::ConnectionContext {
                resets: Arc::default(),
                drain: tasks.shutdown().clone(),
            },
            tasks,
        };
        Ok(Self { listeners, shared })
    }

    /// The bound addresses, with the ports that the system chose.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.listeners.iter().map(Listener::address)
    }

    /// Serves until shutdown is asked for; then takes no more connections, and the open ones end
    /// with their last calls, which [`Tasks::drain`] waits for.
    pub async fn run(self) {
        let limiter = ConnectionLimiter::new(MAX_CLIENTS.min(share_of_files(FILES)));
        let accepting = self
            .listeners
            .iter()
            .map(|listener| accept(listener, &limiter, &self.shared));
        let accepting = futures_util::future::join_all(accepting);
        tokio::select! {
            _ = accepting => {}
            () = self.shared.tasks.shutdown().cancelled() => {}
        }
    }
}

async fn accept(listener: &Listener, limiter: &Arc<ConnectionLimiter>, shared: &Shared) {
    loop {
        let accepted = listener.accept().await;
        limiter.ready().await;
        match accepted {
            Ok((incoming, peer)) => {
                let permit = limiter.acquire();
                let span = spans::connection(&peer);
                let client = Arc::new(Client {
                    upstream: Upstream::new(shared.upstream.clone(), shared.tasks.clone()),
                    interceptor: Arc::clone(&shared.interceptor),
                    health: Arc::clone(&shared.health),
                    tasks: shared.tasks.clone(),
                    tracer: shared.tracer.clone(),
                    trace: ConnectionTrace::new(&shared.tracer, &peer),
                });
                let call = move |request, respond| Arc::clone(&client).call(request, respond);
                let connections = shared.connections.clone();
                let serve = connection::serve(incoming.open(), peer, permit, connections, call);
                let serve = serve.instrument(span);
                shared.tasks.spawn("client connection", serve);
            }
            Err(error) => {
                tracing::warn!(address = %listener.address(), %error, "cannot accept a client");
                limiter.evict_oldest();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
