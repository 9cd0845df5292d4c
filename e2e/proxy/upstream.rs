//! The connection to the service behind each connection of a client.

use std::{net::SocketAddr, sync::Arc};

use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Mutex, task::AbortHandle};

use super::{Shared, body::ProxyBody, shaping::Bandwidth};

/// The connection to the service that belongs to one connection of a client.
pub(super) struct Upstream {
    address: SocketAddr,
    idle: Mutex<Option<Connection>>,
    /// The client's connection as a part of the link.
    pub(super) up: Arc<Bandwidth>,
    pub(super) down: Arc<Bandwidth>,
}

/// A connection and the task that drives it, which ends with it.
struct Connection {
    sender: SendRequest<ProxyBody>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upstream {
    pub fn new(shared: &Shared) -> Self {
        let bandwidth = || Arc::new(Bandwidth::new(shared.link.per_connection));
        Self {
            address: shared.upstream,
            idle: Mutex::default(),
            up: bandwidth(),
            down: bandwidth(),
        }
    }

    pub async fn send(&self, request: Request<ProxyBody>) -> Result<Response<Incoming>, String> {
        let mut idle = self.idle.lock().await;
        if let Some(connection) = &mut *idle
            && connection.sender.ready().await.is_err()
        {
            *idle = None;
        }
        if idle.is_none() {
            *idle = Some(self.connect().await.map_err(|error| error.to_string())?);
        }
        let connection = idle.as_mut().expect("one was just made");
        let answer = connection.sender.send_request(request).await;
        answer.map_err(|error| error.to_string())
    }

    async fn connect(&self) -> std::io::Result<Connection> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let handshake = http1::handshake(TokioIo::new(stream)).await;
        let (sender, connection) = handshake.map_err(std::io::Error::other)?;
        let task = tokio::runtime::Handle::current().spawn(async move {
            // Its end shows at the sender.
            let _ = connection.await;
        });
        Ok(Connection {
            sender,
            task: task.abort_handle(),
        })
    }
}
