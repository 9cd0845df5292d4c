//! What an index of BuildKit's names: layers upon layers, the steps that made them, which of them are here, and which
//! other indexes name them.

use std::collections::{HashMap, HashSet};

use bytes::BytesMut;
use futures_util::StreamExt as _;

use super::{
    Entries,
    index_layers::{LayerNode, add_steps, layers_of},
};
use crate::{
    digest::Digest,
    index_format::{self, CacheConfig},
    protocol::{
        key::{self, BlobKey, IndexName},
        rest::{Direction, SortBy},
    },
    service::{
        api_error::{ApiError, ErrorKind},
        rights::Rights,
        store::{Entry, Filter, Page},
    },
};

/// Largest index that is shown: 50,000 records and 10,000 layers have about so much.
const MAX_INDEX_BYTES: u64 = 16 << 20;

/// How many entries of indexes are looked at to find the newest of each.
const INDEX_ENTRIES: u32 = 500;

/// Most other indexes that are read to see what they share, and most bytes of them all.
const MAX_OTHERS: usize = 24;
const MAX_OTHER_BYTES: u64 = 32 << 20;

/// Most entries that are shown of one layer: it has one in each scope.
const MAX_ENTRIES_PER_LAYER: usize = 20;

/// What an index names.
pub(crate) struct IndexTree {
    pub(crate) index: IndexEntry,
    /// The attribute `mode` of the export, where the index says it.
    pub(crate) mode: Option<String>,
    /// Cache keys in the index.
    pub(crate) records: usize,
    /// Layers in the index, of which some may not be shown.
    pub(crate) layer_count: usize,
    pub(crate) layers: Vec<LayerNode>,
    /// Steps whose result the index does not have, or not any more.
    pub(crate) steps_without_layer: usize,
    /// Other indexes that name some of its layers.
    pub(crate) sharing: Vec<IndexEntry>,
    /// Other indexes of the repository that were read for that, and that were not.
    pub(crate) others_read: usize,
    pub(crate) others_unread: usize,
}

/// An entry that holds an index.
#[derive(Clone)]
pub(crate) struct IndexEntry {
    pub(crate) entry: Entry,
    pub(crate) name: IndexName,
}

/// Other indexes, and what they name.
struct Others {
    indexes: Vec<(IndexEntry, HashSet<Digest>)>,
    unread: usize,
}

impl IndexEntry {
    fn new(entry: Entry) -> Option<Self> {
        let name = IndexName::parse(&entry.name.key)?;
        Some(Self { entry, name })
    }
}

impl Entries {
    /// What the index names that the entry `id` holds.
    pub(in crate::service) async fn index_tree(
        &self,
        rights: &Rights,
        id: i64,
    ) -> Result<IndexTree, ApiError> {
        let entry = self.store.by_id(id).await?;
        let own = entry.filter(|entry| {
            let name = &entry.name;
            name.repository == rights.repository && rights.readable.contains(&name.scope)
        });
        let index = IndexEntry::new(own.ok_or_else(ApiError::not_found)?);
        let index = index.ok_or_else(|| unreadable("its key is not one of BuildKit's indexes"))?;
        if index.entry.size > MAX_INDEX_BYTES {
            return Err(unreadable("it is larger than the 16 MiB that are read"));
        }
        let config = self.read_index(id).await?;
        let config = config.map_err(|error| unreadable(&error.to_string()))?;
        let mut layers = layers_of(&config);
        let steps_without_layer = add_steps(&mut layers, &config);
        self.add_entries(&mut layers, rights).await?;
        let others = self.other_indexes(rights, id).await?;
        let (others_read, others_unread) = (others.indexes.len(), others.unread);
        Ok(IndexTree {
            index,
            mode: config.steps.map(|steps| steps.mode),
            records: config.records.len(),
            layer_count: config.layers.len(),
            sharing: add_sharing(&mut layers, others),
            layers,
            steps_without_layer,
            others_read,
            others_unread,
        })
    }

    async fn read_index(
        &self,
        id: i64,
    ) -> Result<Result<CacheConfig, index_format::IndexError>, ApiError> {
        let (entry, content) = self.content(id).await?;
        let mut pieces = self.read(&entry, content, 0..entry.size).await?;
        let mut whole = BytesMut::new();
        while let Some(piece) = pieces.next().await {
            whole.extend_from_slice(&piece?);
        }
        Ok(index_format::parse(&whole))
    }

    /// Puts in which entries have the bytes of layers.
    async fn add_entries(&self, layers: &mut [LayerNode], rights: &Rights) -> Result<(), ApiError> {
        let mut keys: Vec<_> = layers
            .iter()
            .map(|layer| key::blob(&layer.digest))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let mut by_digest: HashMap<Digest, Vec<Entry>> = HashMap::new();
        for entry in self.overviews.numbered(&rights.repository, keys).await? {
            let digest = BlobKey::parse_digest(&entry.name.key);
            let Some(digest) = digest.filter(|_| rights.readable.contains(&entry.name.scope))
            else {
                continue;
            };
            let entries = by_digest.entry(digest).or_default();
            if entries.len() < MAX_ENTRIES_PER_LAYER {
                entries.push(entry);
            }
        }
        for layer in layers {
            layer.entries = by_digest.get(&layer.digest).cloned().unwrap_or_default();
        }
        Ok(())
    }

    /// The newest index of each name and scope, but for the entry `id`: what some of them name.
    async fn other_indexes(&self, rights: &Rights, id: i64) -> Result<Others, ApiError> {
        let filter = Filter {
            repository: Some(rights.repository.clone()),
            key_prefix: IndexName::PREFIX.to_owned(),
            scopes: rights.readable.clone().into_filter(),
            ..Filter::default()
        };
        let page = Page {
            sort: SortBy::CreatedAt,
            direction: Direction::Desc,
            skip: 0,
            take: INDEX_ENTRIES,
        };
        let mut seen = HashSet::new();
        let entries = self.store.list(&filter, page).await?.into_iter();
        let newest = entries.filter_map(IndexEntry::new).filter(|index| {
            let scope = index.entry.name.scope.clone();
            seen.insert((scope, index.name.base.clone())) && index.entry.id != id
        });
        let (mut indexes, mut unread, mut bytes) = (Vec::new(), 0, 0);
        for index in newest {
            if indexes.len() >= MAX_OTHERS || bytes + index.entry.size > MAX_OTHER_BYTES {
                unread += 1;
                continue;
            }
            bytes += index.entry.size;
            match self.read_index(index.entry.id).await {
                Ok(Ok(config)) => {
                    let digests = config.layers.iter().map(|layer| layer.blob).collect();
                    indexes.push((index, digests));
                }
                // It may be gone by now, or be somebody else's text.
                Ok(Err(_)) => unread += 1,
                Err(error) if error.kind() == ErrorKind::NotFound => unread += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(Others { indexes, unread })
    }
}

fn unreadable(reason: &str) -> ApiError {
    ApiError::new(
        ErrorKind::InvalidArgument,
        format!("the index cannot be shown: {reason}"),
    )
}

/// Puts in which other indexes name layers. Answers those that name any.
fn add_sharing(layers: &mut [LayerNode], others: Others) -> Vec<IndexEntry> {
    let mut sharing = Vec::new();
    for (index, digests) in others.indexes {
        let shared = layers
            .iter_mut()
            .filter(|layer| digests.contains(&layer.digest));
        let place = sharing.len();
        let shared = shared.map(|layer| layer.shared_with.push(place)).count();
        if shared > 0 {
            sharing.push(index);
        }
    }
    sharing
}
