//! Accepts connections while the port is open, and serves each to its end.

use std::{pin::pin, sync::Arc};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::{
    Shared,
    connection::{ConnectionEnd, ConnectionHandle},
    forward,
    listener::Closing,
    upstream::Upstream,
};

/// Accepts connections for as long as the proxy lives.
pub(super) async fn accept(mut listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task: the connections end with the proxy.
    let mut connections = JoinSet::new();
    loop {
        let closing = loop {
            tokio::select! {
                Ok((stream, _)) = listener.accept() => {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
                Some(_) = connections.join_next() => {}
                closing = shared.port.closed() => break closing,
            }
        };
        drop(listener);
        if closing != Closing::NewConnections {
            connections.shutdown().await;
        }
        listener = shared.port.reopened().await;
    }
}

/// Serves a connection to its end.
async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Small writes must not wait for one another; a failure costs speed only.
    let _ = stream.set_nodelay(true);
    let (handle, end) = ConnectionHandle::new();
    let upstream = Arc::new(Upstream::new(&shared));
    let service = service_fn(|request| {
        let (shared, upstream) = (Arc::clone(&shared), Arc::clone(&upstream));
        forward::forward(request, shared, upstream, handle.clone())
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let end = tokio::select! {
        // In this order: what has been written goes out before the end.
        biased;
        _ = pin!(&mut connection) => return,
        Ok(end) = end => end,
    };
    let mut stream = connection.into_parts().io.into_inner();
    match end {
        ConnectionEnd::Reset => stream.set_zero_linger().expect("an open socket"),
        ConnectionEnd::Close => stream.shutdown().await.unwrap_or_default(),
    }
}
