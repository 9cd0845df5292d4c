//! One connection, and the ways in which it can end other than by itself.

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, Mutex},
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, sync::oneshot};

use super::{
    Shared,
    forward::{self, Upstream},
    lock,
};

/// How a connection is made to end.
#[derive(Debug)]
pub(super) enum Fate {
    /// With a reset.
    Reset,
    /// In good order, wherever it is.
    Close,
}

/// What a request may do to the connection that it came on.
#[derive(Clone)]
pub(super) struct Line(Arc<Mutex<Option<oneshot::Sender<Fate>>>>);

impl Line {
    /// Makes the connection end now. What has been written to it goes out first.
    pub fn end(&self, fate: Fate) {
        if let Some(sender) = lock(&self.0).take() {
            // Nobody listens if the connection is over already.
            let _ = sender.send(fate);
        }
    }

    /// Makes the connection end now, and waits for that.
    pub async fn cut<T>(&self, fate: Fate) -> T {
        self.end(fate);
        pending().await
    }
}

/// Serves a connection to its end.
pub(super) async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    // Small writes must not wait for one another; a failure costs speed only.
    let _ = stream.set_nodelay(true);
    let (sender, fate) = oneshot::channel();
    let line = Line(Arc::new(Mutex::new(Some(sender))));
    let upstream = Arc::new(Upstream::new(&shared));
    let service = service_fn(|request| {
        let (shared, upstream) = (Arc::clone(&shared), Arc::clone(&upstream));
        forward::forward(request, shared, upstream, line.clone())
    });
    let mut connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    let fate = tokio::select! {
        // In this order: what has been written goes out before the end.
        biased;
        _ = pin!(&mut connection) => return,
        Ok(fate) = fate => fate,
    };
    let mut stream = connection.into_parts().io.into_inner();
    match fate {
        Fate::Reset => stream.set_zero_linger().expect("an open socket"),
        Fate::Close => stream.shutdown().await.unwrap_or_default(),
    }
}
