//! The gateway on buildkitd's socket: clients in front, stock buildkitd behind.
//!
//! A call comes in at a [`listener`], [`connection`] asks [`routes`] what becomes of it: [`proxy`]
//! passes it as it is, [`intercept`] lets the [`Interceptor`] change it, [`session`] splices it.
//! [`pump`] moves the bytes of all of them. [`supervise`] runs buildkitd as a child.

mod backends;
mod board;
mod builds;
mod config;
mod connection;
mod default_cache;
mod edit;
pub mod endpoint;
mod entry;
mod exports;
pub mod frame;
pub mod front;
pub mod grpc;
mod head;
mod http2;
mod import_name;
mod imports;
mod intake;
mod intercept;
pub mod interceptor;
mod io;
mod listener;
mod own_manifest;
mod proxy;
mod pump;
mod resets;
pub mod rewrite;
mod routes;
mod scrub;
mod serve;
pub mod session;
mod sessions;
mod state;
mod status;
pub mod supervise;
mod upstream;

use std::{sync::Arc, time::Duration};

pub use config::{
    CONFIG_VARIABLE, Config, DefaultCache, ImportTransport, InterceptorConfig, SECRET_VARIABLES,
};
use connection::Shared;
pub use front::BuildInterceptor;
pub use grpc::{Code, GrpcStatus};
pub use interceptor::{Finish, Interceptor, Solve, StatusEditor};
pub use listener::BindError;
use listener::Listener;
pub use state::State;

use tracing::Instrument as _;

use crate::{
    http1::ConnectionLimiter,
    lifecycle::{Tasks, share_of_files},
    net::Address,
    telemetry::spans,
};

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
        let shared = Shared {
            upstream: config.upstream,
            interceptor,
            resets: Arc::default(),
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
        let seats = ConnectionLimiter::new(MAX_CLIENTS.min(share_of_files(FILES)));
        let accepting = self
            .listeners
            .iter()
            .map(|listener| accept(listener, &seats, &self.shared));
        let accepting = futures_util::future::join_all(accepting);
        tokio::select! {
            _ = accepting => {}
            () = self.shared.tasks.shutdown().cancelled() => {}
        }
    }
}

async fn accept(listener: &Listener, seats: &Arc<ConnectionLimiter>, shared: &Shared) {
    loop {
        let accepted = listener.accept().await;
        seats.room().await;
        match accepted {
            Ok((incoming, peer)) => {
                let seat = seats.take();
                let span = spans::connection(&peer);
                let serve = connection::serve(incoming.open(), peer, seat, shared.clone());
                let serve = serve.instrument(span);
                shared.tasks.spawn("client connection", serve);
            }
            Err(error) => {
                tracing::warn!(address = %listener.address(), %error, "cannot accept a client");
                seats.shed();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
