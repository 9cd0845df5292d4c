//! The cache-config index of one scope: the newest entry is found, the next one is written.

use bytes::Bytes;
use jiff::Timestamp;

use super::config;
use crate::{
    actions::{self, Client, Kind, Reserved},
    protocol::key::IndexKey,
};

/// Numbers that are tried for a new index. A number is taken by another export that runs now, or
/// by one that died between reservation and commit.
const MAX_ATTEMPTS: usize = 20;

/// An index as it is stored.
#[derive(Debug, Clone)]
pub struct LoadedIndex {
    /// The full key of the entry: `index-…#7`.
    pub key: String,
    /// Its bytes, as they are: a signature is over them.
    pub raw: Bytes,
}

/// The newest index under `key`.
pub(super) async fn newest(
    client: &Client,
    key: &IndexKey,
    version: &str,
) -> Result<Option<LoadedIndex>, actions::Error> {
    let Some(entry) = client.lookup(&key.prefix(), version).await? else {
        return Ok(None);
    };
    let raw = client.read_all(&entry, config::MAX_BYTES as u64).await?;
    Ok(Some(LoadedIndex {
        key: entry.key,
        raw,
    }))
}

/// Why an index was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommitError {
    #[error(transparent)]
    Remote(#[from] actions::Error),
    #[error(
        "the cache index could not be written: {base}#{first} and the {MAX_ATTEMPTS} numbers from \
         there on are reserved already"
    )]
    Taken { base: String, first: u64 },
}

/// Writes `content` under the next free number after that of `newest`; the answer is its key.
pub(super) async fn commit(
    client: &Client,
    key: &IndexKey,
    version: &str,
    newest: Option<&str>,
    content: Bytes,
) -> Result<String, CommitError> {
    let newest = newest.and_then(|newest| key.number(newest));
    let first = newest.unwrap_or(0).saturating_add(1);
    commit_from(client, key, version, first, content).await
}

/// The first number to try where no older index can be seen. Numbers only have to differ: the newest
/// entry counts. The time is beyond what exports have counted to, and one call finds it free.
pub(super) fn unseen() -> u64 {
    u64::try_from(Timestamp::now().as_second()).unwrap_or_default()
}

/// As [`commit`], from the number `first` on.
pub(super) async fn commit_from(
    client: &Client,
    key: &IndexKey,
    version: &str,
    first: u64,
    content: Bytes,
) -> Result<String, CommitError> {
    for number in (first..).take(MAX_ATTEMPTS) {
        match client.reserve(&key.entry(number), version).await? {
            Reserved::Exists | Reserved::ExistsAfterDoubt => {}
            Reserved::Created(reservation) => {
                match client.upload_bytes(&reservation, content.clone()).await {
                    // There is no other URL for this number.
                    Err(error) if error.kind == Kind::UrlExpired => {}
                    outcome => return Ok(outcome.map(|()| reservation.key)?),
                }
            }
        }
    }
    Err(CommitError::Taken {
        base: key.base().to_owned(),
        first,
    })
}
