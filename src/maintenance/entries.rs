//! Entries of the cache by what they hold: an index, a layer, a signature.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};

use crate::{
    digest::Digest,
    protocol::{
        key::{self, BlobKey, IndexName},
        rest::Cache,
    },
};

/// Two times of one entry that differ by less are the same event: its commit.
const SAME_EVENT: SignedDuration = SignedDuration::from_secs(1);

/// An entry that holds an index.
#[derive(Debug, Clone)]
pub(super) struct IndexEntry {
    pub row: Cache,
    pub name: IndexName,
    /// When a newer entry took its place: builds read the newest of a ref only.
    pub superseded_at: Option<Timestamp>,
}

impl IndexEntry {
    /// The id of its entry.
    pub fn id(&self) -> i64 {
        self.row.id
    }

    /// The indexes among these rows.
    pub fn from_rows(rows: Vec<Cache>) -> Vec<Self> {
        let parsed = rows.into_iter().filter_map(|row| {
            let name = IndexName::parse(&row.key)?;
            Some(Self {
                row,
                name,
                superseded_at: None,
            })
        });
        let mut indexes: Vec<_> = parsed.collect();
        indexes.sort_by_key(|index| (index.row.created_at, index.row.id));
        let mut newest: HashMap<(String, String), Timestamp> = HashMap::new();
        for index in indexes.iter_mut().rev() {
            let place = (index.row.git_ref.clone(), index.name.base.clone());
            index.superseded_at = newest.insert(place, index.row.created_at);
        }
        indexes
    }
}

/// What an entry beside indexes holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlobKind {
    /// A layer, under its key or the n-th replacement of it.
    Layer(u64),
    /// The signature of the index with this digest.
    Signature,
}

/// An entry that holds a layer or a signature.
#[derive(Debug, Clone)]
pub(super) struct BlobEntry {
    pub row: Cache,
    pub digest: Digest,
    pub kind: BlobKind,
}

impl BlobEntry {
    /// `None` for an entry of something else.
    pub fn new(row: Cache) -> Option<Self> {
        let (digest, kind) = match BlobKey::parse_digest(&row.key) {
            Some(digest) => {
                let number = BlobKey::new(digest).number(&row.key)?;
                (digest, BlobKind::Layer(number))
            }
            None => (key::signed_digest(&row.key)?, BlobKind::Signature),
        };
        Some(Self { row, digest, kind })
    }

    /// True if nobody has read it since it was written, as far as the service tells.
    pub fn never_read(&self) -> bool {
        let since = self
            .row
            .last_accessed_at
            .duration_since(self.row.created_at);
        since < SAME_EVENT
    }
}

/// When an entry was last of use: written or read.
pub(super) fn last_used(row: &Cache) -> Timestamp {
    row.last_accessed_at.max(row.created_at)
}

/// Whether builds whose index is in `index_ref` may read entries of `blob_ref`: those of their own, of the
/// default branch and of the branch that a pull request is for. Which branches these are is not known here;
/// entries of a pull request or a tag are read by no other ref.
pub(super) fn may_read(index_ref: &str, blob_ref: &str) -> bool {
    const CLOSED: [&str; 2] = ["refs/pull/", "refs/tags/"];
    index_ref == blob_ref || !CLOSED.iter().any(|closed| blob_ref.starts_with(closed))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A row of the listing, `days` old.
    pub fn row(id: i64, key: &str, git_ref: &str, days: i64) -> Cache {
        let at = now() - SignedDuration::from_hours(24 * days);
        Cache {
            id,
            git_ref: git_ref.to_owned(),
            key: key.to_owned(),
            version: key::version(),
            last_accessed_at: at,
            created_at: at,
            size_in_bytes: 100,
        }
    }

    /// The time of these tests.
    pub fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    #[test]
    fn the_newest_of_a_ref_counts() {
        let rows = vec![
            row(1, "index-app-1-f921bd05#9", "main", 3),
            row(2, "index-app-1-f921bd05#2", "main", 1),
            row(3, "index-app-1-f921bd05#1", "feature", 5),
            row(4, "index-app-1-f921bd05-sig#1", "main", 5),
            row(5, "index.html", "main", 5),
        ];
        let indexes = IndexEntry::from_rows(rows);
        let superseded = indexes.iter().filter(|index| index.superseded_at.is_some());
        let ids: Vec<_> = superseded.map(|index| index.row.id).collect();
        assert_eq!((indexes.len(), ids), (4, vec![1]));
    }

    #[test]
    fn entries_of_a_pull_request_are_its_own() {
        for (index, blob, may) in [
            ("refs/pull/7/merge", "refs/pull/7/merge", true),
            ("refs/pull/7/merge", "refs/heads/main", true),
            ("refs/heads/main", "refs/heads/feature", true),
            ("refs/heads/main", "refs/pull/7/merge", false),
            ("refs/heads/main", "refs/tags/v1", false),
            ("anything", "else", true),
        ] {
            assert_eq!(may_read(index, blob), may, "{index} {blob}");
        }
    }

    #[test]
    fn layers_and_signatures_are_told_apart() {
        let digest = Digest::sha256("x");
        let entry = |key: String| BlobEntry::new(row(1, &key, "main", 0)).map(|entry| entry.kind);
        let plain = key::blob(&digest);
        assert_eq!(entry(plain.clone()), Some(BlobKind::Layer(0)));
        assert_eq!(entry(format!("{plain}#2")), Some(BlobKind::Layer(2)));
        assert_eq!(entry(format!("{plain}-sig")), Some(BlobKind::Signature));
        assert_eq!(entry(format!("{plain}-other")), None);
    }
}
