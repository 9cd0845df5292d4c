//! How long the database and the store take for what is asked of them, and how they fail.

use std::time::Instant;

use super::store::{StoreError, StoreErrorKind, StoreKind};
use crate::telemetry::{CounterFamily, HistogramFamily, Labels, Registry};

/// Bounds for calls: a query of SQLite takes some ten microseconds, one of PostgreSQL a millisecond, a bucket up to 50, and
/// after 15 s a database has not answered.
const CALL_SECONDS: &[f64] = &[0.0005, 0.002, 0.01, 0.05, 0.2, 1.0, 5.0, 15.0, 60.0];

fn engine_name(engine: StoreKind) -> &'static str {
    match engine {
        StoreKind::Database => "database",
        StoreKind::Storage => "store",
    }
}

/// Calls of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct CallLabels {
    engine: StoreKind,
    operation: &'static str,
    /// Whether the engine could do it: that something is not there is an answer.
    failed: bool,
}

impl Labels for CallLabels {
    const NAMES: &'static [&'static str] = &["engine", "operation", "outcome"];

    fn values(&self) -> Vec<String> {
        let outcome = if self.failed { "failed" } else { "ok" };
        [engine_name(self.engine), self.operation, outcome]
            .map(str::to_owned)
            .to_vec()
    }
}

/// Failures of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct FailureLabels {
    engine: StoreKind,
    kind: &'static str,
}

/// What stands for a failure of the engine itself.
const FAILURES: [&str; 5] = ["full", "too_large", "lost", "unreachable", "unavailable"];

impl Labels for FailureLabels {
    const NAMES: &'static [&'static str] = &["engine", "kind"];

    fn values(&self) -> Vec<String> {
        [engine_name(self.engine), self.kind]
            .map(str::to_owned)
            .to_vec()
    }

    fn known() -> Vec<Self> {
        let engines = [StoreKind::Database, StoreKind::Storage].into_iter();
        let all = engines.flat_map(|engine| FAILURES.map(|kind| Self { engine, kind }));
        all.collect()
    }
}

/// The kind of a failure; `None` for an answer that the rules expect.
fn failure(error: &StoreError) -> Option<&'static str> {
    let [full, too_large, lost, unreachable, unavailable] = FAILURES;
    match error.kind() {
        StoreErrorKind::NotFound
        | StoreErrorKind::Truncated { .. }
        | StoreErrorKind::Conflict
        | StoreErrorKind::Closed => None,
        StoreErrorKind::Full => Some(full),
        StoreErrorKind::TooLarge => Some(too_large),
        StoreErrorKind::Lost => Some(lost),
        StoreErrorKind::Unreachable => Some(unreachable),
        StoreErrorKind::Unavailable => Some(unavailable),
    }
}

/// The metrics of both engines. A clone counts in the same place.
#[derive(Debug, Clone)]
pub(super) struct EngineMetrics {
    durations: HistogramFamily<CallLabels>,
    failures: CounterFamily<FailureLabels>,
}

impl EngineMetrics {
    /// Nothing was asked yet.
    pub(super) fn new(registry: &Registry) -> Self {
        Self {
            durations: registry.histograms(
                "buildkit_gha_service_engine_duration_seconds",
                "How long calls to the database and the store of the content took, by engine (database, store), operation and \
                 outcome (ok, failed). A read of the store ends with its first bytes",
                CALL_SECONDS,
            ),
            failures: registry.counters(
                "buildkit_gha_service_engine_failures",
                "What the database and the store of the content could not do, by kind. What is not there, or somebody else's, \
                 is no failure",
            ),
        }
    }

    /// A call to an engine begins.
    pub(super) fn begin(&self, engine: StoreKind, operation: &'static str) -> EngineCall<'_> {
        EngineCall {
            metrics: self,
            engine,
            operation,
            begin: Instant::now(),
        }
    }

    /// An engine has failed.
    pub(super) fn failed(&self, engine: StoreKind, error: &StoreError) {
        if let Some(kind) = failure(error) {
            self.failures.increment(FailureLabels { engine, kind });
        }
    }
}

/// A call that is under way. One that nobody waits for any more is not counted.
pub(super) struct EngineCall<'a> {
    metrics: &'a EngineMetrics,
    engine: StoreKind,
    operation: &'static str,
    begin: Instant,
}

impl EngineCall<'_> {
    /// It was answered.
    pub(super) fn end<T>(self, answer: Result<T, StoreError>) -> Result<T, StoreError> {
        let failed = answer.as_ref().is_err_and(|error| failure(error).is_some());
        let labels = CallLabels {
            engine: self.engine,
            operation: self.operation,
            failed,
        };
        self.metrics.durations.observe(labels, self.begin.elapsed());
        answer.inspect_err(|error| self.metrics.failed(self.engine, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(kind: StoreErrorKind) -> StoreError {
        StoreError::new(StoreKind::Database, kind)
    }

    #[test]
    fn what_an_engine_cannot_do_is_a_failure_and_what_is_not_there_is_none() {
        let registry = Registry::default();
        let metrics = EngineMetrics::new(&registry);
        let ask = |operation, answer: Result<(), StoreError>| {
            let _ = metrics.begin(StoreKind::Database, operation).end(answer);
        };
        ask("find", Ok(()));
        ask("find", Err(error(StoreErrorKind::NotFound)));
        ask("find", Err(error(StoreErrorKind::Unreachable)));
        metrics.failed(StoreKind::Storage, &error(StoreErrorKind::Full));
        let text = registry.render();
        for sample in [
            "duration_seconds_count{engine=\"database\",operation=\"find\",outcome=\"ok\"} 2",
            "duration_seconds_count{engine=\"database\",operation=\"find\",outcome=\"failed\"} 1",
            "failures_total{engine=\"database\",kind=\"unreachable\"} 1",
            "failures_total{engine=\"store\",kind=\"full\"} 1",
            "failures_total{engine=\"store\",kind=\"lost\"} 0",
        ] {
            let sample = format!("buildkit_gha_service_engine_{sample}");
            assert!(
                text.lines().any(|line| line == sample),
                "{sample} in\n{text}"
            );
        }
    }
}
