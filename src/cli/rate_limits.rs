//! The flags of `serve` that say how often a repository may ask.

use std::num::NonZeroU32;

use clap::Args;

use crate::service::config::RateLimits;

/// How many requests of one repository each process answers in a minute.
#[derive(Debug, Args)]
pub(super) struct RateLimitFlags {
    /// How many keys a repository may reserve in a minute, by way of one process; more are answered with 429. On
    /// github.com that is 200 (default: no limit).
    #[arg(
        long,
        env = "BUILDKIT_GHA_MAX_RESERVATIONS_PER_MINUTE",
        value_name = "NUMBER"
    )]
    max_reservations_per_minute: Option<NonZeroU32>,

    /// The same for lookups. On github.com that is 1500 (default: no limit).
    #[arg(
        long,
        env = "BUILDKIT_GHA_MAX_LOOKUPS_PER_MINUTE",
        value_name = "NUMBER"
    )]
    max_lookups_per_minute: Option<NonZeroU32>,
}

impl RateLimitFlags {
    /// What they say.
    pub(super) fn rate_limits(&self) -> RateLimits {
        RateLimits {
            reservations: self.max_reservations_per_minute,
            lookups: self.max_lookups_per_minute,
        }
    }
}
