//! Why a layer is not confirmed, and the warnings of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::{
    actions,
    cache::{
        fetch_error::FetchError,
        report::{Event, Reporter},
        spool::SpoolError,
        unpack::UnpackError,
        unreachable,
    },
    digest::Digest,
};

/// An import warns of so many layers one by one.
const MAX_WARNINGS: usize = 5;

/// Why a layer is not confirmed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unavailable {
    #[error(transparent)]
    Remote(#[from] actions::Error),
    #[error(
        "lookups have waited {} s for the service in all (BUILDKIT_GHA_LOOKUP_WAIT): from now on a \
         layer that is not answered at once counts as missing",
        .0.as_secs()
    )]
    Late(Duration),
    #[error("there is no room to fetch it: {0}")]
    NoRoom(#[from] SpoolError),
    #[error("it is in the index and no longer in the cache (evicted)")]
    Gone,
    #[error("it is damaged in the cache: {reason}")]
    Damaged {
        key: String,
        #[source]
        reason: EntryMismatch,
    },
    #[error("its entry {0} could not be had before, so it is not relied on")]
    Quarantined(String),
    #[error("it was fetched to be verified, and {0}")]
    Unverified(#[source] Box<FetchError>),
    #[error("it was fetched to be verified, and {0}")]
    LayerMismatch(#[from] LayerMismatch),
}

impl Unavailable {
    /// Whether the layer itself is at fault, so that nothing known before proves that it is there.
    pub fn disproves(&self) -> bool {
        match self {
            Self::Gone | Self::Damaged { .. } | Self::Quarantined(_) => true,
            Self::Remote(_)
            | Self::Late(_)
            | Self::NoRoom(_)
            | Self::Unverified(_)
            | Self::LayerMismatch(_) => false,
        }
    }
}

/// How an entry differs from what its index and its key say of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum EntryMismatch {
    #[error("it has {actual} bytes where the index says {indexed}")]
    Size { actual: u64, indexed: u64 },
    #[error("its bytes are not what its name says")]
    Content,
}

/// How a layer whose bytes are right differs from what its index says of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum LayerMismatch {
    #[error(transparent)]
    Packed(#[from] UnpackError),
    #[error("it unpacks to {actual}, and the index says {indexed}")]
    DiffId { actual: Digest, indexed: Digest },
}

/// Warns why layers are not used, of a few one by one.
pub(super) struct UnavailableWarnings {
    reporter: Arc<dyn Reporter>,
    count: AtomicUsize,
    late: AtomicBool,
}

impl UnavailableWarnings {
    pub fn new(reporter: Arc<dyn Reporter>) -> Self {
        Self {
            reporter,
            count: AtomicUsize::new(0),
            late: AtomicBool::new(false),
        }
    }

    /// Warns that a layer is not used.
    pub fn warn(&self, digest: Digest, reason: &Unavailable) {
        if let Unavailable::Late(_) = reason
            && self.late.swap(true, Ordering::Relaxed)
        {
            return;
        }
        if let Unavailable::Remote(error) = reason
            && let Some(warning) = unreachable::warning(error)
        {
            self.reporter.report(warning);
            return;
        }
        tracing::info!(%digest, %reason, "a layer is not confirmed");
        let short = match self.count.fetch_add(1, Ordering::Relaxed) {
            0..MAX_WARNINGS => "cache import: a layer cannot be used, its step runs again",
            MAX_WARNINGS => "cache import: more layers cannot be used; the log has them all",
            _ => return,
        };
        let detail = format!("{digest}: {reason}");
        self.reporter.report(Event::warning(short, detail));
    }
}

#[cfg(test)]
mod tests {
    use parking_lot::Mutex;

    use super::*;

    #[derive(Default)]
    struct Events(Mutex<Vec<Event>>);

    impl Reporter for Events {
        fn report(&self, event: Event) {
            self.0.lock().push(event);
        }
    }

    #[test]
    fn the_end_of_waiting_is_reported_once_and_few_layers_one_by_one() {
        let events = Arc::new(Events::default());
        let warnings = UnavailableWarnings::new(Arc::clone(&events) as Arc<dyn Reporter>);
        for _ in 0..2 {
            let late = Unavailable::Late(Duration::from_secs(30));
            warnings.warn(Digest::sha256("layer"), &late);
        }
        assert_eq!(events.0.lock().len(), 1);
        for _ in 0..2 * MAX_WARNINGS {
            warnings.warn(Digest::sha256("layer"), &Unavailable::Gone);
        }
        assert_eq!(events.0.lock().len(), MAX_WARNINGS + 1);
    }
}
