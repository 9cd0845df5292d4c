//! HTTP/2 connections for a router, with the limits that connections of HTTP/1 have.

mod stalled_answer;

use std::{convert::Infallible, time::Duration};

use axum::{BoxError, Router, body::Body, response::Response};
use http::{Extensions, HeaderValue, header};
use hyper::{Request, body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use self::stalled_answer::StalledAnswer;
use crate::{
    http1::{Limits, StallTimeoutBody},
    lifecycle::Tasks,
};

/// Requests at once on a connection. A Go client opens another connection for more.
const MAX_STREAMS: u32 = 128;

/// Largest frame that a client may send: fewer of them for the blocks of layers.
const MAX_FRAME: u32 = 256 << 10;

/// How often a client is asked whether it is still there, and how long it may take to answer. A client that is gone
/// without a word would keep its place for ever.
const PING: Duration = Duration::from_secs(30);

/// Serves one connection to its end. Each of its requests gets the extensions that `mark` gives it.
pub(super) async fn serve_connection<S>(
    stream: S,
    mark: impl Fn(&mut Extensions),
    router: Router,
    limits: Limits,
    tasks: Tasks,
) -> Result<(), BoxError>
where
    S: AsyncRead + AsyncWrite + Send,
{
    let shutdown = tasks.shutdown().clone();
    let stalled = CancellationToken::new();
    let (body_tasks, told) = (tasks.clone(), stalled.clone());
    let respond = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(|body| Body::new(StallTimeoutBody::new(body, &body_tasks)));
        name_host(&mut request);
        mark(request.extensions_mut());
        let response = router.clone().oneshot(request);
        let (tasks, told) = (body_tasks.clone(), told.clone());
        async move {
            let response: Result<Response, Infallible> = response.await;
            response.map(|response| {
                response.map(|body| StalledAnswer::new(body, limits.stall, told, &tasks))
            })
        }
    });
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(limits.stall));
    let connection = http2::Builder::new(StreamTasks(tasks))
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_frame_size(MAX_FRAME)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        // Windows grow with what the link can have on its way; the memory of an idle one is small.
        .adaptive_window(true)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .serve_connection(TokioIo::new(Box::pin(stream)), respond);
    tokio::pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => Ok(ended?),
        () = stalled.cancelled() => Err("its client takes nothing of an answer".into()),
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            Ok(connection.await?)
        }
    }
}

/// HTTP/2 names the host in the request's target only; all else reads the header, as in HTTP/1.
fn name_host<B>(request: &mut Request<B>) {
    let authority = request.uri().authority();
    let host = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// Has the requests of a connection run as tasks of the service.
#[derive(Debug, Clone)]
struct StreamTasks(Tasks);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for StreamTasks {
    fn execute(&self, stream: F) {
        self.0.spawn("HTTP/2 stream", stream);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::{body::Bytes, routing::get};
    use http::Uri;
    use http_body_util::{BodyExt as _, Empty};
    use hyper::client::conn::http2::{SendRequest, handshake};
    use tokio::{io::DuplexStream, sync::Notify, task::JoinHandle};

    use super::*;

    /// More than windows and buffers take.
    const LARGE: usize = 8 << 20;

    const LIMITS: Limits = Limits {
        connections: 1,
        head_time: Duration::from_secs(1),
        head_bytes: 16 << 10,
        stall: Duration::from_mins(2),
    };

    /// A client, and the end of its connection.
    async fn connect(
        router: Router,
        tasks: &Tasks,
    ) -> (SendRequest<Empty<Bytes>>, JoinHandle<Result<(), BoxError>>) {
        let (client, server_side): (DuplexStream, _) = tokio::io::duplex(64 << 10);
        let connection = serve_connection(server_side, |_| (), router, LIMITS, tasks.clone());
        #[expect(clippy::disallowed_methods, reason = "the test waits for it")]
        let served = tokio::spawn(connection);
        let (sender, connection) = handshake(StreamTasks(tasks.clone()), TokioIo::new(client))
            .await
            .unwrap();
        tasks.spawn("client", async move {
            let _ = connection.await;
        });
        (sender, served)
    }

    fn request(path: &str) -> Request<Empty<Bytes>> {
        let uri = format!("http://cache.example{path}").parse::<Uri>();
        Request::get(uri.unwrap()).body(Empty::new()).unwrap()
    }

    #[tokio::test]
    async fn the_host_is_where_handlers_look_for_it() {
        let host = |request: Request<Body>| async move {
            let host = request.headers()[header::HOST].to_str();
            host.unwrap().to_owned()
        };
        let tasks = Tasks::default();
        let router = Router::new().route("/", get(host));
        let (mut client, _served) = connect(router, &tasks).await;
        let answer = client.send_request(request("/")).await.unwrap();
        let host = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(host, "cache.example");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_of_an_answer_is_cut_off() {
        let tasks = Tasks::default();
        let router = Router::new().route("/", get(|| async { vec![0; LARGE] }));
        let (mut client, served) = connect(router, &tasks).await;
        let answer = client.send_request(request("/")).await.unwrap();
        let error = served.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("takes nothing"), "{error}");
        let read = answer.into_body().collect().await;
        assert!(read.is_err(), "the answer is not whole");
    }

    #[tokio::test]
    async fn what_is_under_way_at_the_end_is_finished() {
        let tasks = Tasks::default();
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (at, until) = (Arc::clone(&begun), Arc::clone(&go_on));
        let slow = move || async move {
            at.notify_one();
            until.notified().await;
            "done"
        };
        let router = Router::new().route("/", get(slow));
        let (mut client, served) = connect(router, &tasks).await;
        let answer = client.send_request(request("/"));
        let ending = async {
            begun.notified().await;
            tasks.shutdown().cancel();
            go_on.notify_one();
        };
        let (answer, ()) = tokio::join!(answer, ending);
        let body = answer.unwrap().into_body().collect().await;
        assert_eq!(body.unwrap().to_bytes(), "done");
        drop(client);
        served.await.unwrap().unwrap();
    }
}
