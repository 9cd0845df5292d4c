//! The endpoint's connections: a reader that stops reading loses its connection.
//!
//! Content that is being served keeps its room in the spool and its handle keeps the import. A
//! reader that neither reads nor leaves would keep both for ever.

use std::{io, net::SocketAddr, pin::Pin, time::Duration};

use tokio::net::{TcpListener, TcpStream};
use tokio_io_timeout::TimeoutStream;

/// How long a reader may take nothing. buildkitd writes what it reads to its disk, which may
/// stop for seconds; a reader that has not moved for so long is not going to.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// How long to wait after the system refused a connection, most often for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts connections whose writes may stall for `patience`.
pub(super) struct Listener {
    pub socket: TcpListener,
    pub patience: Duration,
}

impl axum::serve::Listener for Listener {
    type Io = Pin<Box<TimeoutStream<TcpStream>>>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    let mut stream = TimeoutStream::new(stream);
                    stream.set_write_timeout(Some(self.patience));
                    return (Box::pin(stream), peer);
                }
                Err(error) => {
                    tracing::warn!(%error, "the loopback endpoint cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}
