//! Which entries indexes need: those that one names, and those that an index may name that cannot be read.

use std::collections::{HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    entries::{BlobEntry, BlobKind, IndexEntry, may_read},
    snapshot::Index,
};
use crate::digest::Digest;

/// An index names what was written before it, by the clock of one service.
const LEEWAY: SignedDuration = SignedDuration::from_mins(1);

/// What an entry is to the indexes there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    /// An index names it.
    Named,
    /// None that can be read names it, and another may.
    Unknown,
    /// No index can name it.
    Dead,
}

/// What a set of indexes needs.
#[derive(Debug, Default)]
pub(super) struct LiveSet {
    layers: HashSet<Digest>,
    /// Digests of indexes whose signatures are needed.
    indexes: HashSet<Digest>,
    /// Of each ref with an index that cannot be read: when the last one was written.
    unread: HashMap<String, Timestamp>,
    /// There may be indexes that are not listed.
    hidden: bool,
}

impl LiveSet {
    /// What these indexes need, all of which stay. `hidden`: there may be others.
    pub fn from_indexes<'a>(indexes: impl IntoIterator<Item = &'a Index>, hidden: bool) -> Self {
        let mut needed = Self {
            hidden,
            ..Self::default()
        };
        for index in indexes {
            needed.add(index);
        }
        needed
    }

    /// One index more. One that was not asked for may name anything.
    pub fn add(&mut self, index: &Index) {
        let Some(summary) = index.summary() else {
            return self.add_unread(&index.entry);
        };
        self.indexes.insert(summary.digest);
        self.layers.extend(summary.layers.keys());
    }

    fn add_unread(&mut self, entry: &IndexEntry) {
        let written = self.unread.entry(entry.row.git_ref.clone());
        let written = written.or_insert(entry.row.created_at);
        *written = entry.row.created_at.max(*written);
    }

    /// There may be indexes that are not listed, since a listing was told so.
    pub fn add_hidden(&mut self, hidden: bool) {
        self.hidden |= hidden;
    }

    /// What an entry is to them.
    pub fn liveness(&self, blob: &BlobEntry) -> Liveness {
        let named = match blob.kind {
            BlobKind::Layer(_) => &self.layers,
            BlobKind::Signature => &self.indexes,
        };
        if named.contains(&blob.digest) {
            return Liveness::Named;
        }
        let may_be_named = self.unread.iter().any(|(git_ref, written)| {
            may_read(git_ref, &blob.row.git_ref) && blob.row.created_at <= *written + LEEWAY
        });
        if may_be_named || self.hidden {
            Liveness::Unknown
        } else {
            Liveness::Dead
        }
    }
}

/// Layers that have been written again because their entry was damaged: ids of the entries whose place
/// another one of the same ref has taken.
pub(super) fn replaced(blobs: &[BlobEntry]) -> HashSet<i64> {
    let mut newest: HashMap<_, u64> = HashMap::new();
    for (place, number) in blobs.iter().filter_map(numbered) {
        let highest = newest.entry(place).or_default();
        *highest = number.max(*highest);
    }
    let is_replaced =
        |blob: &&BlobEntry| numbered(blob).is_some_and(|(place, number)| newest[&place] > number);
    let replaced = blobs.iter().filter(is_replaced);
    replaced.map(|blob| blob.row.id).collect()
}

/// The layer and the ref that an entry is of, and its number.
fn numbered(blob: &BlobEntry) -> Option<((Digest, &str), u64)> {
    match blob.kind {
        BlobKind::Layer(number) => Some(((blob.digest, &blob.row.git_ref), number)),
        BlobKind::Signature => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        maintenance::{
            content::{IndexSummary, UnreadableIndex},
            entries::tests::row,
        },
        protocol::key::{self, BlobKey},
    };

    fn index(git_ref: &str, days: i64, names: Option<&[Digest]>) -> Index {
        let row = row(1, "index-app-1-f921bd05#1", git_ref, days);
        let summary = names.map(|names| IndexSummary {
            digest: Digest::sha256(git_ref),
            layers: names.iter().map(|digest| (*digest, 1)).collect(),
            records: 1,
        });
        Index {
            entry: IndexEntry::from_rows(vec![row]).remove(0),
            content: Some(summary.ok_or(UnreadableIndex::NotFound)),
        }
    }

    fn blob(digest: Digest, git_ref: &str, days: i64) -> BlobEntry {
        BlobEntry::new(row(2, &key::blob(&digest), git_ref, days)).unwrap()
    }

    #[test]
    fn what_an_index_of_any_ref_names_is_needed_in_every_ref() {
        let [named, other] = ["a", "b"].map(Digest::sha256);
        let needed = LiveSet::from_indexes(&[index("refs/pull/7/merge", 1, Some(&[named]))], false);
        let liveness = |digest, git_ref| needed.liveness(&blob(digest, git_ref, 3));
        assert_eq!(liveness(named, "refs/heads/main"), Liveness::Named);
        assert_eq!(liveness(named, "refs/pull/8/merge"), Liveness::Named);
        assert_eq!(liveness(other, "refs/heads/main"), Liveness::Dead);
        let signature = format!("{}-sig", key::blob(&Digest::sha256("refs/pull/7/merge")));
        let signature = BlobEntry::new(row(3, &signature, "refs/pull/7/merge", 1)).unwrap();
        assert_eq!(needed.liveness(&signature), Liveness::Named);
    }

    #[test]
    fn what_an_unread_index_may_name_is_not_dead() {
        let digest = Digest::sha256("a");
        let needed = LiveSet::from_indexes(&[index("refs/pull/7/merge", 3, None)], false);
        for (git_ref, days, liveness) in [
            ("refs/pull/7/merge", 5, Liveness::Unknown),
            ("refs/heads/main", 5, Liveness::Unknown),
            // It was written after that index, which cannot name it then.
            ("refs/heads/main", 2, Liveness::Dead),
            // Its builds do not read other pull requests.
            ("refs/pull/8/merge", 5, Liveness::Dead),
        ] {
            let blob = blob(digest, git_ref, days);
            assert_eq!(needed.liveness(&blob), liveness, "{git_ref} {days}");
        }
    }

    #[test]
    fn where_indexes_are_hidden_nothing_is_dead() {
        let blob = blob(Digest::sha256("a"), "refs/heads/main", 5);
        let mut needed = LiveSet::from_indexes([], false);
        assert_eq!(needed.liveness(&blob), Liveness::Dead);
        needed.add_hidden(true);
        assert_eq!(needed.liveness(&blob), Liveness::Unknown);
    }

    #[test]
    fn the_highest_number_of_a_ref_replaces_the_others() {
        let digest = Digest::sha256("a");
        let entry = |id, number, git_ref| {
            BlobEntry::new(row(id, &BlobKey::new(digest).entry(number), git_ref, 1)).unwrap()
        };
        let blobs = [
            entry(1, 0, "main"),
            entry(2, 3, "main"),
            entry(3, 0, "other"),
        ];
        assert_eq!(replaced(&blobs), HashSet::from([1]));
    }
}
