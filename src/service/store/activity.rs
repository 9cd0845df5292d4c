//! What has happened in each repository on each day: sums that wait in memory, so that no lookup waits for a commit.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::AddAssign,
};

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use super::entry_store::Usage;

/// How many sums wait to be written, at most: a process that serves more repositories within ten minutes writes more
/// often.
const MAX_SUMS: usize = 1_000;

const SECONDS_PER_DAY: i64 = 24 * 60 * 60;

/// A day in UTC, in days since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Day(pub(super) i64);

impl Day {
    /// That of a moment.
    pub(crate) fn of(moment: Timestamp) -> Self {
        Self(moment.as_second().div_euclid(SECONDS_PER_DAY))
    }

    /// The day so many days before.
    pub(crate) fn before(self, days: u32) -> Self {
        Self(self.0.saturating_sub(days.into()))
    }
}

/// As in `2026-11-28`.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let begin = SignedDuration::from_secs(self.0.saturating_mul(SECONDS_PER_DAY));
        let begin = Timestamp::from_duration(begin).unwrap_or_default();
        write!(f, "{}", begin.strftime("%F"))
    }
}

/// What has happened in a repository.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Activity {
    /// Lookups that have found an entry.
    pub(crate) hits: u64,
    /// Lookups that have found none.
    pub(crate) misses: u64,
    /// Entries that were committed.
    pub(crate) added: Usage,
    /// Entries that were evicted.
    pub(crate) evicted: Usage,
}

impl AddAssign for Activity {
    fn add_assign(&mut self, other: Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.added += other.added;
        self.evicted += other.evicted;
    }
}

impl Activity {
    /// A lookup.
    pub(crate) fn lookup(found: bool) -> Self {
        Self {
            hits: found.into(),
            misses: (!found).into(),
            ..Self::default()
        }
    }

    /// An entry of so many bytes was committed.
    pub(crate) fn added(size: u64) -> Self {
        Self {
            added: Usage::default().with(size),
            ..Self::default()
        }
    }

    /// An entry of so many bytes was evicted.
    pub(crate) fn evicted(size: u64) -> Self {
        Self {
            evicted: Usage::default().with(size),
            ..Self::default()
        }
    }

    /// Its numbers in the order of the columns: hits, misses, added bytes and entries, evicted bytes and entries.
    pub(super) fn columns(self) -> [i64; 6] {
        let signed = |number| i64::try_from(number).unwrap_or(i64::MAX);
        let ([added, new], [evicted, gone]) = (self.added.signed(), self.evicted.signed());
        [
            signed(self.hits),
            signed(self.misses),
            added,
            new,
            evicted,
            gone,
        ]
    }

    /// The activity with these columns.
    pub(super) fn from_columns(columns: [i64; 6]) -> Self {
        let [hits, misses, added, new, evicted, gone] = columns.map(i64::cast_unsigned);
        let usage = |bytes, entries| Usage { bytes, entries };
        Self {
            hits,
            misses,
            added: usage(added, new),
            evicted: usage(evicted, gone),
        }
    }
}

/// What has happened in a repository on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RepositoryDay {
    /// `owner/repo`.
    pub(crate) repository: String,
    pub(crate) day: Day,
    pub(crate) activity: Activity,
}

/// Sums that are not written yet.
#[derive(Debug, Default)]
pub(super) struct ActivitySums(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    by_repository: HashMap<String, BTreeMap<Day, Activity>>,
    count: usize,
}

impl Sums {
    fn add(&mut self, repository: &str, day: Day, activity: Activity) {
        if !self.by_repository.contains_key(repository) {
            self.by_repository
                .insert(repository.to_owned(), BTreeMap::new());
        }
        let Some(days) = self.by_repository.get_mut(repository) else {
            return;
        };
        let before = days.len();
        *days.entry(day).or_default() += activity;
        self.count += days.len() - before;
    }
}

impl ActivitySums {
    /// Adds to a sum. True if it is time to write them.
    pub(super) fn add(&self, repository: &str, day: Day, activity: Activity) -> bool {
        let mut sums = self.0.lock();
        sums.add(repository, day, activity);
        sums.count >= MAX_SUMS
    }

    /// All sums, to be written, in an order that is the same for all who write some.
    pub(super) fn take(&self) -> Vec<RepositoryDay> {
        let sums = std::mem::take(&mut *self.0.lock());
        let repositories = sums.by_repository.into_iter();
        let mut all: Vec<_> = repositories
            .flat_map(|(repository, days)| {
                days.into_iter().map(move |(day, activity)| RepositoryDay {
                    repository: repository.clone(),
                    day,
                    activity,
                })
            })
            .collect();
        all.sort_by(|a, b| (&a.repository, a.day).cmp(&(&b.repository, b.day)));
        all
    }

    /// Adds again what could not be written, for as long as there is room.
    pub(super) fn put_back(&self, all: Vec<RepositoryDay>) {
        let mut sums = self.0.lock();
        for day in all {
            if sums.count < MAX_SUMS {
                sums.add(&day.repository, day.day, day.activity);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_one_of_utc() {
        let day = |text: &str| Day::of(text.parse().unwrap());
        assert_eq!(day("2026-11-28T23:59:59Z").to_string(), "2026-11-28");
        assert_eq!(
            day("2026-11-29T00:00:00Z").before(1),
            day("2026-11-28T00:00:00Z")
        );
        assert_eq!(day("1969-12-31T23:00:00Z").to_string(), "1969-12-31");
    }

    #[test]
    fn sums_are_bounded_and_come_back_when_they_could_not_be_written() {
        let sums = ActivitySums::default();
        assert!(!sums.add("o/r", Day(2), Activity::lookup(true)));
        assert!(!sums.add("o/r", Day(2), Activity::lookup(false)));
        assert!(!sums.add("o/r", Day(1), Activity::added(7)));
        let all = sums.take();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].day, all[0].activity.added.bytes), (Day(1), 7));
        assert_eq!((all[1].activity.hits, all[1].activity.misses), (1, 1));
        assert!(sums.take().is_empty());
        sums.put_back(all);
        for number in 3..MAX_SUMS {
            assert!(!sums.add(&format!("o/{number}"), Day(1), Activity::evicted(1)));
        }
        assert!(sums.add("o/last", Day(1), Activity::evicted(1)));
        let full = sums.take();
        sums.put_back(full.clone());
        sums.put_back(vec![RepositoryDay {
            day: Day(9),
            ..full[0].clone()
        }]);
        assert_eq!(sums.take().len(), MAX_SUMS);
    }
}
