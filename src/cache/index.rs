//! The cache-config index of one scope: the newest entry is found, the next one is written.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::timeout;

use super::index_format;
use crate::{
    actions::{self, Call, Client, Entry, Kind, Reserved},
    protocol::key::IndexKey,
};

/// Numbers that are tried for a new index. A number is taken by another export that runs now, or
/// by one that died between reservation and commit.
const MAX_ATTEMPTS: usize = 20;

/// How long the bytes of an index may take: the largest there are take half of it over 1 MB/s. An
/// export has to write its own after that.
const BODY_TIME: Duration = Duration::from_mins(1);

/// An index as it is stored.
#[derive(Debug, Clone)]
pub struct LoadedIndex {
    /// The full key of the entry: `index-…#7`.
    pub key: String,
    /// Its bytes, as they are: a signature is over them.
    pub raw: Bytes,
}

/// An entry that was found to be the newest index, whether or not its bytes can be had.
pub(super) struct Newest {
    /// The full key of the entry.
    pub key: String,
    /// Its bytes, or why they could not be read after all retries.
    pub body: Result<Bytes, actions::Error>,
}

impl Newest {
    /// The index, for callers to whom only its bytes are of use.
    pub fn into_index(self) -> Result<LoadedIndex, actions::Error> {
        let Self { key, body } = self;
        Ok(LoadedIndex { key, raw: body? })
    }
}

/// The newest index under `key`. One whose bytes cannot be had still shows the next number.
pub(super) async fn newest(
    client: &Client,
    key: &IndexKey,
    version: &str,
) -> Result<Option<Newest>, actions::Error> {
    match client.lookup(&key.prefix(), version).await? {
        Some(entry) => Ok(Some(read(client, entry).await)),
        None => Ok(None),
    }
}

/// The index with exactly this key, if its upload is finished.
pub(super) async fn exact(
    client: &Client,
    key: &str,
    version: &str,
) -> Result<Option<Newest>, actions::Error> {
    match client.lookup(key, version).await? {
        Some(entry) if entry.key == key => Ok(Some(read(client, entry).await)),
        _ => Ok(None),
    }
}

async fn read(client: &Client, entry: Entry) -> Newest {
    let body = client.read_all(&entry, index_format::MAX_BYTES as u64);
    let body = timeout(BODY_TIME, body).await.unwrap_or_else(|_| {
        let message = format!("not all of it came within {} s", BODY_TIME.as_secs());
        Err(client.error(Call::Download, Kind::Timeout, &message))
    });
    Newest {
        key: entry.key,
        body,
    }
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
pub(super) fn number_from_clock() -> u64 {
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
