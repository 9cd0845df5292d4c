//! Gauges of what the gateway has in hand: known there, and read when the metrics are rendered.

use std::sync::Arc;

use crate::{
    gateway::{Activity, BuildInterceptor},
    telemetry::Metrics,
};

/// Name, meaning and value of a gauge.
type Gauge = (&'static str, &'static str, fn(&Activity) -> u64);

const GAUGES: [Gauge; 8] = [
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

/// Registers the gauges; they are left out once the interceptor is gone.
pub(super) fn register(metrics: &Metrics, interceptor: &Arc<BuildInterceptor>) {
    for (name, help, value) in GAUGES {
        let interceptor = Arc::downgrade(interceptor);
        let read = move || Some(value(&interceptor.upgrade()?.activity()));
        metrics.gauge(name, help, read);
    }
}
