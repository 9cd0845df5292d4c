//! A multipart upload: pieces of a spool on their way to the bucket, several at once.

use std::sync::Arc;

use object_store::multipart::PartId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::AbortOnDropHandle;

use super::{client::Client, spool::Spool};
use crate::service::store::{
    error::{StoreError, StoreErrorKind, StoreKind},
    extent::Extent,
};

/// How many pieces of one upload may wait or be on their way. Beyond, its client waits: what is left when the
/// last part has come should take seconds.
const MAX_QUEUED: usize = 8;

/// One that has begun.
pub(super) struct Multipart {
    client: Arc<Client>,
    spool: Arc<Spool>,
    id: i64,
    upload: Arc<String>,
    parts: Vec<Part>,
    queue: Arc<Semaphore>,
}

struct Part {
    piece: Vec<Extent>,
    state: State,
}

enum State {
    Sending(AbortOnDropHandle<Result<PartId, StoreError>>),
    Sent(PartId),
    Failed,
}

impl Multipart {
    /// Begins one, for the content `id`.
    pub(super) async fn begin(
        client: &Arc<Client>,
        spool: &Arc<Spool>,
        id: i64,
    ) -> Result<Self, StoreError> {
        let upload = client.begin_multipart(id).await?;
        Ok(Self {
            client: Arc::clone(client),
            spool: Arc::clone(spool),
            id,
            upload: Arc::new(upload),
            parts: Vec::new(),
            queue: Arc::new(Semaphore::new(MAX_QUEUED)),
        })
    }

    /// Adds a piece when there is a place for it.
    pub(super) async fn send(&mut self, piece: Vec<Extent>) {
        // It is never closed.
        let permit = Arc::clone(&self.queue).acquire_owned().await.ok();
        let state = self.begin_part(self.parts.len(), piece.clone(), permit);
        self.parts.push(Part { piece, state });
    }

    fn begin_part(
        &self,
        index: usize,
        piece: Vec<Extent>,
        permit: Option<OwnedSemaphorePermit>,
    ) -> State {
        let (client, spool) = (Arc::clone(&self.client), Arc::clone(&self.spool));
        let (id, upload) = (self.id, Arc::clone(&self.upload));
        let sending = async move {
            let _permit = permit;
            // It is never closed.
            let _memory = client.part_permits.acquire().await.ok();
            let bytes = spool.read(piece).await?;
            client.put_part(id, &upload, index, bytes).await
        };
        State::Sending(self.client.tasks.spawn_joined("part of an object", sending))
    }

    /// Makes the content of all pieces and of `last`, which is shorter than a part may be elsewhere. Where it
    /// fails, more pieces may come, and it may be tried again.
    pub(super) async fn complete(&mut self, last: Vec<Extent>, len: u64) -> Result<(), StoreError> {
        let pieces = self.parts.len();
        if !last.is_empty() {
            self.send(last).await;
        }
        let completed = self.complete_all(len).await;
        if completed.is_err() {
            // What is the last piece now may be a part of a longer one then.
            self.parts.truncate(pieces);
        }
        completed
    }

    async fn complete_all(&mut self, len: u64) -> Result<(), StoreError> {
        if self.settle().await.is_err() {
            self.send_failed_again();
            self.settle().await?;
        }
        let sent = self.parts.iter().filter_map(|part| match &part.state {
            State::Sent(part) => Some(part.clone()),
            State::Sending(_) | State::Failed => None,
        });
        let (client, upload) = (&self.client, &self.upload);
        client
            .complete_multipart(self.id, upload, sent.collect(), len)
            .await
    }

    /// Waits for all parts: the first failure, if there is one.
    async fn settle(&mut self) -> Result<(), StoreError> {
        let mut result = Ok(());
        for part in &mut self.parts {
            let sent = match &mut part.state {
                State::Sending(sending) => match sending.await {
                    Ok(sent) => sent,
                    Err(ended) => Err(failed(ended)),
                },
                State::Sent(_) => continue,
                State::Failed => Err(failed("a part was not sent")),
            };
            match sent {
                Ok(sent) => part.state = State::Sent(sent),
                Err(error) => {
                    part.state = State::Failed;
                    result = result.and(Err(error));
                }
            }
        }
        result
    }

    fn send_failed_again(&mut self) {
        for index in 0..self.parts.len() {
            let part = &self.parts[index];
            if matches!(part.state, State::Failed) {
                let piece = part.piece.clone();
                self.parts[index].state = self.begin_part(index, piece, None);
            }
        }
    }

    /// Ends it; it comes to nothing.
    pub(super) async fn abort(self) -> Result<(), StoreError> {
        let Self {
            client,
            id,
            upload,
            parts,
            ..
        } = self;
        // Nothing is sent any more.
        drop(parts);
        client.abort_multipart(id, &upload).await
    }
}

fn failed(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::with_source(StoreKind::Storage, StoreErrorKind::Unreachable, why)
}
