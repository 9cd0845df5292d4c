//! One export: a content store that BuildKit writes layers, config and manifest to.
//!
//! No answer to a layer is ever held: other builds of the daemon wait behind it. Layers go to the
//! spool and from there to the cache; what fails is left out of the index. Only the COMMIT of the
//! manifest, the last thing that BuildKit writes, is held until the index is committed; with `async=true`
//! not even that.
//!
//! | part | what |
//! |---|---|
//! | `layer`, `presence`, `layer_lookup` | takes layers from BuildKit, unless they are in the cache |
//! | `uploader`, `uploads`, `upload`, `upload_task` | one upload for all exports of a layer, and its steps |
//! | `key_allocator`, `entry_check`, `owner_wait` | the key that a layer is written under |
//! | `layer_tracker` | where each layer is, until it is confirmed or has failed |
//! | `latest_index`, `previous_index`, `other_scopes` | what the indexes in the cache say |
//! | `document_ingest`, `documents`, `finisher` | takes config and manifest; the end of the export |
//! | `background`, `pending`, `index_order` | an export that goes on after its build |
//! | `index_writer`, `plan`, `replaced` | the index that is written |
//! | `resources`, `context`, `schedule`, `state`, `scopes` | what the parts share |
//! | `telemetry` | what metrics and traces learn of it |

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;

mod background;
mod commit_check;
mod context;
mod document_ingest;
mod documents;
mod entry_check;
mod expiry;
mod finisher;
mod index_order;
mod index_writer;
mod key_allocator;
mod latest_index;
mod layer;
mod layer_error;
mod layer_lookup;
mod layer_tracker;
mod other_scopes;
mod outcome;
mod owner_wait;
mod pending;
mod plan;
mod presence;
mod previous_index;
mod replaced;
mod resources;
mod schedule;
mod scopes;
mod state;
mod telemetry;
mod upload;
mod upload_task;
mod uploader;
mod uploads;

pub(super) use context::ExportContext;
pub(super) use expiry::warn_of_expiry;
pub(super) use index_order::IndexOrders;
pub use layer_error::LayerError;
pub(super) use layer_lookup::Lookups;
pub use outcome::Outcome;
pub(super) use pending::PendingExports;
pub(super) use resources::{ExportLimits, ExportResources};
pub(super) use schedule::OVERTIME;
pub(super) use scopes::IndexKeys;
pub(super) use telemetry::ExportTelemetry;
pub(super) use upload::Upload;
pub(super) use uploads::Uploads;

use self::{
    background::Background,
    document_ingest::DocumentIngest,
    documents::Documents,
    finisher::{Accounts, Finisher},
    index_writer::IndexWriter,
    layer::LayerReceiver,
    layer_tracker::LayerTracker,
    presence::PresenceCheck,
    schedule::Schedule,
    state::ExportState,
    uploader::Uploader,
};
use super::attributes::Attributes;
use crate::{
    content::{Error, Host, IngestSpec, OpenedIngest},
    digest::Digest,
    stats::UnfinishedExport,
};

/// What BuildKit puts between the kind of content and its digest in the ref of a blob:
/// `layer-sha256:…`. The ref of config and manifest is the bare digest.
const BLOB_REF: &str = "-sha256:";

/// One entry of `--cache-to` of one build. It is the content host of its store id. Dropping it
/// ends its uploads and gives back all that it holds.
pub struct ExportJob {
    scope: String,
    state: Arc<ExportState>,
    schedule: Arc<Schedule>,
    layers: Arc<LayerReceiver>,
    finisher: Arc<Finisher>,
}

