//! An answer whose body has not been read yet, and the bounded ways to read it.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::{
    Error, Kind, failure,
    http::{Limit, Side},
};

/// Most bytes of an error answer that are read; what comes after is no message.
const MAX_ERROR_BYTES: usize = 32 << 10;

/// Most bytes of an API's answer. A listing of 100 entries has some 100 KiB.
const MAX_JSON_BYTES: usize = 4 << 20;

/// An answer, its head read.
pub(crate) struct Answer {
    response: reqwest::Response,
    context: failure::Context,
    limit: Limit,
}

impl Answer {
    pub fn new(response: reqwest::Response, context: failure::Context, limit: Limit) -> Self {
        Self {
            response,
            context,
            limit,
        }
    }

    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// The length of the body, where the answer says it.
    pub fn content_length(&self) -> Option<u64> {
        self.response.content_length()
    }

    /// The next bytes of the body, `None` at its end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let time: Duration = match self.limit {
            Limit::Total(time) | Limit::NoProgress(time) => time,
        };
        tokio::time::timeout(time, self.response.chunk())
            .await
            .map_err(|_| self.context.too_slow(Limit::NoProgress(time)))?
            .map_err(|error| self.context.transport(error))
    }

    /// The whole body, which may have `limit` bytes.
    pub async fn bytes(mut self, limit: usize) -> Result<Bytes, Error> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > limit {
                return Err(self.protocol(&format!("the answer has more than {limit} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// The body as JSON.
    pub async fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let context = self.context.clone();
        let body = self.bytes(MAX_JSON_BYTES).await?;
        // serde's error is left out: it may quote a signed URL.
        serde_json::from_slice(&body).map_err(|error| {
            // What ends in its middle was cut on its way, whatever its length said.
            if error.is_eof() {
                context.error(Kind::Transport, "the answer ends in the middle of its JSON")
            } else {
                let message = "the answer is not the JSON that the protocol says";
                context.error(Kind::Protocol, message)
            }
        })
    }

    /// The error that this answer is.
    pub async fn into_failure(mut self, side: Side) -> Error {
        let mut body = BytesMut::new();
        // A body that breaks off still tells something.
        while let Ok(Some(chunk)) = self.chunk().await {
            let room = MAX_ERROR_BYTES - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if body.len() == MAX_ERROR_BYTES {
                break;
            }
        }
        let (status, headers) = (self.response.status(), self.response.headers());
        self.context.answered(side, status, headers, &body)
    }

    /// The error for an answer that the protocol does not know.
    pub fn protocol(&self, message: &str) -> Error {
        self.context.error(Kind::Protocol, message)
    }

    /// What errors of this answer begin with.
    pub fn context(&self) -> &failure::Context {
        &self.context
    }
}
