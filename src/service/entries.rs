//! The rules of the Actions cache, without any protocol, database or file.
//!
//! - An entry is named by repository, scope, version and key, and never changes.
//! - A lookup goes through the token's readable scopes in order; in each it tries every key in
//!   order, first exactly and then as a prefix of which the newest entry counts. That is the order
//!   that GitHub documents: all keys on the own branch come before the default branch.
//! - Writes go to the first writable scope. A key is taken from its reservation on.
//! - Nothing is visible before its commit, and a commit must name the exact size: see [`commit`].
//! - An entry whose content is not all there does not exist: see [`damage`].
//! - Entries that nobody needs go when there are too many: see [`evict`].
//!
//! A rule runs to its end, whoever waits for it: see [`super::blocking::run_rule`].

mod commit;
mod damage;
mod evict;

use std::{ops::Range, sync::Arc};

use futures_util::{StreamExt as _, TryStreamExt as _, future::ready};
use jiff::Timestamp;

use super::{
    active_uploads::ActiveUploads,
    api_error::ApiError,
    auth::Caller,
    budgets::Budgets,
    clock::Clock,
    config::{MAX_LOOKUP_KEYS, MAX_OPEN_UPLOADS, affordable},
    quotas::{Quotas, UploadUsage},
    room::Room,
    store::{
        AFTER_ALL_KEYS, BlobStore, ContentStream, Entry, EntryName, EntryStore, Filter, Page,
        Published, Search, StoreErrorKind, Totals,
    },
    stores::Stores,
    upload::Upload,
};
use crate::protocol::{
    key::MAX_KEY_CHARS,
    rest::{Direction, SortBy},
};

/// Ids are random, so that no id of an upload that died with its process is ever given again, and
/// have at most 52 bits, since JavaScript's numbers hold no more.
const ID_BITS: u32 = 52;

/// How many contents are asked after at once: as many as a page of a bucket's listing has.
const IDS_AT_ONCE: usize = 1000;

/// What not every database can keep in a text.
const NUL: char = '\0';

/// A part of the files that the process may open is for uploads: each has one.
const FILES_PER_UPLOAD: u64 = 4;

/// All entries of a service.
pub(super) struct Entries {
    store: Arc<dyn EntryStore>,
    blobs: Arc<dyn BlobStore>,
    uploads: ActiveUploads,
    quotas: Arc<Quotas>,
    clock: Clock,
    budgets: Budgets,
    room: Arc<Room>,
    /// Whoever evicts has its turn: two would evict for the same excess.
    evictions: tokio::sync::Mutex<()>,
}

impl Entries {
    /// The entries of two stores.
    pub(super) fn new(stores: Stores, clock: Clock, quotas: Arc<Quotas>, budgets: Budgets) -> Self {
        Self {
            store: stores.entries,
            blobs: stores.blobs,
            uploads: ActiveUploads::new(affordable(MAX_OPEN_UPLOADS, FILES_PER_UPLOAD)),
            quotas,
            clock,
            budgets,
            room: Arc::default(),
            evictions: tokio::sync::Mutex::default(),
        }
    }

    /// Removes what a crash has left.
    pub(super) async fn recover(&self) -> Result<(), ApiError> {
        self.drop_all_damaged().await?;
        self.collect_blobs().await?;
        Ok(())
    }

    /// How many searches may run at once.
    pub(super) fn max_searches(&self) -> usize {
        self.store.max_searches()
    }

    /// The best entry for any of `keys`.
    pub(super) async fn lookup(
        &self,
        caller: &Caller,
        keys: Vec<String>,
        version: String,
    ) -> Result<Option<Entry>, ApiError> {
        if keys.is_empty() || keys.len() > MAX_LOOKUP_KEYS {
            return Err(ApiError::key_count());
        }
        for key in &keys {
            check_name(key, &version)?;
        }
        let search = Search {
            repository: caller.repository.clone(),
            scopes: caller.readable().map(str::to_owned).collect(),
            keys,
            version,
        };
        while let Some(entry) = self.store.find(&search).await? {
            // One that is damaged is dropped, and another may stand behind it.
            if !self.is_intact(&entry).await? {
                continue;
            }
            // A full disk must not turn a hit into a failure.
            if let Err(error) = self.store.touch(entry.id, (self.clock)()).await {
                tracing::warn!(%error, "the time of an access could not be noted");
            }
            return Ok(Some(entry));
        }
        Ok(None)
    }

