//! What entries may take, of all repositories and of each: budgets, what crosses them, and which entry goes first.
//! No I/O.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::store::{Entry, Usage};
use crate::units::percent::Percent;

/// Down to which share of a budget entries are evicted: a commit that crosses it makes room for many more, and
/// little is lost.
pub const DEFAULT_LOW_WATER: Percent = Percent::new(90).expect("90 is from 1 to 100");

/// How much later than it was the newest index of a scope counts as found. Without it nothing of the layers that it
/// names is of use, and it is small. Yet one that nobody has read for a week, which is GitHub's age, is of a branch
/// that is gone: with more of them than a budget has room for, nothing else would stay.
const NEWEST_INDEX_BONUS: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What entries may take. What is not set has no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budgets {
    /// Of all entries.
    pub all: Limit,
    /// Of the entries of each repository.
    pub repository: Limit,
    /// How long an entry stays that nobody finds.
    pub max_age: Option<Duration>,
    /// Down to which share of a limit entries are evicted once it is crossed.
    pub low_water: Percent,
}

impl Default for Budgets {
    fn default() -> Self {
        Self {
            all: Limit::default(),
            repository: Limit::default(),
            max_age: None,
            low_water: DEFAULT_LOW_WATER,
        }
    }
}

/// What some entries may take together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limit {
    /// Bytes of content.
    pub bytes: Option<u64>,
    /// How many there may be.
    pub entries: Option<u64>,
}

/// Why an entry was evicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Entries took too many bytes.
    Size,
    /// There were too many entries.
    Entries,
    /// Nobody had found it for too long.
    Age,
}

impl Cause {
    /// All there are.
    pub(super) const ALL: [Self; 3] = [Self::Size, Self::Entries, Self::Age];

    /// What metrics and the log call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Entries => "entries",
            Self::Age => "age",
        }
    }
}

impl Budgets {
    /// True if entries are ever too many.
    pub(super) fn bounds_usage(&self) -> bool {
        [self.all, self.repository] != [Limit::default(); 2]
    }

    /// How many bytes one entry may have: an empty cache has no room for more.
    pub(super) fn largest_entry(&self) -> Option<u64> {
        let limits = [self.all.bytes, self.repository.bytes];
        limits.into_iter().flatten().min()
    }
}

impl Limit {
    /// The most that entries may take.
    pub(super) fn as_usage(self) -> Usage {
        Usage {
            bytes: self.bytes.unwrap_or(u64::MAX),
            entries: self.entries.unwrap_or(u64::MAX),
        }
    }

    /// True if so much may stay.
    pub(super) fn holds(self, usage: Usage) -> bool {
        self.bytes.is_none_or(|limit| usage.bytes <= limit)
            && self.entries.is_none_or(|limit| usage.entries <= limit)
    }

    /// How far down to evict, if something of this is crossed. What is not crossed is no reason to evict.
    pub(super) fn target(self, usage: Usage, low_water: Percent) -> Option<EvictionTarget> {
        let target = |limit: Option<u64>, used| {
            limit
                .filter(|limit| used > *limit)
                .map(|limit| low_water.of(limit))
        };
        let target = EvictionTarget {
            bytes: target(self.bytes, usage.bytes),
            entries: target(self.entries, usage.entries),
        };
        (target != EvictionTarget::default()).then_some(target)
    }
}

/// How far down to evict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct EvictionTarget {
    bytes: Option<u64>,
    entries: Option<u64>,
}

impl EvictionTarget {
    /// Why there is still too much; `None` once there is not.
    pub(super) fn missed(self, usage: Usage) -> Option<Cause> {
        if self.bytes.is_some_and(|target| usage.bytes > target) {
            return Some(Cause::Size);
        }
        let too_many = self.entries.is_some_and(|target| usage.entries > target);
        too_many.then_some(Cause::Entries)
    }
}

/// Puts the newest indexes of their scopes among the other entries, in the order in which all go. Both lists are
/// sorted by when they were found.
pub(super) fn in_order_of_eviction(others: Vec<Entry>, newest_indexes: Vec<Entry>) -> Vec<Entry> {
    let ranked = |entries: Vec<Entry>, bonus| {
        entries.into_iter().map(move |entry| {
            let rank = entry.accessed.checked_add(bonus);
            (rank.unwrap_or(Timestamp::MAX), entry)
        })
    };
    let others = ranked(others, SignedDuration::ZERO);
    let indexes = ranked(newest_indexes, NEWEST_INDEX_BONUS);
    let mut all: Vec<_> = others.chain(indexes).collect();
    // Stable: those that are equal stay in the order of their commits.
    all.sort_by_key(|(rank, _)| *rank);
    all.into_iter().map(|(_, entry)| entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usage(bytes: u64, entries: u64) -> Usage {
        Usage { bytes, entries }
    }

    #[test]
    fn what_is_crossed_is_the_reason_and_nothing_else_is() {
        let limit = Limit {
            bytes: Some(100),
            entries: Some(10),
        };
        let target = |usage| limit.target(usage, DEFAULT_LOW_WATER);
        assert!(limit.holds(usage(100, 10)));
        assert_eq!(target(usage(100, 10)), None);
        let size = target(usage(101, 10)).unwrap();
        assert_eq!(size.missed(usage(91, 10)), Some(Cause::Size));
        assert_eq!(size.missed(usage(90, 10)), None);
        let entries = target(usage(100, 11)).unwrap();
        assert_eq!(entries.missed(usage(100, 10)), Some(Cause::Entries));
        assert_eq!(entries.missed(usage(100, 9)), None);
        let both = target(usage(200, 20)).unwrap();
        assert_eq!(both.missed(usage(95, 9)), Some(Cause::Size));
        assert_eq!(both.missed(usage(90, 10)), Some(Cause::Entries));
        assert_eq!(
            Limit::default().target(usage(u64::MAX, 1), DEFAULT_LOW_WATER),
            None
        );
    }

    #[test]
    fn the_smaller_budget_bounds_one_entry() {
        let limit = |bytes| Limit {
            bytes: Some(bytes),
            entries: None,
        };
        let mut budgets = Budgets::default();
        assert_eq!(budgets.largest_entry(), None);
        budgets.all = limit(1_000);
        assert_eq!(budgets.largest_entry(), Some(1_000));
        budgets.repository = limit(10);
        assert_eq!(budgets.largest_entry(), Some(10));
    }

    #[test]
    fn a_newest_index_goes_after_what_was_found_within_a_week() {
        const DAY: i64 = 24 * 3600;
        let entry = |id, day| Entry {
            accessed: Timestamp::from_second(day * DAY).unwrap(),
            ..Entry::of_one_byte(id, "k")
        };
        let others = vec![entry(1, 1), entry(2, 2), entry(3, 8), entry(4, 9)];
        let indexes = vec![entry(5, 1), entry(6, 2)];
        let order = in_order_of_eviction(others, indexes);
        let ids: Vec<_> = order.iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [1, 2, 3, 5, 4, 6]);
    }
}
