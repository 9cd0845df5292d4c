//! The gateway as its admin socket shows it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::{sync::Mutex, time::Instant};

use crate::{
    admin::Control,
    gateway::{BuildInterceptor, supervise},
    net::Address,
    stats::{FailedExports, Stats, UnfinishedExport},
    telemetry::Metrics,
};

/// How long an answer of buildkitd's is believed: whoever probes more often is told the same.
const BELIEVED: Duration = Duration::from_secs(1);

/// What the operator can ask of.
pub(super) struct Operated {
    interceptor: Arc<BuildInterceptor>,
    metrics: Metrics,
    upstream: Address,
    /// When buildkitd was asked last, and why it did not answer, if it did not. Held while it is asked.
    probed: Mutex<Option<(Instant, Option<String>)>>,
}

impl Operated {
    pub fn new(interceptor: &Arc<BuildInterceptor>, metrics: &Metrics, upstream: Address) -> Self {
        Self {
            interceptor: Arc::clone(interceptor),
            metrics: metrics.clone(),
            upstream,
            probed: Mutex::default(),
        }
    }

    async fn silence(&self) -> Option<String> {
        let mut probed = self.probed.lock().await;
        if let Some((at, silence)) = &*probed
            && at.elapsed() < BELIEVED
        {
            return silence.clone();
        }
        let silence = supervise::silence(&self.upstream).await;
        *probed = Some((Instant::now(), silence.clone()));
        silence
    }
}

#[async_trait]
impl Control for Operated {
    async fn unready(&self) -> Option<String> {
        if self.interceptor.is_closed() {
            return Some("it is shutting down".to_owned());
        }
        let silence = self.silence().await?;
        Some(format!("buildkitd does not answer: {silence}"))
    }

    fn metrics(&self) -> String {
        self.metrics.render()
    }

    fn stats(&self) -> Stats {
        Stats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pending_exports: self.interceptor.activity().pending,
            builds: self.interceptor.last_builds(),
        }
    }

    fn unfinished(&self) -> Vec<UnfinishedExport> {
        self.interceptor.unfinished_exports()
    }

    fn failed(&self) -> FailedExports {
        self.interceptor.failed_exports()
    }

    fn spool_bytes(&self) -> u64 {
        self.interceptor.activity().spool.exports
    }
}
