//! `inspect`: what the indexes of one scope name, layer by layer.

use std::{collections::HashMap, fmt::Write as _};

use jiff::Timestamp;
use serde::Serialize;

use super::{
    content::{IndexReader, UnreadableIndex},
    entries::{BlobEntry, BlobKind, IndexEntry, last_used, may_read},
    filter::Filter,
    listing::{ListError, Listing},
    output::Document,
    remote::Remote,
    table::ago,
};
use crate::{
    cache::index_format::{CacheConfig, Record},
    digest::Digest,
    units::human,
};

mod tree;

/// Why there is nothing to show.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The entries cannot be listed.
    #[error(transparent)]
    List(#[from] ListError),
    /// No index has this scope.
    #[error(
        "{repository} has no index of this scope and ref; `buildkit-gha ls` shows those that there are"
    )]
    NoIndex {
        /// `owner/repo`.
        repository: String,
    },
}

/// The indexes of one scope.
#[derive(Debug, Serialize)]
pub struct Inspected {
    /// `owner/repo`.
    pub repository: String,
    /// When the entries were listed.
    pub taken_at: Timestamp,
    /// The newest index of each ref.
    pub indexes: Vec<InspectedIndex>,
    /// What is not known, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One index.
#[derive(Debug, Serialize)]
pub struct InspectedIndex {
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
    /// The bytes of the index itself.
    pub index_bytes: u64,
    /// What it names, in the order of the index.
    pub layers: Vec<InspectedLayer>,
    /// The cache records, in the order of the index.
    pub records: Vec<InspectedRecord>,
    /// Keys of entries that were found damaged, as the index says.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
    /// Why it could not be read: then the lists are empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
}

/// A layer at one place of a chain.
#[derive(Debug, Serialize)]
pub struct InspectedLayer {
    /// The digest of the blob.
    pub digest: Digest,
    /// The place of the layer below in this list; absent at the bottom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<usize>,
    /// Its media type.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// Its bytes, as the index says.
    pub size: u64,
    /// Its entry; absent if no entry that builds of this ref may read holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<LayerEntry>,
}

/// The entry of a layer.
#[derive(Debug, Serialize)]
pub struct LayerEntry {
    /// Its key.
    pub key: String,
    /// Where it is.
    #[serde(rename = "ref")]
    pub git_ref: String,
    /// When it was last written or read.
    pub last_accessed_at: Timestamp,
    /// True if nobody has read it since it was written, as far as the service tells.
    pub never_read: bool,
}

/// A cache record.
#[derive(Debug, Serialize)]
pub struct InspectedRecord {
    /// The key, of BuildKit's making.
    pub digest: String,
    /// The places of the layers that it leads to, of each result the topmost.
    pub layers: Vec<usize>,
    /// Of each input, the places of the records that may stand there.
    pub inputs: Vec<Vec<usize>>,
}

/// Reads the newest indexes that the filter takes.
pub async fn inspect(remote: &Remote, filter: &Filter) -> Result<Inspected, InspectError> {
    let Listing { indexes, blobs, .. } = Listing::read(&remote.rest, &remote.progress).await?;
    let blobs = by_digest(&blobs);
    let reader = IndexReader::new(remote, &indexes);
    let newest = |index: &&IndexEntry| index.superseded_at.is_none();
    let wanted = indexes
        .iter()
        .filter(newest)
        .filter(|index| filter.takes_index(index));
    let mut inspected = Vec::new();
    for index in wanted {
        let content = reader.read(index).await;
        inspected.push(InspectedIndex::new(index, content, &blobs));
    }
    remote.progress.clear();
    if inspected.is_empty() {
        let repository = remote.repository.clone();
        return Err(InspectError::NoIndex { repository });
    }
    inspected.sort_by(|a, b| (&a.scope, &a.git_ref).cmp(&(&b.scope, &b.git_ref)));
    Ok(Inspected {
        repository: remote.repository.clone(),
        taken_at: Timestamp::now(),
        indexes: inspected,
        notes: Vec::new(),
    })
}

type ByDigest<'a> = HashMap<Digest, Vec<&'a BlobEntry>>;

fn by_digest(blobs: &[BlobEntry]) -> ByDigest<'_> {
    let mut found = ByDigest::new();
    for blob in blobs {
        if matches!(blob.kind, BlobKind::Layer(_)) {
            found.entry(blob.digest).or_default().push(blob);
        }
    }
    found
}

