//! What becomes of each call of a client.

use std::sync::Arc;

use h2::RecvStream;
use http::Request;

use super::{
    interceptor::Interceptor,
    session,
    transport::{
        intercept,
        proxy::{self, Outcome, Respond},
        routes::Route,
        upstream::Upstream,
    },
};
use crate::lifecycle::Tasks;

/// A client's connection, with its own connection to buildkitd.
pub(super) struct Client {
    pub upstream: Upstream,
    pub interceptor: Arc<dyn Interceptor>,
    pub tasks: Tasks,
}

impl Client {
    /// Carries a call to its end.
    pub async fn call(
        self: Arc<Self>,
        request: Request<RecvStream>,
        mut respond: Respond,
    ) -> Outcome {
        let callee = match self.upstream.requests().await {
            Ok(callee) => callee,
            Err(status) => {
                tracing::warn!(%status, "a call was not forwarded");
                return proxy::answer(&status, &mut respond);
            }
        };
        let interceptor = &self.interceptor;
        match Route::of(request.uri().path()) {
            Route::Pass => proxy::forward(request, respond, callee).await,
            Route::Session => {
                session::carry(request, respond, callee, interceptor, &self.tasks).await
            }
            Route::Intercept(method) => {
                intercept::carry(method, request, respond, callee, interceptor.as_ref()).await
            }
        }
    }
}
