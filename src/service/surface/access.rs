//! The access log: one line for each request, written when its answer has left or its client has.
//!
//! Handlers tell what the request is about; the line knows the rest. Neither path nor query is in
//! it, since both may hold a signature.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use super::request_span::{self, Answered};
use crate::{
    http1::RequestPermit,
    service::{
        audit::{Actor, AuditEvent, EventKind},
        auth::Principal,
        grant::TokenIdentity,
        metrics::{Metrics, Operation},
        quotas::Usage,
        store::EntryName,
    },
    telemetry::{InLevel, trace::TraceSpan},
};

/// What a request is about, as far as its handler has come to know.
#[derive(Debug, Clone, Default)]
pub(super) struct Access(Arc<Mutex<Subject>>);

#[derive(Debug, Default)]
struct Subject {
    repository: Option<String>,
    scope: Option<String>,
    key: Option<String>,
    size: Option<u64>,
    actor: Actor,
    /// Why it is refused, where its answer does not say that, or not all of it.
    denial: Option<(EventKind, String)>,
    /// The request as its repository's quota counts it.
    counted: Option<Usage>,
}

impl Access {
    /// A request from this client.
    pub(super) fn new(client: Option<IpAddr>) -> Self {
        let access = Self::default();
        access.lock().actor.client = client;
        access
    }

    /// Who calls.
    pub(super) fn principal(&self, principal: &Principal) {
        let mut subject = self.lock();
        subject.repository = principal.repository().map(str::to_owned);
        subject.actor.token = principal.token().cloned();
    }

    /// Who calls, with a token that was revoked.
    pub(super) fn revoked(&self, token: TokenIdentity) {
        let reason = "the token was revoked".to_owned();
        self.lock().actor.token = Some(token);
        self.deny(EventKind::RevokedTokenUsed, reason);
    }

    /// Who calls, for the audit log.
    pub(super) fn actor(&self) -> Actor {
        self.lock().actor.clone()
    }

    /// Notes why the request is refused, for the audit log alone.
    pub(super) fn deny(&self, kind: EventKind, reason: String) {
        self.lock().denial = Some((kind, reason));
    }

    /// What the audit log says of an answer, if that is a refusal.
    pub(super) fn denial(&self, response: &axum::response::Response) -> Option<AuditEvent> {
        let subject = self.lock();
        let extensions = response.extensions();
        let (kind, reason) = match (&subject.denial, extensions.get::<Denied>()) {
            (Some((kind, reason)), _) => (*kind, Some(reason.clone())),
            (None, Some(Denied(kind))) => {
                let reason = extensions.get::<Reason>();
                (*kind, reason.map(|reason| reason.0.clone()))
            }
            (None, None) => return None,
        };
        Some(AuditEvent {
            repository: subject.repository.clone(),
            scope: subject.scope.clone(),
            key: subject.key.clone(),
            reason,
            ..AuditEvent::of_actor(kind, subject.actor.clone())
        })
    }

    /// The key that is asked for, and the scope if there is only one.
    pub(super) fn key(&self, key: &str, scope: Option<&str>) {
        let mut subject = self.lock();
        subject.key = Some(key.to_owned());
        subject.scope = scope.map(str::to_owned);
    }

    /// The entry that was found or is written.
    pub(super) fn entry(&self, name: &EntryName) {
        let mut subject = self.lock();
        subject.repository = Some(name.repository.clone());
        subject.scope = Some(name.scope.clone());
        subject.key = Some(name.key.clone());
    }

    /// How large the whole entry is.
    pub(super) fn size(&self, size: u64) {
        self.lock().size = Some(size);
    }

    /// Keeps a share of the quota of its repository until the answer has left.
    pub(super) fn hold(&self, usage: Usage) {
        drop(self.lock().counted.replace(usage));
    }

    fn lock(&self) -> MutexGuard<'_, Subject> {
        // Nothing panics while it holds the lock.
        self.0.lock()
    }
}

/// Why a request was refused, on the answer that says so.
#[derive(Debug, Clone)]
pub(super) struct Reason(pub String);

/// On the answer to a request that was refused for lack of a right.
#[derive(Debug, Clone, Copy)]
pub(super) struct Denied(pub EventKind);

/// The line of one request; written when it is dropped.
#[derive(Debug)]
pub(super) struct AccessRecord {
    access: Access,
    client: Option<IpAddr>,
    /// Nobody wants a line each time that somebody looks whether the service is alive.
    probe: bool,
    on: bool,
    /// Keeps the place of the connection until the answer has left.
    _permit: Option<Arc<RequestPermit>>,
    metrics: Metrics,
    _in_flight: InLevel,
    begun: Instant,
    received: Arc<AtomicU64>,
    sent: u64,
    answer: Option<Outcome>,
    span: TraceSpan,
}

