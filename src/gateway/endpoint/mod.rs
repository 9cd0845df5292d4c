//! The loopback endpoint: version 1 of the Actions cache API, for buildkitd alone.
//!
//! Stock's own `gha` importer reads from here, so its laziness, names and signature checks are
//! kept, while the real token never enters buildkitd. Exports that cannot stream over the
//! Content service (no session, or signing is on) are relayed through here as well.
//!
//! A buildkitd that the gateway starts is given a certificate to trust, and the endpoint speaks TLS
//! (ADR 40): build steps may listen on the loopback.
//!
//! ```text
//! https://127.0.0.1:<port>/<handle>/_apis/artifactcache/…   calls, with the handle's own token
//! https://127.0.0.1:<port>/<handle>/objects/<name>          downloads, without any
//! ```

mod api;
mod backend;
mod error;
mod handle;
mod idle_sweep;
mod objects;
mod router;
mod state;
pub mod tls;
pub(super) mod token;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::{net::TcpListener, sync::watch, time::Instant};
use tokio_util::task::TaskTracker;
use url::Url;

pub(crate) use backend::{Backend, BackendError, Body, ErrorKind, Found, Object, Readable};

use crate::{
    http1::{self, Limits},
    lifecycle::{TaskGuard, Tasks, share_of_files},
    protocol::scope::Scope,
    secret::{Secret, SecretUrl},
};
use handle::Handles;
use tls::Identity;

/// How long a reader may take nothing. buildkitd writes what it reads to its disk, which may stop
/// for seconds; a reader that has not moved for so long is not going to. Content that is being
/// served keeps its room in the spool, and its handle keeps the import.
pub(crate) const STALL_TIMEOUT: Duration = Duration::from_mins(2);

const LIMITS: Limits = Limits {
    // buildkitd asks for all layers of a record at once; what waits in the listen queue waits for
    // lookups, and none of them waits for another.
    connections: 1024,
    // Go's HTTP client keeps an idle connection for 90 s: it should be the first to give it up.
    head_time: Duration::from_secs(100),
    // The gateway's own token grows with the scopes of the real one, which has at most 16 KiB.
    head_bytes: 64 << 10,
    stall: STALL_TIMEOUT,
};

/// Connections take at most this part of the files that the process may have open.
const FILES: u64 = 4;

/// The endpoint, listening.
pub(crate) struct Endpoint {
    handles: Arc<Handles>,
    connections: TaskTracker,
    url: Url,
    /// Since when no build is in flight.
    idle: watch::Sender<Option<Instant>>,
    _server: TaskGuard,
    _closer: TaskGuard,
}

/// What buildkitd is told about a handle.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// The `url` attribute.
    pub url: SecretUrl,
    /// The `token` attribute.
    pub token: Secret,
    name: Secret,
}

impl Endpoint {
    /// Binds `listen`. `url` is what buildkitd reaches it by, where that is not the bound address
    /// (a buildkitd in another network namespace). With `identity` it speaks TLS. A reader that takes
    /// nothing for `stall_timeout` (see [`STALL_TIMEOUT`]) loses its connection.
    pub async fn bind(
        listen: SocketAddr,
        url: Option<Url>,
        identity: Option<&Identity>,
        stall_timeout: Duration,
        tasks: &Tasks,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let limits = Limits {
            stall: stall_timeout,
            connections: LIMITS.connections.min(share_of_files(FILES)),
            ..LIMITS
        };
        let url = url.unwrap_or_else(|| {
            let scheme = if identity.is_some() { "https" } else { "http" };
            Url::parse(&format!("{scheme}://{address}/")).expect("a socket address is an authority")
        });
        let handles = Arc::new(Handles::default());
        let router = router::router(Arc::clone(&handles), url.clone());
        let connections = TaskTracker::new();
        let (open, own) = (connections.clone(), tasks.clone());
        let tls = identity.map(Identity::acceptor);
        let server = tasks.spawn_guarded("import endpoint", async move {
            http1::serve(listener, tls, router, limits, &own, &open).await;
        });
        let (idle, idle_since) = watch::channel(None);
        let closing = idle_sweep::close_after_grace(Arc::clone(&handles), idle_since);
        Ok(Self {
            handles,
            connections,
            url,
            idle,
            _server: server,
            _closer: tasks.spawn_guarded("close handles", closing),
        })
    }

    /// Opens a handle in front of `backend`, with a token that shows buildkitd the scopes of the
    /// real one and nothing else of it.
    pub fn open(&self, backend: Arc<dyn Backend>, scopes: &[Scope], expires: Timestamp) -> Access {
        let token = token::mint(scopes, expires);
        let name = self.handles.open(backend, &token, expires);
        let mut url = self.url.clone();
        url.path_segments_mut()
            .expect("an http URL has a path")
            .pop_if_empty()
            .extend([&name, ""]);
        Access {
            url: SecretUrl::new(url),
            token,
            name: Secret::new(name),
        }
    }

    /// Says that the build behind a handle has ended. That of an import stays open for builds that
    /// share steps with it: while any is in flight, and a little longer.
    pub fn retire(&self, access: &Access) {
        self.handles.retire(access.name.expose());
    }

    /// Says whether a build is in flight, each time that one begins or ends.
    pub fn set_idle(&self, idle: bool) {
        self.handles.sweep(idle, Timestamp::now());
        self.idle.send_replace(idle.then(Instant::now));
    }

    /// How many connections buildkitd has open; each is a task. It keeps idle ones for a while.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// How many handles are open.
    pub fn handles(&self) -> usize {
        self.handles.count()
    }

    /// What buildkitd reaches the endpoint by.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// What buildkitd should reach the endpoint by, as long as it has never called.
    pub fn unreached_url(&self) -> Option<&Url> {
        (!self.handles.was_used()).then_some(&self.url)
    }
}

#[cfg(test)]
mod tests;
