//! What a request may do to the connection that it came on.

use std::{
    future::pending,
    sync::{Arc, Mutex},
};

use tokio::sync::oneshot;

use super::lock;

/// How a connection is made to end.
#[derive(Debug)]
pub(super) enum ConnectionEnd {
    /// With a reset.
    Reset,
    /// In good order, wherever it is.
    Close,
}

/// Ends a connection from within one of its requests.
#[derive(Clone)]
pub(super) struct ConnectionHandle(Arc<Mutex<Option<oneshot::Sender<ConnectionEnd>>>>);

impl ConnectionHandle {
    /// The handle, and where the connection hears of its end.
    pub fn new() -> (Self, oneshot::Receiver<ConnectionEnd>) {
        let (sender, end) = oneshot::channel();
        (Self(Arc::new(Mutex::new(Some(sender)))), end)
    }

    /// Makes the connection end now, and waits for that. What has been written to it goes out first.
    pub async fn cut<T>(&self, end: ConnectionEnd) -> T {
        if let Some(sender) = lock(&self.0).take() {
            // Nobody listens if the connection is over already.
            let _ = sender.send(end);
        }
        pending().await
    }
}