#[derive(Debug)]
struct Outcome {
    operation: Operation,
    status: u16,
    /// How many bytes of body it promised.
    promised: Option<u64>,
    reason: Option<String>,
}

impl AccessRecord {
    /// The line of a request that begins now; with `on` false it is not written.
    pub(super) fn new(
        access: Access,
        client: Option<IpAddr>,
        probe: bool,
        on: bool,
        permit: Option<Arc<RequestPermit>>,
        metrics: Metrics,
    ) -> Self {
        Self {
            _in_flight: metrics.begin_request(),
            metrics,
            _permit: permit,
            access,
            client,
            probe,
            on,
            begun: Instant::now(),
            received: Arc::default(),
            sent: 0,
            answer: None,
            span: TraceSpan::default(),
        }
    }

    /// Lets a span end with it.
    pub(super) fn record_in(&mut self, span: TraceSpan) {
        self.span = span;
    }

    /// What counts the bytes of the request's body.
    pub(super) fn received(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.received)
    }

    /// Notes the head of the answer, whose body keeps the line from then on.
    pub(super) fn answered(
        mut self,
        operation: Operation,
        response: axum::response::Response,
        promised: Option<u64>,
    ) -> axum::response::Response {
        let reason = response.extensions().get::<Reason>();
        self.answer = Some(Outcome {
            operation,
            status: response.status().as_u16(),
            promised,
            reason: reason.map(|reason| reason.0.clone()),
        });
        response.map(|body| Body::new(LoggedBody { body, record: self }))
    }

    /// Bytes of content that came or went; other messages are not worth a number.
    fn content_bytes(&self) -> Option<u64> {
        match self.answer.as_ref()?.operation {
            Operation::UploadPart | Operation::PutBlob => {
                Some(self.received.load(Ordering::Relaxed))
            }
            Operation::Download => Some(self.sent),
            _ => None,
        }
    }

    fn message(&self) -> &'static str {
        match &self.answer {
            None => "request, given up by its client",
            Some(answer) if answer.promised.is_some_and(|promised| promised > self.sent) => {
                "request, its answer was cut off"
            }
            Some(_) => "request",
        }
    }
}

impl Drop for AccessRecord {
    fn drop(&mut self) {
        let operation = self.answer.as_ref().map(|answer| answer.operation);
        let operation = operation.unwrap_or(Operation::Other);
        self.metrics.took(operation, self.begun.elapsed());
        self.finish_span(operation);
        if self.on {
            self.write_line();
        }
    }
}

impl AccessRecord {
    fn finish_span(&mut self, operation: Operation) {
        let mut span = std::mem::take(&mut self.span);
        let subject = self.access.lock();
        let answer = self.answer.as_ref();
        let answered = Answered {
            operation,
            status: answer.map(|answer| answer.status),
            reason: answer.and_then(|answer| answer.reason.as_deref()),
            repository: subject.repository.as_deref(),
            scope: subject.scope.as_deref(),
            key: subject.key.as_deref(),
            bytes: self.content_bytes(),
        };
        request_span::finish(&mut span, &answered);
    }

    fn write_line(&self) {
        // In tenths: the rest is noise.
        let duration_ms = (self.begun.elapsed().as_secs_f64() * 10_000.0).round() / 10.0;
        let (bytes, message) = (self.content_bytes(), self.message());
        let client = self.client.map(tracing::field::display);
        let subject = self.access.lock();
        let answer = self.answer.as_ref();
        let status = answer.map(|answer| answer.status);
        let reason = answer.and_then(|answer| answer.reason.as_deref());
        macro_rules! write {
            ($level:ident) => {
                tracing::$level!(
                    target: "buildkit_gha::access",
                    operation = answer.map(|answer| answer.operation.name()),
                    key = subject.key.as_deref(),
                    scope = subject.scope.as_deref(),
                    repository = subject.repository.as_deref(),
                    status,
                    bytes,
                    size = subject.size,
                    duration_ms,
                    client,
                    reason,
                    "{message}"
                )
            };
        }
        if status.is_some_and(|status| status >= 500) {
            write!(warn);
        } else if self.probe {
            write!(debug);
        } else {
            write!(info);
        }
    }
}

/// The body of an answer, with the line of its request.
struct LoggedBody {
    body: Body,
    record: AccessRecord,
}

impl http_body::Body for LoggedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            this.record.sent += data.len() as u64;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
