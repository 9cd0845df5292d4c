//! Says plainly, before it happens, that the token may not last as long as the export.

use std::time::Duration;

use jiff::Timestamp;

use crate::{
    actions::Token,
    cache::report::{Event, Reporter, Warning},
    units::duration,
};

/// Warns if the token ends before an export that begins now has to. It goes on: most exports need a
/// fraction of their time.
pub(in crate::cache) fn warn_of_expiry(token: &Token, reporter: &dyn Reporter, timeout: Duration) {
    if let Some(short) = warning(token.expires(), Timestamp::now(), timeout) {
        reporter.report(Event::Warning(Warning::new(short, Vec::new())));
    }
}

fn warning(expires: Timestamp, now: Timestamp, timeout: Duration) -> Option<String> {
    let left = Duration::try_from(expires.duration_since(now)).unwrap_or_default();
    (left < timeout).then(|| {
        format!(
            "cache export: the token expires at {expires}, in {} s, and the export may take up to {} \
             (timeout=); what is not saved by then is left out",
            left.as_secs(),
            duration::format(timeout),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_token_that_ends_too_soon_is_worth_a_word() {
        let now = Timestamp::from_second(1_000).unwrap();
        let timeout = Duration::from_mins(10);
        let at = |second| warning(Timestamp::from_second(second).unwrap(), now, timeout);
        assert_eq!(at(1_600), None);
        let soon = at(1_090).unwrap();
        assert!(
            soon.contains("1970-01-01T00:18:10Z, in 90 s") && soon.contains("600s"),
            "{soon}"
        );
        assert!(at(900).unwrap().contains("in 0 s"));
    }
}
