//! All of a repository's BuildKit cache at one time, with what its indexes name.

use jiff::Timestamp;

use super::{
    content::{IndexReader, IndexSummary, UnreadableIndex},
    entries::{BlobEntry, IndexEntry, last_used},
    listing::{ListError, Listing},
    remote::Remote,
};

/// An index that was read, or not.
#[derive(Debug, Clone)]
pub(super) struct Index {
    pub entry: IndexEntry,
    /// `None`: it was not asked for, as builds do not use it.
    pub content: Option<Result<IndexSummary, UnreadableIndex>>,
}

impl Index {
    /// What it names, if that is known.
    pub fn summary(&self) -> Option<&IndexSummary> {
        self.content.as_ref()?.as_ref().ok()
    }

    /// Why that is not known.
    pub fn unread(&self) -> Option<&UnreadableIndex> {
        self.content.as_ref()?.as_ref().err()
    }

    /// True if builds find it.
    pub fn is_newest(&self) -> bool {
        self.entry.superseded_at.is_none()
    }
}

/// The cache at one time.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub taken: Timestamp,
    pub indexes: Vec<Index>,
    pub blobs: Vec<BlobEntry>,
    /// There may be indexes that the token does not see: none of what they name is known.
    pub hidden: bool,
}

impl Snapshot {
    /// Lists everything and reads the indexes that `wanted` says.
    pub async fn take(
        remote: &Remote,
        wanted: impl Fn(&IndexEntry) -> bool,
    ) -> Result<Self, ListError> {
        let listing = Listing::read(&remote.rest, &remote.progress).await?;
        let hidden = remote.hides(listing.hidden);
        let Listing { indexes, blobs, .. } = listing;
        let reader = IndexReader::new(remote, &indexes);
        let read: Vec<_> = indexes.iter().filter(|index| wanted(index)).collect();
        let mut contents = reader.summaries(&read, &remote.progress).await.into_iter();
        let with_content = |entry: &IndexEntry| Index {
            content: wanted(entry).then(|| contents.next()).flatten(),
            entry: entry.clone(),
        };
        let indexes = indexes.iter().map(with_content).collect();
        remote.progress.clear();
        Ok(Self {
            taken: Timestamp::now(),
            indexes,
            blobs,
            hidden,
        })
    }

    /// The newest index of each scope and ref.
    pub fn newest(&self) -> impl Iterator<Item = &Index> {
        self.indexes.iter().filter(|index| index.is_newest())
    }

    /// When an index was last of use to a build. Its own time says when it was last read, by a command too; a
    /// build reads it and looks its layers up.
    pub fn last_used(&self, index: &Index) -> Timestamp {
        let own = last_used(&index.entry.row);
        let Some(summary) = index.summary() else {
            return own;
        };
        let layers = self
            .blobs
            .iter()
            .filter(|blob| summary.layers.contains_key(&blob.digest));
        let newest = layers.map(|blob| last_used(&blob.row)).max();
        let newest = newest.map_or(own, |newest| own.min(newest));
        newest.max(index.entry.row.created_at)
    }
}

/// What must be said of a view that is not whole.
pub(super) fn notes(remote: &Remote, snapshot: &Snapshot) -> Vec<String> {
    let scopes = remote.partial_view.as_ref().filter(|_| snapshot.hidden);
    let hidden = scopes.map(|scopes| {
        format!(
            "this token sees the entries of {} only, and there may be indexes of other scopes: every layer counts as \
             in use",
            scopes.join(", ")
        )
    });
    hidden.into_iter().chain(unread_note(snapshot)).collect()
}

/// What must be said of indexes that are listed and could not be read.
pub(super) fn unread_note(snapshot: &Snapshot) -> Option<String> {
    let mut unread = (snapshot.indexes.iter()).filter(|index| index.unread().is_some());
    let first = unread.next()?;
    let (key, git_ref) = (&first.entry.row.key, &first.entry.row.git_ref);
    let why = first.unread().map(ToString::to_string).unwrap_or_default();
    let others = match unread.count() {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    Some(format!(
        "{key} of {git_ref}{others} could not be read, so that all it may name counts as in use: {why}"
    ))
}
