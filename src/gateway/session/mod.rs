//! `Control.Session`: the HTTP/2 connection that buildkitd opens to the user's client through a
//! stream of `BytesMessage`, ended here on both sides so that calls inside it can be answered.

pub mod bytes_message;
mod content_calls;
mod local;
mod splice;
mod tunnel;

use std::sync::Arc;

use bytes::Bytes;
use h2::{RecvStream, client::SendRequest};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tracing::Instrument as _;

use super::{
    interceptor::Interceptor,
    transport::{
        head, intercept,
        proxy::{self, CallOutcome, Responder},
    },
};
use crate::{
    lifecycle::Tasks,
    telemetry::{spans, trace::Tracer},
};

/// The session's id.
const SESSION_ID: HeaderName = HeaderName::from_static("x-docker-expose-session-uuid");

/// One header for each method that the client's side of a session has.
const SESSION_METHOD: HeaderName = HeaderName::from_static("x-docker-expose-session-grpc-method");

/// What sessions need of the gateway.
#[derive(Clone, Copy)]
pub(super) struct SessionContext<'a> {
    pub interceptor: &'a Arc<dyn Interceptor>,
    pub tasks: &'a Tasks,
    pub tracer: &'a Tracer,
}

/// Carries a `Control.Session`.
pub(super) async fn forward(
    request: Request<RecvStream>,
    mut respond: Responder,
    callee: SendRequest<Bytes>,
    context: SessionContext<'_>,
) -> CallOutcome {
    let mut onward = match head::request(&request) {
        Ok(onward) => onward,
        Err(status) => return proxy::answer(&status, &mut respond),
    };
    let traceparent = intercept::traceparent(onward.headers()).map(str::to_owned);
    expose_content(onward.headers_mut());
    let id = onward.headers().get(SESSION_ID);
    let id = id.and_then(|id| id.to_str().ok()).unwrap_or_default();
    let id = id.to_owned();
    let (response, mut send) = match proxy::open_call(callee, onward, false, &mut respond).await {
        Ok(opened) => opened,
        Err(ended) => return ended,
    };
    // buildkitd answers as soon as it has the session, and then speaks first.
    let ended = match proxy::relay_head(response, &mut respond, |_| ()).await {
        Ok(Some((body, back))) => {
            let client = (request.into_body(), back);
            let span = spans::session(&id);
            let _traced = context.tracer.session(traceparent.as_deref(), &id);
            let session = splice::Session {
                id,
                interceptor: context.interceptor,
                tasks: context.tasks,
            };
            session.run(client, (body, send)).instrument(span).await;
            // It is the client that ends a session.
            return CallOutcome::Cancelled;
        }
        Ok(None) => Ok(()),
        Err(ended) => Err(ended),
    };
    proxy::propagate_reset(&ended, &mut send, &mut respond)
}

/// Adds the methods of a content store to those that the client has.
fn expose_content(headers: &mut HeaderMap) {
    for path in content_calls::paths() {
        let known = headers.get_all(SESSION_METHOD);
        // buildkitd compares them in lower case.
        let same = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(path.as_bytes());
        if !known.iter().any(same) {
            let value = HeaderValue::try_from(path).expect("a method's path is plain ASCII");
            headers.append(SESSION_METHOD, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_methods_of_a_content_store_are_exposed_once() {
        let mut headers = HeaderMap::new();
        for method in [
            "/grpc.health.v1.Health/Check",
            "/containerd.services.content.v1.Content/Read",
            "/containerd.services.content.v1.content/write",
        ] {
            headers.append(SESSION_METHOD, HeaderValue::from_static(method));
        }
        expose_content(&mut headers);
        let methods: Vec<_> = headers.get_all(SESSION_METHOD).iter().collect();
        assert_eq!(methods.len(), 3 + 7);
        expose_content(&mut headers);
        assert_eq!(headers.get_all(SESSION_METHOD).iter().count(), 3 + 7);
    }
}
