//! What is stored, what may be, and what was evicted, as metrics.

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::{
    budgets::{Budgets, Cause, Limit},
    quotas::OpenUploads,
    store::Totals,
};
use crate::telemetry::{Counter, CounterFamily, Labels, Registry, Value};

/// The label of limits: whose they are.
const OF: &[&str] = &["of"];

impl Labels for Cause {
    const NAMES: &'static [&'static str] = &["cause"];

    fn values(&self) -> Vec<String> {
        vec![self.name().to_owned()]
    }

    fn known() -> Vec<Self> {
        Self::ALL.to_vec()
    }
}

/// What was last found to be stored.
#[derive(Debug, Clone, Copy)]
struct Found {
    totals: Totals,
    at: Timestamp,
}

/// The metrics of what is stored. A clone counts in the same place.
#[derive(Debug, Clone)]
pub(super) struct StoredMetrics {
    found: Arc<Mutex<Option<Found>>>,
    open_uploads: Arc<Mutex<OpenUploads>>,
    evicted_bytes: CounterFamily<Cause>,
    evicted_entries: CounterFamily<Cause>,
    joined_bytes: Counter,
}

impl StoredMetrics {
    /// Nothing was found or evicted yet.
    pub(super) fn new(registry: &Registry, budgets: Budgets) -> Self {
        let metrics = Self {
            found: Arc::default(),
            open_uploads: Arc::default(),
            evicted_bytes: registry.counters(
                "buildkit_gha_service_evicted_bytes",
                "Content of entries that were evicted, by cause: all entries or those of a repository took too many \
                 bytes (size), were too many (entries), or nobody had found one for too long (age)",
            ),
            evicted_entries: registry.counters(
                "buildkit_gha_service_evicted_entries",
                "Entries that were evicted, by cause",
            ),
            joined_bytes: registry.counter(
                "buildkit_gha_service_joined_bytes",
                "Content that was stored twice, for several scopes of a repository, and is stored once now",
            ),
        };
        metrics.register_open_uploads(registry);
        metrics.register_found(registry);
        register_limits(registry, budgets);
        metrics
    }

    fn register_open_uploads(&self, registry: &Registry) {
        let open = |value: fn(OpenUploads) -> u64| {
            let open = Arc::clone(&self.open_uploads);
            move || Some(value(*open.lock()))
        };
        registry.gauge(
            "buildkit_gha_service_uploads_in_flight",
            "Uploads that this process takes and that are no entries yet",
            open(|open| open.uploads),
        );
        registry.gauge(
            "buildkit_gha_service_upload_bytes",
            "Content of these uploads that has come, or is on its way here",
            open(|open| open.bytes),
        );
    }

    fn register_found(&self, registry: &Registry) {
        let usage = |value: fn(&Totals) -> u64| {
            let found = Arc::clone(&self.found);
            move || found.lock().map(|found| value(&found.totals))
        };
        registry.gauge(
            "buildkit_gha_service_entries",
            "Entries of all repositories",
            usage(|totals| totals.all.entries),
        );
        registry.gauge(
            "buildkit_gha_service_stored_bytes",
            "Content of the entries of all repositories",
            usage(|totals| totals.all.bytes),
        );
        registry.gauge(
            "buildkit_gha_service_physical_bytes",
            "Content that is stored: what several entries share counts once",
            usage(|totals| totals.all.bytes.saturating_sub(totals.shared_bytes)),
        );
        registry.gauge(
            "buildkit_gha_service_largest_repository_entries",
            "Entries of the repository that has most of them",
            usage(|totals| totals.largest_repository.entries),
        );
        registry.gauge(
            "buildkit_gha_service_largest_repository_bytes",
            "Content of the entries of the repository that has most of it",
            usage(|totals| totals.largest_repository.bytes),
        );
        let found = Arc::clone(&self.found);
        registry.real_gauge(
            "buildkit_gha_service_longest_idle_seconds",
            "How long ago the entry was found that nobody has found for longest, to within ten minutes. Where size or \
             number are the limit, this is how long an entry stays that nobody needs",
            move || {
                let Found { totals, at } = (*found.lock())?;
                let idle = at.duration_since(totals.least_recent?);
                Some(idle.as_secs_f64().max(0.0))
            },
        );
    }

