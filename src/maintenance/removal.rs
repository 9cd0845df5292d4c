//! Removes what a plan says: indexes first, then what nothing names, asking again and again whether that is
//! still so.

use std::collections::HashSet;

use super::{
    content::IndexReader,
    entries::{BlobEntry, IndexEntry},
    listing::{self, ListError},
    liveness::{LiveSet, Liveness},
    plan::{Plan, Reason},
    remote::Remote,
    snapshot::{Index, Snapshot},
};
use crate::{
    actions::{self, Kind},
    protocol::rest::Cache,
};

/// Entries that are removed before indexes are listed again: a build may have written one meanwhile. That is
/// one call more for a hundred.
const BATCH: usize = 100;

/// What came of it, in places of the snapshot.
#[derive(Debug, Default)]
pub(super) struct Removed {
    pub indexes: Vec<(usize, Reason)>,
    pub blobs: Vec<(usize, Reason)>,
    /// Entries that are still there, and why.
    pub failed: Vec<(Cache, actions::Error)>,
    /// Entries that an index names which was written meanwhile, or which could not be removed.
    pub kept: usize,
}

/// Removes. The first refusal ends it: the others would be refused as well.
pub(super) struct Removal<'a> {
    remote: &'a Remote,
    snapshot: &'a Snapshot,
    needed: LiveSet,
    known: HashSet<i64>,
    total: u64,
    done: u64,
    removed: Removed,
}

/// The token may not delete.
struct Refused;

impl<'a> Removal<'a> {
    pub fn new(remote: &'a Remote, snapshot: &'a Snapshot, plan: &Plan) -> Self {
        let goes: HashSet<_> = plan.indexes.iter().map(|(at, _)| *at).collect();
        let stays = snapshot.indexes.iter().enumerate();
        let stays = stays.filter(|(at, _)| !goes.contains(at));
        Self {
            needed: LiveSet::from_indexes(stays.map(|(_, index)| index), snapshot.hidden),
            known: snapshot.indexes.iter().map(|i| i.entry.row.id).collect(),
            total: (plan.indexes.len() + plan.blobs.len()) as u64,
            done: 0,
            removed: Removed::default(),
            remote,
            snapshot,
        }
    }

    pub async fn run(mut self, plan: &Plan) -> Result<Removed, ListError> {
        // Whoever refuses is in the list of what has failed.
        let _ = self.remove_indexes(plan).await;
        if self
            .removed
            .failed
            .iter()
            .all(|(_, error)| error.kind != Kind::Denied)
        {
            self.remove_blobs(plan).await?;
        }
        self.remote.progress.clear();
        Ok(self.removed)
    }

    async fn remove_indexes(&mut self, plan: &Plan) -> Result<(), Refused> {
        for (at, reason) in &plan.indexes {
            let index = &self.snapshot.indexes[*at];
            if self.delete(&index.entry.row).await? {
                self.removed.indexes.push((*at, *reason));
            } else {
                self.needed.add(index);
            }
        }
        Ok(())
    }

    async fn remove_blobs(&mut self, plan: &Plan) -> Result<(), ListError> {
        for batch in plan.blobs.chunks(BATCH) {
            self.look_for_new_indexes().await?;
            for (at, reason) in batch {
                let blob = &self.snapshot.blobs[*at];
                if self.is_needed(blob, *reason) {
                    self.removed.kept += 1;
                    self.done += 1;
                    continue;
                }
                match self.delete(&blob.row).await {
                    Ok(true) => self.removed.blobs.push((*at, *reason)),
                    Ok(false) => {}
                    Err(Refused) => return Ok(()),
                }
            }
        }
        Ok(())
    }

    fn is_needed(&self, blob: &BlobEntry, reason: Reason) -> bool {
        // Of a damaged entry that was written again another one is there.
        reason != Reason::Replaced && self.needed.liveness(blob) != Liveness::Dead
    }

    async fn look_for_new_indexes(&mut self) -> Result<(), ListError> {
        let (all, hidden) = listing::indexes(&self.remote.rest, &self.remote.progress).await?;
        self.needed.add_hidden(self.remote.hides(hidden));
        let new = |entry: &&IndexEntry| !self.known.contains(&entry.id());
        let new: Vec<_> = all.iter().filter(new).collect();
        let reader = IndexReader::new(self.remote, &all);
        let contents = reader.summaries(&new, &self.remote.progress).await;
        for (entry, content) in new.into_iter().zip(contents) {
            self.known.insert(entry.row.id);
            self.needed.add(&Index {
                entry: entry.clone(),
                content: Some(content),
            });
        }
        Ok(())
    }

    /// True if it is gone.
    async fn delete(&mut self, row: &Cache) -> Result<bool, Refused> {
        let deleted = self.remote.rest.delete(row.id).await;
        self.done += 1;
        let progress = &self.remote.progress;
        progress.count("removing", self.done, self.total);
        let Err(error) = deleted else {
            return Ok(true);
        };
        let refused = error.kind == Kind::Denied;
        self.removed.failed.push((row.clone(), error));
        if refused { Err(Refused) } else { Ok(false) }
    }
}
