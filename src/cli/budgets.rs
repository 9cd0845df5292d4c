//! The flags of `serve` that say what entries may take.

use std::{num::NonZeroU64, time::Duration};

use clap::Args;

use crate::{
    service::config::{Budgets, DEFAULT_LOW_WATER, Limit},
    units::{
        duration,
        percent::{self, Percent},
        size,
    },
};

/// What entries may take before those that were found least recently are evicted.
#[derive(Debug, Args)]
pub(super) struct BudgetFlags {
    /// How many bytes all entries may take, as in 100GB; those that were found least recently are evicted then.
    /// Uploads under way come on top (default: no limit).
    #[arg(long, env = "BUILDKIT_GHA_MAX_SIZE", value_name = "SIZE", value_parser = size::parse_positive)]
    max_size: Option<u64>,

    /// The same for the entries of each repository. On github.com that is 10GB (default: no limit).
    #[arg(long, env = "BUILDKIT_GHA_MAX_REPOSITORY_SIZE", value_name = "SIZE", value_parser = size::parse_positive)]
    max_repository_size: Option<u64>,

    /// How many entries there may be; those that were found least recently are evicted then (default: no limit).
    #[arg(long, env = "BUILDKIT_GHA_MAX_ENTRIES", value_name = "NUMBER")]
    max_entries: Option<NonZeroU64>,

    /// The same for the entries of each repository (default: no limit).
    #[arg(
        long,
        env = "BUILDKIT_GHA_MAX_REPOSITORY_ENTRIES",
        value_name = "NUMBER"
    )]
    max_repository_entries: Option<NonZeroU64>,

    /// After how long an entry is evicted that nobody finds. On github.com that is 7d (default: never).
    #[arg(long, env = "BUILDKIT_GHA_MAX_AGE", value_name = "DURATION", value_parser = duration::parse_positive)]
    max_age: Option<Duration>,

    /// Down to which share of a limit entries are evicted once it is crossed (default: 90%).
    #[arg(long, env = "BUILDKIT_GHA_LOW_WATER", value_name = "PERCENT", value_parser = percent::parse)]
    low_water: Option<Percent>,
}

impl BudgetFlags {
    /// What they say.
    pub(super) fn budgets(&self) -> Budgets {
        Budgets {
            all: Limit {
                bytes: self.max_size,
                entries: self.max_entries.map(NonZeroU64::get),
            },
            repository: Limit {
                bytes: self.max_repository_size,
                entries: self.max_repository_entries.map(NonZeroU64::get),
            },
            max_age: self.max_age,
            low_water: self.low_water.unwrap_or(DEFAULT_LOW_WATER),
        }
    }
}
