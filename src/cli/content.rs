//! `buildkit-gha content`: the directory store as a Content service of its own.

use std::{io, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use tokio::net::TcpListener;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::{Router, Server};

use super::{exit::fail, logging::Logging};
use crate::{
    content::{self, Store},
    lifecycle::{ENDING, Signals},
    net::{self, Address},
};

/// How long calls in flight may take once the process was asked to end.
const GRACE: Duration = Duration::from_secs(5);

/// Serves a directory as a containerd content store, without authentication.
#[derive(Debug, Args)]
pub struct Content {
    /// Where content is kept; created when missing.
    #[arg(long, env = "BUILDKIT_GHA_ROOT", value_name = "DIR")]
    root: PathBuf,

    /// Where to listen: `unix:///path`, or `tcp://host:port` (port 0 takes a free one). The
    /// address is printed when it is bound.
    #[arg(long, env = "BUILDKIT_GHA_ADDR")]
    addr: Address,

    #[command(flatten)]
    pub(super) logging: Logging,
}

impl Content {
    /// Serves until SIGTERM or SIGINT; a second one ends it at once.
    pub fn run(self) -> ExitCode {
        let served = tokio::runtime::Runtime::new().and_then(|runtime| {
            let served = runtime.block_on(self.serve());
            // Do not wait for a client that leaves an answer unread.
            runtime.shutdown_background();
            served
        });
        match served {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        }
    }

    async fn serve(self) -> io::Result<()> {
        let store = Store::open(&self.root)
            .map_err(|error| with_context(&format!("--root {}", self.root.display()), &error))?;
        let router = Server::builder().add_service(content::service(Arc::new(store)));
        let mut signals = Signals::listen(&ENDING)?;
        match &self.addr {
            Address::Unix(path) => {
                let listener = net::bind_unix(path)
                    .await
                    .map_err(|e| with_context(&self.addr, &e))?;
                println!("listening on {}", self.addr);
                let served = serve(router, UnixListenerStream::new(listener), &mut signals).await;
                std::fs::remove_file(path).and(served)
            }
            Address::Tcp(host) => {
                let listener = TcpListener::bind(host).await;
                let listener = listener.map_err(|e| with_context(&self.addr, &e))?;
                println!("listening on tcp://{}", listener.local_addr()?);
                serve(router, TcpListenerStream::new(listener), &mut signals).await
            }
        }
    }
}

/// Serves until the first signal, then until the last call has ended, the grace is over, or the
/// second signal.
async fn serve<L, S>(router: Router, listener: L, signals: &mut Signals) -> io::Result<()>
where
    L: futures_util::Stream<Item = io::Result<S>>,
    S: tokio::io::AsyncRead
        + tokio::io::AsyncWrite
        + tonic::transport::server::Connected
        + Unpin
        + Send
        + 'static,
{
    let stop = CancellationToken::new();
    let stopped = stop.clone().cancelled_owned();
    let serving = router.serve_with_incoming_shutdown(listener, stopped);
    tokio::pin!(serving);
    tokio::select! {
        served = &mut serving => return served.map_err(io::Error::other),
        _ = signals.next() => stop.cancel(),
    }
    tokio::select! {
        served = serving => served.map_err(io::Error::other),
        () = tokio::time::sleep(GRACE) => {
            tracing::warn!("some calls were cut off");
            Ok(())
        }
        _ = signals.next() => Ok(()),
    }
}

fn with_context(what: &dyn std::fmt::Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}
