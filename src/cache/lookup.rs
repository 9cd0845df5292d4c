//! Where a blob is: the one lookup that exports and imports share.

use crate::{
    actions::{Client, Entry, Error},
    digest::Digest,
    protocol::key::BlobKey,
};

/// The entry of a blob, what has taken a damaged one's place before that one; `None` if there is
/// none, or only something whose key begins alike.
pub(super) async fn blob(
    client: &Client,
    digest: Digest,
    version: &str,
) -> Result<Option<Entry>, Error> {
    let keys = BlobKey::new(digest);
    let [numbered, plain] = keys.preference();
    let found = client.lookup_first(&[&numbered, &plain], version).await?;
    Ok(found.filter(|entry| keys.number(&entry.key).is_some()))
}
