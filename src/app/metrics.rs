//! Values that are read when the metrics are rendered: of what the gateway has in hand, of the services that
//! it calls, and of the process.

use std::sync::{Arc, Weak};

use crate::{
    actions::Http,
    gateway::{Activity, BuildInterceptor},
    telemetry::{Metrics, Value, build_info, process},
};

/// Name, meaning and value of a gauge.
type Gauge = (&'static str, &'static str, fn(&Activity) -> u64);

const GAUGES: [Gauge; 9] = [
    (
        "buildkit_gha_builds_in_flight",
        "Builds in flight",
        |state| state.builds as u64,
    ),
    (
        "buildkit_gha_exports_in_flight",
        "Cache exports that have begun and are not done",
        |state| state.exports as u64,
    ),
    (
        "buildkit_gha_exports_pending",
        "Cache exports that go on after their builds",
        |state| state.pending as u64,
    ),
    (
        "buildkit_gha_uploads_pending",
        "Layers that are on their way to the cache",
        |state| state.uploads as u64,
    ),
    ("buildkit_gha_sessions", "Sessions of clients", |state| {
        state.sessions as u64
    }),
    (
        "buildkit_gha_endpoint_connections",
        "Connections of buildkitd to the loopback endpoint",
        |state| state.connections as u64,
    ),
    (
        "buildkit_gha_endpoint_handles",
        "Handles of the loopback endpoint",
        |state| state.handles as u64,
    ),
    (
        "buildkit_gha_export_spool_bytes",
        "Bytes on disk that wait to be uploaded",
        |state| state.spool.exports,
    ),
    (
        "buildkit_gha_import_spool_bytes",
        "Bytes on disk that are fetched and not yet read",
        |state| state.spool.imports,
    ),
];

/// What the spools may take.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct SpoolLimits {
    pub exports: u64,
    pub imports: u64,
}

/// Registers all of them; those of the interceptor are left out once it is gone.
pub(super) fn register(
    metrics: &Metrics,
    interceptor: &Arc<BuildInterceptor>,
    http: &Http,
    limits: SpoolLimits,
) {
    register_activity(metrics, &Arc::downgrade(interceptor));
    register_limits(metrics, limits);
    register_outages(metrics, http.outages());
    register_process(metrics);
}

/// All metrics of a gateway, of which none has a value yet.
pub fn described() -> Metrics {
    let metrics = Metrics::default();
    register_activity(&metrics, &Weak::new());
    register_limits(&metrics, SpoolLimits::default());
    register_outages(&metrics, Vec::new);
    register_process(&metrics);
    metrics
}

fn register_activity(metrics: &Metrics, interceptor: &Weak<BuildInterceptor>) {
    for (name, help, value) in GAUGES {
        let interceptor = Weak::clone(interceptor);
        let read = move || Some(value(&interceptor.upgrade()?.activity()));
        metrics.registry().gauge(name, help, read);
    }
}

fn register_limits(metrics: &Metrics, limits: SpoolLimits) {
    let registry = metrics.registry();
    registry.gauge(
        "buildkit_gha_export_spool_limit_bytes",
        "Bytes that the export spool may have",
        move || Some(limits.exports),
    );
    registry.gauge(
        "buildkit_gha_import_spool_limit_bytes",
        "Bytes that the import spool may have",
        move || Some(limits.imports),
    );
}

/// The number of origins is bounded where they are remembered.
fn register_outages(
    metrics: &Metrics,
    outages: impl Fn() -> Vec<(String, bool)> + Send + Sync + 'static,
) {
    metrics.registry().gauges(
        "buildkit_gha_circuit_breaker_open",
        "1 while a service is remembered as not reachable, for a minute at most after the first call that could \
         not connect; 0 once it was reached. Meanwhile calls to it fail at once, but for probes",
        &["origin"],
        move || {
            let outages = outages().into_iter();
            let sample = |(origin, open)| (vec![origin], Value::Whole(u64::from(open)));
            outages.map(sample).collect()
        },
    );
}

fn register_process(metrics: &Metrics) {
    build_info::register(metrics.registry());
    process::register(metrics.registry());
}
