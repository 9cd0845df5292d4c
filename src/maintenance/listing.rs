//! Lists all entries of BuildKit's in a repository, over all pages.

use std::collections::HashSet;

use super::{
    entries::{BlobEntry, IndexEntry},
    progress::Progress,
};
use crate::{
    actions::{self, RestClient},
    protocol::{
        key::{self, IndexName},
        rest::Cache,
    },
};

/// A listing in which entries went between two pages is begun again, so often in all: what stood behind
/// them has moved up, and may have been passed over.
const ATTEMPTS: usize = 4;

/// Why there is no listing.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The REST API fails.
    #[error(transparent)]
    Remote(#[from] actions::Error),
    /// Pages never fit together.
    #[error(
        "entries were removed while they were listed, {ATTEMPTS} times in a row, so that some may have been \
         passed over; try again when nobody else removes any"
    )]
    Unstable,
}

/// What a repository has of BuildKit's.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub indexes: Vec<IndexEntry>,
    pub blobs: Vec<BlobEntry>,
    /// How many indexes the token does not see, where the service says so.
    pub hidden: Option<u64>,
}

impl Listing {
    /// Blobs first: an index that is written meanwhile is seen with the next one.
    pub async fn read(rest: &RestClient, progress: &Progress) -> Result<Self, ListError> {
        let (blobs, _) = rows(rest, key::BLOB_PREFIX, progress).await?;
        let (indexes, hidden) = indexes(rest, progress).await?;
        Ok(Self {
            blobs: blobs.into_iter().filter_map(BlobEntry::new).collect(),
            indexes,
            hidden,
        })
    }
}

/// All indexes, of which each scope and ref may have several, and how many are hidden.
pub(super) async fn indexes(
    rest: &RestClient,
    progress: &Progress,
) -> Result<(Vec<IndexEntry>, Option<u64>), ListError> {
    let (rows, hidden) = rows(rest, IndexName::PREFIX, progress).await?;
    Ok((IndexEntry::from_rows(rows), hidden))
}

async fn rows(
    rest: &RestClient,
    prefix: &str,
    progress: &Progress,
) -> Result<(Vec<Cache>, Option<u64>), ListError> {
    for _ in 0..ATTEMPTS {
        if let Some((mut rows, hidden)) = try_rows(rest, prefix, progress).await? {
            let version = key::version();
            let mut seen = HashSet::new();
            rows.retain(|row| row.version == version && seen.insert(row.id));
            return Ok((rows, hidden));
        }
    }
    Err(ListError::Unstable)
}

/// `None` if entries went between two pages.
async fn try_rows(
    rest: &RestClient,
    prefix: &str,
    progress: &Progress,
) -> Result<Option<(Vec<Cache>, Option<u64>)>, actions::Error> {
    let mut rows: Vec<Cache> = Vec::new();
    let (mut total, mut hidden) = (0, None);
    for page in 1.. {
        let page = rest.page(prefix, page).await?;
        if page.total_count < total {
            return Ok(None);
        }
        (total, hidden) = (page.total_count, page.hidden_count);
        let empty = page.actions_caches.is_empty();
        rows.extend(page.actions_caches);
        progress.count("listing", rows.len() as u64, total);
        if empty || rows.len() as u64 >= total {
            break;
        }
    }
    Ok(Some((rows, hidden)))
}
