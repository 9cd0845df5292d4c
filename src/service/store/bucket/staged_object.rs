//! An upload that becomes an object.
//!
//! Its bytes are sent in the order in which they came, while more come. That is mostly the order of the content, too,
//! and where it is not, the content is a list of extents of the object. What would be too much waste, or crumbs to
//! read, is sent a second time, in order: the spool has all of it until the end.

use std::{collections::VecDeque, fmt, sync::Arc};

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::{client::Client, multipart::Multipart, spool::Spool};
use crate::service::{
    blocking::run_blocking,
    store::{
        blob_store::{PartStream, Published, PutError, StagedBlob},
        error::StoreError,
        extent::{Extent, ObjectId, take},
        part_file::receive,
    },
};

/// The size of a part of a multipart upload. S3 refuses less than 5 MiB and more than 10,000 parts: an entry may
/// have 80 GB. Google's single requests and Azure's blocks take the same.
pub(super) const PART_BYTES: u64 = 8 << 20;

/// What part of an object may be bytes that are not of its content: a quarter.
const WASTE_SHARE: u64 = 4;

/// Extents that are smaller than this on average cost a request each for little.
const MIN_EXTENT_BYTES: u64 = 4 << 20;

/// The spool of one upload, and what of it was sent.
pub(super) struct StagedObject {
    id: i64,
    spool: Arc<Spool>,
    client: Arc<Client>,
    sender: Mutex<Sender>,
}

/// What has left the spool.
#[derive(Default)]
struct Sender {
    /// Up to where its bytes are in pieces of the multipart upload.
    sent: u64,
    /// The multipart upload, once there was enough for one.
    multipart: Option<Multipart>,
}

impl fmt::Debug for StagedObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedObject")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl StagedObject {
    pub(super) fn new(id: i64, spool: Spool, client: Arc<Client>) -> Self {
        Self {
            id,
            spool: Arc::new(spool),
            client,
            sender: Mutex::default(),
        }
    }

    /// Sends what makes whole parts.
    async fn advance(&self) -> Result<(), StoreError> {
        let mut sender = self.sender.lock().await;
        // One that is closed is sent by whoever has closed it.
        while !self.spool.is_closed() && self.spool.complete_prefix() >= sender.sent + PART_BYTES {
            let piece = self.extent(sender.sent..sender.sent + PART_BYTES);
            self.multipart(&mut sender).await?.send(vec![piece]).await;
            sender.sent += PART_BYTES;
        }
        Ok(())
    }

    async fn multipart<'a>(&self, sender: &'a mut Sender) -> Result<&'a mut Multipart, StoreError> {
        let multipart = match sender.multipart.take() {
            Some(multipart) => multipart,
            None => Multipart::begin(&self.client, &self.spool, self.id).await?,
        };
        Ok(sender.multipart.insert(multipart))
    }

    fn extent(&self, range: std::ops::Range<u64>) -> Extent {
        Extent {
            object: ObjectId(self.id),
            offset: range.start,
            len: range.end - range.start,
        }
    }

    /// Makes an object that holds `content`.
    async fn make(&self, content: Vec<Extent>) -> Result<Published, StoreError> {
        let mut sender = self.sender.lock().await;
        let size = content.iter().map(|extent| extent.len).sum();
        if sender.multipart.is_none() && size <= PART_BYTES {
            let bytes = self.spool.read(content).await?;
            self.client.put(self.id, bytes).await?;
            return Ok(self.in_order(size));
        }
        let whole = self.spool.end();
        if is_worth_reading(&content, size, whole) {
            let rest = self.extent(sender.sent..whole);
            self.complete(&mut sender, [rest].into(), whole).await?;
            return Ok(Published {
                extents: content,
                stored: whole,
            });
        }
        // The content alone, in its order.
        Self::forget(&mut sender).await;
        let rewritten = self.complete(&mut sender, content.into(), size).await;
        if rewritten.is_err() {
            Self::forget(&mut sender).await;
        }
        rewritten.map(|()| self.in_order(size))
    }

    /// Where a content lies whose object has nothing else.
    fn in_order(&self, size: u64) -> Published {
        let all = self.extent(0..size);
        Published {
            extents: if size > 0 { vec![all] } else { Vec::new() },
            stored: size,
        }
    }

    /// Makes an object of `whole` bytes: of what was sent, and of `rest`.
    async fn complete(
        &self,
        sender: &mut Sender,
        mut rest: VecDeque<Extent>,
        whole: u64,
    ) -> Result<(), StoreError> {
        while whole - sender.sent > PART_BYTES {
            let piece = take(&mut rest, PART_BYTES);
            self.multipart(sender).await?.send(piece).await;
            sender.sent += PART_BYTES;
        }
        let last = take(&mut rest, PART_BYTES);
        self.multipart(sender).await?.complete(last, whole).await?;
        sender.multipart = None;
        Ok(())
    }

    /// Gives up what was sent. What cannot be ended now is found when garbage is collected.
    async fn forget(sender: &mut Sender) {
        sender.sent = 0;
        if let Some(multipart) = sender.multipart.take()
            && let Err(error) = multipart.abort().await
        {
            tracing::debug!(%error, "a multipart upload is ended later");
        }
    }

    async fn close(&self) -> Result<(), StoreError> {
        let spool = Arc::clone(&self.spool);
        run_blocking(move || {
            spool.close();
            Ok(())
        })
        .await
    }
}

/// Whether reading `content` out of an object of `whole` bytes wastes little room and few requests.
fn is_worth_reading(content: &[Extent], size: u64, whole: u64) -> bool {
    let extents = content.len() as u64;
    (whole - size) <= whole / WASTE_SHARE && (extents <= 1 || size / extents >= MIN_EXTENT_BYTES)
}

#[async_trait]
impl StagedBlob for StagedObject {
    async fn put(&self, len: u64, body: &mut PartStream<'_>) -> Result<Extent, PutError> {
        let extent = receive(&self.spool, len, body).await?;
        if let Err(error) = self.advance().await {
            self.spool.release(extent);
            return Err(error.into());
        }
        Ok(extent)
    }

    fn release(&self, extent: Extent) {
        self.spool.release(extent);
    }

    async fn publish(&self, content: Vec<Extent>) -> Result<Published, StoreError> {
        self.close().await?;
        let made = self.make(content).await;
        if made.is_err() {
            self.spool.reopen();
        }
        made
    }

    async fn publish_direct(&self) -> Result<Option<Published>, StoreError> {
        self.close().await?;
        let published = self.client.publish_direct(self.id).await;
        if !matches!(published, Ok(Some(_))) {
            self.spool.reopen();
        }
        Ok(published?.map(|size| self.in_order(size)))
    }

    async fn unpublish(&self) -> Result<(), StoreError> {
        let mut sender = self.sender.lock().await;
        let removed = self.client.remove(self.id).await;
        sender.sent = 0;
        self.spool.reopen();
        removed
    }

    async fn trim(&self, _published: &Published) {
        self.spool.clear();
        if let Err(error) = self.client.remove_direct(self.id).await {
            tracing::debug!(%error, "what a client has sent to the bucket stays until its entry goes");
        }
    }

    async fn discard(&self) -> Result<(), StoreError> {
        self.close().await?;
        Self::forget(&mut *self.sender.lock().await).await;
        self.spool.clear();
        self.client.remove_direct(self.id).await
    }
}
