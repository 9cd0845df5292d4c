//! `prune`: first what would be removed, then its removal.

use std::{collections::BTreeMap, fmt::Write as _};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    entries::last_used,
    keep_alive::{self, KeptAlive},
    listing::ListError,
    output::Document,
    plan::{Options, Plan, Reason, goes_unread},
    remote::Remote,
    removal::Removal,
    snapshot::{Snapshot, notes},
    table::{Table, ago},
};
use crate::{protocol::rest::Cache, units::human};

/// What would be removed.
#[derive(Debug, Serialize)]
pub struct PrunePlan {
    /// `owner/repo`.
    pub repository: String,
    /// When the entries were listed.
    pub taken_at: Timestamp,
    /// The entries, indexes first.
    pub remove: Vec<PrunedEntry>,
    /// How many and how large they are.
    pub total: Total,
    /// What is left.
    pub left: Total,
    /// What is not known, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Whether each entry is a row of the table.
    #[serde(skip)]
    pub verbose: bool,
    #[serde(skip)]
    snapshot: Snapshot,
    #[serde(skip)]
    plan: Plan,
}

/// An entry that goes.
#[derive(Debug, Clone, Serialize)]
pub struct PrunedEntry {
    /// Its key.
    pub key: String,
    /// The branch, tag or pull request.
    #[serde(rename = "ref")]
    pub git_ref: String,
    /// Its bytes.
    pub size: u64,
    /// When it was last written or read.
    pub last_used_at: Timestamp,
    /// Why it goes.
    pub reason: Reason,
}

/// How many entries, and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Total {
    /// How many.
    pub entries: usize,
    /// Their bytes.
    pub size: u64,
}

impl Total {
    fn of<'a>(rows: impl IntoIterator<Item = &'a Cache>) -> Self {
        rows.into_iter().fold(Self::default(), |total, row| Self {
            entries: total.entries + 1,
            size: total.size + row.size_in_bytes,
        })
    }
}

impl PrunePlan {
    /// Lists, reads the indexes, and decides.
    pub async fn make(remote: &Remote, options: &Options) -> Result<Self, ListError> {
        let now = Timestamp::now();
        let snapshot = Snapshot::take(remote, |index| !goes_unread(options, index, now)).await?;
        let plan = Plan::new(&snapshot, options);
        let goes = entries(&snapshot, &plan.indexes, &plan.blobs);
        let rows = snapshot.indexes.iter().map(|index| &index.entry.row);
        let all = Total::of(rows.chain(snapshot.blobs.iter().map(|blob| &blob.row)));
        let total = Total {
            entries: goes.len(),
            size: goes.iter().map(|entry| entry.size).sum(),
        };
        Ok(Self {
            repository: remote.repository.clone(),
            taken_at: snapshot.taken,
            total,
            left: Total {
                entries: all.entries - total.entries,
                size: all.size - total.size,
            },
            remove: goes,
            notes: notes(remote, &snapshot),
            verbose: false,
            snapshot,
            plan,
        })
    }

    /// Removes. With `keep_alive`, what stays is read.
    pub async fn run(self, remote: &Remote, keep_alive: bool) -> Result<Pruned, ListError> {
        let Self { snapshot, plan, .. } = &self;
        let removed = Removal::new(remote, snapshot, plan).run(plan).await?;
        let kept_alive = if keep_alive {
            let goes = plan.indexes.iter().map(|(at, _)| *at).collect();
            Some(keep_alive::run(remote, snapshot, &goes).await)
        } else {
            None
        };
        let gone = entries(snapshot, &removed.indexes, &removed.blobs);
        let failed = removed.failed.into_iter().map(|(row, error)| FailedEntry {
            key: row.key,
            git_ref: row.git_ref,
            error: error.to_string(),
        });
        Ok(Pruned {
            repository: self.repository,
            reclaimed: gone.iter().map(|entry| entry.size).sum(),
            removed: gone,
            failed: failed.collect(),
            kept: removed.kept,
            kept_alive,
            notes: Vec::new(),
        })
    }
}

