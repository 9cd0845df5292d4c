//! What the gateway counts.

mod labels;
mod spans;

use std::time::Duration;

use tokio::time::Instant;

#[cfg(test)]
pub use labels::OPERATIONS;
pub use labels::{
    BuildEnd, ExportEnd, ExportOutcome, Hit, ImportOutcome, LeftOut, Miss, Outcome, SpanEnd,
    SpanSink, WaitCause,
};
use labels::{Operation, RemoteCall};
pub use spans::SpanMetrics;

use super::{
    Registry,
    instruments::{Counter, CounterFamily, HistogramFamily, InLevel, LevelFamily},
};

/// Bounds for calls: a lookup takes some 50 ms on github.com, and a hanging call is given up after a minute.
const CALL_SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Bounds for waits: from a retry's half second to the hour that the longest limits are counted by.
const WAIT_SECONDS: &[f64] = &[
    0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 3600.0,
];

/// Bounds for exports, whose default `timeout` is ten minutes.
const EXPORT_SECONDS: &[f64] = &[
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0,
];

/// Bounds for builds: from one that is all cached to the longest of a farm.
const BUILD_SECONDS: &[f64] = &[
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0,
];

/// The gateway's metrics. A clone counts in the same place; the default counts where nobody looks.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    remote_calls: CounterFamily<RemoteCall>,
    call_durations: HistogramFamily<Operation>,
    calls_in_flight: LevelFamily<Operation>,
    retries: CounterFamily<Operation>,
    waits: HistogramFamily<WaitCause>,
    waiting: LevelFamily<WaitCause>,
    uploaded: Counter,
    downloaded: Counter,
    hits: CounterFamily<Hit>,
    misses: CounterFamily<Miss>,
    exports: HistogramFamily<ExportEnd>,
    builds: CounterFamily<BuildEnd>,
    build_durations: HistogramFamily<BuildEnd>,
    export_outcomes: CounterFamily<ExportOutcome>,
    import_outcomes: CounterFamily<ImportOutcome>,
    left_out: CounterFamily<LeftOut>,
    spans: SpanMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::default();
        Self {
            remote_calls: registry.counters(
                "buildkit_gha_remote_calls",
                "Attempts of calls to cache services, by operation and outcome",
            ),
            call_durations: registry.histograms(
                "buildkit_gha_remote_call_duration_seconds",
                "How long attempts of calls took, from the request to the last byte of the answer",
                CALL_SECONDS,
            ),
            calls_in_flight: registry.levels(
                "buildkit_gha_remote_calls_in_flight",
                "Calls to cache services that are being made",
            ),
            retries: registry.counters(
                "buildkit_gha_remote_call_retries",
                "Attempts of calls after the first one",
            ),
            waits: registry.histograms(
                "buildkit_gha_wait_duration_seconds",
                "How long calls waited before they were made (again), by cause: the calls of this minute are \
                 used up (budget), the service said so beforehand (quota), it refused a call (refusal), \
                 the last attempt failed (backoff)",
                WAIT_SECONDS,
            ),
            waiting: registry.levels("buildkit_gha_calls_waiting", "Calls that wait now, by cause"),
            uploaded: registry.counter(
                "buildkit_gha_uploaded_bytes",
                "Bytes of layers and indexes that services have taken",
            ),
            downloaded: registry.counter(
                "buildkit_gha_downloaded_bytes",
                "Bytes of layers and indexes that came from services",
            ),
            hits: registry.counters(
                "buildkit_gha_cache_hits",
                "What was found in the cache: indexes of imports (one for each scope of the token), layers of \
                 imports, and layers of exports, which therefore were not sent",
            ),
            misses: registry.counters(
                "buildkit_gha_cache_misses",
                "Indexes and layers of imports that were not used, and why",
            ),
            exports: registry.histograms(
                "buildkit_gha_export_duration_seconds",
                "How long cache exports took from BuildKit's first write to their end, by what they came to",
                EXPORT_SECONDS,
            ),
            builds: registry.counters("buildkit_gha_builds", "Builds that have ended, by outcome"),
            build_durations: registry.histograms(
                "buildkit_gha_build_duration_seconds",
                "How long builds took from their Solve to its answer, by outcome",
                BUILD_SECONDS,
            ),
            export_outcomes: registry.counters(
                "buildkit_gha_exports",
                "Cache exports of builds, by what became of them: also those that BuildKit makes itself, and those \
                 that were not begun (skipped)",
            ),
            import_outcomes: registry.counters(
                "buildkit_gha_imports",
                "Cache imports of builds, by what became of their indexes: late is one that the build did not wait \
                 for any longer, skipped one whose token may not read",
            ),
            left_out: registry.counters(
                "buildkit_gha_layers_left_out",
                "Layers of exports that the index does not name, by cause: below counts those that build on another \
                 one that is left out",
            ),
            spans: SpanMetrics::new(&registry),
            registry,
        }
    }
}

