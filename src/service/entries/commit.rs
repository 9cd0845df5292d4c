//! How an upload becomes an entry, or nothing.

use super::{Entries, check_name, may_write, written_name};
use crate::service::{
    api_error::ApiError,
    auth::Caller,
    store::{Activity, Entry, Published, StoreErrorKind},
    upload::{Unconfirmed, Upload},
};

/// What the commit of a key has come to.
pub(crate) enum Commit {
    /// The entry with this id.
    Entry(i64),
    /// The replica at this address takes the bytes of the upload.
    Replica(String),
}

impl Entries {
    /// Commits the upload `id`. Answers the entry's id.
    pub(crate) async fn commit(
        &self,
        caller: &Caller,
        id: i64,
        size: u64,
    ) -> Result<i64, ApiError> {
        match self.uploads.by_id(id) {
            Some(upload) if may_write(caller, &upload.name) => {
                self.finish(caller, &upload, size).await
            }
            Some(_) => Err(ApiError::not_found()),
            None => committed(caller, self.store.by_id(id).await?, size),
        }
    }

    /// Commits the upload of a key, unless another replica takes its bytes.
    pub(crate) async fn commit_key(
        &self,
        caller: &Caller,
        key: &str,
        version: &str,
        size: u64,
    ) -> Result<Commit, ApiError> {
        check_name(key, version)?;
        let name = written_name(caller, key, version)?;
        if let Some(id) = self.store.reserved_by(&name).await? {
            if let Some(upload) = self.uploads.by_id(id) {
                // Version 2 says of every content that it has come, also of an empty one.
                if upload.has_nothing() {
                    return Err(ApiError::nothing_uploaded());
                }
                return self.finish(caller, &upload, size).await.map(Commit::Entry);
            }
            if let Some(replica) = self.replica_of(id).await? {
                return Ok(Commit::Replica(replica));
            }
        }
        committed(caller, self.store.by_name(&name).await?, size).map(Commit::Entry)
    }

    /// Where the replica is that takes the bytes of the upload `id`, if it is another one.
    pub(crate) async fn replica_of(&self, id: i64) -> Result<Option<String>, ApiError> {
        Ok(self.store.address_of(id).await?)
    }

    async fn finish(&self, caller: &Caller, upload: &Upload, size: u64) -> Result<i64, ApiError> {
        let mut unconfirmed = upload.commit_lock().await;
        if self.uploads.by_id(upload.id).is_none() {
            // A commit that was repeated while the first was still under way: as if it came after.
            return committed(caller, self.store.by_id(upload.id).await?, size);
        }
        let content = match unconfirmed.take() {
            Some(content) => {
                let sealed = upload.seal_again(size, content.entry.size);
                if let Err(error) = sealed {
                    *unconfirmed = Some(content);
                    return Err(error);
                }
                content
            }
            None => self.publish(upload, size).await?,
        };
        match self
            .store
            .insert(&content.entry, &content.published.extents)
            .await
        {
            Ok(()) => {
                upload.blob().trim(&content.published).await;
                self.uploads.remove(upload.id);
                let added = Activity::added(content.entry.size);
                self.note_activity(&upload.name.repository, added).await;
                self.note_growth(&upload.name.repository).await;
                Ok(upload.id)
            }
            // It may be there: without its content it would be damage.
            Err(error) if error.kind() == StoreErrorKind::Unreachable => {
                *unconfirmed = Some(content);
                upload.mark_unconfirmed();
                Err(error.into())
            }
            Err(error) => {
                let unpublished = upload.blob().unpublish().await;
                let error = match error.kind() {
                    StoreErrorKind::Conflict => ApiError::already_exists(),
                    _ => error.into(),
                };
                let error = unpublished.map_or_else(Into::into, |()| error);
                Err(self.reopen(upload, error).await)
            }
        }
    }

    /// Makes the content of an upload permanent.
    async fn publish(&self, upload: &Upload, size: u64) -> Result<Unconfirmed, ApiError> {
        if let Err(error) = self.check_size(size) {
            self.give_up(upload).await;
            return Err(error);
        }
        let published = if upload.seal_direct()? {
            published_direct(upload, size).await
        } else {
            let content = upload.seal(size)?;
            upload.blob().publish(content).await.map_err(Into::into)
        };
        let published = match published {
            Ok(published) => published,
            Err(error) => return Err(self.reopen(upload, error).await),
        };
        let now = (self.clock)();
        let entry = Entry {
            id: upload.id,
            content: upload.id,
            name: upload.name.clone(),
            size,
            stored: published.stored,
            created: now,
            accessed: now,
        };
        Ok(Unconfirmed { entry, published })
    }

    /// Takes parts again after a commit that has failed, unless the upload can come to nothing any more.
    async fn reopen(&self, upload: &Upload, error: ApiError) -> ApiError {
        upload.unseal();
        if error.ends_upload() {
            self.give_up(upload).await;
        }
        error
    }

    /// Gives up an upload that can come to nothing any more. Where the disk has no room for it, its
    /// bytes would keep the disk full until somebody misses it.
    pub(crate) async fn give_up(&self, upload: &Upload) {
        if upload.abandon()
            && let Err(error) = self.discard(upload).await
        {
            tracing::warn!(%error, "the bytes of an upload that was given up stay until the next start");
        }
    }

    pub(super) async fn discard(&self, upload: &Upload) -> Result<(), ApiError> {
        self.uploads.remove(upload.id);
        self.store.release(upload.id).await?;
        Ok(upload.blob().discard().await?)
    }
}

/// Makes what a client has sent to the store itself permanent, if it has `size` bytes.
async fn published_direct(upload: &Upload, size: u64) -> Result<Published, ApiError> {
    let published = upload.blob().publish_direct().await?;
    let published = published.ok_or_else(ApiError::nothing_uploaded)?;
    if published.stored != size {
        upload.blob().unpublish().await?;
        return Err(ApiError::size_mismatch(size, published.stored));
    }
    Ok(published)
}

/// A commit that is repeated, since its answer was lost, is a success.
fn committed(caller: &Caller, entry: Option<Entry>, size: u64) -> Result<i64, ApiError> {
    match entry {
        Some(entry) if may_write(caller, &entry.name) && entry.size == size => Ok(entry.id),
        Some(entry) if may_write(caller, &entry.name) => Err(ApiError::already_exists()),
        _ => Err(ApiError::not_found()),
    }
}
