//! What the service counts and measures, in the text form that Prometheus reads.

mod labels;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;

use self::labels::{Answered, RequestLabels};
pub use self::labels::{Found, Operation};
use super::{
    auth_error::RefusalReason,
    budgets::{Budgets, Cause},
    disk_space::DiskSpace,
    engine_metrics::EngineMetrics,
    quotas::OpenUploads,
    store::Totals,
    stored_metrics::StoredMetrics,
};
use crate::telemetry::{
    Counter, CounterFamily, HistogramFamily, InLevel, Level, Registry, SpanMetrics, build_info,
    process,
};

/// Bounds for requests: a lookup takes below a millisecond, and a part of an upload seconds on a slow link.
const REQUEST_SECONDS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];

/// The service's metrics since its start. A clone counts in the same place.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    requests: CounterFamily<RequestLabels>,
    durations: HistogramFamily<Operation>,
    in_flight: Level,
    lookups: CounterFamily<Found>,
    refused_tokens: CounterFamily<RefusalReason>,
    sent_on: CounterFamily<Answered>,
    received: Counter,
    sent: Counter,
    stored: StoredMetrics,
    spans: SpanMetrics,
    engines: EngineMetrics,
}

impl Metrics {
    /// Metrics of a service with this directory for its content, and these budgets.
    pub fn new(content_dir: &Path, budgets: Budgets) -> Self {
        let registry = Registry::default();
        let metrics = Self {
            requests: registry.counters(
                "buildkit_gha_service_requests",
                "Requests by operation and HTTP status",
            ),
            durations: registry.histograms(
                "buildkit_gha_service_request_duration_seconds",
                "How long requests took, until their answer had left",
                REQUEST_SECONDS,
            ),
            in_flight: registry.level(
                "buildkit_gha_service_requests_in_flight",
                "Requests that are being answered",
            ),
            lookups: registry.counters(
                "buildkit_gha_service_lookups",
                "Lookups that were answered, by what they found: the entry with the key that is wanted most (exact), one with another of \
                 the keys or whose key begins with one (prefix), or nothing (miss)",
            ),
            refused_tokens: registry.counters(
                "buildkit_gha_service_refused_tokens",
                "Requests whose token was refused, by reason",
            ),
            sent_on: registry.counters(
                "buildkit_gha_service_replica_requests",
                "Requests that were sent on to the replica that takes their upload, by whether it has answered",
            ),
            received: registry.counter(
                "buildkit_gha_service_received_bytes",
                "Content uploaded by clients",
            ),
            sent: registry.counter(
                "buildkit_gha_service_sent_bytes",
                "Content downloaded by clients",
            ),
            stored: StoredMetrics::new(&registry, budgets),
            spans: SpanMetrics::new(&registry),
            engines: EngineMetrics::new(&registry),
            registry,
        };
        metrics.register_values(content_dir);
        metrics
    }

    fn register_values(&self, content_dir: &Path) {
        let disk = |measure: fn(DiskSpace) -> u64| {
            let content_dir = PathBuf::from(content_dir);
            move || DiskSpace::of(&content_dir).map(measure)
        };
        self.registry.gauge(
            "buildkit_gha_service_disk_free_bytes",
            "Free space on the disk of the data directory, or of a --store that is a directory",
            disk(|disk| disk.free),
        );
        self.registry.gauge(
            "buildkit_gha_service_disk_size_bytes",
            "Size of that disk",
            disk(|disk| disk.size),
        );
        build_info::register(&self.registry);
        process::register(&self.registry);
    }

    /// A request was answered with the HTTP status `code`.
    pub fn answered(&self, operation: Operation, code: u16) {
        self.requests.increment(RequestLabels { operation, code });
    }

    /// A request is being answered, for as long as the answer is kept.
    pub fn begin_request(&self) -> InLevel {
        self.in_flight.enter()
    }

    /// A request took so long, until its answer had left.
    pub fn took(&self, operation: Operation, duration: Duration) {
        self.durations.observe(operation, duration);
    }

    /// A lookup was answered.
    pub fn looked_up(&self, found: Found) {
        self.lookups.increment(found);
    }

    /// A token, or a request without one, was refused.
    pub fn refused_token(&self, reason: RefusalReason) {
        self.refused_tokens.increment(reason);
    }

    /// A request was sent on to another replica.
    pub(super) fn sent_on(&self, answered: bool) {
        self.sent_on.increment(Answered(answered));
    }

    /// Content came in.
    pub fn received(&self, bytes: u64) {
        self.received.add(bytes);
    }

    /// Content went out.
    pub fn sent(&self, bytes: u64) {
        self.sent.add(bytes);
    }

    /// So much is uploaded right now.
    pub(super) fn set_open_uploads(&self, open: OpenUploads) {
        self.stored.set_open_uploads(open);
    }

    /// So much is stored, at `now`.
    pub(super) fn set_totals(&self, totals: Totals, now: Timestamp) {
        self.stored.set_totals(totals, now);
    }

    /// An entry of so many bytes was evicted.
    pub(super) fn evicted(&self, cause: Cause, bytes: u64) {
        self.stored.evicted(cause, bytes);
    }

    /// Those of spans.
    pub fn spans(&self) -> &SpanMetrics {
        &self.spans
    }

    /// Contents of so many bytes in all have become others that are equal.
    pub(super) fn joined(&self, bytes: u64) {
        self.stored.joined(bytes);
    }

    /// What counts calls to the database and the store.
    pub(super) fn engines(&self) -> &EngineMetrics {
        &self.engines
    }

    /// What there is.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// All metrics as Prometheus text.
    pub fn render(&self) -> String {
        self.registry.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_that_dashboards_know() {
        let metrics = Metrics::new(Path::new("/"), Budgets::default());
        metrics.answered(Operation::Lookup, 200);
        metrics.answered(Operation::Lookup, 200);
        metrics.received(7);
        metrics.sent(9);
        metrics.looked_up(Found::of("key", Some("key")));
        metrics.looked_up(Found::of("key", Some("key-older")));
        metrics.took(Operation::Commit, Duration::from_millis(20));
        let answering = metrics.begin_request();
        let text = metrics.render();
        for sample in [
            "buildkit_gha_service_requests_total{operation=\"lookup\",code=\"200\"} 2",
            "buildkit_gha_service_received_bytes_total 7",
            "buildkit_gha_service_sent_bytes_total 9",
            "buildkit_gha_service_lookups_total{result=\"exact\"} 1",
            "buildkit_gha_service_lookups_total{result=\"prefix\"} 1",
            "buildkit_gha_service_lookups_total{result=\"miss\"} 0",
            "buildkit_gha_service_requests_in_flight 1",
            "buildkit_gha_service_request_duration_seconds_sum{operation=\"commit\"} 0.02",
        ] {
            assert!(
                text.lines().any(|line| line == sample),
                "{sample} in\n{text}"
            );
        }
        drop(answering);
        let text = metrics.render();
        assert!(
            text.contains("buildkit_gha_service_requests_in_flight 0\n"),
            "{text}"
        );
        assert!(
            text.contains("buildkit_gha_service_disk_free_bytes "),
            "{text}"
        );
    }
}
