//! What the gateway counts.

use super::{
    Registry,
    registry::{Counter, CounterFamily, Labels},
};

/// The gateway's metrics. A clone counts in the same place; the default counts where nobody looks.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    remote_calls: CounterFamily<RemoteCall>,
    uploaded: Counter,
    downloaded: Counter,
}

/// How one attempt of a remote call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The service did what was asked.
    Ok,
    /// The key is taken.
    Exists,
    /// The service takes no more calls for now.
    Throttled,
    /// The service refused the token.
    Denied,
    /// There was no connection.
    Unreachable,
    /// The time was over.
    Timeout,
    /// Anything else.
    Failed,
}

impl Outcome {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Exists => "exists",
            Self::Throttled => "throttled",
            Self::Denied => "denied",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RemoteCall {
    operation: &'static str,
    outcome: Outcome,
}

impl Labels for RemoteCall {
    const NAMES: &'static [&'static str] = &["operation", "outcome"];

    fn values(&self) -> Vec<String> {
        let operation = self.operation.replace(' ', "_");
        vec![operation, self.outcome.name().to_owned()]
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::default();
        Self {
            remote_calls: registry.counters(
                "buildkit_gha_remote_calls",
                "Attempts of calls to cache services, by operation and outcome",
            ),
            uploaded: registry.counter(
                "buildkit_gha_uploaded_bytes",
                "Bytes of layers and indexes that services have taken",
            ),
            downloaded: registry.counter(
                "buildkit_gha_downloaded_bytes",
                "Bytes of layers and indexes that came from services",
            ),
            registry,
        }
    }
}

impl Metrics {
    /// One attempt of a remote call has ended.
    pub fn remote_call(&self, operation: &'static str, outcome: Outcome) {
        self.remote_calls
            .increment(RemoteCall { operation, outcome });
    }

    /// Counts bytes that a service has taken.
    pub fn uploaded(&self) -> &Counter {
        &self.uploaded
    }

    /// Counts bytes that came from a service.
    pub fn downloaded(&self) -> &Counter {
        &self.downloaded
    }

    /// A value that is read when the metrics are rendered; see [`Registry::gauge`].
    pub fn gauge(
        &self,
        name: &'static str,
        help: &'static str,
        read: impl Fn() -> Option<u64> + Send + Sync + 'static,
    ) {
        self.registry.gauge(name, help, read);
    }

    /// All metrics as text.
    pub fn render(&self) -> String {
        self.registry.render()
    }

    /// The samples without their descriptions: what a line of the log has room for.
    pub fn samples(&self) -> String {
        let text = self.render();
        let samples: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        samples.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_apart_by_operation_and_outcome() {
        let metrics = Metrics::default();
        metrics.remote_call("upload part", Outcome::Throttled);
        metrics.clone().uploaded().add(9);
        metrics.gauge("buildkit_gha_builds_in_flight", "Builds", || Some(2));
        let samples = metrics.samples();
        for sample in [
            "buildkit_gha_remote_calls_total{operation=\"upload_part\",outcome=\"throttled\"} 1",
            "buildkit_gha_uploaded_bytes_total 9",
            "buildkit_gha_builds_in_flight 2",
        ] {
            assert!(samples.contains(sample), "{samples}");
        }
    }
}
