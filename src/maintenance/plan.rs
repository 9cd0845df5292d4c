//! What a prune removes, decided before anything is removed: pure.
//!
//! 1. Indexes that a newer one of their scope and ref has superseded; then, where asked for, those that no
//!    build has used for long, or all.
//! 2. Entries that no remaining index names, and none that cannot be read may name.
//! 3. To come down to a size: the index that was used longest ago, with what only it names, and so on.
//!
//! Nothing goes that was written or read within the grace: it may be part of a build that is running.

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;

use super::{
    entries::{BlobEntry, last_used},
    filter::Filter,
    liveness::{LiveSet, Liveness, replaced},
    snapshot::{Index, Snapshot},
};

/// What is to be removed.
#[derive(Debug, Clone)]
pub struct Options {
    /// What was written or read so recently stays.
    pub grace: Duration,
    /// Which entries may be removed at all.
    pub filter: Filter,
    /// Indexes go that no build has used for so long.
    pub until: Option<Duration>,
    /// Indexes go that builds use, too.
    pub all: bool,
    /// Indexes go until no more than this is left.
    pub max_used_space: Option<u64>,
    /// None goes for its age where no more than this would be left.
    pub reserved_space: u64,
}

/// Why an entry is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A newer index has its place.
    Superseded,
    /// No build has used the index for as long as `until` says.
    Unused,
    /// `--all`.
    All,
    /// It was used longest ago, and less was to be left.
    Space,
    /// No index names it.
    Unreachable,
    /// It was damaged, and has been written again.
    Replaced,
}

impl Reason {
    /// For people.
    pub fn text(self) -> &'static str {
        match self {
            Self::Superseded => "superseded by a newer index",
            Self::Unused => "unused index",
            Self::All => "index (--all)",
            Self::Space => "index used longest ago",
            Self::Unreachable => "named by no index",
            Self::Replaced => "damaged, written again",
        }
    }
}

/// The places in the snapshot of what goes, indexes first.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub indexes: Vec<(usize, Reason)>,
    pub blobs: Vec<(usize, Reason)>,
}

/// True if an index goes before it is known what it names: it need not be read.
pub(super) fn goes_unread(
    options: &Options,
    index: &super::entries::IndexEntry,
    now: Timestamp,
) -> bool {
    let superseded = index
        .superseded_at
        .is_some_and(|at| is_older(at, options.grace, now));
    superseded && options.filter.takes_index(index)
}

fn is_older(at: Timestamp, age: Duration, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(at)).is_ok_and(|passed| passed >= age)
}

impl Plan {
    /// Decides.
    pub fn new(snapshot: &Snapshot, options: &Options) -> Self {
        let mut planner = Planner::new(snapshot, options);
        planner.take_superseded();
        planner.take_unneeded();
        planner.take_unused();
        planner.take_unneeded();
        planner.take_for_space();
        planner.plan
    }
}

struct Planner<'a> {
    snapshot: &'a Snapshot,
    options: &'a Options,
    replaced: HashSet<i64>,
    goes: HashSet<i64>,
    left: u64,
    plan: Plan,
}

impl<'a> Planner<'a> {
    fn new(snapshot: &'a Snapshot, options: &'a Options) -> Self {
        let indexes = snapshot.indexes.iter().map(|index| &index.entry.row);
        let rows = indexes.chain(snapshot.blobs.iter().map(|blob| &blob.row));
        Self {
            replaced: replaced(&snapshot.blobs),
            left: rows.map(|row| row.size_in_bytes).sum(),
            goes: HashSet::new(),
            plan: Plan::default(),
            snapshot,
            options,
        }
    }

    fn take_superseded(&mut self) {
        for (at, index) in self.snapshot.indexes.iter().enumerate() {
            if goes_unread(self.options, &index.entry, self.snapshot.taken) {
                self.take_index(at, Reason::Superseded);
            }
        }
    }

    /// Those that no build has used for long, or all; the longest unused first.
    fn take_unused(&mut self) {
        let Options { until, all, .. } = *self.options;
        let reason = if all { Reason::All } else { Reason::Unused };
        if !all && until.is_none() {
            return;
        }
        let reserved = self.options.reserved_space;
        for (at, used) in self.candidates() {
            let is_unused = until.is_none_or(|age| is_older(used, age, self.snapshot.taken));
            if !is_unused || self.left <= reserved {
                return;
            }
            self.take_index(at, reason);
            // Only then is it known how much is left.
            if reserved > 0 {
                self.take_unneeded();
            }
        }
    }

    fn take_for_space(&mut self) {
        let Some(most) = self.options.max_used_space else {
            return;
        };
        for (at, _) in self.candidates() {
            if self.left <= most {
                return;
            }
            self.take_index(at, Reason::Space);
            self.take_unneeded();
        }
    }

    /// The indexes that may go and have not gone, with the time of their last use, which orders them.
    fn candidates(&self) -> Vec<(usize, Timestamp)> {
        let all = self.snapshot.indexes.iter().enumerate();
        let candidates = all.filter(|(_, index)| {
            self.options.filter.takes_index(&index.entry)
                && !self.goes.contains(&index.entry.row.id)
        });
        let used = candidates.map(|(at, index)| (at, self.snapshot.last_used(index)));
        let (grace, now) = (self.options.grace, self.snapshot.taken);
        let mut used: Vec<_> = used
            .filter(|(_, used)| is_older(*used, grace, now))
            .collect();
        used.sort_by_key(|(_, used)| *used);
        used
    }

    fn take_unneeded(&mut self) {
        let needed = LiveSet::from_indexes(self.remaining(), self.snapshot.hidden);
        for (at, blob) in self.snapshot.blobs.iter().enumerate() {
            if self.goes.contains(&blob.row.id) || !self.may_go(blob) {
                continue;
            }
            if self.replaced.contains(&blob.row.id) {
                self.take_blob(at, Reason::Replaced);
            } else if needed.liveness(blob) == Liveness::Dead {
                self.take_blob(at, Reason::Unreachable);
            }
        }
    }

    fn remaining(&self) -> impl Iterator<Item = &'a Index> {
        let indexes = self.snapshot.indexes.iter();
        indexes.filter(|index| !self.goes.contains(&index.entry.row.id))
    }

    fn may_go(&self, blob: &BlobEntry) -> bool {
        let (grace, now) = (self.options.grace, self.snapshot.taken);
        self.options.filter.takes_blob(blob) && is_older(last_used(&blob.row), grace, now)
    }

    fn take_index(&mut self, at: usize, reason: Reason) {
        let row = &self.snapshot.indexes[at].entry.row;
        self.goes.insert(row.id);
        self.left = self.left.saturating_sub(row.size_in_bytes);
        self.plan.indexes.push((at, reason));
    }

    fn take_blob(&mut self, at: usize, reason: Reason) {
        let row = &self.snapshot.blobs[at].row;
        self.goes.insert(row.id);
        self.left = self.left.saturating_sub(row.size_in_bytes);
        self.plan.blobs.push((at, reason));
    }
}

#[cfg(test)]
mod tests;
