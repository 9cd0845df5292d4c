//! Why a layer is not in the cache.

use std::{fmt, sync::Arc};

use crate::{
    actions::{self, Kind, TimeoutReason},
    cache::{spool::SpoolError, tail::TailError},
    telemetry::LeftOut,
};

/// Why a layer is left out of the index.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LayerError {
    /// The service or the way there failed.
    #[error(transparent)]
    Remote(#[from] actions::Error),
    /// All keys that it may have are reserved, and there is no entry.
    #[error(
        "uploads of it were begun and not finished, under this key and all that may stand for it; \
         the service will take it again when one of these reservations has expired"
    )]
    Unfinished,
    /// The build stopped writing it.
    #[error("the build stopped writing it")]
    Interrupted,
    /// The time of the export was over, in the middle of this call if it was one.
    #[error("{}", LateText(*.0, .1.as_deref()))]
    Late(TimeoutReason, Option<Box<actions::Error>>),
    /// There was no room on disk, or the disk failed.
    #[error(transparent)]
    Spool(Arc<SpoolError>),
    /// Another build has begun with other bytes; one of the two is wrong.
    #[error("another build is writing other bytes as this layer")]
    Diverged,
    /// More layers than an export may have.
    #[error("the export has too many layers")]
    TooMany,
}

impl LayerError {
    /// As the metrics count it.
    pub(super) fn cause(&self) -> LeftOut {
        match self {
            Self::Remote(error) => match error.kind {
                Kind::Unreachable(_) => LeftOut::Unreachable,
                Kind::Denied => LeftOut::Denied,
                Kind::Throttled(_) => LeftOut::Throttled,
                _ => LeftOut::Failed,
            },
            Self::Unfinished => LeftOut::Unfinished,
            Self::Interrupted | Self::Diverged => LeftOut::NotWritten,
            Self::Late(..) => LeftOut::Late,
            Self::Spool(_) => LeftOut::Spool,
            Self::TooMany => LeftOut::TooMany,
        }
    }
}

impl From<SpoolError> for LayerError {
    fn from(error: SpoolError) -> Self {
        Self::Spool(Arc::new(error))
    }
}

impl From<TailError> for LayerError {
    fn from(error: TailError) -> Self {
        match error {
            TailError::Spool(error) => error.into(),
            TailError::Diverged => Self::Diverged,
        }
    }
}

/// What happened, which limit that was, and what to do, for a layer that came too late.
struct LateText<'a>(TimeoutReason, Option<&'a actions::Error>);

impl fmt::Display for LateText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            TimeoutReason::TimeOver => f.write_str(
                "the export's time was over (the attribute timeout=) and nothing of its uploads moved; \
                 the next export tries again, and a longer timeout= gives it more time",
            ),
            TimeoutReason::StoodStill(time) => write!(
                f,
                "its upload went on after the export's time (the attribute timeout=) until nothing had \
                 moved for {time:?} (BUILDKIT_GHA_NO_PROGRESS); the next export tries again, and a \
                 longer timeout= gives it more time"
            ),
            TimeoutReason::Overtime(time) => write!(
                f,
                "its upload went on for {} min after the export's time (the attribute timeout=), and no \
                 upload goes on for longer; a longer timeout= gives it more time",
                time.as_secs() / 60
            ),
        }?;
        self.1.map_or(Ok(()), |call| write!(f, "; {call}"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_has_a_cause_that_metrics_count() {
        for (error, cause) in [
            (LayerError::Unfinished, LeftOut::Unfinished),
            (LayerError::Interrupted, LeftOut::NotWritten),
            (LayerError::Diverged, LeftOut::NotWritten),
            (LayerError::TooMany, LeftOut::TooMany),
            (
                LayerError::Late(TimeoutReason::TimeOver, None),
                LeftOut::Late,
            ),
            (SpoolError::Full { capacity: 1 }.into(), LeftOut::Spool),
        ] {
            assert_eq!(error.cause(), cause, "{error}");
        }
    }

    #[test]
    fn each_end_names_its_limit_and_what_to_do() {
        for (reason, limit) in [
            (TimeoutReason::TimeOver, "timeout="),
            (
                TimeoutReason::StoodStill(Duration::from_secs(30)),
                "30s (BUILDKIT_GHA_NO_PROGRESS)",
            ),
            (
                TimeoutReason::Overtime(Duration::from_hours(1)),
                "60 min after",
            ),
        ] {
            let text = LayerError::Late(reason, None).to_string();
            assert!(text.contains(limit), "{text}");
            assert!(text.contains("a longer timeout="), "{text}");
        }
    }
}
