//! The layer cache: what an export and an import are, on top of the Actions client.
//!
//! [`Cache`] is what the process shares: two spools, proofs of existence, transfers in flight.
//! [`ExportJob`] and [`ImportJob`] are one entry of `--cache-to` and `--cache-from` of one build;
//! [`Relay`] passes on the writes of an export that BuildKit makes itself. Each ends, with all
//! that it holds, when it is dropped.
//!
//! | file | what |
//! |---|---|
//! | `attributes`, `index_format`, `manifest`, `graph` | formats, without I/O: attributes, the index, its graph |
//! | `export` | a layer on its way out: `layer`, `upload`, `layer_tracker`; `index_writer` writes the index |
//! | `import` | load the indexes, confirm layers; download and verify them into a `blob`, or a `fetch_error` |
//! | `content_import`, `relay` | the fallbacks: an import as a content store, stock's own export |
//! | `proof`, `listing`, `quarantine`, `known_blobs` | what is known to be there, and what must not be used |
//! | `repair` | what is done about damaged entries |
//! | `steps` | when the build's steps ran, what indexes say of them, why they were not cached |
//! | `report`, `reasons`, `wait_rows`, `unreachable` | what people are told |
//! | `meter`, `summary` | what a job counts, and what it has come to |
//! | `lookup`, `layer_size`, `spool`, `tail`, `single_flight` | what both directions stand on |

use std::{io, path::PathBuf, sync::Arc};

use jiff::Timestamp;
use tracing::Span;

pub mod attributes;
mod blob;
mod config;
mod content_import;
mod export;
mod fetch_error;
pub mod graph;
mod import;
mod index;
mod known_blobs;
mod layer_size;
mod listing;
mod lookup;
pub mod manifest;
mod meter;
mod proof;
mod quarantine;
mod reasons;
mod relay;
mod repair;
mod report;
mod single_flight;
mod spool;
pub mod steps;
mod summary;
mod tail;
mod unpack;
mod unreachable;
mod wait_rows;

pub use crate::actions::{Budgets, PerMinute};
/// What indexes are written in. The service reads them, too, so that it stands in the base.
pub use crate::index_format;
pub use blob::Blob;
pub use config::Config;
pub use content_import::ContentImport;
pub use export::{ExportJob, LayerError, Outcome};
pub use fetch_error::{FetchError, Repair};
pub use import::{ConfirmedLayer, ImportJob};
pub use index::LoadedIndex;
pub use relay::{Relay, RelayError};
pub use report::{
    Event, Refused, Reporter, ScopeNames, Step, Transfer, TransferKey, TransferState, Wait, Warning,
};
pub use spool::SpoolError;
pub use summary::{
    ExportEnd, ExportSummary, FoundIndex, ImportSummary, IndexSummary, NoIndex, ServiceUsage,
    WaitCause,
};

use crate::{
    actions::{AdaptiveConcurrency, Client, Http, Identity, Target, Token},
    digest::Digest,
    lifecycle::Tasks,
    protocol::key,
    stats::UnfinishedExport,
    telemetry::trace::{TraceParent, TraceSpan},
};
use attributes::Attributes;
use export::{
    ExportLimits, ExportResources, ExportTelemetry, IndexKeys, IndexOrders, Lookups,
    PendingExports, Uploads,
};
use import::ImportResources;
use known_blobs::KnownBlobs;
use meter::{JobMeter, MeteredReporter};
use spool::{Floor, Spool};
use wait_rows::WaitRows;

/// The cache of one process. A clone is the same cache. The second is what its jobs are part of in a trace.
#[derive(Clone)]
pub struct Cache(Arc<Parts>, TraceParent);

/// Bytes on disk between two sides, in whole pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Waiting to be uploaded.
    pub exports: u64,
    /// Fetched, and not yet read by all who asked.
    pub imports: u64,
}

/// What all jobs share. Only `Cache` sees it: a job gets what it needs.
struct Parts {
    settings: Config,
    http: Http,
    tasks: Tasks,
    exports: Spool,
    imports: Spool,
    proofs: Arc<proof::Proofs>,
    abandoned: Arc<proof::Abandoned>,
    delivered: Arc<proof::Delivered>,
    listings: Arc<listing::Listings>,
    quarantine: Arc<quarantine::Quarantine>,
    uploads: Arc<Uploads>,
    lookups: Arc<Lookups>,
    pending: Arc<PendingExports>,
    orders: Arc<IndexOrders>,
    fetches: Arc<single_flight::SingleFlight<(Identity, Digest), blob::Fetched>>,
    /// Ranged reads in flight.
    ranges: AdaptiveConcurrency,
}

impl Cache {
    /// Makes the spool directory if it is not there, and tries it. Spool files have no name there, so
    /// nothing is left even after a crash.
    pub fn new(spool_dir: PathBuf, settings: Config, http: Http, tasks: Tasks) -> io::Result<Self> {
        spool::prepare(&spool_dir)?;
        let parts = Parts {
            exports: Spool::new(spool_dir.clone(), settings.export_spool_bytes)
                .with_floor(Floor::from_setting(settings.spool_free)),
            imports: Spool::new(spool_dir, settings.import_spool_bytes),
            proofs: Arc::new(proof::Proofs::new(settings.proof_age)),
            abandoned: Arc::default(),
            delivered: Arc::default(),
            listings: Arc::new(listing::Listings::new(settings.proof_age)),
            quarantine: Arc::default(),
            uploads: Arc::default(),
            lookups: Arc::default(),
            pending: Arc::default(),
            orders: Arc::default(),
            fetches: Arc::default(),
            ranges: AdaptiveConcurrency::new("down", settings.ranges_in_flight),
            settings,
            http,
            tasks,
        };
        Ok(Self(Arc::new(parts), TraceParent::default()))
    }

