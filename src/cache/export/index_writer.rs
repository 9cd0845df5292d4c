//! From the manifest to the index, which is committed last of all.

use std::{
    collections::HashSet,
    io,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use super::{
    documents::Documents,
    index_order::{IndexOrders, Turn},
    latest_index::LatestIndex,
    layer_tracker::{LayerTracker, Settled},
    outcome::Outcome,
    plan::{LayerCounts, Plan},
    previous_index::{IndexReader, PreviousIndex},
    replaced::ReplacedIndex,
    resources::ExportResources,
    schedule::Schedule,
    scopes::reads_own_scope,
    telemetry::ExportTelemetry,
};
use crate::{
    actions::{self, Client, Priority},
    cache::{
        attributes::Mode,
        graph,
        index::{self, CommitError},
        index_format::{CacheConfig, IndexError, StepTable},
        manifest::{Manifest, ManifestError},
        quarantine::Quarantine,
        repair,
        report::{Event, Reporter},
    },
    digest::Digest,
    lifecycle::run_blocking,
    protocol::key::IndexKey,
};

/// Why the index was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexWriteError {
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("the cache manifest names the config {0}, which was not written")]
    NoConfig(Digest),
    #[error(transparent)]
    Index(#[from] IndexError),
    #[error("the newest cache index could not be read: {0}")]
    Newest(#[source] actions::Error),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("the gateway is shutting down")]
    ShuttingDown,
    /// Work on a large graph did not come to its end.
    #[error(transparent)]
    Work(#[from] io::Error),
}

impl IndexWriteError {
    /// The failure of the service, if it was one.
    pub fn remote(&self) -> Option<&actions::Error> {
        match self {
            Self::Newest(error) | Self::Commit(CommitError::Remote(error)) => Some(error),
            _ => None,
        }
    }
}

/// What writing an index came to.
pub(super) struct Written {
    pub outcome: Outcome,
    /// The layers that were left out, and why, if there are any.
    pub left_out: Option<String>,
}

impl Written {
    /// What was left out is in no index, whatever it is.
    fn superseded() -> Self {
        Self {
            outcome: Outcome::Superseded,
            left_out: None,
        }
    }
}

/// Writes the index of one export.
pub(super) struct IndexWriter {
    client: Client,
    version: String,
    key: IndexKey,
    mode: Mode,
    reporter: Arc<dyn Reporter>,
    telemetry: Arc<ExportTelemetry>,
    reader: IndexReader,
    quarantine: Arc<Quarantine>,
    schedule: Arc<Schedule>,
    tracker: Arc<LayerTracker>,
    documents: Arc<Documents>,
    orders: Arc<IndexOrders>,
    /// The newest index, as it was when the build began.
    at_build_start: LatestIndex,
    /// The same as of when BuildKit began to write, or a little before.
    at_first_write: OnceLock<LatestIndex>,
    /// Known once all layers are confirmed or have failed.
    counts: OnceLock<LayerCounts>,
}

impl IndexWriter {
    pub fn new(
        resources: &ExportResources,
        mode: Mode,
        latest: LatestIndex,
        schedule: Arc<Schedule>,
        tracker: Arc<LayerTracker>,
        documents: Arc<Documents>,
    ) -> Self {
        Self {
            client: resources.client.clone(),
            version: resources.version.clone(),
            key: resources.keys.own.clone(),
            mode,
            reporter: Arc::clone(&resources.reporter),
            telemetry: Arc::clone(&resources.telemetry),
            reader: resources.index_reader(),
            quarantine: Arc::clone(&resources.blobs.quarantine),
            schedule,
            tracker,
            documents,
            orders: Arc::clone(&resources.orders),
            at_build_start: latest,
            at_first_write: OnceLock::new(),
            counts: OnceLock::new(),
        }
    }

    /// BuildKit begins to write: the newest index is read again, unless it has just been.
    pub fn begin(&self) {
        self.newest();
    }

    fn newest(&self) -> &LatestIndex {
        self.at_first_write.get_or_init(|| {
            if self.at_build_start.is_fresh() {
                return self.at_build_start.clone();
            }
            let client = self.client.with_deadline(self.schedule.times().all);
            self.at_build_start.read_again(client)
        })
    }

    /// How many layers the export has; none before they are confirmed or have failed.
    pub fn counts(&self) -> LayerCounts {
        self.counts.get().copied().unwrap_or_default()
    }

    /// The turn of the export, whose manifest has come, among those to its index.
    pub fn turn(&self, goes_on: bool) -> Turn {
        self.orders.turn(self.client.identity(), &self.key, goes_on)
    }

    /// Waits for the layers of the manifest, and writes the index that names those that are there.
    pub async fn write(&self, manifest: &Bytes, turn: &Turn) -> Result<Written, IndexWriteError> {
        let described = self.describe(manifest)?;
        let described = self.prioritize(described).await?;
        let client = self.client.with_deadline(self.schedule.times().all);
        let client = client.with_priority(&Priority::first());
        let newest = self.newest().refreshed(&client);
        let settled = self.settle(&described).await;
        let reporter = Arc::clone(&self.reporter);
        let plan = run_blocking::<_, IndexWriteError>(move || {
            Ok(Plan::new(&described, settled, reporter.as_ref())?)
        });
        let plan = plan.await?;
        self.counts.get_or_init(|| plan.counts);
        let Some(turn) = turn.begin().await else {
            let text = "a later export of this builder has written the cache index meanwhile";
            self.tell(Event::Note(text.to_owned()));
            return Ok(Written::superseded());
        };
        let left_out = self.report_left_out(&plan);
        let outcome = self.write_plan(plan, &newest, &client).await?;
        if outcome != Outcome::Nothing {
            turn.conclude();
        }
        Ok(Written { outcome, left_out })
    }

    /// The index that the manifest and the config it names describe.
    fn describe(&self, manifest: &[u8]) -> Result<CacheConfig, IndexWriteError> {
        let manifest = Manifest::parse(manifest)?;
        let digest = manifest.config.digest;
        let config = self.documents.get(digest);
        let config = config.ok_or(IndexWriteError::NoConfig(digest))?;
        Ok(manifest.index(&config)?)
    }

    /// Lets the layers go first that save the most.
    async fn prioritize(&self, described: CacheConfig) -> Result<CacheConfig, IndexWriteError> {
        let (described, savings) = run_blocking::<_, IndexWriteError>(move || {
            let savings = graph::savings(&described)?;
            Ok((described, savings))
        })
        .await?;
        self.tracker.prioritize(&savings);
        Ok(described)
    }

    async fn settle(&self, described: &CacheConfig) -> Settled {
        let all: HashSet<Digest> = described.layers.iter().map(|layer| layer.blob).collect();
        self.tell(Event::LastLayers {
            sending: self.tracker.uploading(),
            total: all.len(),
        });
        self.tracker.settle(&self.schedule.times().uploads).await
    }

    /// Warns of layers that are left out. The answer is the same as one text.
    fn report_left_out(&self, plan: &Plan) -> Option<String> {
        for (cause, layers) in plan.causes() {
            self.telemetry.left_out(cause, layers);
        }
        let mut warning = plan.left_out_warning()?;
        if plan.is_late() {
            let timeout = self.schedule.timeout();
            (warning.detail).push(format!("the timeout of this export is {timeout:?}"));
        }
        let left_out = format!("{}: {}", warning.short, warning.detail.join("; "));
        let unreachable = plan.unreachable();
        self.tell(unreachable.unwrap_or(Event::Warning(warning)));
        Some(left_out)
    }

    async fn write_plan(
        &self,
        mut plan: Plan,
        newest: &LatestIndex,
        client: &Client,
    ) -> Result<Outcome, IndexWriteError> {
        let layers = plan.kept.layers.len();
        if layers == 0 {
            tracing::info!("no layer to name: the cache index stays as it is");
            return Ok(Outcome::Nothing);
        }
        let client = client.with_deadline(self.schedule.times().index());
        let previous = newest.refreshed(&client).result().await;
        let previous = previous.ok_or(IndexWriteError::ShuttingDown)?;
        let previous = previous.map_err(IndexWriteError::Newest)?;
        if let Some(previous) = &previous {
            self.warn_of_unreadable(previous);
            if previous.graph.as_ref() == Some(&plan.graph) {
                tracing::info!(key = previous.key, "the cache index is unchanged");
                return Ok(Outcome::Unchanged);
            }
            let identity = client.identity();
            let damaged = repair::still_damaged(&self.quarantine, identity, &previous.damaged);
            plan.kept.damaged = damaged;
        }
        let previous = previous.as_deref();
        plan.kept.steps = self.steps(&plan, previous);
        let key = self.commit(&client, previous, &plan.kept).await?;
        let replaced = ReplacedIndex {
            client: &client,
            reader: &self.reader,
            reporter: self.reporter.as_ref(),
            index: &self.key,
            at_build_start: &self.at_build_start,
        };
        replaced.report(previous, &plan.kept, &key).await;
        tracing::info!(key, layers, "the cache index is written");
        Ok(Outcome::Written {
            key,
            layers,
            left_out: plan.left_out(),
        })
    }

    /// What the index is going to say of the build's steps.
    fn steps(&self, plan: &Plan, previous: Option<&PreviousIndex>) -> Option<StepTable> {
        let previous = previous.and_then(|previous| previous.steps.as_ref());
        let layers = plan.step_layers.as_ref()?;
        self.reporter.steps()?.table(self.mode, layers, previous)
    }

    async fn commit(
        &self,
        client: &Client,
        previous: Option<&PreviousIndex>,
        kept: &CacheConfig,
    ) -> Result<String, CommitError> {
        let (key, version) = (&self.key, &self.version);
        let content = kept.to_json().into();
        if !reads_own_scope(client.token()) {
            let number = index::number_from_clock();
            return index::commit_from(client, key, version, number, content).await;
        }
        let previous = previous.map(|previous| previous.key.as_str());
        index::commit(client, key, version, previous, content).await
    }

    fn warn_of_unreadable(&self, previous: &PreviousIndex) {
        if let Some(error) = &previous.unreadable {
            let short = format!(
                "cache export: the newest index {} could not be read, so the next one is written \
                 without knowing what it says",
                previous.key
            );
            self.tell(Event::warning(short, error.to_string()));
        }
    }

    fn tell(&self, event: Event) {
        self.reporter.report(event);
    }
}
