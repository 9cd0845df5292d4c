//! A connection of HTTP/1.1 that is kept.

use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{SendRequest, handshake},
    header,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle};

use crate::failure::Failure;

/// One connection.
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: JoinHandle<()>,
    address: SocketAddr,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        #[expect(clippy::disallowed_methods, reason = "ended by Drop")]
        let task = tokio::spawn(async move {
            // Its end shows at the sender.
            let _ = connection.await;
        });
        Ok(Self {
            sender,
            task,
            address,
        })
    }

    /// Sends a request whose URI is a path; the answer must be of success.
    pub async fn send(
        &mut self,
        mut request: Request<Bytes>,
    ) -> Result<Response<Incoming>, Failure> {
        let host = self.address.to_string().parse();
        let host = host.expect("an address is a header's value");
        request.headers_mut().insert(header::HOST, host);
        self.sender.ready().await?;
        let answer = self.sender.send_request(request.map(Full::new)).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        let words = String::from_utf8_lossy(&body);
        Err(Failure(format!("{status}: {words}")))
    }

    /// The same, with the answer's body.
    pub async fn fetch(&mut self, request: Request<Bytes>) -> Result<Bytes, Failure> {
        let answer = self.send(request).await?;
        Ok(answer.into_body().collect().await?.to_bytes())
    }
}
