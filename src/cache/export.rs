//! One export: a content store that BuildKit writes layers, config and manifest to.
//!
//! No answer to a layer is ever held: other builds of the daemon wait behind it. Layers go to the
//! spool and from there to the cache; what fails is left out of the index. Only the COMMIT of the
//! manifest, the last thing that BuildKit writes, is held until the index is committed.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

mod document;
mod expiry;
mod failure;
mod finish;
mod key_allocator;
mod latest_index;
mod layer;
mod ledger;
mod other_scopes;
mod plan;
mod presence;
mod replaced;
mod upload;

pub(super) use expiry::warn_of_expiry;
pub use failure::Failure;
pub(super) use finish::OVERTIME;
pub(super) use latest_index::LatestIndex;
pub(super) use presence::Looked;
pub(super) use upload::{Upload, Uploads};

use self::{document::DocumentIngest, finish::Times, layer::LayerIngest, ledger::Ledger};
use super::{
    Shared,
    attributes::Attributes,
    listing::{Listing, Listings},
    report::Reporter,
    wait_rows::SharedWaitRow,
};
use crate::{
    actions::Client,
    content::{self, Host, IngestSpec, OpenedIngest},
    digest::Digest,
    lifecycle::TaskGuard,
    protocol::key::IndexKey,
};

/// What BuildKit puts between the kind of content and its digest in the ref of a blob:
/// `layer-sha256:…`. The ref of config and manifest is the bare digest.
const BLOB_REF: &str = "-sha256:";

/// One entry of `--cache-to` of one build. It is the content host of its store id. Dropping it
/// ends its uploads and gives back all that it holds.
pub struct ExportJob(Arc<Core>);

/// What an export has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is under way, or has ended without a manifest: an empty result, nothing written.
    Open,
    /// The build left, or was told to.
    Cancelled,
    /// The index would say what the newest one says, so it was not written.
    Unchanged,
    /// Nothing was left to put in an index; the older one stays.
    Nothing,
    /// The index was written.
    Written {
        /// Its key.
        key: String,
        /// Layers that it names.
        layers: usize,
        /// Layers that were left out.
        left_out: usize,
    },
    /// The index was not written. The text is what the error of the manifest's COMMIT said.
    Failed(String),
}

/// What an upload needs; it outlives the job that made it if another one waits for it.
#[derive(Clone)]
pub(in crate::cache) struct ExportContext {
    pub cache: Arc<Shared>,
    pub client: Client,
    pub version: String,
    pub reporter: Arc<dyn Reporter>,
    /// Says that another job's upload is waited for.
    pub foreign_upload: Arc<SharedWaitRow>,
    /// The index that the export will write.
    pub index: IndexKey,
    /// The indexes of this cache in the other scopes that the token reads.
    pub other_indexes: Vec<IndexKey>,
}

impl ExportContext {
    /// For the uploads of one export.
    pub fn new(
        cache: Arc<Shared>,
        client: Client,
        version: String,
        index: IndexKey,
        other_indexes: Vec<IndexKey>,
        reporter: Arc<dyn Reporter>,
    ) -> Self {
        Self {
            cache,
            client,
            version,
            reporter,
            foreign_upload: Arc::default(),
            index,
            other_indexes,
        }
    }

    /// True if the token does not read the scope that it writes to: what is there cannot be looked
    /// up.
    pub(super) fn cannot_read_own_scope(&self) -> bool {
        let own = self.client.token().first_writable();
        own.is_none_or(|scope| !scope.permission.readable())
    }

    /// True if the token reads a scope that it does not write to, as that of a pull request does:
    /// there a reservation succeeds although another scope has the layer.
    pub(super) fn reads_other_scopes(&self) -> bool {
        let token = self.client.token();
        let own = token.first_writable().map(|scope| &scope.name);
        token.readable().any(|scope| Some(&scope.name) != own)
    }
}

/// The job itself, shared with the writers that are open.
struct Core {
    /// Its client has no deadline of its own, see [`Core::times`].
    lane: ExportContext,
    timeout: Duration,
    begun: OnceLock<Instant>,
    /// The newest index, as it was when the build began.
    known: LatestIndex,
    /// The same as of when BuildKit began to write, or a little before.
    newest: OnceLock<LatestIndex>,
    /// Looks layers up before BuildKit asks for them.
    ahead: OnceLock<TaskGuard>,
    ledger: Ledger,
    documents: document::Documents,
    /// What the REST API listed when BuildKit began to write, or a little before, where it can be
    /// asked.
    listing: OnceLock<Option<Arc<Listing>>>,
    manifest: OnceLock<Digest>,
    cancelled: CancellationToken,
    outcome: Mutex<Outcome>,
    /// `ignore-error=false`: layers that are left out are an error, too.
    strict: bool,
    /// What was left out, once that is known.
    lost: OnceLock<String>,
}

