//! Binds the socket and the TCP address, and serves them. Builds do not depend on either: what cannot be
//! bound is a warning.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{Router, response::Response};
use rustix::process::geteuid;
use tokio::net::{UnixListener, UnixStream};
use tokio_util::task::TaskTracker;

use super::{config::Config, control::Control, router::Routes};
use crate::{
    http1::{self, ConnectionLimiter, ConnectionPermit, Limits},
    lifecycle::Tasks,
    net,
};

/// Nobody but its owner: it tells the names of steps and scopes.
const SOCKET_MODE: u32 = 0o600;

const LIMITS: Limits = Limits {
    // Probes, one scraper or two, and somebody who looks.
    connections: 64,
    // Prometheus keeps its connection between scrapes, which are a minute apart at most.
    head_time: Duration::from_secs(90),
    // Requests have no token and no cookie.
    head_bytes: 16 << 10,
    stall: Duration::from_secs(30),
};

/// How long to wait when the system has no file descriptor for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `control` where `config` says, until `tasks` are asked to end.
pub async fn start(config: &Config, control: Arc<dyn Control>, tasks: &Tasks) {
    let routes = Routes::new(control);
    if let Some(path) = &config.socket {
        match AdminSocket::bind(path, config.uid).await {
            Ok(socket) => {
                tracing::debug!(path = %path.display(), "the admin socket listens");
                let serve = socket.serve(routes.all(), tasks.clone());
                tasks.spawn("admin socket", serve);
            }
            Err(error) => tracing::warn!(
                "there is no admin socket: cannot listen on {}: {error}; `stats`, `drain` and `doctor` do not \
                 reach this gateway; --admin-socket names another path, or off",
                path.display()
            ),
        }
    }
    if let Some(listen) = &config.metrics {
        match listen.bind().await {
            Ok(listener) => {
                if let Ok(address) = listener.local_addr() {
                    tracing::info!(%address, "metrics and probes");
                }
                let (probes, own) = (routes.probes(), tasks.clone());
                tasks.spawn("metrics", async move {
                    http1::serve(listener, None, probes, LIMITS, &own, &TaskTracker::new()).await;
                });
            }
            Err(error) => {
                tracing::warn!("there are no metrics over TCP: --metrics-listen {listen}: {error}");
            }
        }
    }
}

/// The socket, bound. Its file goes with it.
struct AdminSocket {
    path: PathBuf,
    listener: UnixListener,
    /// Who may connect.
    users: Vec<u32>,
}

impl AdminSocket {
    async fn bind(path: &Path, uid: Option<u32>) -> io::Result<Self> {
        let listener = net::bind_unix(path).await?;
        // Before others are let in by a mode that is not set yet, [`Self::admits`] turns them away.
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
        if uid.is_some() {
            std::os::unix::fs::chown(path, uid, None)?;
        }
        let own = geteuid();
        Ok(Self {
            path: path.to_owned(),
            listener,
            users: [0, own.as_raw()].into_iter().chain(uid).collect(),
        })
    }

    async fn serve(self, router: Router, tasks: Tasks) {
        let limiter = ConnectionLimiter::new(LIMITS.connections);
        loop {
            let accepted = async {
                let accepted = self.listener.accept().await;
                limiter.ready().await;
                accepted
            };
            let accepted = tokio::select! {
                accepted = accepted => accepted,
                () = tasks.shutdown().cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) if !self.admits(&stream) => {}
                Ok((stream, _)) => {
                    let connection =
                        serve(stream, limiter.acquire(), router.clone(), tasks.clone());
                    tasks.spawn("admin connection", connection);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection to the admin socket could not be accepted");
                    limiter.evict_oldest();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admits(&self, stream: &UnixStream) -> bool {
        stream
            .peer_cred()
            .is_ok_and(|peer| self.users.contains(&peer.uid()))
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // Another may have removed it.
        let _ = fs::remove_file(&self.path);
    }
}

async fn serve(stream: UnixStream, permit: ConnectionPermit, router: Router, tasks: Tasks) {
    let answered = |response: &Response| {
        if response.status().is_success() {
            permit.in_use();
        }
    };
    tokio::select! {
        ended = http1::serve_connection(stream, |_| {}, answered, router, LIMITS, tasks) => {
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection to the admin socket ended early");
            }
        }
        () = permit.evicted() => {}
    }
}
