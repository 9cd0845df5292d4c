//! What people read when the service cannot be reached: one line, whatever failed because of it.

use super::report::{Event, Warning};
use crate::actions::{self, Kind, OUTAGE_TIME};

/// The warning for a call that could make no connection; `None` for any other failure. It says
/// nothing of the call, so that all jobs of a build say the same and the build shows it once.
pub(super) fn warning(error: &actions::Error) -> Option<Event> {
    let Kind::Unreachable(_) = error.kind else {
        return None;
    };
    let short = format!(
        "the cache service {} cannot be reached: {}; builds go on without a cache, and it is tried \
         again in {} s",
        error.origin,
        error.description(),
        OUTAGE_TIME.as_secs(),
    );
    Some(Event::Warning(Warning::new(short, Vec::new())))
}
