//! One request: passed on to the service and its answer back, or what a fault makes of it.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Collected};
use hyper::{
    Request, Response, StatusCode,
    body::{Body as _, Incoming},
    client::conn::http1::{self, SendRequest},
    header,
    http::request::Parts,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::Mutex, task::AbortHandle};

use super::{
    InFlight, Operation, Shared, Subject, When,
    body::{self, Passing, Turn},
    door::Closing,
    fault::{self, Fault, Stage},
    line::{Fate, Line},
    link::{self, Lane},
    rule::Injected,
};

/// The connection to the service that belongs to one connection of a client.
pub(super) struct Upstream {
    address: SocketAddr,
    idle: Mutex<Option<Connection>>,
    /// The client's connection as a part of the link.
    up: Arc<Lane>,
    down: Arc<Lane>,
}

/// A connection and the task that drives it, which ends with it.
struct Connection {
    sender: SendRequest<Passing>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Upstream {
    pub fn new(shared: &Shared) -> Self {
        let lane = || Arc::new(Lane::new(shared.link.per_connection));
        Self {
            address: shared.upstream,
            idle: Mutex::default(),
            up: lane(),
            down: lane(),
        }
    }

    async fn send(&self, request: Request<Passing>) -> Result<Response<Incoming>, String> {
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

/// One request that came on `line`.
pub(super) async fn forward(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    upstream: Arc<Upstream>,
    line: Line,
) -> Result<Response<Passing>, Infallible> {
    let (head, body) = request.into_parts();
    let operation = Operation::of(&head);
    let (body, subject) = if operation.names_key() {
        let bytes = body.collect().await;
        let bytes = bytes.map(Collected::to_bytes);
        let bytes = bytes.unwrap_or_default();
        let subject = shared.entries.subject(&head, Some(&bytes));
        (body::full(bytes), subject)
    } else {
        (body.boxed_unsync(), shared.entries.subject(&head, None))
    };
    let in_flight = InFlight::enter(&shared, operation, subject);
    let body = link::paced(body, &upstream.up, &shared.up);
    let exchange = Exchange {
        shared,
        line,
        operation,
        subject,
    };
    exchange.shared.link.half_way(operation).await;
    let answer = exchange.run(head, body, &upstream).await;
    exchange.shared.link.half_way(operation).await;
    let down = &exchange.shared.down;
    Ok(answer.map(|body| body::counted(link::paced(body, &upstream.down, down), in_flight)))
}

struct Exchange {
    shared: Arc<Shared>,
    line: Line,
    operation: Operation,
    subject: Subject,
}

impl Exchange {
    async fn run(&self, head: Parts, body: Passing, upstream: &Upstream) -> Response<Passing> {
        let body = match self.claim(Stage::Request, true) {
            None => body,
            Some(injected) => return self.instead(injected, body).await,
        };
        let answer = match upstream.send(Request::from_parts(head, body)).await {
            Ok(answer) => answer,
            // Of the proxy's own making; no test expects it.
            Err(error) => {
                let mut answer = Response::new(body::full(Bytes::from(error)));
                *answer.status_mut() = StatusCode::BAD_GATEWAY;
                return answer;
            }
        };
        let has_body = answer.size_hint().lower() > 0;
        match self.claim(Stage::Answer, has_body) {
            Some(injected) => self.spoil(injected.fault, answer).await,
            None if self.operation.tells_place() => self.learn(answer).await,
            None => answer.map(BodyExt::boxed_unsync),
        }
    }

    fn claim(&self, stage: Stage, has_body: bool) -> Option<Injected> {
        let rules = &self.shared.rules;
        rules.claim(stage, self.operation, self.subject, has_body)
    }

    /// A request that does not reach the service.
    async fn instead(&self, injected: Injected, mut body: Passing) -> Response<Passing> {
        let half = body.size_hint().lower() / 2;
        match injected.fault {
            Fault::ResetAtOnce => self.line.cut(Fate::Reset).await,
            Fault::ResetRequest => {
                body::swallow(&mut body, half).await;
                self.line.cut(Fate::Reset).await
            }
            Fault::StallRequest => {
                body::swallow(&mut body, half).await;
                std::future::pending().await
            }
            Fault::Hang => {
                body::swallow(&mut body, u64::MAX).await;
                std::future::pending().await
            }
            Fault::Refuse => {
                self.shared.door.close(match injected.when {
                    When::Always => Closing::ForGood,
                    When::First(_) => Closing::ForNow,
                    When::Percent(..) => Closing::ToNewcomers,
                });
                self.line.cut(Fate::Reset).await
            }
            fault => {
                body::swallow(&mut body, u64::MAX).await;
                let answer = fault.answer(self.operation);
                answer
                    .expect("a fault before the service that is an answer")
                    .map(body::full)
            }
        }
    }

    /// An answer that does not arrive as it is.
    async fn spoil(&self, fault: Fault, answer: Response<Incoming>) -> Response<Passing> {
        let half = answer.size_hint().lower() / 2;
        let turn = match fault {
            Fault::LostAnswer => {
                let mut body = answer.into_body().boxed_unsync();
                body::swallow(&mut body, u64::MAX).await;
                return self.line.cut(Fate::Reset).await;
            }
            Fault::WrongTotal => {
                let mut answer = answer.map(BodyExt::boxed_unsync);
                fault::tell_wrong_total(answer.headers_mut());
                return answer;
            }
            Fault::Empty => return with_length(answer, 0, Turn::End, self.line.clone()),
            Fault::Long => return longer(answer),
            Fault::Another => {
                let (mut head, body) = answer.into_parts();
                fault::tell_another(&mut head, half);
                let body = body::turning(body, half, Turn::End, self.line.clone());
                return Response::from_parts(head, body);
            }
            Fault::Short => return with_length(answer, half, Turn::End, self.line.clone()),
            Fault::Truncate => Turn::Close,
            Fault::StallAnswer => Turn::Stall,
            Fault::Flip => Turn::Flip,
            _ => Turn::Reset,
        };
        answer.map(|body| body::turning(body, half, turn, self.line.clone()))
    }

    /// Reads in the answer where the bytes of the entry are.
    async fn learn(&self, answer: Response<Incoming>) -> Response<Passing> {
        let (head, body) = answer.into_parts();
        let bytes = body.collect().await;
        let bytes = bytes.map(Collected::to_bytes);
        let bytes = bytes.unwrap_or_default();
        self.shared.entries.learn(self.subject, &bytes);
        Response::from_parts(head, body::full(bytes))
    }
}

/// An answer whose body takes a turn after so many bytes, which are all that it announces.
fn with_length(
    answer: Response<Incoming>,
    length: u64,
    turn: Turn,
    line: Line,
) -> Response<Passing> {
    let mut answer = answer.map(|body| body::turning(body, length, turn, line));
    announce(&mut answer, length);
    answer
}

/// An answer with more bytes than it has.
fn longer(answer: Response<Incoming>) -> Response<Passing> {
    let length = answer.size_hint().lower();
    let mut answer = answer.map(body::longer);
    announce(&mut answer, length + body::MORE.len() as u64);
    answer
}

fn announce(answer: &mut Response<Passing>, length: u64) {
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length.into());
}
