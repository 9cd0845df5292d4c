//! `grpc.health.v1` on the gateway's socket: it serves if buildkitd behind it serves and builds are taken.
//!
//! buildkitd answers this service itself. But a gateway that passed the question on could only fail when
//! nobody answers behind it, and would say that it serves while it refuses builds because it is to end.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{HeaderValue, Request, Response, header::CONTENT_TYPE};
use prost::Message as _;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{
    interceptor::{Code, Daemon, GrpcStatus, Interceptor},
    transport::{
        frame, intercept,
        proxy::{self, CallOutcome, Responder},
        pump,
        routes::Health,
    },
};
use crate::{
    lifecycle::Tasks,
    proto::health::{HealthCheckResponse, health_check_response::ServingStatus},
};

/// What buildkitd is asked.
const CHECK: &str = "/grpc.health.v1.Health/Check";

/// How long buildkitd may take to answer. One that is busy answers within a second; probes, as
/// Kubernetes', wait no longer by default.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// How often buildkitd is asked for somebody who watches: a balancer learns of its end in time.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Answers health checks.
pub(super) struct HealthService {
    pub daemon: Arc<dyn Daemon>,
    pub interceptor: Arc<dyn Interceptor>,
    pub tasks: Tasks,
}

impl HealthService {
    /// Carries a call of this service to its end.
    pub async fn call(
        &self,
        method: Health,
        request: Request<RecvStream>,
        mut respond: Responder,
    ) -> CallOutcome {
        let mut body = request.into_body();
        let question = tokio::select! {
            _ = pump::caller_reset(&mut respond) => return CallOutcome::Cancelled,
            question = intercept::read_one(&mut body) => question,
        };
        let question = match question {
            Ok(question) => question,
            Err(error) => return intercept::refuse(error, &mut respond),
        };
        match method {
            Health::Check => {
                let status = tokio::select! {
                    _ = pump::caller_reset(&mut respond) => return CallOutcome::Cancelled,
                    status = self.status(question) => status,
                };
                match status {
                    Ok(status) => send_last(&mut respond, status).await,
                    Err(refused) => proxy::answer(&refused, &mut respond),
                }
            }
            Health::Watch => self.watch(question, respond).await,
        }
    }

    /// Whether the service of the `question` serves; an error for one that buildkitd does not have.
    async fn status(&self, question: Bytes) -> Result<ServingStatus, GrpcStatus> {
        let answer = self.daemon.call(CHECK, &[], question);
        let status = match timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(answer)) => HealthCheckResponse::decode(answer)
                .map_or(ServingStatus::Unknown, |answer| answer.status()),
            Ok(Err(status)) => match status.code {
                // It is there, and too old to know of its health.
                Code::Unimplemented => ServingStatus::Serving,
                Code::NotFound => {
                    return Err(GrpcStatus::new(Code::NotFound, "unknown service"));
                }
                _ => {
                    tracing::debug!(%status, "not serving: buildkitd does not answer");
                    ServingStatus::NotServing
                }
            },
            Err(_) => {
                tracing::debug!("not serving: buildkitd does not answer within {ANSWER_TIMEOUT:?}");
                ServingStatus::NotServing
            }
        };
        Ok(match status {
            ServingStatus::Serving if !self.interceptor.takes_builds() => ServingStatus::NotServing,
            status => status,
        })
    }

    /// Sends the status whenever it is another one, until the watcher leaves or the gateway ends.
    async fn watch(&self, question: Bytes, mut respond: Responder) -> CallOutcome {
        let Ok(mut stream) = respond.send_response(head(), false) else {
            return CallOutcome::Cancelled;
        };
        let mut ticks = interval(WATCH_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = None;
        loop {
            tokio::select! {
                _ = pump::receiver_reset(&mut stream) => return CallOutcome::Cancelled,
                () = self.tasks.shutdown().cancelled() => return end_watch(&mut stream),
                _ = ticks.tick() => {}
            }
            // A service that is not there may come.
            let status = self.status(question.clone()).await;
            let status = status.unwrap_or(ServingStatus::ServiceUnknown);
            if told.replace(status) != Some(status)
                && pump::send(&mut stream, message(status), false)
                    .await
                    .is_err()
            {
                return CallOutcome::Cancelled;
            }
        }
    }
}

fn head() -> Response<()> {
    let mut head = Response::new(());
    let grpc = HeaderValue::from_static("application/grpc");
    head.headers_mut().insert(CONTENT_TYPE, grpc);
    head
}

fn message(status: ServingStatus) -> Bytes {
    let response = HealthCheckResponse {
        status: status.into(),
    };
    frame::encode(&response.encode_to_vec()).expect("a few bytes are no message too long")
}

/// Answers with one message.
async fn send_last(respond: &mut Responder, status: ServingStatus) -> CallOutcome {
    let sent = async {
        let mut stream = respond.send_response(head(), false).ok()?;
        pump::send(&mut stream, message(status), false).await.ok()?;
        let ok = GrpcStatus::new(Code::Ok, "");
        pump::finish(&mut stream, Some(ok.headers())).ok()
    };
    match sent.await {
        Some(()) => CallOutcome::Finished,
        None => CallOutcome::Cancelled,
    }
}

fn end_watch(stream: &mut SendStream<Bytes>) -> CallOutcome {
    let ended = GrpcStatus::new(Code::Unavailable, "buildkit-gha: the gateway ends");
    match pump::finish(stream, Some(ended.headers())) {
        Ok(()) => CallOutcome::Finished,
        Err(_) => CallOutcome::Cancelled,
    }
}
