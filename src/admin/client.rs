//! The side of the commands: one request, one connection.

use std::{io, path::PathBuf, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{Response, body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{net::UnixStream, time::timeout};

use crate::{
    lifecycle::{TaskGuard, Tasks},
    stats::{DrainState, DrainStatus, Stats},
    units::duration,
};

/// How long an answer may take to begin: all that is asked for is known.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// A hundred builds with all they have missed are less than this.
const MAX_ANSWER: usize = 64 << 20;

/// A gateway's admin socket.
#[derive(Debug, Clone)]
pub struct AdminClient {
    path: PathBuf,
}

/// Why the gateway has not answered.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// Nothing stands there.
    #[error(
        "no gateway listens on {0}: is one running here? That of a buildx builder NAME is asked by \
         `docker exec buildx_buildkit_NAME0 buildkit-gha …`, and --admin-socket names another path"
    )]
    Absent(PathBuf),
    /// The socket is another user's.
    #[error("{0} is not for this user: only the gateway's own and root may use it")]
    Denied(PathBuf),
    /// The socket cannot be connected to.
    #[error("cannot connect to {0}: {1}")]
    Connect(PathBuf, #[source] io::Error),
    /// The gateway did not answer in time.
    #[error("the gateway on {0} does not answer within {seconds} s", seconds = ANSWER_TIMEOUT.as_secs())]
    Silent(PathBuf),
    /// The connection failed.
    #[error("the gateway has ended the connection: {0}")]
    Http(#[from] hyper::Error),
    /// It ended in the middle of an answer.
    #[error("the gateway has ended before its answer had")]
    Ended,
    /// The gateway refused.
    #[error("the gateway answers {0}: {1}")]
    Refused(StatusCode, String),
    /// The answer is not what was asked for.
    #[error("the gateway's answer cannot be read; is it of another version? {0}")]
    Answer(#[from] serde_json::Error),
    /// The answer has no end.
    #[error("the gateway's answer is larger than {limit} MiB", limit = MAX_ANSWER >> 20)]
    TooLong,
}

impl AdminClient {
    /// The gateway whose admin socket is `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Its last builds.
    pub async fn stats(&self) -> Result<Stats, AdminError> {
        let mut answer = self.call(Method::GET, "/v1/stats").await?;
        answer.document().await
    }

    /// The text of a probe, or of the metrics, and its status.
    pub async fn get(&self, path: &str) -> Result<(StatusCode, String), AdminError> {
        let mut answer = self.call(Method::GET, path).await?;
        let status = answer.status;
        Ok((status, answer.text().await?))
    }

    /// Waits until no export is left, at most `limit`; `show` is told of each line. The last one is the
    /// answer.
    pub async fn drain(
        &self,
        limit: Duration,
        mut show: impl FnMut(&DrainStatus),
    ) -> Result<DrainStatus, AdminError> {
        let path = format!("/v1/drain?timeout={}", duration::format(limit));
        let mut answer = self.call(Method::POST, &path).await?;
        answer.check().await?;
        loop {
            let line = answer.line().await?.ok_or(AdminError::Ended)?;
            let status: DrainStatus = serde_json::from_slice(&line)?;
            show(&status);
            if status.state != DrainState::Waiting {
                return Ok(status);
            }
        }
    }

    async fn call(&self, method: Method, path: &str) -> Result<Answer, AdminError> {
        let stream = self.connect().await?;
        let tasks = Tasks::default();
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tasks.spawn_guarded("admin connection", async move {
            // Whoever reads the answer meets the same error.
            let _ = connection.await;
        });
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "buildkit-gha")
            .body(Empty::<Bytes>::new())
            .expect("the paths are constants and durations");
        let response = timeout(ANSWER_TIMEOUT, sender.send_request(request)).await;
        let response = response.map_err(|_| AdminError::Silent(self.path.clone()))??;
        Ok(Answer::new(response, connection))
    }

    async fn connect(&self) -> Result<UnixStream, AdminError> {
        let path = || self.path.clone();
        UnixStream::connect(&self.path)
            .await
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    AdminError::Absent(path())
                }
                io::ErrorKind::PermissionDenied => AdminError::Denied(path()),
                _ => AdminError::Connect(path(), error),
            })
    }
}

/// An answer that is being read.
struct Answer {
    status: StatusCode,
    body: Incoming,
    read: BytesMut,
    _connection: TaskGuard,
}

impl Answer {
    fn new(response: Response<Incoming>, connection: TaskGuard) -> Self {
        Self {
            status: response.status(),
            body: response.into_body(),
            read: BytesMut::new(),
            _connection: connection,
        }
    }

    async fn document<T: DeserializeOwned>(&mut self) -> Result<T, AdminError> {
        self.check().await?;
        let text = self.text().await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// An error unless the gateway has done what was asked.
    async fn check(&mut self) -> Result<(), AdminError> {
        if self.status.is_success() {
            return Ok(());
        }
        let words = self.text().await?;
        Err(AdminError::Refused(self.status, words.trim().to_owned()))
    }

    async fn text(&mut self) -> Result<String, AdminError> {
        while self.more().await? {}
        Ok(String::from_utf8_lossy(&self.read).into_owned())
    }

    /// The next line; `None` at the end.
    async fn line(&mut self) -> Result<Option<Bytes>, AdminError> {
        loop {
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                return Ok(Some(self.read.split_to(end + 1).freeze()));
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    /// Reads on; false at the end.
    async fn more(&mut self) -> Result<bool, AdminError> {
        let Some(frame) = self.body.frame().await else {
            return Ok(false);
        };
        if let Ok(data) = frame?.into_data() {
            self.read.extend_from_slice(&data);
        }
        if self.read.len() > MAX_ANSWER {
            return Err(AdminError::TooLong);
        }
        Ok(true)
    }
}
