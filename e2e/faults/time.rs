//! How long a cell took beside how long it may take.

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Serialize};

use super::observation::Observation;

/// What noise may add to a build, in seconds, and as a share of what it takes undisturbed: the
/// machine may be busy with something else.
const NOISE: f64 = 2.0;
const NOISE_SHARE: f64 = 0.5;

/// A measured time and its bound, both in seconds: what the fault cost, where the same build was measured
/// without it right beside; else the whole build.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Time {
    pub measured: f64,
    pub bound: f64,
}

impl Time {
    /// The time of a cell that may take so many seconds longer than without its fault. `undisturbed` is
    /// what its kind of build takes.
    pub fn new(seen: &Observation, extra: u64, undisturbed: f64) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "a few seconds")]
        let extra = extra as f64;
        match seen.cost {
            Some(cost) => Self {
                measured: cost,
                bound: extra,
            },
            None => Self {
                measured: seen.seconds,
                bound: undisturbed * (1.0 + NOISE_SHARE) + extra + NOISE,
            },
        }
    }

    /// Whether it took too long.
    pub fn is_over(&self) -> bool {
        self.measured > self.bound
    }

    /// By how near they are to their bounds.
    pub fn compare(&self, other: &Self) -> Ordering {
        let share = |time: &Self| time.measured / time.bound;
        share(self).total_cmp(&share(other))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { measured, bound } = self;
        // Less than nothing is noise: the build with the fault was the faster one.
        let measured = measured.max(0.0);
        write!(f, "{measured:.1} of {bound:.0} s")
    }
}
