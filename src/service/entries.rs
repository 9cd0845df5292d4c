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
//! - The same bytes in several scopes are stored once: see [`share`].
//!
//! A rule runs to its end, whoever waits for it: see [`super::blocking::run_rule`].

mod commit;
mod damage;
mod deletion;
mod direct;
mod evict;
mod garbage;
mod index_layers;
mod index_tree;
mod listing;
mod overview;
mod share;

use std::{ops::Range, sync::Arc};

use jiff::Timestamp;

pub(super) use self::{
    commit::Commit,
    index_layers::LayerNode,
    index_tree::{IndexEntry, IndexTree},
    overview::RepositoryOverview,
};
use super::{
    active_uploads::ActiveUploads,
    api_error::ApiError,
    audit::AuditLog,
    auth::Caller,
    budgets::Budgets,
    clock::Clock,
    config::{MAX_LOOKUP_KEYS, MAX_OPEN_UPLOADS, affordable},
    crossed_budgets::CrossedBudgets,
    quotas::{Quotas, UploadUsage},
    store::{
        AFTER_ALL_KEYS, Activity, BlobStore, ContentStream, Entry, EntryName, EntryStore,
        OverviewStore, Published, Search, StoreErrorKind,
    },
    stores::Stores,
    upload::Upload,
};
use crate::protocol::key::MAX_KEY_CHARS;

/// Ids are random, so that no id of an upload that died with its process is ever given again, and
/// have at most 52 bits, since JavaScript's numbers hold no more.
const ID_BITS: u32 = 52;

/// What not every database can keep in a text.
const NUL: char = '\0';

/// A part of the files that the process may open is for uploads: each has one.
const FILES_PER_UPLOAD: u64 = 4;

/// All entries of a service.
pub(super) struct Entries {
    store: Arc<dyn EntryStore>,
    blobs: Arc<dyn BlobStore>,
    overviews: Arc<dyn OverviewStore>,
    uploads: ActiveUploads,
    quotas: Arc<Quotas>,
    audit: Arc<AuditLog>,
    clock: Clock,
    budgets: Budgets,
    crossed_budgets: Arc<CrossedBudgets>,
    /// Whoever evicts has its turn: two would evict for the same excess.
    evictions: tokio::sync::Mutex<()>,
    /// Whoever joins contents has its turn, too: two would read the same ones.
    sharing: tokio::sync::Mutex<()>,
}

impl Entries {
    /// The entries of two stores.
    pub(super) fn new(
        stores: Stores,
        clock: Clock,
        quotas: Arc<Quotas>,
        audit: Arc<AuditLog>,
        budgets: Budgets,
    ) -> Self {
        Self {
            store: stores.entries,
            blobs: stores.blobs,
            overviews: stores.overviews,
            uploads: ActiveUploads::new(affordable(MAX_OPEN_UPLOADS, FILES_PER_UPLOAD)),
            quotas,
            audit,
            clock,
            budgets,
            crossed_budgets: Arc::default(),
            evictions: tokio::sync::Mutex::default(),
            sharing: tokio::sync::Mutex::default(),
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
            self.note_activity(&search.repository, Activity::lookup(true))
                .await;
            return Ok(Some(entry));
        }
        self.note_activity(&search.repository, Activity::lookup(false))
            .await;
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
        let content = entry.published(extents);
        Ok((entry, content))
    }

    /// Begins to read the bytes of `range` of the content of an entry.
    pub(super) async fn read(
        &self,
        entry: &Entry,
        content: Published,
        range: Range<u64>,
    ) -> Result<ContentStream, ApiError> {
        let opened = self.blobs.open(entry.content, content, range).await;
        let opened = self.found_intact(entry, opened).await?;
        opened.ok_or_else(ApiError::not_found)
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

    /// Whether this process collects for all that share the entries.
    pub(super) async fn is_collector(&self) -> Result<bool, ApiError> {
        Ok(self.store.is_collector().await?)
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