impl InspectedIndex {
    fn new(
        index: &IndexEntry,
        content: Result<(Digest, CacheConfig), UnreadableIndex>,
        blobs: &ByDigest<'_>,
    ) -> Self {
        let unread = content.as_ref().err().map(ToString::to_string);
        let config = content.map(|(_, config)| config).unwrap_or_default();
        let git_ref = &index.row.git_ref;
        let layer = |layer: &crate::cache::index_format::Layer| {
            let annotations = layer.annotations.as_ref();
            InspectedLayer {
                digest: layer.blob,
                parent: usize::try_from(layer.parent).ok(),
                media_type: annotations.map_or_else(String::new, |a| a.media_type.clone()),
                size: annotations.map_or(0, |a| u64::try_from(a.size).unwrap_or(0)),
                entry: entry(blobs, layer.blob, git_ref),
            }
        };
        Self {
            scope: index.name.scope.clone(),
            git_ref: git_ref.clone(),
            key: index.row.key.clone(),
            signed: index.name.signed,
            created_at: index.row.created_at,
            index_bytes: index.row.size_in_bytes,
            layers: config.layers.iter().map(layer).collect(),
            records: config.records.iter().map(record).collect(),
            damaged: config.damaged,
            unread,
        }
    }
}

/// The entry that builds of this ref find: that of their own ref, and the newest of it.
fn entry(blobs: &ByDigest<'_>, digest: Digest, git_ref: &str) -> Option<LayerEntry> {
    let entries = blobs.get(&digest)?.iter();
    let readable = entries.filter(|blob| may_read(git_ref, &blob.row.git_ref));
    let best = readable.max_by_key(|blob| (blob.row.git_ref == git_ref, blob.row.created_at))?;
    Some(LayerEntry {
        key: best.row.key.clone(),
        git_ref: best.row.git_ref.clone(),
        last_accessed_at: last_used(&best.row),
        never_read: best.never_read(),
    })
}

fn record(record: &Record) -> InspectedRecord {
    let results = record.results.iter().map(|result| result.layer);
    let tops = record.chains.iter().filter_map(|chain| chain.layers.last());
    let links = |input: &Vec<crate::cache::index_format::Link>| {
        input.iter().map(|link| link.link as usize).collect()
    };
    InspectedRecord {
        digest: record.digest.clone(),
        layers: results.chain(tops.copied()).map(|at| at as usize).collect(),
        inputs: record.inputs.iter().map(links).collect(),
    }
}

impl Document for Inspected {
    fn table(&self) -> String {
        let indexes = self.indexes.iter().map(|index| self.index_text(index));
        indexes.collect::<Vec<_>>().join("\n")
    }

    fn notes(&self) -> &[String] {
        &self.notes
    }
}

impl Inspected {
    fn index_text(&self, index: &InspectedIndex) -> String {
        let mut text = String::new();
        let mut line = |name: &str, value: String| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "{name:<11}{value}");
        };
        let sizes: HashMap<Digest, u64> = (index.layers.iter())
            .map(|layer| (layer.digest, layer.size))
            .collect();
        let gone = index.layers.iter().filter(|layer| layer.entry.is_none());
        line("Scope:", index.scope.clone());
        line("Ref:", index.git_ref.clone());
        line("Key:", index.key.clone());
        line("Created:", ago(index.created_at, self.taken_at));
        if let Some(why) = &index.unread {
            line("Not read:", why.clone());
            return text;
        }
        let (layers, total) = (sizes.len(), human::size(sizes.values().sum()));
        line(
            "Layers:",
            format!("{layers} ({total}), {} gone", gone.count()),
        );
        let leading = index
            .records
            .iter()
            .filter(|record| !record.layers.is_empty());
        let (records, leading) = (index.records.len(), leading.count());
        line(
            "Records:",
            format!("{records}, {leading} of them lead to a layer"),
        );
        if !index.damaged.is_empty() {
            line("Damaged:", index.damaged.join(", "));
        }
        text.push('\n');
        text + &tree::render(index, self.taken_at)
    }
}