    /// The same cache, whose jobs stand under this span in a trace.
    #[must_use]
    pub fn traced_under(&self, trace: TraceParent) -> Self {
        Self(Arc::clone(&self.0), trace)
    }

    /// An export, whose time begins when BuildKit begins to write.
    pub fn export(
        &self,
        attributes: &Attributes,
        reporter: Arc<dyn Reporter>,
    ) -> Result<Arc<ExportJob>, Refused> {
        let resources = self.export_resources(attributes, reporter)?;
        Ok(ExportJob::new(resources, attributes))
    }

    /// An import, which begins at once to load the indexes of all scopes of the token.
    pub fn import(
        &self,
        attributes: &Attributes,
        reporter: Arc<dyn Reporter>,
    ) -> Result<Arc<ImportJob>, Refused> {
        let (reporter, meter) = metered(reporter);
        let trace = self.1.import(&attributes.scope);
        let client = self.client(attributes, &reporter, &meter, &trace)?;
        if client.token().readable().next().is_none() {
            return Err(Refused::Unreadable {
                scopes: ScopeNames::from_token(client.token()),
            });
        }
        let resources = ImportResources {
            blobs: self.known_blobs(&client),
            tasks: self.0.tasks.clone(),
            spool: self.0.imports.clone(),
            delivered: Arc::clone(&self.0.delivered),
            downloads: Arc::clone(&self.0.fetches),
            ranges: self.0.ranges.clone(),
            meter,
            trace,
        };
        let settings = &self.0.settings;
        Ok(ImportJob::new(
            resources, settings, client, attributes, reporter,
        ))
    }

    /// A relay for an export that BuildKit makes itself, whose time begins with its first call.
    pub fn relay(
        &self,
        attributes: &Attributes,
        reporter: Arc<dyn Reporter>,
    ) -> Result<Arc<Relay>, Refused> {
        let resources = self.export_resources(attributes, reporter)?;
        Ok(Relay::new(resources, attributes))
    }

    fn export_resources(
        &self,
        attributes: &Attributes,
        reporter: Arc<dyn Reporter>,
    ) -> Result<ExportResources, Refused> {
        let (reporter, meter) = metered(reporter);
        let trace = self.1.export(&attributes.scope);
        let client = self.client(attributes, &reporter, &meter, &trace)?;
        let settings = &self.0.settings;
        let keys = IndexKeys::new(&attributes.scope, client.token(), settings.signed);
        let Some(keys) = keys else {
            return Err(Refused::ReadOnly {
                scopes: ScopeNames::from_token(client.token()),
            });
        };
        Ok(ExportResources {
            blobs: self.known_blobs(&client),
            client,
            version: key::version(),
            keys,
            reporter,
            meter,
            tasks: self.0.tasks.clone(),
            spool: self.0.exports.clone(),
            abandoned: Arc::clone(&self.0.abandoned),
            delivered: Arc::clone(&self.0.delivered),
            uploads: Arc::clone(&self.0.uploads),
            lookups: Arc::clone(&self.0.lookups),
            pending: Arc::clone(&self.0.pending),
            orders: Arc::clone(&self.0.orders),
            limits: ExportLimits {
                spool_wait: settings.spool_wait,
                unfinished_grace: settings.unfinished_grace,
                parallel_lookups: settings.parallel_lookups,
            },
            telemetry: Arc::new(ExportTelemetry::new(settings.metrics.clone(), trace)),
        })
    }

    /// What is known of the blobs that this client's token sees.
    fn known_blobs(&self, client: &Client) -> KnownBlobs {
        KnownBlobs {
            identity: client.identity().clone(),
            proofs: Arc::clone(&self.0.proofs),
            listings: Arc::clone(&self.0.listings),
            quarantine: Arc::clone(&self.0.quarantine),
        }
    }

    /// The exports that go on after their builds, the oldest first.
    pub fn pending(&self) -> Vec<UnfinishedExport> {
        self.0.pending.list()
    }

    /// How many there are.
    pub fn pending_count(&self) -> usize {
        self.0.pending.count()
    }

    /// Returns when no export goes on after its build.
    pub async fn none_pending(&self) {
        self.0.pending.none().await;
    }

    /// How much of the two spools is in use.
    pub fn usage(&self) -> Usage {
        Usage {
            exports: self.0.exports.used(),
            imports: self.0.imports.used(),
        }
    }

    /// How many layers are on their way to the cache.
    pub fn uploads_pending(&self) -> usize {
        self.0.uploads.count()
    }

    fn client(
        &self,
        attributes: &Attributes,
        reporter: &Arc<dyn Reporter>,
        meter: &Arc<JobMeter>,
        trace: &TraceSpan,
    ) -> Result<Client, Refused> {
        let token = Token::parse(attributes.token.clone())?;
        token.check(Timestamp::now())?;
        let target = Target {
            api: attributes.api.clone(),
            token,
            rest: attributes.rest(),
        };
        let mut config = self.0.settings.client.clone();
        config.observer = Arc::new(WaitRows::new(reporter, meter));
        config.span = Span::current();
        config.trace = trace.parent();
        Ok(Client::new(self.0.http.clone(), target, config))
    }
}

/// A reporter that counts what a new job tells of, and where it counts.
fn metered(inner: Arc<dyn Reporter>) -> (Arc<dyn Reporter>, Arc<JobMeter>) {
    let meter = Arc::<JobMeter>::default();
    let reporter = MeteredReporter {
        meter: Arc::clone(&meter),
        inner,
    };
    (Arc::new(reporter), meter)
}