fn entries(
    snapshot: &Snapshot,
    indexes: &[(usize, Reason)],
    blobs: &[(usize, Reason)],
) -> Vec<PrunedEntry> {
    let indexes = indexes
        .iter()
        .map(|(at, reason)| (&snapshot.indexes[*at].entry.row, *reason));
    let blobs = blobs
        .iter()
        .map(|(at, reason)| (&snapshot.blobs[*at].row, *reason));
    let entry = |(row, reason): (&Cache, Reason)| PrunedEntry {
        key: row.key.clone(),
        git_ref: row.git_ref.clone(),
        size: row.size_in_bytes,
        last_used_at: last_used(row),
        reason,
    };
    indexes.chain(blobs).map(entry).collect()
}

impl Document for PrunePlan {
    fn table(&self) -> String {
        let mut text = if self.verbose {
            self.each_entry()
        } else {
            self.by_reason()
        };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "\nTotal:   {} entries, {}",
            self.total.entries,
            human::size(self.total.size)
        );
        let _ = writeln!(
            text,
            "Left:    {} entries, {}",
            self.left.entries,
            human::size(self.left.size)
        );
        text
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}

impl PrunePlan {
    fn by_reason(&self) -> String {
        let mut groups: BTreeMap<(Reason, &str), Total> = BTreeMap::new();
        for entry in &self.remove {
            let group = groups.entry((entry.reason, &entry.git_ref)).or_default();
            group.entries += 1;
            group.size += entry.size;
        }
        let mut table = Table::new(&["REASON", "REF", "ENTRIES", "SIZE"]);
        for ((reason, git_ref), total) in groups {
            table.row([
                reason.text().to_owned(),
                git_ref.to_owned(),
                total.entries.to_string(),
                human::size(total.size),
            ]);
        }
        table.render()
    }

    fn each_entry(&self) -> String {
        let mut table = Table::new(&["KEY", "REF", "SIZE", "LAST ACCESSED", "REASON"]);
        for entry in &self.remove {
            table.row([
                entry.key.clone(),
                entry.git_ref.clone(),
                human::size(entry.size),
                ago(entry.last_used_at, self.taken_at),
                entry.reason.text().to_owned(),
            ]);
        }
        table.render()
    }
}

/// What was removed.
#[derive(Debug, Serialize)]
pub struct Pruned {
    /// `owner/repo`.
    pub repository: String,
    /// The entries, in the order in which they went.
    pub removed: Vec<PrunedEntry>,
    /// Their bytes.
    pub reclaimed: u64,
    /// Entries that should have gone and have not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedEntry>,
    /// How many stay because of an index that was written meanwhile, or that could not be removed.
    pub kept: usize,
    /// What was read so that it stays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept_alive: Option<KeptAlive>,
    #[serde(skip)]
    notes: Vec<String>,
}

/// An entry that could not be removed.
#[derive(Debug, Clone, Serialize)]
pub struct FailedEntry {
    /// Its key.
    pub key: String,
    /// The branch, tag or pull request.
    #[serde(rename = "ref")]
    pub git_ref: String,
    /// Why.
    pub error: String,
}

impl Pruned {
    /// True if all that was to be done was done.
    pub fn is_complete(&self) -> bool {
        let alive = self.kept_alive.as_ref();
        self.failed.is_empty() && alive.is_none_or(|alive| alive.failed == 0)
    }
}

impl Document for Pruned {
    fn table(&self) -> String {
        let mut text = String::new();
        for failed in &self.failed {
            let FailedEntry {
                key,
                git_ref,
                error,
            } = failed;
            let _ = writeln!(text, "not removed: {key} of {git_ref}: {error}");
        }
        if self.kept > 0 {
            let _ = writeln!(
                text,
                "{} entries stay: an index names them by now",
                self.kept
            );
        }
        if let Some(alive) = &self.kept_alive {
            let _ = writeln!(text, "{}", alive.text());
        }
        let _ = writeln!(
            text,
            "Removed: {} entries\nTotal reclaimed space: {}",
            self.removed.len(),
            human::size(self.reclaimed)
        );
        text
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}
