//! Contents that several entries of a repository share: the same bytes, known by their digest, are stored once (ADR 78).

use std::fmt::Debug;

use async_trait::async_trait;
use jiff::Timestamp;

use super::{
    entry::{Committed, Entry},
    error::StoreError,
};
use crate::digest::Digest;

/// Which entries have which content.
///
/// An entry begins with a content of its own, and is compared later with those of its repository that have the same
/// version, key and size in other scopes.
#[async_trait]
pub(crate) trait SharedContents: Debug + Send + Sync {
    /// Whether contents may be shared now: a process of an older version that uses the store, too, would remove those
    /// that several entries have.
    async fn may_share(&self) -> Result<bool, StoreError>;

    /// Some entries above the position `after` that were not compared yet and that others are like, in the order of their
    /// commits. Empty when there are no more.
    async fn uncompared(&self, after: i64) -> Result<Vec<Committed>, StoreError>;

    /// Entries of the same repository, version, key and size as `entry` with other contents: one for each content, the
    /// one that was committed first before others; at most `take`.
    async fn alike(&self, entry: &Entry, take: u32) -> Result<Vec<Entry>, StoreError>;

    /// Says that an entry was compared with those that it is like, and shares nothing.
    async fn set_compared(&self, id: i64) -> Result<(), StoreError>;

    /// The digest of a content, if it is known.
    async fn digest(&self, content: i64) -> Result<Option<Digest>, StoreError>;

    /// Notes the digest of a content, if an entry has it.
    async fn set_digest(&self, content: i64, digest: Digest) -> Result<(), StoreError>;

    /// Gives all entries that have the content of `entry` the content of `other`, whose digest is the same: at once, or
    /// not at all. False if either entry has changed since it was read. The content that nobody has any more stays needed
    /// until `keep_until`: somebody may be reading it.
    async fn share(
        &self,
        entry: &Entry,
        other: &Entry,
        keep_until: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Forgets contents that [`SharedContents::share`] has released and that were to be kept until `now` at the latest:
    /// nobody needs them any more.
    async fn forget_released(&self, now: Timestamp) -> Result<(), StoreError>;

    /// What a content needs that entries have ([`Entry::stored`]); `None` if none has it.
    async fn stored(&self, content: i64) -> Result<Option<u64>, StoreError>;

    /// Removes all entries that have a content, and answers them. Works when there is no room for anything else.
    async fn delete_content(&self, content: i64) -> Result<Vec<Entry>, StoreError>;
}
