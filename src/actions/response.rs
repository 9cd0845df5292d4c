//! An answer whose body has not been read yet, and the bounded ways to read it.

use std::future::{Ready, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    Error, Kind, error_context::ErrorContext, error_response::read_error, measured::Measured,
    min_throughput::MinThroughput, request::Endpoint, time_limit::TimeLimit,
};
use crate::telemetry::Counter;

/// Most bytes of an error answer that are read; what comes after is no message.
const MAX_ERROR_BYTES: usize = 32 << 10;

/// Most bytes of an API's answer. The largest is a page of a listing: 100 entries, which with keys
/// of 512 characters have some 100 KiB.
const MAX_JSON_BYTES: usize = 256 << 10;

/// An answer, its head read.
pub(super) struct Response {
    inner: reqwest::Response,
    context: ErrorContext,
    limit: TimeLimit,
    begun: Instant,
    throughput: MinThroughput,
    /// Counts the bytes of the body.
    downloaded: Option<Counter>,
    /// Measures the call until its answer was read.
    measured: Option<Measured>,
}

impl Response {
    /// An answer to a request that was begun at `begun`.
    pub fn new(
        response: reqwest::Response,
        context: ErrorContext,
        limit: TimeLimit,
        begun: Instant,
    ) -> Self {
        let (TimeLimit::Total(window) | TimeLimit::NoProgress(window)) = limit;
        Self {
            inner: response,
            context,
            limit,
            begun,
            throughput: MinThroughput::new(window),
            downloaded: None,
            measured: None,
        }
    }

    /// The same, which ends what is measured when its body has been read, or is not wanted.
    pub fn measured_by(self, measured: Measured) -> Self {
        Self {
            measured: Some(measured),
            ..self
        }
    }

    /// The same, whose body is bytes of an entry.
    pub fn counted_by(self, downloaded: &Counter) -> Self {
        Self {
            downloaded: Some(downloaded.clone()),
            ..self
        }
    }

    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// The length of the body, where the answer says it.
    pub fn content_length(&self) -> Option<u64> {
        self.inner.content_length()
    }

    /// The next bytes of the body, `None` at its end. A body may take as long as it moves.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let asked = Instant::now();
        let chunk = timeout(self.throughput.left(), self.inner.chunk())
            .await
            .map_err(|_| {
                self.context
                    .error(Kind::Timeout, &self.throughput.describe())
            })?
            .map_err(|error| self.context.incomplete(error))?;
        if let Some(chunk) = &chunk {
            self.throughput.moved(chunk.len(), asked.elapsed());
            if let Some(downloaded) = &self.downloaded {
                downloaded.add(chunk.len() as u64);
            }
        } else {
            self.measured = None;
        }
        Ok(chunk)
    }

    /// The whole body, which may have `limit` bytes.
    async fn bytes(&mut self, limit: usize) -> Result<Bytes, Error> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > limit {
                return Err(self.protocol(&format!("the answer has more than {limit} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// The body as JSON, which is part of the answer and has no time of its own.
    pub async fn json<T: DeserializeOwned>(mut self) -> Result<T, Error> {
        let body = self.message().await?;
        self.parse(&body)
    }

    /// The same where an empty body is an answer, too.
    pub async fn json_unless_empty<T: DeserializeOwned>(mut self) -> Result<Option<T>, Error> {
        let body = self.message().await?;
        let empty = body.trim_ascii().is_empty();
        (!empty).then(|| self.parse(&body)).transpose()
    }

    async fn message(&mut self) -> Result<Bytes, Error> {
        let until = self.until();
        let body = timeout_at(until, self.bytes(MAX_JSON_BYTES)).await;
        body.map_err(|_| self.context.too_slow(self.limit))?
    }

    fn parse<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, Error> {
        // serde's error is left out: it may quote a signed URL.
        serde_json::from_slice(body).map_err(|error| {
            let (kind, message) = match error.classify() {
                // What ends in its middle was cut on its way, whatever its length said.
                Category::Eof => (
                    Kind::Incomplete,
                    "the answer ends in the middle of its JSON",
                ),
                Category::Data => (
                    Kind::Protocol,
                    "the answer is not what the protocol says: something is missing, of another \
                     type, or a URL that is not http or https",
                ),
                Category::Syntax | Category::Io => {
                    let message = "the answer is not the JSON that the protocol says";
                    (Kind::Protocol, message)
                }
            };
            self.context.error(kind, message)
        })
    }

    /// The error that this answer is.
    pub async fn into_error(mut self, endpoint: Endpoint) -> Error {
        let mut body = BytesMut::new();
        let until = self.until();
        // A body that breaks off, or does not end, still tells something.
        while let Ok(Ok(Some(chunk))) = timeout_at(until, self.chunk()).await {
            let space = MAX_ERROR_BYTES - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(space)]);
            if body.len() == MAX_ERROR_BYTES {
                break;
            }
        }
        let (status, headers) = (self.inner.status(), self.inner.headers());
        read_error(&self.context, endpoint, status, headers, &body)
    }

    /// When a body must be there that is part of the answer.
    fn until(&self) -> Instant {
        match self.limit {
            TimeLimit::Total(time) => self.begun + time,
            // The call was a transfer, and is one no more.
            TimeLimit::NoProgress(time) => Instant::now() + time,
        }
    }

    /// The decoder of calls whose status says it all.
    pub fn success(self) -> Ready<Result<(), Error>> {
        drop(self);
        ready(Ok(()))
    }

    /// The error for an answer that the protocol does not know.
    pub fn protocol(&self, message: &str) -> Error {
        self.context.error(Kind::Protocol, message)
    }

    /// What errors of this answer begin with.
    pub fn context(&self) -> &ErrorContext {
        &self.context
    }
}