impl Metrics {
    /// One attempt of a remote call has ended.
    pub fn remote_call(&self, operation: &'static str, outcome: Outcome) {
        let operation = Operation::new(operation);
        self.remote_calls
            .increment(RemoteCall { operation, outcome });
    }

    /// An attempt of a remote call begins; it ends when the answer is dropped.
    pub fn begin_call(&self, operation: &'static str) -> CallTimer {
        let operation = Operation::new(operation);
        CallTimer {
            _in_flight: self.calls_in_flight.enter(operation),
            durations: self.call_durations.clone(),
            operation,
            begun: Instant::now(),
        }
    }

    /// A call is made again.
    pub fn retried(&self, operation: &'static str) {
        self.retries.increment(Operation::new(operation));
    }

    /// A call waits; it waits no longer when the answer is dropped.
    pub fn begin_wait(&self, cause: WaitCause) -> WaitTimer {
        WaitTimer {
            _waiting: self.waiting.enter(cause),
            waits: self.waits.clone(),
            cause,
            begun: Instant::now(),
        }
    }

    /// Counts bytes that a service has taken.
    pub fn uploaded(&self) -> &Counter {
        &self.uploaded
    }

    /// Counts bytes that came from a service.
    pub fn downloaded(&self) -> &Counter {
        &self.downloaded
    }

    /// Something was found in the cache.
    pub fn hit(&self, hit: Hit) {
        self.hits.increment(hit);
    }

    /// Something that a build wanted to import is not used.
    pub fn missed(&self, miss: Miss) {
        self.misses.increment(miss);
    }

    /// A cache export that BuildKit wrote to has ended.
    pub fn exported(&self, end: ExportEnd, took: Duration) {
        self.exports.observe(end, took);
    }

    /// A build has ended.
    pub fn built(&self, end: BuildEnd, took: Duration) {
        self.builds.increment(end);
        self.build_durations.observe(end, took);
    }

    /// Something became of a cache export of a build.
    pub fn export_outcome(&self, outcome: ExportOutcome) {
        self.export_outcomes.increment(outcome);
    }

    /// Something became of a cache import of a build.
    pub fn import_outcome(&self, outcome: ImportOutcome) {
        self.import_outcomes.increment(outcome);
    }

    /// An index is written without some layers.
    pub fn left_out(&self, cause: LeftOut, layers: usize) {
        self.left_out.add(cause, layers as u64);
    }

    /// Those of spans.
    pub fn spans(&self) -> &SpanMetrics {
        &self.spans
    }

    /// Where values are registered that are read when the metrics are rendered.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// All metrics as text.
    pub fn render(&self) -> String {
        self.registry.render()
    }

    /// The samples that are not zero, without their descriptions and without histograms: what a line of the
    /// log has room for.
    pub fn samples(&self) -> String {
        let text = self.render();
        let samples = text.lines().filter(|line| {
            let zero = line.ends_with(" 0") || line.ends_with(" 0.0");
            !line.starts_with('#') && !zero && !line.contains("_bucket{")
        });
        samples.collect::<Vec<_>>().join("; ")
    }
}

/// Measures an attempt of a call for as long as it is kept.
#[derive(Debug)]
pub struct CallTimer {
    durations: HistogramFamily<Operation>,
    operation: Operation,
    begun: Instant,
    _in_flight: InLevel,
}

impl Drop for CallTimer {
    fn drop(&mut self) {
        self.durations.observe(self.operation, self.begun.elapsed());
    }
}

/// Measures a wait for as long as it is kept.
#[derive(Debug)]
pub struct WaitTimer {
    waits: HistogramFamily<WaitCause>,
    cause: WaitCause,
    begun: Instant,
    _waiting: InLevel,
}

