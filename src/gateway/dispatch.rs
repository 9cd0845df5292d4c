//! What becomes of each call of a client.

use std::sync::Arc;

use h2::RecvStream;
use http::Request;

use super::{
    health::HealthService,
    interceptor::Interceptor,
    session::{self, SessionContext},
    transport::{
        intercept,
        proxy::{self, CallOutcome, Responder},
        routes::Route,
        upstream::Upstream,
    },
};
use crate::{
    lifecycle::Tasks,
    telemetry::trace::{ConnectionTrace, Tracer},
};

/// A client's connection, with its own connection to buildkitd.
pub(super) struct Client {
    pub upstream: Upstream,
    pub interceptor: Arc<dyn Interceptor>,
    pub health: Arc<HealthService>,
    pub tasks: Tasks,
    pub tracer: Tracer,
    pub trace: ConnectionTrace,
}

impl Client {
    /// Carries a call to its end.
    pub async fn call(
        self: Arc<Self>,
        request: Request<RecvStream>,
        mut respond: Responder,
    ) -> CallOutcome {
        let traceparent = intercept::traceparent(request.headers());
        self.trace.called(traceparent);
        let route = Route::from_path(request.uri().path());
        if let Route::Health(method) = route {
            return self.health.call(method, request, respond).await;
        }
        let callee = match self.upstream.requests().await {
            Ok(callee) => callee,
            Err(status) => {
                tracing::warn!(%status, "a call was not forwarded");
                return proxy::answer(&status, &mut respond);
            }
        };
        let interceptor = &self.interceptor;
        match route {
            Route::Pass | Route::Health(_) => proxy::forward(request, respond, callee).await,
            Route::Session => {
                let context = SessionContext {
                    interceptor,
                    tasks: &self.tasks,
                    tracer: &self.tracer,
                };
                session::forward(request, respond, callee, context).await
            }
            Route::Intercept(method) => {
                intercept::forward(method, request, respond, callee, interceptor.as_ref()).await
            }
        }
    }
}
