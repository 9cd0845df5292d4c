//! Content: bytes of uploads, and of the entries that they become.

use std::{fmt::Debug, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{Stream, stream::BoxStream};

use super::{error::StoreError, extent::Extent};
use crate::secret::SecretUrl;

/// The bytes of one part.
pub(crate) type PartStream<'a> = dyn Stream<Item = Result<Bytes, BodyError>> + Send + Unpin + 'a;

/// Bytes of a content, in pieces of whatever size suits the store; few are in memory at a time.
pub(crate) type ContentStream = BoxStream<'static, Result<Bytes, StoreError>>;

/// Why there are no more bytes of a part. They come from a client, so it is no failure of the store.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BodyError(pub(crate) String);

/// Why a part was not stored.
#[derive(Debug)]
pub(crate) enum PutError {
    /// Its bytes did not come.
    Body(BodyError),
    /// The store has failed.
    Store(StoreError),
}

impl From<StoreError> for PutError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Where a content lies once it is permanent.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    /// Its bytes, in their order.
    pub(crate) extents: Vec<Extent>,
    /// What the store needs to tell whether they are all there. It means something to the store only,
    /// which gets it again for each check.
    pub(crate) stored: u64,
}

/// What clients may send to the URLs of a store that they reach themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DirectProtocol {
    /// Reads, with the ranges of HTTP. Others, as in `x-ms-range`, are ignored there: the answer would begin with
    /// the wrong byte.
    Http,
    /// What Azure Blob storage understands, uploads too.
    Azure,
}

/// All contents. Each is known by the id of its entry, or of the upload that becomes one.
#[async_trait]
pub(crate) trait BlobStore: Debug + Send + Sync {
    /// A place for the bytes of the upload `id`.
    async fn stage(&self, id: i64) -> Result<Arc<dyn StagedBlob>, StoreError>;

    /// Looks whether a published content is all there: `NotFound` or `Truncated` if it is not. A store for
    /// which that is no cheap question may say yes to all and leave the answer to [`BlobStore::open`].
    async fn check(&self, id: i64, stored: u64) -> Result<(), StoreError>;

    /// Begins to read the bytes of `range` of a published content: `NotFound` or `Truncated` if it is not all
    /// there, also of an empty range. What has begun is read to its end when the content is removed.
    async fn open(
        &self,
        id: i64,
        content: Published,
        range: Range<u64>,
    ) -> Result<ContentStream, StoreError>;

    /// What clients may send to the store itself; `None` if they go by way of the service.
    fn direct_protocol(&self) -> Option<DirectProtocol>;

    /// A URL of the store that reads a published content as a whole or in ranges, for so long; `None` where clients go
    /// by way of the service, or its bytes do not lie there in one piece.
    async fn direct_read(
        &self,
        id: i64,
        content: &Published,
        ttl: Duration,
    ) -> Result<Option<SecretUrl>, StoreError>;

    /// A URL of the store to which a client sends the bytes of the upload `id`, as to Azure, for so long. They are no
    /// content before [`StagedBlob::publish_direct`].
    async fn direct_upload(&self, id: i64, ttl: Duration) -> Result<Option<SecretUrl>, StoreError>;

    /// Removes a published content, if it is there, and what an upload has left that nobody finishes.
    async fn remove(&self, id: i64) -> Result<(), StoreError>;

    /// The ids of all published contents, and of uploads that may leave something when their process dies.
    fn ids(&self) -> BoxStream<'_, Result<i64, StoreError>>;
}

/// The bytes of one upload, part by part: in any order, in parallel, more of them than are needed in the end.
///
/// It is open until [`StagedBlob::publish`] or [`StagedBlob::discard`] begins, and takes nothing after
/// that (`Closed`), whoever is still sending: what is committed does not grow, and what is given up takes
/// no room.
#[async_trait]
pub(crate) trait StagedBlob: Debug + Send + Sync {
    /// Stores a part of `len` bytes, which `body` has exactly or else fails. A part that fails, or whose
    /// future is dropped, leaves nothing behind that anybody pays for.
    async fn put(&self, len: u64, body: &mut PartStream<'_>) -> Result<Extent, PutError>;

    /// Says that nobody needs these bytes. Returns at once, in a destructor too; when the room is free
    /// again is the store's affair.
    fn release(&self, extent: Extent);

    /// Closes, and makes `content` permanent under the upload's id: when this returns, it survives a loss
    /// of power. No entry names it yet. Where it fails, all is as it was, and open.
    async fn publish(&self, content: Vec<Extent>) -> Result<Published, StoreError>;

    /// Closes, and makes what was sent to [`BlobStore::direct_upload`]'s URL the content, as [`StagedBlob::publish`]
    /// does. Whoever still has the URL cannot change it any more. `None` if nothing was sent: it is open then.
    async fn publish_direct(&self) -> Result<Option<Published>, StoreError>;

    /// Takes back what was published, since its entry could not be written, and opens again.
    async fn unpublish(&self) -> Result<(), StoreError>;

    /// Frees whatever is not part of the content, now that its entry is there and nothing goes back.
    async fn trim(&self, published: &Published);

    /// Closes, and throws everything away.
    async fn discard(&self) -> Result<(), StoreError>;
}