    /// So much is uploaded right now.
    pub(super) fn set_open_uploads(&self, open: OpenUploads) {
        *self.open_uploads.lock() = open;
    }

    /// So much is stored, at `now`.
    pub(super) fn set_totals(&self, totals: Totals, now: Timestamp) {
        *self.found.lock() = Some(Found { totals, at: now });
    }

    /// Contents of so many bytes in all have become others that are equal.
    pub(super) fn joined(&self, bytes: u64) {
        self.joined_bytes.add(bytes);
    }

    /// An entry of so many bytes was evicted.
    pub(super) fn evicted(&self, cause: Cause, bytes: u64) {
        self.evicted_bytes.add(cause, bytes);
        self.evicted_entries.increment(cause);
    }
}

fn register_limits(registry: &Registry, budgets: Budgets) {
    let limits = move |value: fn(Limit) -> Option<u64>| {
        move || {
            let of = [("all", budgets.all), ("repository", budgets.repository)];
            let sample = |(of, limit): (&str, Limit)| {
                value(limit).map(|limit| (vec![of.to_owned()], Value::Whole(limit)))
            };
            of.into_iter().filter_map(sample).collect()
        }
    };
    registry.gauges(
        "buildkit_gha_service_limit_bytes",
        "What the content of entries may take, of all repositories and of each (repository), where that is set",
        OF,
        limits(|limit| limit.bytes),
    );
    registry.gauges(
        "buildkit_gha_service_limit_entries",
        "How many entries there may be, of all repositories and of each (repository), where that is set",
        OF,
        limits(|limit| limit.entries),
    );
    let max_age = budgets.max_age;
    registry.real_gauge(
        "buildkit_gha_service_limit_idle_seconds",
        "How long an entry stays that nobody finds, where that is set",
        move || Some(max_age?.as_secs_f64()),
    );
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::service::store::Usage;

    #[test]
    fn what_is_stored_stands_beside_what_may_be() {
        let registry = Registry::default();
        let mut budgets = Budgets {
            max_age: Some(Duration::from_hours(1)),
            ..Budgets::default()
        };
        budgets.all.bytes = Some(100);
        budgets.repository.entries = Some(7);
        let metrics = StoredMetrics::new(&registry, budgets);
        let text = registry.render();
        assert!(!text.contains("stored_bytes"), "{text}");
        let usage = |bytes, entries| Usage { bytes, entries };
        let totals = Totals {
            all: usage(60, 6),
            shared_bytes: 20,
            largest_repository: usage(50, 5),
            least_recent: Some(Timestamp::from_second(10).unwrap()),
        };
        metrics.set_totals(totals, Timestamp::from_second(12).unwrap());
        metrics.evicted(Cause::Size, 3);
        metrics.evicted(Cause::Size, 4);
        let text = registry.render();
        for sample in [
            "entries 6",
            "stored_bytes 60",
            "physical_bytes 40",
            "largest_repository_entries 5",
            "largest_repository_bytes 50",
            "longest_idle_seconds 2.0",
            "limit_bytes{of=\"all\"} 100",
            "limit_entries{of=\"repository\"} 7",
            "limit_idle_seconds 3600.0",
            "evicted_bytes_total{cause=\"size\"} 7",
            "evicted_entries_total{cause=\"size\"} 2",
            "evicted_entries_total{cause=\"age\"} 0",
        ] {
            let sample = format!("buildkit_gha_service_{sample}");
            assert!(
                text.lines().any(|line| line == sample),
                "{sample} in {text}"
            );
        }
        assert!(!text.contains("limit_bytes{of=\"repository\"}"), "{text}");
    }
}
