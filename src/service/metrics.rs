//! Counts of requests and bytes, in the text form that Prometheus reads.

use crate::telemetry::{Counter, CounterFamily, Labels, Registry};

/// What a request asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Either API's search for an entry.
    Lookup,
    /// Either API's reservation of a key.
    Reserve,
    /// One part of an upload: `PATCH` or Put Block.
    UploadPart,
    /// Put Blob.
    PutBlob,
    /// Put Block List.
    PutBlockList,
    /// Either API's commit of an upload.
    Commit,
    /// Reading content, or asking for its size.
    Download,
    /// The REST listing.
    List,
    /// The REST deletion.
    Delete,
    /// Anything else.
    Other,
}

impl Operation {
    /// What counters and the log call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lookup => "lookup",
            Self::Reserve => "reserve",
            Self::UploadPart => "upload_part",
            Self::PutBlob => "put_blob",
            Self::PutBlockList => "put_block_list",
            Self::Commit => "commit",
            Self::Download => "download",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Other => "other",
        }
    }
}

/// The service's counters since its start.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: CounterFamily<RequestLabels>,
    received: Counter,
    sent: Counter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct RequestLabels {
    operation: Operation,
    code: u16,
}

impl Labels for RequestLabels {
    const NAMES: &'static [&'static str] = &["operation", "code"];

    fn values(&self) -> Vec<String> {
        vec![self.operation.name().to_owned(), self.code.to_string()]
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::default();
        Self {
            requests: registry.counters(
                "buildkit_gha_service_requests",
                "Requests by operation and HTTP status",
            ),
            received: registry.counter(
                "buildkit_gha_service_received_bytes",
                "Content uploaded by clients",
            ),
            sent: registry.counter(
                "buildkit_gha_service_sent_bytes",
                "Content downloaded by clients",
            ),
            registry,
        }
    }
}

impl Metrics {
    /// A request was answered with the HTTP status `code`.
    pub fn answered(&self, operation: Operation, code: u16) {
        self.requests.increment(RequestLabels { operation, code });
    }

    /// Content came in.
    pub fn received(&self, bytes: u64) {
        self.received.add(bytes);
    }

    /// Content went out.
    pub fn sent(&self, bytes: u64) {
        self.sent.add(bytes);
    }

    /// All counters as Prometheus text.
    pub fn render(&self) -> String {
        self.registry.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_that_dashboards_know() {
        let metrics = Metrics::default();
        metrics.answered(Operation::Lookup, 200);
        metrics.answered(Operation::Lookup, 200);
        metrics.received(7);
        metrics.sent(9);
        let expected = "\
# HELP buildkit_gha_service_requests_total Requests by operation and HTTP status.
# TYPE buildkit_gha_service_requests_total counter
buildkit_gha_service_requests_total{operation=\"lookup\",code=\"200\"} 2
# HELP buildkit_gha_service_received_bytes_total Content uploaded by clients.
# TYPE buildkit_gha_service_received_bytes_total counter
buildkit_gha_service_received_bytes_total 7
# HELP buildkit_gha_service_sent_bytes_total Content downloaded by clients.
# TYPE buildkit_gha_service_sent_bytes_total counter
buildkit_gha_service_sent_bytes_total 9
";
        assert_eq!(metrics.render(), expected);
    }
}
