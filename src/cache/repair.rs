//! Repair of a cache: damaged entries are deleted, and other processes are told of them.
//!
//! A damaged entry that cannot be deleted is named in the index, for gateways that have not found
//! out themselves: it has the right size, so they would use it.

use std::time::Duration;

use tokio::time::Instant;

use super::{index_format::CacheConfig, quarantine::Quarantine};
use crate::{
    actions::{Client, Error, Identity},
    protocol::key::BlobKey,
};

/// Damaged entries that one index names. Each has failed a build.
pub(super) const MAX_NAMED: usize = 100;

/// How long a deletion may take. GitHub's own API is another service than the cache: it may hang
/// while there is time to do without the deletion.
pub(super) const DELETE_TIME: Duration = Duration::from_secs(4);

/// Quarantines the entries that an index names as damaged.
pub(super) fn quarantine_named(quarantine: &Quarantine, identity: &Identity, index: &CacheConfig) {
    for key in index.damaged.iter().take(MAX_NAMED) {
        if let Some(digest) = BlobKey::parse_digest(key)
            && quarantine.damaged_key(identity, digest).is_none()
        {
            quarantine.add(identity, digest, key);
        }
    }
}

/// Those of the damaged entries that an index has `named` which are still there, as far as this process
/// knows.
pub(super) fn still_damaged(
    quarantine: &Quarantine,
    identity: &Identity,
    named: &[String],
) -> Vec<String> {
    let named = named.iter().take(MAX_NAMED);
    let left = named.filter(|key| {
        let digest = BlobKey::parse_digest(key);
        digest.is_some_and(|digest| quarantine.damaged_key(identity, digest).as_ref() == Some(key))
    });
    left.cloned().collect()
}

/// Why an entry was not deleted.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeleteError {
    #[error(transparent)]
    Remote(#[from] Error),
    #[error("it is in the scope {0}, which this token may not write")]
    ReadOnly(String),
}

/// Deletes the entry with exactly this key through the REST API, in the scope where a lookup of
/// this token finds it. That scope must be one that the token may write: what a pull request
/// takes for damage is not deleted from the cache of the default branch, whatever `ghtoken` may do.
pub(super) async fn delete(client: &Client, key: &str, version: &str) -> Result<(), DeleteError> {
    let client = client.with_deadline(Instant::now() + DELETE_TIME);
    let rows = client.list(key).await?;
    // The order in which a lookup goes through the scopes.
    let found = client.token().readable().find_map(|scope| {
        let mut rows = rows.iter();
        let row =
            rows.find(|row| row.key == key && row.version == version && row.git_ref == scope.name)?;
        Some((row, scope))
    });
    match found {
        Some((_, scope)) if !scope.permission.writable() => {
            Err(DeleteError::ReadOnly(scope.name.clone()))
        }
        Some((row, _)) => Ok(client.delete(row.id).await?),
        None => Ok(()),
    }
}
