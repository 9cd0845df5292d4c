//! What a service says of its own limits: GitHub's `x-ratelimit-…` headers.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};
use jiff::{Timestamp, fmt::rfc2822};

/// Calls that are left until the limit is counted anew.
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");

/// When that is, in seconds of Unix time.
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

/// How many calls a service will still answer, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RateLimitHeaders {
    pub remaining: u64,
    pub reset_after: Duration,
}

impl RateLimitHeaders {
    /// Reads the headers of an answer; `None` if it has none, or none that can be read.
    pub fn parse(headers: &HeaderMap) -> Option<Self> {
        let text = |name| headers.get(name)?.to_str().ok();
        let remaining = text(REMAINING)?.trim().parse().ok()?;
        let reset: i64 = text(RESET)?.trim().parse().ok()?;
        let reset = Timestamp::from_second(reset).ok()?;
        let reset_after = reset.duration_since(clock(headers));
        Some(Self {
            remaining,
            reset_after: Duration::try_from(reset_after).unwrap_or_default(),
        })
    }

    /// How long to wait if nothing is left.
    pub fn wait(self) -> Option<Duration> {
        (self.remaining == 0).then_some(self.reset_after)
    }
}

/// The service's own time, since its clock and ours may differ by more than a wait.
pub(super) fn clock(headers: &HeaderMap) -> Timestamp {
    let date = headers
        .get(header::DATE)
        .and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| rfc2822::DateTimeParser::new().parse_timestamp(date).ok());
    date.unwrap_or_else(Timestamp::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(remaining: &str, reset: &str) -> Option<(u64, u64)> {
        let mut headers = HeaderMap::new();
        headers.insert(REMAINING, remaining.parse().unwrap());
        headers.insert(RESET, reset.parse().unwrap());
        let date = "Fri, 16 Jan 2026 00:00:00 GMT".parse().unwrap();
        headers.insert(header::DATE, date);
        let limits = RateLimitHeaders::parse(&headers)?;
        Some((limits.remaining, limits.reset_after.as_secs()))
    }

    #[test]
    fn limits_are_read_by_the_clock_of_the_service() {
        let midnight = 1_768_521_600;
        assert_eq!(read("7", &(midnight + 90).to_string()), Some((7, 90)));
        assert_eq!(read("0", &(midnight - 90).to_string()), Some((0, 0)));
        for (remaining, reset) in [
            ("-1", "5"),
            ("x", "5"),
            ("5", "soon"),
            ("5", "99999999999999999"),
        ] {
            assert_eq!(read(remaining, reset), None, "{remaining} {reset}");
        }
        assert_eq!(RateLimitHeaders::parse(&HeaderMap::new()), None);
    }
}
