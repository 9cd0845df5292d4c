//! Why a layer is not confirmed, and the warnings of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::{
    actions,
    cache::{
        fetch_error::FetchError,
        reasons,
        report::{Event, Reporter, Warning},
        spool::SpoolError,
        steps::{BuildSteps, LayerFault},
        unpack::UnpackError,
        unreachable,
    },
    digest::Digest,
    telemetry::Miss,
};

/// An import remembers so many lost layers of one cause by name, and counts the others.
const MAX_REMEMBERED: usize = 1000;

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
    /// As the metrics count it.
    pub fn miss(&self) -> Miss {
        match self {
            Self::Gone => Miss::LayerGone,
            Self::Damaged { .. } | Self::Quarantined(_) | Self::LayerMismatch(_) => {
                Miss::LayerDamaged
            }
            Self::Late(_) => Miss::LayerLate,
            Self::NoRoom(_) => Miss::LayerNoRoom,
            Self::Remote(_) | Self::Unverified(_) => Miss::LayerFailed,
        }
    }

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

impl Unavailable {
    /// What people are told that is wrong with the layer.
    pub fn fault(&self) -> LayerFault {
        match self {
            Self::Gone => LayerFault::Gone,
            Self::Damaged { .. } | Self::Quarantined(_) | Self::LayerMismatch(_) => {
                LayerFault::Damaged
            }
            Self::Remote(_) | Self::Late(_) | Self::NoRoom(_) | Self::Unverified(_) => {
                LayerFault::Unreachable
            }
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

/// What is lost by one cause, of which people are told once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Loss {
    Gone,
    Damaged,
    NoRoom,
    Late,
    Failed,
}

impl Loss {
    fn of(reason: &Unavailable) -> Self {
        match reason {
            Unavailable::Gone => Self::Gone,
            Unavailable::Damaged { .. }
            | Unavailable::Quarantined(_)
            | Unavailable::Unverified(_)
            | Unavailable::LayerMismatch(_) => Self::Damaged,
            Unavailable::NoRoom(_) => Self::NoRoom,
            Unavailable::Late(_) => Self::Late,
            Unavailable::Remote(_) => Self::Failed,
        }
    }

    fn cause(self) -> &'static str {
        match self {
            Self::Gone => "import: layers are gone",
            Self::Damaged => "import: layers are damaged",
            Self::NoRoom => "import: no room for layers",
            Self::Late => "import: lookups took too long",
            Self::Failed => "import: lookups failed",
        }
    }

    /// What to do about it.
    fn cure(self) -> &'static str {
        match self {
            Self::Gone | Self::Damaged => {
                "the next export of a build that has them stores them again"
            }
            Self::NoRoom => "BUILDKIT_GHA_IMPORT_SPOOL gives layers more room",
            Self::Late => "a longer BUILDKIT_GHA_LOOKUP_WAIT lets builds wait longer",
            Self::Failed => "the next build tries again",
        }
    }
}

/// Warns why layers are not used: of one cause once, with all layers that are lost by it.
pub(super) struct UnavailableWarnings {
    reporter: Arc<dyn Reporter>,
    lost: Mutex<BTreeMap<Loss, LostLayers>>,
}

#[derive(Default)]
struct LostLayers {
    count: usize,
    /// The first of them, and why.
    named: Vec<(String, String)>,
}

impl UnavailableWarnings {
    pub fn new(reporter: Arc<dyn Reporter>) -> Self {
        Self {
            reporter,
            lost: Mutex::default(),
        }
    }

    /// The steps of the build that is warned.
    pub fn steps(&self) -> Option<Arc<BuildSteps>> {
        self.reporter.steps()
    }

    /// Warns that a layer is not used.
    pub fn warn(&self, digest: Digest, reason: &Unavailable) {
        if let Unavailable::Remote(error) = reason
            && let Some(warning) = unreachable::warning(error)
        {
            self.reporter.report(warning);
            return;
        }
        tracing::info!(%digest, %reason, "a layer is not confirmed");
        let kind = Loss::of(reason);
        let mut all = self.lost.lock();
        let layers = all.entry(kind).or_default();
        layers.count += 1;
        if layers.named.len() < MAX_REMEMBERED {
            (layers.named).push((digest.to_string(), reason.to_string()));
        }
        // Under the lock, so that the last of them says most.
        self.reporter.report(Event::Warning(layers.warning(kind)));
    }
}

impl LostLayers {
    fn warning(&self, loss: Loss) -> Warning {
        let what = match self.count {
            1 => "1 layer cannot be used, its step runs again".to_owned(),
            layers => format!("{layers} layers cannot be used, their steps run again"),
        };
        let mut detail = reasons::lines(self.named.iter().cloned());
        match &mut detail[..] {
            [only] => *only = format!("{only}; {}", loss.cure()),
            _ => detail.push(loss.cure().to_owned()),
        }
        Warning {
            cause: Some(loss.cause()),
            ..Warning::new(format!("cache import: {what}"), detail)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Warnings(Mutex<Vec<Warning>>);

    impl Reporter for Warnings {
        fn report(&self, event: Event) {
            if let Event::Warning(warning) = event {
                self.0.lock().push(warning);
            }
        }
    }

    #[test]
    fn the_last_warning_of_a_cause_says_all() {
        let said = Arc::new(Warnings::default());
        let warnings = UnavailableWarnings::new(Arc::clone(&said) as Arc<dyn Reporter>);
        let late = Unavailable::Late(Duration::from_secs(30));
        warnings.warn(Digest::sha256("layer"), &late);
        for layer in 0..12_u8 {
            warnings.warn(Digest::sha256([layer]), &Unavailable::Gone);
        }
        let said = said.0.lock();
        let [late, one, .., all] = &said[..] else {
            panic!("{said:?}")
        };
        assert_eq!(late.cause, Some("import: lookups took too long"));
        assert!(late.detail[0].contains("; a longer BUILDKIT_GHA_LOOKUP_WAIT"));
        assert_eq!(
            one.short,
            "cache import: 1 layer cannot be used, its step runs again"
        );
        assert_eq!(
            all.short,
            "cache import: 12 layers cannot be used, their steps run again"
        );
        assert_eq!((all.cause, all.detail.len()), (one.cause, 1));
        assert!(all.detail[0].contains(" and 2 more: it is in the index"));
    }
}
