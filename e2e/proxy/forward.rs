//! One request: passed on to the service and its answer back, or what a fault makes of it.

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use http_body_util::{BodyExt, Collected};
use hyper::{
    Request, Response, StatusCode,
    body::{Body as _, Incoming},
    header,
    http::request::Parts,
};

use super::{
    InFlight, Operation, Shared, Subject, When,
    body::{self, BodyFault, ProxyBody},
    connection::{ConnectionEnd, ConnectionHandle},
    fault::{self, Fault, Stage},
    listener::Closing,
    rule::Injected,
    shaping,
    upstream::Upstream,
};

/// One request that came on `connection`.
pub(super) async fn forward(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    upstream: Arc<Upstream>,
    connection: ConnectionHandle,
) -> Result<Response<ProxyBody>, Infallible> {
    let (head, body) = request.into_parts();
    let operation = Operation::from_request(&head);
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
    let body = shaping::shaped(body, &upstream.up, &shared.up);
    let exchange = Exchange {
        shared,
        connection,
        operation,
        subject,
    };
    exchange.shared.link.half_way(operation).await;
    let answer = exchange.run(head, body, &upstream).await;
    exchange.shared.link.half_way(operation).await;
    let down = &exchange.shared.down;
    Ok(answer.map(|body| body::counted(shaping::shaped(body, &upstream.down, down), in_flight)))
}

struct Exchange {
    shared: Arc<Shared>,
    connection: ConnectionHandle,
    operation: Operation,
    subject: Subject,
}

impl Exchange {
    async fn run(&self, head: Parts, body: ProxyBody, upstream: &Upstream) -> Response<ProxyBody> {
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
            None if self.operation.names_location() => self.register(answer).await,
            None => answer.map(BodyExt::boxed_unsync),
        }
    }

    fn claim(&self, stage: Stage, has_body: bool) -> Option<Injected> {
        let rules = &self.shared.rules;
        rules.claim(stage, self.operation, self.subject, has_body)
    }

    /// A request that does not reach the service.
    async fn instead(&self, injected: Injected, mut body: ProxyBody) -> Response<ProxyBody> {
        let half = body.size_hint().lower() / 2;
        match injected.fault {
            Fault::ResetAtOnce => self.connection.cut(ConnectionEnd::Reset).await,
            Fault::ResetRequest => {
                body::drain(&mut body, half).await;
                self.connection.cut(ConnectionEnd::Reset).await
            }
            Fault::StallRequest => {
                body::drain(&mut body, half).await;
                std::future::pending().await
            }
            Fault::Hang => {
                body::drain(&mut body, u64::MAX).await;
                std::future::pending().await
            }
            Fault::Refuse => {
                self.shared.port.close(match injected.when {
                    When::Always => Closing::ForGood,
                    When::First(_) => Closing::ForNow,
                    When::Percent(..) => Closing::NewConnections,
                });
                self.connection.cut(ConnectionEnd::Reset).await
            }
            fault => {
                body::drain(&mut body, u64::MAX).await;
                let answer = fault.answer(self.operation);
                answer
                    .expect("a fault before the service that is an answer")
                    .map(body::full)
            }
        }
    }

    /// An answer that does not arrive as it is.
    async fn spoil(&self, fault: Fault, answer: Response<Incoming>) -> Response<ProxyBody> {
        let half = answer.size_hint().lower() / 2;
        let fault = match fault {
            Fault::LostAnswer => {
                let mut body = answer.into_body().boxed_unsync();
                body::drain(&mut body, u64::MAX).await;
                return self.connection.cut(ConnectionEnd::Reset).await;
            }
            Fault::WrongTotal => {
                let mut answer = answer.map(BodyExt::boxed_unsync);
                fault::tell_wrong_total(answer.headers_mut());
                return answer;
            }
            Fault::Empty => return with_length(answer, 0, BodyFault::End, self.connection.clone()),
            Fault::Long => return longer(answer),
            Fault::Another => {
                let (mut head, body) = answer.into_parts();
                fault::tell_another(&mut head, half);
                let body = body::with_fault(body, half, BodyFault::End, self.connection.clone());
                return Response::from_parts(head, body);
            }
            Fault::Short => {
                return with_length(answer, half, BodyFault::End, self.connection.clone());
            }
            Fault::Truncate => BodyFault::Close,
            Fault::StallAnswer => BodyFault::Stall,
            Fault::Flip => BodyFault::Flip,
            _ => BodyFault::Reset,
        };
        answer.map(|body| body::with_fault(body, half, fault, self.connection.clone()))
    }

    /// Reads in the answer where the bytes of the entry are.
    async fn register(&self, answer: Response<Incoming>) -> Response<ProxyBody> {
        let (head, body) = answer.into_parts();
        let bytes = body.collect().await;
        let bytes = bytes.map(Collected::to_bytes);
        let bytes = bytes.unwrap_or_default();
        self.shared.entries.register(self.subject, &bytes);
        Response::from_parts(head, body::full(bytes))
    }
}

/// An answer whose body has a fault after so many bytes, which are all that it announces.
fn with_length(
    answer: Response<Incoming>,
    length: u64,
    fault: BodyFault,
    connection: ConnectionHandle,
) -> Response<ProxyBody> {
    let mut answer = answer.map(|body| body::with_fault(body, length, fault, connection));
    announce(&mut answer, length);
    answer
}

/// An answer with more bytes than it has.
fn longer(answer: Response<Incoming>) -> Response<ProxyBody> {
    let length = answer.size_hint().lower();
    let mut answer = answer.map(body::longer);
    announce(&mut answer, length + body::MORE.len() as u64);
    answer
}

fn announce(answer: &mut Response<ProxyBody>, length: u64) {
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_LENGTH, length.into());
}
