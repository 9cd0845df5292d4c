//! Chance that is the same in every run with the same seed.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// What happens to one build.
pub struct Chance(StdRng);

impl Chance {
    /// For the build of this number.
    pub fn new(seed: u64, number: u64) -> Self {
        Self(StdRng::seed_from_u64(seed.rotate_left(32) ^ number))
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A number below this one.
    pub fn below(&mut self, end: u64) -> u64 {
        self.0.random_range(0..end)
    }

    /// A time below so many milliseconds.
    pub fn below_milliseconds(&mut self, end: u64) -> Duration {
        Duration::from_millis(self.below(end))
    }

    /// One of several.
    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.0.random_range(0..all.len())]
    }
}
