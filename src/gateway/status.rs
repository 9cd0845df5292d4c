//! Control.Status on its way to the viewer: rows of ours renamed, and what the board has added.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use prost::Message as _;
use tokio::{sync::watch, time::Instant};

use super::{board::Board, interceptor::StatusEditor};
use crate::{
    proto::control::StatusResponse,
    wire::{self, Edit, WireError},
};

/// Shortest time between two messages of ours: viewers draw about ten times a second.
const PACE: Duration = Duration::from_millis(100);

/// Field numbers of `StatusResponse` and `Vertex`.
const VERTEXES: u32 = 1;
const VERTEX_DIGEST: u32 = 1;
const VERTEX_NAME: u32 = 3;
const VERTEX_ERROR: u32 = 7;

/// What the name of BuildKit's row for one of our imports begins with.
const IMPORT_NAME: &str = "importing cache manifest from gha:";

/// One viewer of a build.
pub struct Viewer {
    board: Arc<Board>,
    unreached: Box<dyn Fn() -> Option<String> + Send>,
    changes: watch::Receiver<u64>,
    seen: u64,
    not_before: Instant,
}

impl Viewer {
    /// Begins to watch `board`. `unreached` tells the import endpoint's URL as long as buildkitd
    /// has never called it.
    pub fn new(board: Arc<Board>, unreached: impl Fn() -> Option<String> + Send + 'static) -> Self {
        Self {
            unreached: Box::new(unreached),
            changes: board.watch(),
            board,
            seen: 0,
            not_before: Instant::now(),
        }
    }

    /// Gives BuildKit's rows for exports of ours the name that stock's `gha` export has, and looks
    /// for imports that failed because buildkitd cannot reach us.
    fn edit_vertexes(&self, message: &[u8]) -> Result<Vec<u8>, WireError> {
        wire::edit(message, |field| {
            if field.number != VERTEXES {
                return Ok(Edit::Keep);
            }
            let vertex = field.payload()?;
            let part = |number| match wire::last(vertex, number)? {
                Some(field) => field.text().map(str::to_owned),
                None => Ok(String::new()),
            };
            if part(VERTEX_NAME)?.starts_with(IMPORT_NAME) && !part(VERTEX_ERROR)?.is_empty() {
                self.advise();
            }
            let Some(name) = self.board.rename(&part(VERTEX_DIGEST)?) else {
                return Ok(Edit::Keep);
            };
            let renamed = wire::edit(vertex, |field| {
                Ok::<_, WireError>(match field.number {
                    VERTEX_NAME => Edit::Replace(name.into()),
                    _ => Edit::Keep,
                })
            })?;
            Ok(Edit::Replace(renamed))
        })
    }

    /// An import of ours has failed. If buildkitd has never called, it is most likely elsewhere.
    fn advise(&self) {
        let Some(url) = (self.unreached)() else {
            return;
        };
        let short =
            format!("cache import: buildkitd has never called the gateway's endpoint at {url}");
        let detail = [
            "Is it in another network namespace? Then name an address that it can reach with",
            "--import-listen and --import-url, or set BUILDKIT_GHA_IMPORT=content. A buildkitd that the",
            "gateway starts must keep SSL_CERT_DIR as it gets it, to trust the endpoint.",
        ];
        self.board.warn(short, detail.map(String::from).to_vec());
    }

    fn news(&mut self) -> Option<StatusResponse> {
        let (now, response) = self.board.since(self.seen);
        self.seen = now;
        (response != StatusResponse::default()).then_some(response)
    }
}

#[async_trait]
impl StatusEditor for Viewer {
    fn edit(&mut self, message: Bytes) -> Bytes {
        match self.edit_vertexes(&message) {
            Ok(edited) => edited.into(),
            Err(error) => {
                tracing::debug!(%error, "a status message is passed on as it is");
                message
            }
        }
    }

