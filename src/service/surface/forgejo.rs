//! Contents that jobs of Forgejo read by way of their runner's proxy, since they may not reach this service.

use axum::{
    Router,
    extract::Path,
    http::{HeaderMap, Method},
    response::Response,
    routing::get,
};

use super::{
    blob,
    context::{AppState, Context},
    response::respond,
    v1,
};
use crate::service::{api_error::ApiError, metrics::Operation};

pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/_apis/artifactcache/artifacts/{id}", get(read))
}

async fn read(
    context: Context,
    Path(id): Path<i64>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let found = async {
        let caller = context.caller(&headers).await?;
        let (entry, published) = context
            .service
            .run(async move |entries| entries.content(id).await)
            .await?;
        if !caller.may_read(&entry.name) {
            return Err(ApiError::not_found());
        }
        blob::deliver(&context, &method, &headers, entry, published).await
    };
    respond(Operation::Download, found.await, v1::error_response)
}
