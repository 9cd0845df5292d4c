//! Whether a failed call is made again, and when: one pure decision.

use std::time::Duration;

use super::{
    Call, ClientConfig, Kind,
    config::{FINISH_TIMEOUT, LOOKUP_TIMEOUT, RESERVE_TIMEOUT, RetryPolicy},
    http::TimeLimit,
};

/// Statuses that mean "not now" rather than "never".
const PASSING: [u16; 4] = [500, 502, 503, 504];

/// What to do after a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Call again after this long.
    Retry(Duration),
    /// Call again as soon as the service lets.
    RetryWhenAdmitted,
    /// The failure counts.
    GiveUp,
}

/// A call that failed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Failed {
    /// How often it has been made, at least 1.
    pub attempt: u32,
    /// How long ago it was made first.
    pub elapsed: Duration,
    /// Between 0 and 1.
    pub jitter: f64,
}

/// Decides. Every call that gets here may be repeated: lookups, parts and reads by nature, a
/// reservation since a second one says "exists" at worst, a finish since it looks before it
/// repeats.
pub(crate) fn decide(policy: &RetryPolicy, kind: &Kind, failed: Failed) -> Decision {
    let again = failed.attempt < policy.attempts;
    let wait = match kind {
        // Waiting for the rate limiter costs the service nothing: time ends it, not a count.
        Kind::Throttled(_) if failed.elapsed < policy.patience => {
            return Decision::RetryWhenAdmitted;
        }
        Kind::Server(status) if again && PASSING.contains(status) => backoff(policy, failed),
        Kind::Unreachable(_) | Kind::Transport | Kind::Incomplete | Kind::Timeout if again => {
            backoff(policy, failed)
        }
        Kind::Server(_)
        | Kind::Unreachable(_)
        | Kind::Transport
        | Kind::Incomplete
        | Kind::Timeout
        | Kind::Throttled(_)
        | Kind::AlreadyExists
        | Kind::Denied
        | Kind::UrlExpired
        | Kind::NotFound
        | Kind::Rejected(_)
        | Kind::Protocol
        | Kind::Source => return Decision::GiveUp,
    };
    if failed.elapsed.saturating_add(wait) > policy.patience {
        return Decision::GiveUp;
    }
    Decision::Retry(wait)
}

/// How much longer each attempt may take than the one before: a call that hangs costs little, and
/// one that is slow gets its answer in the end.
const PATIENCE_GROWTH: u32 = 3;

/// How long the `attempt`-th attempt of a call may take. A transfer may take as long as it moves.
pub(crate) fn limit(config: &ClientConfig, call: Call, attempt: u32) -> TimeLimit {
    let first = match call {
        Call::Lookup | Call::Probe => LOOKUP_TIMEOUT,
        Call::Reserve | Call::List | Call::Delete => RESERVE_TIMEOUT,
        Call::Finish | Call::JoinParts => FINISH_TIMEOUT,
        Call::UploadPart | Call::Download => return TimeLimit::NoProgress(config.no_progress),
    };
    let growth = PATIENCE_GROWTH.saturating_pow(attempt.saturating_sub(1));
    TimeLimit::Total(first.saturating_mul(growth).min(config.call_timeout))
}

/// Doubles with each attempt; half of it is certain and half is jitter.
fn backoff(policy: &RetryPolicy, failed: Failed) -> Duration {
    let doublings = failed.attempt.saturating_sub(1).min(31);
    let whole = policy
        .first_wait
        .saturating_mul(1 << doublings)
        .min(policy.longest_wait);
    whole.mul_f64(0.5 + 0.5 * failed.jitter)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        first_wait: Duration::from_secs(1),
        longest_wait: Duration::from_secs(8),
        attempts: 5,
        patience: Duration::from_mins(10),
    };

    fn after(kind: &Kind, attempt: u32, jitter: f64) -> Decision {
        let failed = Failed {
            attempt,
            elapsed: Duration::ZERO,
            jitter,
        };
        decide(&POLICY, kind, failed)
    }

    fn seconds(wait: f64) -> Decision {
        Decision::Retry(Duration::from_secs_f64(wait))
    }

    #[test]
    fn waits_double_up_to_the_longest_and_jitter_moves_half() {
        for (attempt, whole) in [(1, 1.0), (2, 2.0), (3, 4.0), (4, 8.0)] {
            assert_eq!(after(&Kind::Transport, attempt, 1.0), seconds(whole));
            assert_eq!(after(&Kind::Timeout, attempt, 0.0), seconds(whole / 2.0));
        }
    }

    #[test]
    fn a_count_ends_faults_and_patience_ends_throttling() {
        assert_eq!(after(&Kind::Server(503), 5, 0.0), Decision::GiveUp);
        assert_eq!(
            after(&Kind::Throttled(None), 50, 0.0),
            Decision::RetryWhenAdmitted
        );
        let late = Failed {
            attempt: 2,
            elapsed: POLICY.patience,
            jitter: 0.0,
        };
        let throttled = Kind::Throttled(None);
        assert_eq!(decide(&POLICY, &throttled, late), Decision::GiveUp);
    }

    #[test]
    fn a_call_that_hangs_costs_little_and_a_slow_one_is_given_more_each_time() {
        let config = ClientConfig::default();
        let seconds = |call, attempt| match limit(&config, call, attempt) {
            TimeLimit::Total(time) => time.as_secs(),
            TimeLimit::NoProgress(time) => panic!("{time:?} without progress"),
        };
        let lookup = [1, 2, 3, 4, 5].map(|attempt| seconds(Call::Lookup, attempt));
        assert_eq!(lookup, [3, 9, 27, 60, 60]);
        assert_eq!(seconds(Call::Reserve, 1), 10);
        assert_eq!(seconds(Call::Finish, 100), 60);
    }

    #[test]
    fn what_will_not_pass_is_not_repeated() {
        for kind in [
            Kind::AlreadyExists,
            Kind::Denied,
            Kind::UrlExpired,
            Kind::NotFound,
            Kind::Rejected(400),
            Kind::Server(501),
            Kind::Protocol,
            Kind::Source,
        ] {
            assert_eq!(after(&kind, 1, 0.0), Decision::GiveUp, "{kind:?}");
        }
    }
}
