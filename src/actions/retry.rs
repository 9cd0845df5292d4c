//! Whether a failed call is made again, and when: one pure decision.

use std::time::Duration;

use super::{Kind, RetryPolicy, error::Retryability};

/// What to do after a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Call again after this long.
    Retry(Duration),
    /// Call again as soon as the rate limiter admits it.
    RetryWhenAdmitted,
    /// The failure counts.
    GiveUp,
}

/// A call that failed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failed {
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
pub(super) fn decide(policy: &RetryPolicy, kind: &Kind, failed: Failed) -> Decision {
    match kind.retryability() {
        // Waiting for the rate limiter costs the service nothing: time ends it, not a count.
        Retryability::WhenAdmitted if failed.elapsed < policy.patience => {
            return Decision::RetryWhenAdmitted;
        }
        Retryability::AfterBackoff if failed.attempt < policy.attempts => {}
        Retryability::WhenAdmitted | Retryability::AfterBackoff | Retryability::Never => {
            return Decision::GiveUp;
        }
    }
    let wait = backoff(policy, failed);
    if failed.elapsed.saturating_add(wait) > policy.patience {
        return Decision::GiveUp;
    }
    Decision::Retry(wait)
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
