//! How long one attempt of a call may take.

use std::time::Duration;

use super::{Call, ClientConfig};

/// How long the first attempt of a lookup, or of a look at a few bytes, may take: a build waits
/// for the answer, and for its index no longer than 5 seconds in all. Asking twice does no harm.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(3);

/// The same for reserving a key. A reservation whose answer comes too late is lost, so it is
/// given more time than a healthy service could need.
const RESERVE_TIMEOUT: Duration = Duration::from_secs(10);

/// The same for confirming an upload: the service may be putting its parts together.
const FINISH_TIMEOUT: Duration = Duration::from_secs(30);

/// How much longer each attempt may take than the one before: a call that hangs costs little, and
/// one that is slow gets its answer in the end.
const GROWTH: u32 = 3;

/// How long an attempt may take.
#[derive(Debug, Clone, Copy)]
pub(super) enum TimeLimit {
    /// In all, up to the answer's head.
    Total(Duration),
    /// Without moving one byte.
    NoProgress(Duration),
}

impl TimeLimit {
    /// The limit of the `attempt`-th attempt of a call. A transfer may take as long as it moves.
    pub fn for_attempt(config: &ClientConfig, call: Call, attempt: u32) -> Self {
        let first = match call {
            Call::Lookup | Call::Probe => LOOKUP_TIMEOUT,
            Call::Reserve | Call::List | Call::Delete => RESERVE_TIMEOUT,
            Call::Finish | Call::JoinParts => FINISH_TIMEOUT,
            Call::UploadPart | Call::Download => return Self::NoProgress(config.no_progress),
        };
        let growth = GROWTH.saturating_pow(attempt.saturating_sub(1));
        Self::Total(first.saturating_mul(growth).min(config.call_timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_hangs_costs_little_and_a_slow_one_is_given_more_each_time() {
        let config = ClientConfig::default();
        let seconds = |call, attempt| match TimeLimit::for_attempt(&config, call, attempt) {
            TimeLimit::Total(time) => time.as_secs(),
            TimeLimit::NoProgress(time) => panic!("{time:?} without progress"),
        };
        let lookup = [1, 2, 3, 4, 5].map(|attempt| seconds(Call::Lookup, attempt));
        assert_eq!(lookup, [3, 9, 27, 60, 60]);
        assert_eq!(seconds(Call::Reserve, 1), 10);
        assert_eq!(seconds(Call::Finish, 100), 60);
    }
}
