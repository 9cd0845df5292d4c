//! Copies one entry: its content first, then its row. A content that several entries have is copied once.

use std::sync::Arc;

use futures_util::TryStreamExt as _;

use super::{
    Migration,
    content::Content,
    error::{MigrationError, SideRole, store_error},
    meter::{Meter, OnProgress},
    report::Moved,
};
use crate::{
    digest::{Digest, Hasher},
    service::{
        store::{
            ContentStream, Entry, EntryStore, Extent, Published, PutError, StagedBlob, StoreError,
            StoreErrorKind, merge,
        },
        stores::Stores,
    },
};

/// How much of a content is written at once: a bucket gets one part while the next is read.
const PART_BYTES: u64 = 8 << 20;

/// Copies entries from one pair of stores to another.
pub(super) struct Copier {
    source: Stores,
    target: Stores,
    resumed: bool,
    verify: bool,
    meter: Meter,
}

/// What has become of an entry.
pub(super) enum Copied {
    /// Its content is at the target.
    Ready(Box<Ready>),
    /// It was at the target before; its size.
    AlreadyThere(u64),
    /// Its content is not all there; its size.
    LeftOut(u64),
}

/// What can be said of an entry before those that come before it are inserted.
pub(super) enum Begun {
    /// One of them has its content, too.
    Sharing(Box<Entry>),
    /// All.
    Copied(Copied),
}

/// An entry whose content is at the target, and which is to be inserted.
pub(super) struct Ready {
    entry: Entry,
    published: Published,
    /// None if another entry has brought the content.
    blob: Option<Arc<dyn StagedBlob>>,
}

impl Ready {
    pub(super) fn size(&self) -> u64 {
        self.entry.size
    }
}

impl Copier {
    pub(super) fn new(migration: &Migration, total: Moved, on_progress: OnProgress) -> Self {
        Self {
            source: migration.source.stores.clone(),
            target: migration.target.stores.clone(),
            resumed: migration.resumed,
            verify: migration.verify,
            meter: Meter::new(total, on_progress),
        }
    }

    pub(super) fn source_entries(&self) -> Arc<dyn EntryStore> {
        Arc::clone(&self.source.entries)
    }

    /// Copies the content of the entry `id`, unless the target has the entry, or it is not the `first` that has this
    /// content.
    pub(super) async fn begin(&self, id: i64, first: bool) -> Result<Begun, MigrationError> {
        let found = self.source.entries.by_id(id).await;
        let found = found.map_err(store_error(SideRole::Source))?;
        let entry = found.ok_or(MigrationError::SourceChanged)?;
        if self.is_there(&entry).await? {
            self.meter.add_bytes(entry.size);
            self.meter.add_entry();
            return Ok(Begun::Copied(Copied::AlreadyThere(entry.size)));
        }
        if !first || self.stored(&entry).await?.is_some() {
            return Ok(Begun::Sharing(Box::new(entry)));
        }
        self.copy_content(entry).await.map(Begun::Copied)
    }

    /// Goes on when all entries before it are inserted.
    pub(super) async fn go_on(&self, begun: Begun) -> Result<Copied, MigrationError> {
        match begun {
            Begun::Sharing(entry) => self.share(*entry).await,
            Begun::Copied(copied) => Ok(copied),
        }
    }

    /// Prepares an entry whose content another has brought, if that has; else copies it.
    async fn share(&self, entry: Entry) -> Result<Copied, MigrationError> {
        let Some(stored) = self.stored(&entry).await? else {
            return self.copy_content(entry).await;
        };
        self.reserve(&entry).await?;
        self.meter.add_bytes(entry.size);
        let entry = Entry { stored, ..entry };
        Ok(Copied::Ready(Box::new(Ready {
            published: entry.published(Vec::new()),
            entry,
            blob: None,
        })))
    }

    /// What the content of an entry needs at the target, if that has it.
    async fn stored(&self, entry: &Entry) -> Result<Option<u64>, MigrationError> {
        let stored = self.target.entries.stored(entry.content).await;
        stored.map_err(|error| at_target(entry, &error))
    }

    async fn reserve(&self, entry: &Entry) -> Result<(), MigrationError> {
        let reserved = self.target.entries.reserve(&entry.name, entry.id).await;
        reserved.map_err(|error| at_target(entry, &error))
    }

