//! Requests about an upload whose bytes another replica takes: they are sent on to it.
//!
//! A load balancer knows nothing of uploads. Each has one replica that takes its bytes, the one that has reserved its
//! name (ADR 72), and replicas find each other in the database.

use std::{error::Error, sync::Arc};

use axum::{body::Body, response::Response};
use url::Url;

use super::{context::Context, forward::RequestHead};
use crate::{
    error_chain::error_chain,
    service::{api_error::ApiError, entries::Entries},
};

impl Context {
    /// The replica that takes the bytes of the upload `id`, if it is another one.
    pub(super) async fn replica_of(
        &self,
        id: i64,
        head: &RequestHead,
    ) -> Result<Option<String>, ApiError> {
        if head.is_forwarded() || self.service.entries().upload(id).is_ok() {
            return Ok(None);
        }
        let replica = async move |entries: Arc<Entries>| entries.replica_of(id).await;
        self.service.run(replica).await
    }

    /// Sends a request on to `replica`.
    pub(super) async fn forward(
        &self,
        replica: &str,
        head: RequestHead,
        body: Body,
    ) -> Result<Response, ApiError> {
        let failed = |error: &dyn Error| {
            let error = error_chain(error);
            tracing::warn!(
                replica,
                error,
                "a request could not be sent on to its replica"
            );
            ApiError::replica_unavailable()
        };
        let mut url = Url::parse(replica).map_err(|error| failed(&error))?;
        url.set_path(head.path());
        url.set_query(head.query());
        let forwarded = self.forwarder().forward(url, head, body).await;
        self.service.metrics().sent_on(forwarded.is_ok());
        forwarded.map_err(|error| failed(&error))
    }
}
