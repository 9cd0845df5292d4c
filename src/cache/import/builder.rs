//! Makes the parts of one import, each from what it needs.

use std::sync::Arc;

use super::{
    catalog::LayerCatalog,
    confirmations::Confirmations,
    confirmer::{LayerConfirmer, LookupLimits},
    download::Downloader,
    index_loader::IndexLoader,
    inspector::LayerInspector,
    layer_fetcher::LayerFetcher,
    prefetch::Prefetcher,
    repairer::Repairer,
    unavailable::UnavailableWarnings,
    verify::Verifier,
};
use crate::{
    actions::{AdaptiveConcurrency, Client, Identity},
    cache::{
        attributes::{Attributes, Verify},
        blob::Fetched,
        config::Config,
        fetch_error::Remedy,
        known_blobs::KnownBlobs,
        meter::JobMeter,
        proof::Delivered,
        report::Reporter,
        single_flight::SingleFlight,
        spool::Spool,
    },
    digest::Digest,
    lifecycle::Tasks,
    protocol::{
        key::{self, IndexKey},
        scope::Scope,
    },
    telemetry::trace::{TraceParent, TraceSpan},
};

/// What all imports of the process share.
pub(in crate::cache) struct ImportResources {
    pub tasks: Tasks,
    pub spool: Spool,
    pub blobs: KnownBlobs,
    pub delivered: Arc<Delivered>,
    pub downloads: Arc<SingleFlight<(Identity, Digest), Fetched>>,
    /// Ranged reads in flight.
    pub ranges: AdaptiveConcurrency,
    /// What the import counts as it runs.
    pub meter: Arc<JobMeter>,
    /// The import in a trace.
    pub trace: TraceSpan,
}

/// One import that is being put together: what its parts have in common.
pub(super) struct ImportBuilder<'a> {
    resources: ImportResources,
    settings: &'a Config,
    attributes: &'a Attributes,
    client: &'a Client,
    reporter: &'a Arc<dyn Reporter>,
    version: String,
    /// What its parts stand under in a trace.
    trace: TraceParent,
    pub catalog: Arc<LayerCatalog>,
    pub confirmations: Arc<Confirmations>,
}

impl<'a> ImportBuilder<'a> {
    pub fn new(
        resources: ImportResources,
        settings: &'a Config,
        attributes: &'a Attributes,
        client: &'a Client,
        reporter: &'a Arc<dyn Reporter>,
        trace: TraceParent,
    ) -> Self {
        let scopes = client.token().readable();
        let keys = scopes.map(|scope| (index_key(attributes, settings, scope), scope.name.clone()));
        Self {
            catalog: Arc::new(LayerCatalog::new(keys)),
            confirmations: Arc::default(),
            version: key::version(),
            trace,
            resources,
            settings,
            attributes,
            client,
            reporter,
        }
    }

    pub fn loader(&self) -> IndexLoader {
        IndexLoader {
            client: self.client.clone(),
            scope: self.attributes.scope.clone(),
            version: self.version.clone(),
            timeout: self.attributes.timeout,
            signed: self.settings.signed,
            quarantine: Arc::clone(&self.resources.blobs.quarantine),
            reporter: Arc::clone(self.reporter),
            metrics: self.settings.metrics.clone(),
            trace: self.trace.clone(),
        }
    }

    pub fn downloader(&self) -> Downloader {
        Downloader {
            client: self.client.ignoring_outages(),
            reporter: Arc::clone(self.reporter),
            blobs: self.resources.blobs.clone(),
            spool: self.resources.spool.clone(),
            ranges: self.resources.ranges.clone(),
            range_bytes: self.settings.range_bytes,
            in_flight: Arc::clone(&self.resources.downloads),
        }
    }

    pub fn confirmer(&self, downloader: &Downloader) -> LayerConfirmer {
        let waiting = self.settings.lookup_wait.min(self.attributes.timeout);
        let verifies = self.attributes.import_verify == Verify::Full;
        LayerConfirmer {
            catalog: Arc::clone(&self.catalog),
            confirmations: Arc::clone(&self.confirmations),
            blobs: self.resources.blobs.clone(),
            inspector: self.inspector(),
            limits: LookupLimits::new(self.settings.parallel_lookups, waiting),
            verifier: verifies.then(|| self.verifier(downloader)),
            meter: Arc::clone(&self.resources.meter),
            warnings: UnavailableWarnings::new(Arc::clone(self.reporter)),
            metrics: self.settings.metrics.clone(),
        }
    }

    fn inspector(&self) -> LayerInspector {
        LayerInspector {
            client: self.client.clone(),
            version: self.version.clone(),
            small_bytes: self.settings.small_bytes,
            blobs: self.resources.blobs.clone(),
            confirmations: Arc::clone(&self.confirmations),
            spool: self.resources.spool.clone(),
        }
    }

    fn verifier(&self, downloader: &Downloader) -> Verifier {
        Verifier::new(
            Arc::clone(&self.catalog),
            downloader.clone(),
            self.resources.spool.clone(),
            Arc::clone(self.reporter),
        )
    }

    pub fn prefetcher(&self, downloader: &Downloader) -> Prefetcher {
        Prefetcher::new(
            Arc::clone(&self.catalog),
            Arc::clone(&self.confirmations),
            downloader.clone(),
            Arc::clone(&self.resources.delivered),
            self.resources.spool.clone(),
            self.resources.tasks.clone(),
        )
    }

    pub fn fetcher(&self, downloader: Downloader, prefetcher: Arc<Prefetcher>) -> LayerFetcher {
        LayerFetcher {
            downloader,
            prefetcher,
            repairer: Arc::new(self.repairer()),
            blobs: self.resources.blobs.clone(),
            delivered: Arc::clone(&self.resources.delivered),
            meter: Arc::clone(&self.resources.meter),
            reporter: Arc::clone(self.reporter),
            remedy: match self.attributes.import_verify {
                Verify::Full => Remedy::Nothing,
                Verify::Probe => Remedy::Verify,
            },
        }
    }

    fn repairer(&self) -> Repairer {
        // Nobody but buildkitd can sign an index.
        let scope = self.client.token().last_writable();
        let scope = scope.filter(|_| !self.settings.signed);
        Repairer {
            client: self.client.clone(),
            version: self.version.clone(),
            writable: scope.map(|scope| index_key(self.attributes, self.settings, scope)),
            catalog: Arc::clone(&self.catalog),
            confirmations: Arc::clone(&self.confirmations),
            blobs: self.resources.blobs.clone(),
            tasks: self.resources.tasks.clone(),
        }
    }
}

fn index_key(attributes: &Attributes, settings: &Config, scope: &Scope) -> IndexKey {
    IndexKey::new(&attributes.scope, &scope.name, settings.signed)
}
