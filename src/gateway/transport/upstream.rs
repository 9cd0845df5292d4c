//! The way to buildkitd: one connection for each connection of a client.

use std::io;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::{
    net::{TcpStream, UnixStream},
    sync::Mutex,
};

use super::{http2, io::BoxedIo};
use crate::{
    gateway::interceptor::{Code, GrpcStatus},
    lifecycle::{TaskGuard, Tasks},
    net::Address,
};

/// One connection to buildkitd, made when a call first needs it and again after it broke.
pub(crate) struct Upstream {
    address: Address,
    tasks: Tasks,
    connection: Mutex<Option<OpenConnection>>,
}

struct OpenConnection {
    requests: SendRequest<Bytes>,
    _driver: TaskGuard,
}

/// Why buildkitd could not be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The socket did not open.
    #[error("cannot connect to buildkitd at {0}: {1}")]
    Socket(Address, #[source] io::Error),
    /// Whoever answers there does not speak HTTP/2.
    #[error("buildkitd at {0} does not speak HTTP/2: {1}")]
    Handshake(Address, #[source] h2::Error),
}

impl Upstream {
    /// Nothing is opened yet.
    pub(crate) fn new(address: Address, tasks: Tasks) -> Self {
        Self {
            address,
            tasks,
            connection: Mutex::new(None),
        }
    }

    /// A connection that takes requests.
    pub(crate) async fn requests(&self) -> Result<SendRequest<Bytes>, GrpcStatus> {
        let mut connection = self.connection.lock().await;
        if let Some(open) = connection.as_ref()
            && let Ok(requests) = open.requests.clone().ready().await
        {
            return Ok(requests);
        }
        let (requests, driver) = connect(&self.address).await.map_err(|error| {
            GrpcStatus::new(Code::Unavailable, format!("buildkit-gha: {error}"))
        })?;
        let driver = self.tasks.spawn_guarded("upstream connection", async move {
            if let Err(error) = driver.await {
                tracing::debug!(%error, "the connection to buildkitd ended");
            }
        });
        *connection = Some(OpenConnection {
            requests: requests.clone(),
            _driver: driver,
        });
        Ok(requests)
    }
}

type Connection = h2::client::Connection<BoxedIo, Bytes>;

/// Opens a connection to `address`.
pub(crate) async fn connect(
    address: &Address,
) -> Result<(SendRequest<Bytes>, Connection), ConnectError> {
    let socket = |error| ConnectError::Socket(address.clone(), error);
    let io: BoxedIo = match address {
        Address::Unix(path) => Box::new(UnixStream::connect(path).await.map_err(socket)?),
        Address::Tcp(host) => {
            let stream = TcpStream::connect(host.as_str()).await.map_err(socket)?;
            stream.set_nodelay(true).map_err(socket)?;
            Box::new(stream)
        }
    };
    let handshake = http2::client().handshake(io).await;
    handshake.map_err(|error| ConnectError::Handshake(address.clone(), error))
}