    /// Takes a key for an upload.
    pub(super) async fn reserve(
        &self,
        caller: &Caller,
        key: &str,
        version: &str,
    ) -> Result<Arc<Upload>, ApiError> {
        check_name(key, version)?;
        let name = written_name(caller, key, version)?;
        let id = (rand::random::<u64>() >> (u64::BITS - ID_BITS)).cast_signed();
        if let Err(error) = self.store.reserve(&name, id).await {
            return Err(match error.kind() {
                StoreErrorKind::Conflict => ApiError::already_exists(),
                _ => error.into(),
            });
        }
        let upload = self.begin_upload(id, name).await;
        if upload.is_err() {
            self.store.release(id).await?;
        }
        upload
    }

    async fn begin_upload(&self, id: i64, name: EntryName) -> Result<Arc<Upload>, ApiError> {
        let slot = self.uploads.slot()?;
        let usage = UploadUsage::new(&self.quotas, &name)?;
        let blob = self.blobs.stage(id).await?;
        let upload = Arc::new(Upload::new(id, name, blob, (self.clock)(), usage));
        self.uploads.insert(&upload, slot);
        Ok(upload)
    }

    /// The upload `id`, for whoever was trusted with the id.
    pub(super) fn upload(&self, id: i64) -> Result<Arc<Upload>, ApiError> {
        self.uploads.by_id(id).ok_or_else(ApiError::not_found)
    }

    /// The upload `id`, if it is the caller's.
    pub(super) fn upload_of(&self, caller: &Caller, id: i64) -> Result<Arc<Upload>, ApiError> {
        let upload = self.upload(id)?;
        if !may_write(caller, &upload.name) {
            return Err(ApiError::not_found());
        }
        Ok(upload)
    }

    /// The entry `id` and where its content lies, for whoever was trusted with the id.
    pub(super) async fn content(&self, id: i64) -> Result<(Entry, Published), ApiError> {
        let found = self.store.content(id).await?;
        let (entry, extents) = found.ok_or_else(ApiError::not_found)?;
        let stored = entry.stored;
        Ok((entry, Published { extents, stored }))
    }

    /// Begins to read the bytes of `range` of the content of an entry.
    pub(super) async fn read(
        &self,
        entry: &Entry,
        content: Published,
        range: Range<u64>,
    ) -> Result<ContentStream, ApiError> {
        let opened = self.blobs.open(entry.id, content, range).await;
        let opened = self.found_intact(entry, opened).await?;
        opened.ok_or_else(ApiError::not_found)
    }

    /// What there is in all.
    pub(super) async fn totals(&self) -> Result<Totals, ApiError> {
        Ok(self.store.totals().await?)
    }

    /// How many entries match, and one page of them: those that the caller may read, in `scope` if one is
    /// named.
    pub(super) async fn list(
        &self,
        caller: &Caller,
        scope: Option<&str>,
        key_prefix: String,
        page: Page,
    ) -> Result<(u64, Vec<Entry>), ApiError> {
        let filter = Filter {
            repository: Some(caller.repository.clone()),
            scopes: Some(only(scope, caller.readable())),
            key_prefix,
        };
        let count = self.store.count(&filter).await?;
        Ok((count, self.store.list(&filter, page).await?))
    }

    /// How many entries whose keys begin so are in scopes that the caller does not read; for one that may delete:
    /// it must know whether indexes that it does not see may name what it removes.
    pub(super) async fn hidden(
        &self,
        caller: &Caller,
        key_prefix: &str,
    ) -> Result<Option<u64>, ApiError> {
        if caller.deletable().next().is_none() {
            return Ok(None);
        }
        let filter = |scopes| Filter {
            repository: Some(caller.repository.clone()),
            scopes,
            key_prefix: key_prefix.to_owned(),
        };
        let all = self.store.count(&filter(None)).await?;
        let readable = Some(only(None, caller.readable()));
        let readable = self.store.count(&filter(readable)).await?;
        Ok(Some(all.saturating_sub(readable)))
    }

    /// Deletes the entries with exactly this key where the caller may delete, in `scope` if one is named.
    /// Answers what is gone.
    pub(super) async fn delete_key(
        &self,
        caller: &Caller,
        scope: Option<&str>,
        key: &str,
    ) -> Result<Vec<Entry>, ApiError> {
        let scopes = only(scope, caller.deletable());
        if scopes.is_empty() {
            return Err(ApiError::deletion_denied());
        }
        let filter = Filter {
            repository: Some(caller.repository.clone()),
            scopes: Some(scopes),
            key_prefix: key.to_owned(),
        };
        let all = Page {
            sort: SortBy::CreatedAt,
            direction: Direction::Asc,
            skip: 0,
            take: u32::MAX,
        };
        let mut entries = self.store.list(&filter, all).await?;
        entries.retain(|entry| entry.name.key == key);
        if entries.is_empty() {
            return Err(ApiError::not_found());
        }
        for entry in &entries {
            self.remove(entry.id).await?;
        }
        Ok(entries)
    }

