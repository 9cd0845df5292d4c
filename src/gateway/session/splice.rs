//! One session: a server toward buildkitd, a client toward the user's client, and each call of
//! buildkitd's either answered here or forwarded unchanged.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, client::SendRequest};
use http::{HeaderMap, Request};
use tokio::sync::oneshot;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    content_calls,
    tunnel::{self, Rest, Sender, Tunnel},
};
use crate::{
    content,
    gateway::{
        interceptor::Interceptor,
        transport::{
            http2,
            proxy::{self, Outcome, Respond},
            pump::{self, Broken},
            serve,
        },
    },
    lifecycle::Tasks,
};

/// The metadata that names one of several stores on a session.
const STORE_ID: &str = "buildkit-attachable-store-id";

/// How long the end of a session may take: the last messages out, buildkitd's trailers in.
const END_GRACE: Duration = Duration::from_secs(5);

/// The two halves of a `BytesMessage` stream.
type Halves = (RecvStream, SendStream<Bytes>);

/// One session while it is set up.
pub(super) struct Session<'a> {
    pub(super) id: String,
    pub(super) interceptor: &'a Arc<dyn Interceptor>,
    pub(super) tasks: &'a Tasks,
}

impl Session<'_> {
    /// Splices the session and returns when it is over on both sides.
    pub(super) async fn run(self, client: Halves, daemon: Halves) {
        let (client_io, client) = Side::open(client, self.tasks);
        let (daemon_io, daemon) = Side::open(daemon, self.tasks);
        if let Err(error) = self.splice(client_io, daemon_io).await {
            // Most sessions end so: a peer that is done closes without a word.
            tracing::debug!(session = self.id, %error, "a session's inner connection ended");
        }
        finish(client, daemon).await;
    }

    /// Runs the inner connections until one of them ends; both are gone when this returns.
    async fn splice(&self, client: Tunnel, daemon: Tunnel) -> Result<(), h2::Error> {
        let (requests, connection) = http2::session_client().handshake(client).await?;
        let driver = self.tasks.spawn_joined("session client", connection);
        let server = http2::session_server().handshake(daemon).await?;
        let _up = Up::new(Arc::clone(self.interceptor), &self.id);
        let call = |request, respond| {
            carry(
                request,
                respond,
                requests.clone(),
                Arc::clone(self.interceptor),
            )
        };
        // Draining the gateway ends sessions from outside, by their clients.
        let never = CancellationToken::new();
        tokio::select! {
            ended = serve::serve(server, never, None, call) => ended,
            ended = driver => ended.unwrap_or(Ok(())),
        }
    }
}

/// One of buildkitd's calls inside a session.
async fn carry(
    request: Request<RecvStream>,
    respond: Respond,
    client: SendRequest<Bytes>,
    interceptor: Arc<dyn Interceptor>,
) -> Outcome {
    match own_store(&request, interceptor.as_ref()) {
        Some(host) => {
            super::local::answer(content::service(host), request, respond).await;
            Outcome::Over
        }
        None => proxy::forward(request, respond, client).await,
    }
}

/// The host behind a call to one of our stores.
fn own_store(
    request: &Request<RecvStream>,
    interceptor: &dyn Interceptor,
) -> Option<Arc<dyn content::Host>> {
    if !content_calls::is_content_call(request.uri().path()) {
        return None;
    }
    let store = request.headers().get(STORE_ID)?.to_str().ok()?;
    interceptor.content_host(store)
}

/// What remains of one side's stream beside its tunnel.
struct Side {
    sender: AbortOnDropHandle<(SendStream<Bytes>, Result<(), Broken>)>,
    rest: oneshot::Receiver<Rest>,
}

impl Side {
    fn open((recv, send): Halves, tasks: &Tasks) -> (Tunnel, Self) {
        let (tunnel, sender, rest) = tunnel::open(recv, send);
        let sender = tasks.spawn_joined("session sender", Sender::run(sender));
        (tunnel, Self { sender, rest })
    }

    /// Both halves again, once the tunnel is gone and what was written to it is sent.
    async fn end(self) -> Option<(Rest, SendStream<Bytes>)> {
        let (send, _) = self.sender.await.ok()?;
        Some((self.rest.await.ok()?, send))
    }
}

/// Ends both streams: a reset on one side is the other's reset, buildkitd's trailers are the
/// client's.
async fn finish(client: Side, daemon: Side) {
    let ends = async { tokio::join!(client.end(), daemon.end()) };
    // A side that takes nothing more is dropped, which resets it.
    let Ok((Some((client_rest, mut client)), Some((daemon_rest, mut daemon)))) =
        tokio::time::timeout(END_GRACE, ends).await
    else {
        return;
    };
    match (client_rest, daemon_rest) {
        (Rest::Reset(reason), _) => daemon.send_reset(reason),
        (_, Rest::Reset(reason)) => client.send_reset(reason),
        (Rest::Open(_), Rest::Open(mut body)) => {
            let last = async {
                pump::finish(&mut daemon, None)?;
                trailers(&mut body).await
            };
            match tokio::time::timeout(END_GRACE, last).await {
                Ok(Ok(trailers)) => {
                    let _ = pump::finish(&mut client, trailers);
                }
                Ok(Err(Broken::Source(error))) => client.send_reset(pump::reason(&error)),
                Ok(Err(Broken::Sink(reason))) => client.send_reset(reason),
                Err(_) => {
                    client.send_reset(Reason::CANCEL);
                    daemon.send_reset(Reason::CANCEL);
                }
            }
        }
    }
}

/// The trailers of a body whose data nobody wants any more.
async fn trailers(body: &mut RecvStream) -> Result<Option<HeaderMap>, Broken> {
    while let Some(data) = body.data().await {
        let data = data.map_err(Broken::Source)?;
        let _ = body.flow_control().release_capacity(data.len());
    }
    body.trailers().await.map_err(Broken::Source)
}

/// Tells the interceptor that a session is up, and on drop that it is not.
struct Up<'a> {
    interceptor: Arc<dyn Interceptor>,
    id: &'a str,
}

impl<'a> Up<'a> {
    fn new(interceptor: Arc<dyn Interceptor>, id: &'a str) -> Self {
        interceptor.session_up(id);
        Self { interceptor, id }
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.interceptor.session_down(self.id);
    }
}