impl ExportJob {
    /// A job whose time begins when BuildKit first writes: it is made before the build's first
    /// step, which may take longer than any export.
    pub(super) fn new(lane: ExportContext, spec: &Attributes) -> Arc<Self> {
        let client = lane.client.with_deadline(Instant::now() + spec.timeout);
        // Begun early: a build that is short enough finds it made.
        drop(Listings::of(&lane.cache, &lane.client, &lane.version));
        Arc::new(Self(Arc::new(Core {
            known: LatestIndex::begin(lane.clone(), client),
            newest: OnceLock::new(),
            listing: OnceLock::new(),
            lane,
            timeout: spec.timeout,
            begun: OnceLock::new(),
            ahead: OnceLock::new(),
            ledger: Ledger::default(),
            documents: document::Documents::default(),
            manifest: OnceLock::new(),
            cancelled: CancellationToken::new(),
            outcome: Mutex::new(Outcome::Open),
            strict: !spec.ignores_errors(),
            lost: OnceLock::new(),
        })))
    }

    /// Ends the job: nothing is written any more, and never an index.
    pub fn cancel(&self) {
        self.0.cancel();
    }

    /// The digest of the manifest that it took, if it got that far.
    pub fn manifest(&self) -> Option<Digest> {
        self.0.manifest.get().copied()
    }

    /// What it has come to.
    pub fn outcome(&self) -> Outcome {
        self.0.outcome()
    }

    /// True once BuildKit has begun to write, until it has come to something.
    pub fn is_under_way(&self) -> bool {
        self.0.begun.get().is_some() && self.0.outcome() == Outcome::Open
    }
}

impl Drop for ExportJob {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

impl Core {
    /// When the parts of the export must be done; its time has begun with the first call.
    fn times(&self) -> Times {
        let begun = *self.begun.get_or_init(|| {
            warn_of_expiry(&self.lane, self.timeout);
            Instant::now()
        });
        Times::of(&self.lane.client, begun, self.timeout)
    }

    /// What the REST API lists. A build may take long before it writes: what was listed when it
    /// began is not taken for the present then.
    fn listing(&self) -> Option<&Listing> {
        let lane = &self.lane;
        let listing = || Listings::of(&lane.cache, &lane.client, &lane.version);
        self.listing.get_or_init(listing).as_deref()
    }

    /// The newest index, which begins to be read with the first call, unless it has just been.
    fn newest(&self) -> &LatestIndex {
        self.newest.get_or_init(|| {
            if self.known.is_fresh() {
                return self.known.clone();
            }
            let client = self.lane.client.with_deadline(self.times().all);
            self.known.again(&self.lane, &client)
        })
    }

    fn cancel(&self) {
        {
            let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
            if *outcome == Outcome::Open {
                *outcome = Outcome::Cancelled;
            }
        }
        self.cancelled.cancel();
        self.release();
    }

    /// Gives back what the job holds: uploads end, their spool files go.
    fn release(&self) {
        self.ledger.clear();
        self.documents.clear();
    }

    fn outcome(&self) -> Outcome {
        self.outcome
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// An error once the job has ended.
    fn check_open(&self) -> Result<(), content::Error> {
        if self.cancelled.is_cancelled() {
            return Err(content::Error::Aborted("the cache export has ended".into()));
        }
        Ok(())
    }
}

#[async_trait]
impl Host for ExportJob {
    async fn open(&self, spec: IngestSpec) -> Result<OpenedIngest, content::Error> {
        self.0.check_open()?;
        self.0.newest();
        let core = Arc::clone(&self.0);
        match Target::of(&spec)? {
            Target::Layer(digest) => LayerIngest::open(core, digest, spec).await,
            Target::Document(digest) => {
                let ingest = DocumentIngest::open(core, digest, spec)?;
                Ok(OpenedIngest::Writer(Box::new(ingest)))
            }
        }
    }

    async fn abort(&self, reference: &str) -> Result<(), content::Error> {
        // Nothing is kept of an ingest that is not open.
        Err(content::Error::NotFound(reference.into()))
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
    fn of(spec: &IngestSpec) -> Result<Self, content::Error> {
        let reference = &spec.reference;
        let target = match reference.rfind(BLOB_REF) {
            Some(at) => reference[at + 1..].parse().map(Self::Layer),
            None => reference.parse().map(Self::Document),
        };
        let target = target
            .map_err(|e| content::Error::InvalidArgument(format!("cache export: ref {e}")))?;
        let (Self::Layer(digest) | Self::Document(digest)) = &target;
        if spec.expected.is_some_and(|expected| expected != *digest) {
            return Err(content::Error::InvalidArgument(format!(
                "cache export: the ref {reference} is not that of the expected digest"
            )));
        }
        Ok(target)
    }
}