    /// Deletes the entry `id`, if the caller may. One that it may not read does not exist for it.
    pub(super) async fn delete(&self, caller: &Caller, id: i64) -> Result<(), ApiError> {
        let entry = self.store.by_id(id).await?;
        let EntryName {
            repository, scope, ..
        } = entry.ok_or_else(ApiError::not_found)?.name;
        if repository != caller.repository {
            return Err(ApiError::not_found());
        }
        if caller.deletable().any(|deletable| deletable == scope) {
            return self.remove(id).await;
        }
        Err(if caller.may_read(&scope) {
            ApiError::deletion_denied()
        } else {
            ApiError::not_found()
        })
    }

    /// The entry first: a content without an entry is garbage, the opposite would be damage.
    async fn remove(&self, id: i64) -> Result<(), ApiError> {
        self.store.delete(id).await?;
        Ok(self.blobs.remove(id).await?)
    }

    /// Whether there are uploads in progress.
    pub(super) fn has_uploads(&self) -> bool {
        !self.uploads.all().is_empty()
    }

    /// How many uploads something has happened to since then.
    pub(super) fn active_since(&self, since: Timestamp) -> usize {
        let uploads = self.uploads.all();
        uploads
            .iter()
            .filter(|upload| upload.is_active(since))
            .count()
    }

    /// Gives up the reservations that nothing has happened to since `before`. Answers how many.
    pub(super) async fn expire_uploads(&self, before: Timestamp) -> Result<usize, ApiError> {
        let mut expired = 0;
        for upload in self.uploads.all() {
            if upload.abandon_if_idle(before) {
                self.discard(&upload).await?;
                expired += 1;
            }
        }
        Ok(expired)
    }

    /// Removes contents that no entry needs. Answers how many.
    pub(super) async fn collect_blobs(&self) -> Result<usize, ApiError> {
        let mut removed = 0;
        // In this order: an upload is forgotten only after its entry is there.
        let strange = self
            .blobs
            .ids()
            .try_filter(|id| ready(self.uploads.by_id(*id).is_none()));
        let mut strange = strange.try_chunks(IDS_AT_ONCE);
        while let Some(ids) = strange.next().await {
            let ids = ids.map_err(|failed| failed.1)?;
            let needed = self.store.needed(ids.clone()).await?;
            for id in ids {
                if !needed.contains(&id) {
                    self.blobs.remove(id).await?;
                    removed += 1;
                }
            }
        }
        self.store.keep_room().await?;
        Ok(removed)
    }

    /// Writes down when entries were found. A full disk must not keep anything else from being done.
    pub(super) async fn note_accesses(&self) {
        if let Err(error) = self.store.flush().await {
            tracing::warn!(%error, "times of access could not be noted");
        }
    }

    /// Says where other replicas reach this one.
    pub(super) async fn announce(&self, address: String) -> Result<(), ApiError> {
        Ok(self.store.announce(address).await?)
    }

    /// Whether other processes share the entries.
    pub(super) fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// Says that this process is still there.
    pub(super) async fn renew_lease(&self) -> Result<(), ApiError> {
        Ok(self.store.renew_lease().await?)
    }

    /// Ends what this process has under way.
    pub(super) async fn close(&self) -> Result<(), ApiError> {
        Ok(self.store.close().await?)
    }

    /// Fails if the entries cannot be read.
    pub(super) async fn ping(&self) -> Result<(), ApiError> {
        Ok(self.store.ping().await?)
    }
}

fn may_write(caller: &Caller, name: &EntryName) -> bool {
    name.repository == caller.repository && caller.write_scope() == Some(&name.scope)
}

/// The name of what the caller writes under a key.
fn written_name(caller: &Caller, key: &str, version: &str) -> Result<EntryName, ApiError> {
    let scope = caller.write_scope().ok_or_else(ApiError::read_only)?;
    Ok(EntryName {
        repository: caller.repository.clone(),
        scope: scope.to_owned(),
        key: key.to_owned(),
        version: version.to_owned(),
    })
}

/// Those of `scopes` that are meant: all, or the one that is named.
fn only<'a>(named: Option<&str>, scopes: impl Iterator<Item = &'a str>) -> Vec<String> {
    let meant = scopes.filter(|scope| named.is_none_or(|named| named == *scope));
    meant.map(str::to_owned).collect()
}

fn check_name(key: &str, version: &str) -> Result<(), ApiError> {
    let fits = |text: &str| !text.is_empty() && text.chars().count() <= MAX_KEY_CHARS;
    if !fits(key) || key.contains([',', NUL, AFTER_ALL_KEYS]) {
        return Err(ApiError::invalid_key());
    }
    if !fits(version) || version.contains(NUL) {
        return Err(ApiError::invalid_version());
    }
    Ok(())
}