    async fn next(&mut self) -> Bytes {
        loop {
            tokio::time::sleep_until(self.not_before).await;
            if *self.changes.borrow_and_update() > self.seen
                && let Some(response) = self.news()
            {
                self.not_before = Instant::now() + PACE;
                return response.encode_to_vec().into();
            }
            if self.changes.changed().await.is_err() {
                // The sender lives in the board that we hold.
                std::future::pending::<()>().await;
            }
        }
    }

    fn finish(&mut self) -> Option<Bytes> {
        let mut response = self.news().unwrap_or_default();
        response
            .vertexes
            .retain(|vertex| vertex.completed.is_some());
        response.vertexes.extend(self.board.completed());
        (response != StatusResponse::default()).then(|| response.encode_to_vec().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cache::{Event, Transfer, TransferState},
        proto::control::Vertex,
    };

    fn decode(message: &Bytes) -> StatusResponse {
        StatusResponse::decode(message.as_ref()).unwrap()
    }

    fn viewer(board: &Arc<Board>) -> Viewer {
        Viewer::new(Arc::clone(board), || None)
    }

    fn transfer(current: u64) -> Event {
        Event::Transfer(Transfer {
            id: "a".into(),
            name: "uploading a".into(),
            current,
            total: 10,
            state: TransferState::Running,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn an_export_row_is_renamed_and_gets_its_progress() {
        let board = Arc::new(Board::new("build"));
        let row = board.export_row("session", 0);
        row.expect();
        let export = row.reporter();
        let digest = crate::digest::Digest::of("session-cache-0").to_string();
        let mut viewer = viewer(&board);

        let message = StatusResponse {
            vertexes: vec![Vertex {
                digest: digest.clone(),
                name: "exporting cache to client directory".into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let edited = viewer.edit(message.encode_to_vec().into());
        assert_eq!(
            decode(&edited).vertexes[0].name,
            "exporting to GitHub Actions Cache"
        );

        export.report(transfer(1));
        export.report(transfer(7));
        let rows = decode(&viewer.next().await).statuses;
        assert_eq!(rows.len(), 1, "only the newest state of a transfer is sent");
        assert_eq!((rows[0].vertex.as_str(), rows[0].current), (&*digest, 7));
        assert_eq!(viewer.finish(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_warning_without_a_row_brings_its_own_to_every_viewer() {
        let board = Arc::new(Board::new("build"));
        let mut early = viewer(&board);
        board.warn("cache export skipped".into(), vec!["because".into()]);
        let mut late = viewer(&board);

        for viewer in [&mut early, &mut late] {
            let response = decode(&viewer.next().await);
            assert_eq!(response.warnings[0].short, b"cache export skipped: because");
            assert_eq!(response.warnings[0].vertex, response.vertexes[0].digest);
            let end = decode(&viewer.finish().unwrap());
            assert!(end.vertexes[0].completed.is_some());
        }
    }

    #[test]
    fn an_import_that_fails_at_a_daemon_that_never_called_is_explained() {
        let message = StatusResponse {
            vertexes: vec![Vertex {
                name: "importing cache manifest from gha:1".into(),
                error: "connection refused".into(),
                ..Default::default()
            }],
            ..Default::default()
        };
        for (called, warnings) in [(false, 1), (true, 0)] {
            let board = Arc::new(Board::new("build"));
            let unreached = move || (!called).then(|| "http://127.0.0.1:1/".to_owned());
            let mut viewer = Viewer::new(board, unreached);
            let sent = viewer.edit(message.encode_to_vec().into());
            assert_eq!(decode(&sent), message);
            let said = viewer.finish().unwrap_or_default();
            assert_eq!(decode(&said).warnings.len(), warnings);
        }
    }

    #[test]
    fn what_is_no_status_message_passes_as_it_is() {
        let mut viewer = viewer(&Arc::new(Board::new("build")));
        let odd = Bytes::from_static(&[0x0a, 0xff]);
        assert_eq!(viewer.edit(odd.clone()), odd);
    }
}
