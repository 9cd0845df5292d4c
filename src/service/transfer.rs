//! Bodies of requests, on their way into the blob store.

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures_util::{Stream, stream};
use http_body_util::BodyExt as _;

use super::{
    api_error::ApiError,
    entries::Entries,
    instance::Service,
    metrics::Metrics,
    store::{BodyError, Extent, PutError},
    upload::PendingPart,
};

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        Self::body(&error.0)
    }
}

impl Service {
    /// Stores a body of exactly the length of `part` in its upload, with which the content has `end` bytes at least. The
    /// upload is given up when there is no room for it, now or ever, or when the store loses it.
    pub(super) async fn receive(
        &self,
        body: Body,
        part: &PendingPart,
        end: u64,
    ) -> Result<Extent, ApiError> {
        let upload = part.upload();
        let stored = match self.entries().check_size(end) {
            Ok(()) => self.store(body, part).await,
            Err(error) => Err(error),
        };
        if stored.as_ref().is_err_and(ApiError::ends_upload) {
            let upload = upload.clone();
            let give_up = |entries: Arc<Entries>| async move {
                entries.give_up(&upload).await;
                Ok(())
            };
            self.run(give_up).await?;
        }
        stored
    }

    async fn store(&self, body: Body, part: &PendingPart) -> Result<Extent, ApiError> {
        let mut bytes = Box::pin(exactly(part.len(), body, self.metrics()));
        let stored = part.upload().blob().put(part.len(), &mut bytes).await;
        stored.map_err(|error| match error {
            PutError::Body(error) => error.into(),
            PutError::Store(error) => error.into(),
        })
    }
}

/// The bytes of a body, which fails unless there are `len` of them: the place of a part has just this room.
fn exactly(
    len: u64,
    body: Body,
    metrics: &Metrics,
) -> impl Stream<Item = Result<Bytes, BodyError>> + Send {
    stream::try_unfold((body, 0), move |(mut body, received)| async move {
        let Some(data) = next_frame(&mut body).await? else {
            if received == len {
                return Ok(None);
            }
            let reason = format!("it has {received} bytes instead of {len}");
            return Err(BodyError(reason));
        };
        let received = received + data.len() as u64;
        if received > len {
            return Err(BodyError(format!("it has more than {len} bytes")));
        }
        metrics.received(data.len() as u64);
        Ok(Some((data, (body, received))))
    })
}

/// The next bytes of a body.
pub(super) async fn next_frame(body: &mut Body) -> Result<Option<Bytes>, BodyError> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(error)) => return Err(BodyError(error.to_string())),
            // Trailers carry nothing for us.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}