impl ExportJob {
    /// A job whose time begins when BuildKit first writes: it is made before the build's first
    /// step, which may take longer than any export.
    pub(super) fn new(resources: ExportResources, attributes: &Attributes) -> Arc<Self> {
        let timeout = attributes.timeout;
        let reporter = Arc::clone(&resources.reporter);
        let reading = resources.client.with_deadline(Instant::now() + timeout);
        let latest = resources.begin_latest_index(reading);

        let state = Arc::new(ExportState::new(Arc::clone(&resources.telemetry)));
        let schedule = Schedule::new(resources.client.clone(), Arc::clone(&reporter), timeout);
        let schedule = Arc::new(schedule);
        let tracker = Arc::<LayerTracker>::default();
        let documents = Arc::<Documents>::default();
        let background = attributes.asynchronous.then(|| {
            Background::new(
                attributes.scope.clone(),
                resources.tasks.clone(),
                Arc::clone(&resources.pending),
                resources.spool.clone(),
            )
        });
        let writer = IndexWriter::new(
            &resources,
            attributes.mode,
            latest.clone(),
            Arc::clone(&schedule),
            Arc::clone(&tracker),
            Arc::clone(&documents),
        );
        let finisher = Finisher::new(
            Arc::clone(&state),
            documents,
            Arc::clone(&tracker),
            writer,
            reporter,
            Accounts {
                scope: attributes.scope.clone(),
                meter: Arc::clone(&resources.meter),
                schedule: Arc::clone(&schedule),
            },
            !attributes.ignores_errors(),
        )
        .with_background(background);
        let layers = LayerReceiver {
            state: Arc::clone(&state),
            presence: PresenceCheck::new(&resources, latest.clone()),
            uploader: Uploader {
                context: resources.context(latest),
                schedule: Arc::clone(&schedule),
                uploads: resources.uploads,
                spool: resources.spool,
                spool_wait: resources.limits.spool_wait,
            },
            tracker,
            delivered: resources.delivered,
            telemetry: resources.telemetry,
        };
        Arc::new(Self {
            scope: attributes.scope.clone(),
            state,
            schedule,
            layers: Arc::new(layers),
            finisher: Arc::new(finisher),
        })
    }

    /// Ends the job: nothing is written any more, and never an index. One that goes on after its build
    /// does.
    pub fn cancel(&self) {
        self.finisher.cancel();
    }

    /// The digest of the manifest that it took, if it got that far.
    pub fn manifest(&self) -> Option<Digest> {
        self.finisher.manifest()
    }

    /// What it has come to.
    pub fn outcome(&self) -> Outcome {
        self.state.outcome()
    }

    /// What it waits for, once BuildKit has begun to write and until it has come to something, or goes on
    /// after its build.
    pub fn under_way(&self) -> Option<UnfinishedExport> {
        let under_way = self.schedule.has_begun()
            && self.outcome() == Outcome::Open
            && !self.finisher.goes_on();
        under_way.then(|| UnfinishedExport {
            scope: self.scope.clone(),
            layers: self.finisher.uploading(),
        })
    }
}

impl Drop for ExportJob {
    fn drop(&mut self) {
        self.cancel();
    }
}

#[async_trait]
impl Host for ExportJob {
    async fn open(&self, spec: IngestSpec) -> Result<OpenedIngest, Error> {
        self.state.check_open()?;
        self.state.begin();
        self.finisher.begin();
        match Target::from_spec(&spec)? {
            Target::Layer(digest) => self.layers.open(digest, spec).await,
            Target::Document(digest) => {
                let ingest = DocumentIngest::open(Arc::clone(&self.finisher), digest, spec)?;
                Ok(OpenedIngest::Writer(Box::new(ingest)))
            }
        }
    }

    async fn abort(&self, reference: &str) -> Result<(), Error> {
        // Nothing is kept of an ingest that is not open.
        Err(Error::NotFound(reference.into()))
    }
}

/// What a ref names.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Layer(Digest),
    /// Config or manifest.
    Document(Digest),
}

impl Target {
    fn from_spec(spec: &IngestSpec) -> Result<Self, Error> {
        let reference = &spec.reference;
        let target = match reference.rfind(BLOB_REF) {
            Some(at) => reference[at + 1..].parse().map(Self::Layer),
            None => reference.parse().map(Self::Document),
        };
        let target =
            target.map_err(|e| Error::InvalidArgument(format!("cache export: ref {e}")))?;
        let (Self::Layer(digest) | Self::Document(digest)) = &target;
        if spec.expected.is_some_and(|expected| expected != *digest) {
            return Err(Error::InvalidArgument(format!(
                "cache export: the ref {reference} is not that of the expected digest"
            )));
        }
        Ok(target)
    }
}
