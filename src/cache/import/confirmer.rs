//! Confirms layers: one is there if a lookup finds it and its first bytes can be read, or all of
//! them where the import wants that.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use super::{
    catalog::LayerCatalog,
    confirmations::Confirmations,
    inspector::LayerInspector,
    located::LocatedLayer,
    unavailable::{Unavailable, UnavailableWarnings},
    verify::Verifier,
    wait_budget::WaitBudget,
};
use crate::{
    cache::{known_blobs::KnownBlobs, meter::JobMeter},
    digest::Digest,
    telemetry::{Hit, Metrics},
};

/// Says of layers that they are there for certain. Each is looked up once for the whole import.
pub(super) struct LayerConfirmer {
    pub catalog: Arc<LayerCatalog>,
    pub confirmations: Arc<Confirmations>,
    pub blobs: KnownBlobs,
    pub inspector: LayerInspector,
    pub limits: LookupLimits,
    /// Where all bytes are verified.
    pub verifier: Option<Verifier>,
    pub meter: Arc<JobMeter>,
    pub warnings: UnavailableWarnings,
    pub metrics: Metrics,
}

/// What the lookups of one import may cost.
pub(super) struct LookupLimits {
    parallel: Semaphore,
    waiting: WaitBudget,
}

impl LookupLimits {
    pub fn new(parallel: usize, waiting: Duration) -> Self {
        Self {
            parallel: Semaphore::new(parallel.max(1)),
            waiting: WaitBudget::new(waiting),
        }
    }
}

impl LayerConfirmer {
    /// A layer that an index names and that is there. `None` is a cache miss.
    pub async fn confirm(&self, digest: Digest) -> Option<Arc<LocatedLayer>> {
        let indexed = self.catalog.layer(digest).next()?;
        let confirmation = self.confirmations.get_or_insert(digest);
        let layer = confirmation.get_or_init(|| self.find(digest, indexed.size));
        let layer = layer.await.clone()?;
        // It may have failed since it was confirmed.
        let failed = self.blobs.is_quarantined(digest, &layer.entry.key);
        (!failed).then_some(layer)
    }

    async fn find(&self, digest: Digest, indexed_size: Option<u64>) -> Option<Arc<LocatedLayer>> {
        match self.locate(digest, indexed_size).await {
            Ok(layer) => {
                self.meter.count_confirmed();
                self.blobs.prove(digest);
                if let Some(steps) = self.warnings.steps() {
                    steps.layer_found(digest);
                }
                self.metrics.hit(Hit::Layer);
                Some(Arc::new(layer))
            }
            Err(reason) => {
                self.meter.count_gone();
                if let Some(steps) = self.warnings.steps() {
                    steps.layer_unavailable(digest, reason.fault());
                }
                if let Unavailable::Damaged { key, .. } = &reason {
                    self.blobs.add_damaged(digest, key);
                }
                if reason.disproves() {
                    self.blobs.disprove(digest);
                }
                self.metrics.missed(reason.miss());
                self.warnings.warn(digest, &reason);
                None
            }
        }
    }

    async fn locate(
        &self,
        digest: Digest,
        indexed_size: Option<u64>,
    ) -> Result<LocatedLayer, Unavailable> {
        let layer = self.locate_within_limits(digest, indexed_size).await?;
        if let Some(verifier) = &self.verifier {
            verifier.verify(&layer).await?;
        }
        Ok(layer)
    }

    async fn locate_within_limits(
        &self,
        digest: Digest,
        indexed_size: Option<u64>,
    ) -> Result<LocatedLayer, Unavailable> {
        let LookupLimits { parallel, waiting } = &self.limits;
        let permit = parallel.acquire().await;
        let _permit = permit.expect("the semaphore is never closed");
        let located = waiting.run(async {
            let deadline = waiting.deadline();
            self.inspector.locate(digest, indexed_size, deadline).await
        });
        match located.await {
            Some(located) => located,
            None => Err(Unavailable::Late(waiting.total())),
        }
    }
}
