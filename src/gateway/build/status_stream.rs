//! Control.Status on its way to a client: vertices of ours renamed, and what the build's progress adds.

use std::{collections::HashSet, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use prost::Message as _;
use tokio::{sync::watch, time::Instant};

use super::progress::BuildProgress;
use crate::{
    gateway::interceptor::StatusEditor,
    proto::control::{StatusResponse, Vertex, VertexWarning},
    wire::{self, Edit, WireError},
};

/// Shortest time between two messages of ours: clients draw about ten times a second.
const MIN_INTERVAL: Duration = Duration::from_millis(100);

/// Field numbers of `StatusResponse`, `Vertex` and `VertexStatus`.
const VERTEXES: u32 = 1;
const STATUSES: u32 = 2;
const WARNINGS: u32 = 4;
const VERTEX_NAME: u32 = 3;
const STATUS_ID: u32 = 1;
const STATUS_VERTEX: u32 = 2;

/// What the name of BuildKit's vertex for one of our imports begins with.
const IMPORT_NAME: &str = "importing cache manifest from gha:";

/// One Status stream of a build.
pub(super) struct StatusStream {
    progress: Arc<BuildProgress>,
    unreached: Box<dyn Fn() -> Option<String> + Send>,
    changes: watch::Receiver<u64>,
    seen: u64,
    not_before: Instant,
    /// Warnings of ours that buildkitd has shown in this stream.
    seen_warnings: HashSet<Vec<u8>>,
    /// The message that is being edited tells of BuildKit's vertex for an export of ours.
    tells_of_export: bool,
}

impl StatusStream {
    /// Begins to watch `progress`. `unreached` is the import endpoint's URL as long as buildkitd
    /// has never called it.
    pub fn new(
        progress: Arc<BuildProgress>,
        unreached: impl Fn() -> Option<String> + Send + 'static,
    ) -> Self {
        Self {
            unreached: Box::new(unreached),
            changes: progress.subscribe(),
            progress,
            seen: 0,
            not_before: Instant::now(),
            seen_warnings: HashSet::new(),
            tells_of_export: false,
        }
    }

    fn edit_message(&mut self, message: &[u8]) -> Result<Vec<u8>, WireError> {
        wire::edit(message, |field| match field.number {
            VERTEXES => self.edit_vertex(field.payload()?),
            STATUSES => self.edit_status(field.payload()?),
            WARNINGS => Ok(self.note_warning(field.payload()?)),
            _ => Ok(Edit::Keep),
        })
    }

    /// Gives BuildKit's vertices for caches of ours the names that they have with stock's `gha`, and
    /// looks for imports that failed because buildkitd cannot reach us.
    fn edit_vertex(&mut self, vertex: &[u8]) -> Result<Edit, WireError> {
        // What cannot be read is no vertex of ours.
        let Ok(known) = Vertex::decode(vertex) else {
            return Ok(Edit::Keep);
        };
        self.progress.record_vertex(&known);
        self.tells_of_export |= self.progress.is_export(&known.digest);
        if known.name.starts_with(IMPORT_NAME) && !known.error.is_empty() {
            self.warn_unreached_endpoint();
        }
        let Some(name) = self.progress.rename(&known) else {
            return Ok(Edit::Keep);
        };
        let renamed = wire::edit(vertex, |field| {
            Ok::<_, WireError>(match field.number {
                VERTEX_NAME => Edit::Replace(name.clone().into()),
                _ => Edit::Keep,
            })
        })?;
        Ok(Edit::Replace(renamed))
    }

    fn note_warning(&mut self, warning: &[u8]) -> Edit {
        if let Ok(warning) = VertexWarning::decode(warning)
            && self.progress.is_handed_over(&warning.short)
        {
            self.seen_warnings.insert(warning.short);
        }
        Edit::Keep
    }

    fn edit_status(&self, status: &[u8]) -> Result<Edit, WireError> {
        let (vertex, id) = (text(status, STATUS_VERTEX)?, text(status, STATUS_ID)?);
        Ok(if self.progress.hides_status(vertex, id) {
            Edit::Remove
        } else {
            Edit::Keep
        })
    }

    /// An import of ours has failed. If buildkitd has never called, it is most likely elsewhere.
    fn warn_unreached_endpoint(&self) {
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
        self.progress.warn(short, detail.map(String::from).to_vec());
    }

    fn updates(&mut self) -> Option<StatusResponse> {
        let (now, response) = self.progress.changes_since(self.seen);
        self.seen = now;
        (response != StatusResponse::default()).then_some(response)
    }
}

#[async_trait]
impl StatusEditor for StatusStream {
    fn edit(&mut self, message: Bytes) -> Option<Bytes> {
        let edited = self.edit_message(&message).map(|mut edited| {
            // What is said of a vertex comes with its end, not after it.
            if std::mem::take(&mut self.tells_of_export)
                && let Some(ours) = self.updates()
            {
                edited.extend(ours.encode_to_vec());
            }
            edited
        });
        match edited {
            Ok(edited) if edited.is_empty() && !message.is_empty() => None,
            Ok(edited) => Some(edited.into()),
            Err(error) => {
                tracing::debug!(%error, "a status message is passed on as it is");
                Some(message)
            }
        }
    }

    async fn next(&mut self) -> Bytes {
        loop {
            tokio::time::sleep_until(self.not_before).await;
            if *self.changes.borrow_and_update() > self.seen
                && let Some(response) = self.updates()
            {
                self.not_before = Instant::now() + MIN_INTERVAL;
                return response.encode_to_vec().into();
            }
            let deadline = async {
                match self.progress.deadline() {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                // The sender lives in the progress that this holds.
                _ = self.changes.changed() => {}
                () = deadline => self.progress.pass_deadline(),
            }
        }
    }

    fn finish(&mut self) -> Option<Bytes> {
        self.progress.finish();
        let unseen = self.progress.unseen_warnings(&self.seen_warnings);
        let mut news = self.updates().unwrap_or_default();
        news.vertexes.extend(unseen.vertexes);
        news.warnings.extend(unseen.warnings);
        (news != StatusResponse::default()).then(|| news.encode_to_vec().into())
    }
}

/// The text of a field; empty where it is not there.
fn text(message: &[u8], number: u32) -> Result<&str, WireError> {
    wire::last(message, number)?.map_or(Ok(""), |field| field.text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cache::{Event, Transfer, TransferKey, TransferState},
        digest::Digest,
        gateway::{
            build::{counters::BuildCounters, progress::WarningTarget},
            interceptor::{Daemon, GrpcStatus},
        },
        lifecycle::Tasks,
        proto::control::VertexStatus,
    };

    fn decode(message: &Bytes) -> StatusResponse {
        StatusResponse::decode(message.as_ref()).unwrap()
    }

    fn stream(progress: &Arc<BuildProgress>) -> StatusStream {
        StatusStream::new(Arc::clone(progress), || None)
    }

    fn progress() -> BuildProgress {
        BuildProgress::new("build", Arc::default(), BuildCounters::default())
    }

    /// A buildkitd that takes every warning.
    struct AcceptingDaemon;

    #[async_trait]
    impl Daemon for AcceptingDaemon {
        async fn call(
            &self,
            _path: &'static str,
            _metadata: &[(&'static str, &str)],
            _message: Bytes,
        ) -> Result<Bytes, GrpcStatus> {
            Ok(Bytes::new())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_warning_that_buildkitd_took_too_late_to_show_is_shown_here() {
        let tasks = Tasks::default();
        let target = WarningTarget {
            daemon: Arc::new(AcceptingDaemon),
            tasks: tasks.clone(),
        };
        let progress = progress();
        let progress = Arc::new(progress.with_daemon("build", target));
        progress.bridge_is_open();
        let (mut unlucky, mut lucky) = (stream(&progress), stream(&progress));
        progress.warn("cache import: no index".into(), Vec::new());
        assert!(tasks.drain(Duration::from_secs(5)).await);

        let warning = VertexWarning {
            short: b"cache import: no index".to_vec(),
            ..VertexWarning::default()
        };
        let shown = StatusResponse {
            warnings: vec![warning],
            ..StatusResponse::default()
        };
        lucky.edit(shown.encode_to_vec().into());
        for (stream, missing) in [(&mut unlucky, 1), (&mut lucky, 0)] {
            let end = stream.finish().map(|end| decode(&end)).unwrap_or_default();
            assert_eq!(end.warnings.len(), missing);
            assert!(
                end.warnings
                    .iter()
                    .all(|w| w.vertex == end.vertexes[0].digest)
            );
        }
    }

    fn transfer(current: u64) -> Event {
        Event::Transfer(Transfer {
            key: TransferKey::Upload(Digest::sha256("a")),
            current,
            total: 10,
            state: TransferState::Running,
        })
    }

    #[tokio::test(start_paused = true)]
    async fn an_export_row_is_renamed_and_gets_its_progress() {
        let progress = Arc::new(progress());
        let row = progress.export_vertex("session", 0);
        row.register();
        let export = row.reporter();
        let digest = Digest::sha256("session-cache-0").to_string();
        let mut stream = stream(&progress);

        let message = StatusResponse {
            vertexes: vec![Vertex {
                digest: digest.clone(),
                name: "exporting cache to client directory".into(),
                started: Some(prost_types::Timestamp::default()),
                ..Default::default()
            }],
            statuses: ["preparing build cache for export", "writing layer sha256:1"]
                .map(|id| VertexStatus {
                    id: id.into(),
                    vertex: digest.clone(),
                    ..Default::default()
                })
                .into(),
            ..Default::default()
        };
        let edited = stream.edit(message.encode_to_vec().into()).unwrap();
        assert_eq!(
            decode(&edited).vertexes[0].name,
            "exporting to GitHub Actions Cache"
        );
        let rows = decode(&edited).statuses;
        assert_eq!(
            rows.len(),
            1,
            "what is handed over to us is not yet written"
        );

        export.report(transfer(1));
        export.report(transfer(7));
        let said = decode(&stream.next().await);
        let rows = said.statuses;
        assert_eq!(rows.len(), 1, "only the newest state of a transfer is sent");
        assert_eq!((rows[0].vertex.as_str(), rows[0].current), (&*digest, 7));
        let name = "exporting to GitHub Actions Cache (0 of 1 layers)";
        assert_eq!(said.vertexes[0].name, name, "names count");
        assert_eq!(stream.finish(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_warning_without_a_row_brings_its_own_to_every_viewer() {
        let progress = Arc::new(progress());
        let mut early = stream(&progress);
        progress.warn("cache export skipped".into(), vec!["because".into()]);
        let mut late = stream(&progress);

        for stream in [&mut early, &mut late] {
            let response = decode(&stream.finish().unwrap());
            assert_eq!(response.warnings[0].short, b"cache export skipped: because");
            assert_eq!(response.warnings[0].vertex, response.vertexes[0].digest);
            assert!(response.vertexes[0].completed.is_some());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn our_own_row_lasts_as_long_as_its_work() {
        let progress = Arc::new(progress());
        let mut stream = stream(&progress);
        let reporter = progress.reporter();
        for text in ["b is said first", "a is said next"] {
            reporter.report(Event::Note(text.into()));
        }
        let said = decode(&stream.next().await);
        let rows: Vec<_> = said.statuses.iter().map(|row| row.id.as_str()).collect();
        assert_eq!(rows, ["b is said first", "a is said next"]);
        assert_eq!(said.vertexes[0].completed, None);
        let begun = said.vertexes[0].started;
        let end = decode(&stream.next().await);
        assert_eq!(end.vertexes[0].started, begun);
        assert!(end.vertexes[0].completed.is_some());
        assert_eq!(stream.finish(), None, "it has ended already");
    }

    #[tokio::test]
    async fn the_history_of_a_build_has_its_names_too() {
        let rows = Arc::default();
        let build = Arc::new(BuildProgress::new(
            "build",
            Arc::clone(&rows),
            BuildCounters::default(),
        ));
        build.export_vertex("session", 0).register();
        drop(build);
        let later = BuildProgress::new("build", rows, BuildCounters::default());
        let digest = Digest::sha256("session-cache-0").to_string();
        let vertex = |digest: String| Vertex {
            digest,
            name: "exporting cache to client directory".to_owned(),
            ..Vertex::default()
        };
        let name = later.rename(&vertex(digest));
        assert_eq!(name.as_deref(), Some("exporting to GitHub Actions Cache"));
        assert_eq!(later.rename(&vertex("another".to_owned())), None);
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
            let progress = Arc::new(progress());
            let unreached = move || (!called).then(|| "http://127.0.0.1:1/".to_owned());
            let mut stream = StatusStream::new(progress, unreached);
            let sent = stream.edit(message.encode_to_vec().into()).unwrap();
            assert_eq!(decode(&sent), message);
            let said = stream.finish().unwrap_or_default();
            assert_eq!(decode(&said).warnings.len(), warnings);
        }
    }

    #[test]
    fn what_is_no_status_message_passes_as_it_is() {
        let mut stream = stream(&Arc::new(progress()));
        let odd = Bytes::from_static(&[0x0a, 0xff]);
        assert_eq!(stream.edit(odd.clone()), Some(odd));
    }
}
