//! Counts of requests and bytes, in the text form that Prometheus reads.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// What a request asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(Operation, u16), u64>>,
    received: AtomicU64,
    sent: AtomicU64,
}

impl Metrics {
    /// A request was answered with the HTTP status `code`.
    pub fn answered(&self, operation: Operation, code: u16) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.entry((operation, code)).or_default() += 1;
    }

    /// Content came in.
    pub fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Content went out.
    pub fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// All counters as Prometheus text.
    pub fn render(&self) -> String {
        const REQUESTS: &str = "buildkit_gha_service_requests_total";
        let mut text = format!(
            "# HELP {REQUESTS} Requests by operation and HTTP status.\n# TYPE {REQUESTS} counter\n"
        );
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        for ((operation, code), count) in requests.iter() {
            let operation = operation.name();
            // Writing to a String cannot fail.
            let _ = writeln!(
                text,
                "{REQUESTS}{{operation=\"{operation}\",code=\"{code}\"}} {count}"
            );
        }
        for (direction, help, value) in [
            ("received", "Content uploaded by clients.", &self.received),
            ("sent", "Content downloaded by clients.", &self.sent),
        ] {
            let name = format!("buildkit_gha_service_{direction}_bytes_total");
            let value = value.load(Ordering::Relaxed);
            let _ = writeln!(
                text,
                "# HELP {name} {help}\n# TYPE {name} counter\n{name} {value}"
            );
        }
        text
    }
}