impl Drop for WaitTimer {
    fn drop(&mut self) {
        self.waits.observe(self.cause, self.begun.elapsed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_has(metrics: &Metrics, samples: &[&str]) {
        let text = metrics.render();
        for sample in samples {
            let line = format!("{sample}\n");
            assert!(text.contains(&line), "{sample} in:\n{text}");
        }
    }

    #[test]
    fn calls_are_told_apart_by_operation_and_outcome() {
        let metrics = Metrics::default();
        metrics.remote_call("upload part", Outcome::Throttled);
        metrics.clone().uploaded().add(9);
        let builds = || Some(2);
        let registry = metrics.registry();
        registry.gauge("buildkit_gha_builds_in_flight", "Builds", builds);
        let samples = metrics.samples();
        for sample in [
            "buildkit_gha_remote_calls_total{operation=\"upload_part\",outcome=\"throttled\"} 1",
            "buildkit_gha_uploaded_bytes_total 9",
            "buildkit_gha_builds_in_flight 2",
        ] {
            assert!(samples.contains(sample), "{samples}");
        }
        assert!(!samples.contains("downloaded"), "{samples}");
    }

    #[test]
    fn no_series_is_there_twice() {
        let metrics = Metrics::default();
        metrics.remote_call("upload part", Outcome::Ok);
        metrics.retried("finish upload");
        drop(metrics.begin_call("join parts"));
        let text = metrics.render();
        let series = text.lines().filter(|line| !line.starts_with('#'));
        let mut series: Vec<_> = series.filter_map(|line| line.rsplit_once(' ')).collect();
        series.sort_unstable();
        let twice = series.windows(2).find(|pair| pair[0].0 == pair[1].0);
        assert_eq!(twice, None);
    }

    #[test]
    fn builds_and_what_became_of_their_caches_are_counted() {
        let metrics = Metrics::default();
        metrics.built(BuildEnd::Ok, Duration::from_secs(7));
        metrics.export_outcome(ExportOutcome::Skipped);
        metrics.import_outcome(ImportOutcome::Late);
        metrics.left_out(LeftOut::Below, 3);
        let counted = [
            "buildkit_gha_builds_total{outcome=\"ok\"} 1",
            "buildkit_gha_builds_total{outcome=\"cancelled\"} 0",
            "buildkit_gha_build_duration_seconds_sum{outcome=\"ok\"} 7.0",
            "buildkit_gha_build_duration_seconds_bucket{outcome=\"ok\",le=\"10\"} 1",
            "buildkit_gha_exports_total{outcome=\"skipped\"} 1",
            "buildkit_gha_imports_total{outcome=\"late\"} 1",
            "buildkit_gha_layers_left_out_total{cause=\"below\"} 3",
            "buildkit_gha_layers_left_out_total{cause=\"denied\"} 0",
        ];
        assert_has(&metrics, &counted);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_and_waits_are_measured_until_they_end() {
        let metrics = Metrics::default();
        let call = metrics.begin_call("lookup");
        let wait = metrics.begin_wait(WaitCause::Refusal);
        let under_way = [
            "buildkit_gha_remote_calls_in_flight{operation=\"lookup\"} 1",
            "buildkit_gha_calls_waiting{cause=\"refusal\"} 1",
        ];
        assert_has(&metrics, &under_way);
        tokio::time::advance(Duration::from_secs(7)).await;
        drop((call, wait));
        metrics.missed(Miss::LayerGone);
        let ended = [
            "buildkit_gha_remote_calls_in_flight{operation=\"lookup\"} 0",
            "buildkit_gha_remote_call_duration_seconds_sum{operation=\"lookup\"} 7.0",
            "buildkit_gha_wait_duration_seconds_bucket{cause=\"refusal\",le=\"5\"} 0",
            "buildkit_gha_wait_duration_seconds_bucket{cause=\"refusal\",le=\"10\"} 1",
            "buildkit_gha_cache_misses_total{kind=\"layer\",reason=\"gone\"} 1",
            "buildkit_gha_cache_misses_total{kind=\"index\",reason=\"absent\"} 0",
        ];
        assert_has(&metrics, &ended);
    }
}
