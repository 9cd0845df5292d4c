//! `ls`: each scope's newest index in each ref.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    entries::{BlobKind, may_read},
    listing::ListError,
    output::Document,
    remote::Remote,
    snapshot::{Index, Snapshot, notes},
    table::{Table, ago, or_dash},
};
use crate::{digest::Digest, units::human};

/// The indexes of a repository.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// `owner/repo`.
    pub repository: String,
    /// When it was listed.
    pub taken_at: Timestamp,
    /// The newest index of each scope and ref, in the order of scopes and refs.
    pub indexes: Vec<ListedIndex>,
    /// What is not known, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One index.
#[derive(Debug, Clone, Serialize)]
pub struct ListedIndex {
    /// The attribute `scope`.
    pub scope: String,
    /// The branch, tag or pull request.
    #[serde(rename = "ref")]
    pub git_ref: String,
    /// The key of its entry.
    pub key: String,
    /// Of a cache with signatures.
    pub signed: bool,
    /// When it was written.
    pub created_at: Timestamp,
    /// When a build last used it, as far as the service tells.
    pub last_used_at: Timestamp,
    /// The bytes of the index itself.
    pub index_bytes: u64,
    /// Older indexes of the same scope and ref, which nobody reads.
    pub superseded: usize,
    /// What it names, if it could be read.
    #[serde(flatten)]
    pub content: Option<ListedContent>,
    /// Why it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
}

/// What an index names.
#[derive(Debug, Clone, Serialize)]
pub struct ListedContent {
    /// How many layers.
    pub layers: usize,
    /// How many of them have no entry that its builds may read.
    pub layers_gone: usize,
    /// The bytes of all layers.
    pub size: u64,
    /// How many cache records.
    pub records: usize,
}

/// Lists.
pub async fn list(remote: &Remote) -> Result<Listed, ListError> {
    let snapshot = Snapshot::take(remote, |index| index.superseded_at.is_none()).await?;
    let mut superseded: HashMap<(&str, &str), usize> = HashMap::new();
    for index in &snapshot.indexes {
        *superseded.entry(place(index)).or_default() += usize::from(!index.is_newest());
    }
    let stored = stored(&snapshot);
    let indexes = snapshot.newest().map(|index| ListedIndex {
        scope: index.entry.name.scope.clone(),
        git_ref: index.entry.row.git_ref.clone(),
        key: index.entry.row.key.clone(),
        signed: index.entry.name.signed,
        created_at: index.entry.row.created_at,
        last_used_at: snapshot.last_used(index),
        index_bytes: index.entry.row.size_in_bytes,
        superseded: superseded[&place(index)],
        content: content(index, &stored),
        unread: index.unread().map(ToString::to_string),
    });
    let mut indexes: Vec<_> = indexes.collect();
    indexes.sort_by(|a, b| (&a.scope, &a.git_ref, &a.key).cmp(&(&b.scope, &b.git_ref, &b.key)));
    Ok(Listed {
        repository: remote.repository.clone(),
        taken_at: snapshot.taken,
        indexes,
        notes: notes(remote, &snapshot),
    })
}

fn place(index: &Index) -> (&str, &str) {
    (&index.entry.row.git_ref, &index.entry.name.base)
}

/// The refs that have an entry of each layer.
pub(super) type Stored<'a> = HashMap<Digest, HashSet<&'a str>>;

pub(super) fn stored(snapshot: &Snapshot) -> Stored<'_> {
    let mut stored = Stored::new();
    for blob in &snapshot.blobs {
        if matches!(blob.kind, BlobKind::Layer(_)) {
            let refs = stored.entry(blob.digest).or_default();
            refs.insert(&blob.row.git_ref);
        }
    }
    stored
}

/// True if builds whose index is in this ref find the layer.
pub(super) fn is_stored(stored: &Stored<'_>, git_ref: &str, digest: Digest) -> bool {
    let refs = stored.get(&digest);
    refs.is_some_and(|refs| refs.iter().any(|of_blob| may_read(git_ref, of_blob)))
}

fn content(index: &Index, stored: &Stored<'_>) -> Option<ListedContent> {
    let summary = index.summary()?;
    let git_ref = &index.entry.row.git_ref;
    let gone = |digest: &&Digest| !is_stored(stored, git_ref, **digest);
    Some(ListedContent {
        layers: summary.layers.len(),
        layers_gone: summary.layers.keys().filter(gone).count(),
        size: summary.layers.values().sum(),
        records: summary.records,
    })
}

impl Document for Listed {
    fn table(&self) -> String {
        let head = [
            "SCOPE",
            "REF",
            "LAYERS",
            "GONE",
            "SIZE",
            "CREATED",
            "LAST USED",
        ];
        let mut table = Table::new(&head);
        for index in &self.indexes {
            let content = index.content.as_ref();
            let scope = if index.signed {
                format!("{} (signed)", index.scope)
            } else {
                index.scope.clone()
            };
            table.row([
                scope,
                index.git_ref.clone(),
                or_dash(content.map(|content| content.layers.to_string())),
                or_dash(content.map(|content| content.layers_gone.to_string())),
                or_dash(content.map(|content| human::size(content.size))),
                ago(index.created_at, self.taken_at),
                ago(index.last_used_at, self.taken_at),
            ]);
        }
        table.render()
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}