    async fn copy_content(&self, entry: Entry) -> Result<Copied, MigrationError> {
        let found = self.source.entries.content(entry.id).await;
        let found = found.map_err(store_error(SideRole::Source))?;
        let (entry, extents) = found.ok_or(MigrationError::SourceChanged)?;
        let Some(pieces) = self.read(&entry, extents).await? else {
            let (repository, key) = (&*entry.name.repository, &*entry.name.key);
            tracing::warn!(repository, key, "left out: its content is not all there");
            self.meter.add_bytes(entry.size);
            return Ok(Copied::LeftOut(entry.size));
        };
        self.reserve(&entry).await?;
        let blob = self.stage(entry.content).await;
        let blob = blob.map_err(|error| at_target(&entry, &error))?;
        let (published, digest) = self.write(&entry, pieces, &*blob).await?;
        if self.verify {
            self.check(&entry, &published, digest).await?;
        }
        let entry = Entry {
            stored: published.stored,
            ..entry
        };
        Ok(Copied::Ready(Box::new(Ready {
            entry,
            published,
            blob: Some(blob),
        })))
    }

    /// Makes an entry of a content that was copied.
    pub(super) async fn finish(&self, ready: &Ready) -> Result<(), MigrationError> {
        let Ready {
            entry,
            published,
            blob,
        } = ready;
        let inserted = self.target.entries.insert(entry, &published.extents).await;
        inserted.map_err(|error| at_target(entry, &error))?;
        if let Some(blob) = blob {
            blob.trim(published).await;
        }
        self.meter.add_entry();
        Ok(())
    }

    /// Whether the target has this very entry.
    async fn is_there(&self, entry: &Entry) -> Result<bool, MigrationError> {
        let there = self.target.entries.by_id(entry.id).await;
        match there.map_err(|error| at_target(entry, &error))? {
            None => Ok(false),
            Some(there) if there.name == entry.name && there.size == entry.size => Ok(true),
            Some(_) => Err(taken(entry)),
        }
    }

    /// Begins to read a content; `None` if it is not all there.
    async fn read(
        &self,
        entry: &Entry,
        extents: Vec<Extent>,
    ) -> Result<Option<ContentStream>, MigrationError> {
        if extents.iter().map(|extent| extent.len).sum::<u64>() != entry.size {
            return Ok(None);
        }
        let content = entry.published(extents);
        let opened = self
            .source
            .blobs
            .open(entry.content, content, 0..entry.size);
        match opened.await {
            Ok(pieces) => Ok(Some(pieces)),
            Err(error) => match error.kind() {
                StoreErrorKind::NotFound | StoreErrorKind::Truncated { .. } => Ok(None),
                _ => Err(failed(SideRole::Source, entry, error.message())),
            },
        }
    }

    /// A place for the content `id`, without what an earlier run has left of it.
    async fn stage(&self, id: i64) -> Result<Arc<dyn StagedBlob>, StoreError> {
        if self.resumed {
            self.target.blobs.remove(id).await?;
        }
        self.target.blobs.stage(id).await
    }

    /// Writes a content. Answers the digest of what was read, too.
    async fn write(
        &self,
        entry: &Entry,
        pieces: ContentStream,
        blob: &dyn StagedBlob,
    ) -> Result<(Published, Digest), MigrationError> {
        let on_bytes = |bytes| self.meter.add_bytes(bytes);
        let mut content = Content::new(pieces, &on_bytes);
        let mut extents = Vec::new();
        let mut left = entry.size;
        while left > 0 {
            let len = left.min(PART_BYTES);
            let part = blob.put(len, content.begin_part(len)).await;
            extents.push(part.map_err(|error| match error {
                PutError::Body(error) => failed(SideRole::Source, entry, error.0),
                PutError::Store(error) => at_target(entry, &error),
            })?);
            left -= len;
        }
        let published = blob.publish(merge(extents)).await;
        let published = published.map_err(|error| at_target(entry, &error))?;
        Ok((published, content.finish()))
    }

    /// Reads again what was written.
    async fn check(
        &self,
        entry: &Entry,
        published: &Published,
        digest: Digest,
    ) -> Result<(), MigrationError> {
        let content = published.clone();
        let read = async {
            let opened = self
                .target
                .blobs
                .open(entry.content, content, 0..entry.size);
            let mut pieces = opened.await?;
            let mut hasher = Hasher::default();
            while let Some(piece) = pieces.try_next().await? {
                hasher.update(&piece);
            }
            Ok::<_, StoreError>(hasher.finish())
        };
        let read = read.await.map_err(|error| at_target(entry, &error))?;
        if read != digest {
            let key = entry.name.key.clone();
            return Err(MigrationError::Damaged { key });
        }
        Ok(())
    }
}

fn taken(entry: &Entry) -> MigrationError {
    let key = entry.name.key.clone();
    MigrationError::Taken { key }
}

fn at_target(entry: &Entry, error: &StoreError) -> MigrationError {
    match error.kind() {
        StoreErrorKind::Conflict => taken(entry),
        _ => failed(SideRole::Target, entry, error.message()),
    }
}

fn failed(role: SideRole, entry: &Entry, message: String) -> MigrationError {
    let key = Some(entry.name.key.clone());
    MigrationError::Store { role, key, message }
}
