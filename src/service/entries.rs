//! The rules of the Actions cache, without any protocol.
//!
//! - An entry is named by repository, scope, version and key, and never changes.
//! - A lookup goes through the token's readable scopes in order; in each it tries every key in
//!   order, first exactly and then as a prefix of which the newest entry counts. That is the order
//!   that GitHub documents: all keys on the own branch come before the default branch.
//! - Writes go to the first writable scope. A key is taken from its reservation on.
//! - Nothing is visible before its commit, and a commit must name the exact size.
//! - An entry whose content is not all there does not exist: see [`damage`].
//!
//! Everything here blocks: call it from a blocking thread only.

mod damage;

use std::{fs::File, io, sync::Arc};

use jiff::Timestamp;

use super::{
    active_uploads::ActiveUploads,
    api_error::{ApiError, ErrorKind},
    auth::Caller,
    ballast::Ballast,
    blobs::Blobs,
    clock::Clock,
    config::{MAX_LOOKUP_KEYS, MAX_OPEN_UPLOADS, affordable},
    data_dir::DataDir,
    db::{AFTER_ALL_KEYS, Db, Entry, Filter, Page},
    extent::{Extent, stored_bytes},
    quotas::{Quotas, UploadUsage},
    upload::{EntryName, Upload},
};
use crate::protocol::{
    key::MAX_KEY_CHARS,
    rest::{Direction, SortBy},
};

/// Ids are random, so that no id of an upload that died with its process is ever given again, and
/// have at most 52 bits, since JavaScript's numbers hold no more.
const ID_BITS: u32 = 52;

/// A part of the files that the process may open is for uploads: each has one.
const FILES_PER_UPLOAD: u64 = 4;

/// All entries of a data directory.
pub struct Entries {
    db: Db,
    blobs: Blobs,
    uploads: ActiveUploads,
    ballast: Ballast,
    quotas: Arc<Quotas>,
    clock: Clock,
}

impl Entries {
    /// Opens a data directory and removes what a crash has left in it.
    pub fn open(data_dir: &DataDir, clock: Clock, quotas: Arc<Quotas>) -> Result<Self, ApiError> {
        let ballast = Ballast::new(data_dir.path());
        // Opening a database writes, and a full disk must not keep its entries from being read.
        ballast.release();
        let this = Self {
            db: Db::open(data_dir)?,
            blobs: Blobs::open(data_dir)?,
            uploads: ActiveUploads::new(affordable(MAX_OPEN_UPLOADS, FILES_PER_UPLOAD)),
            ballast,
            quotas,
            clock,
        };
        this.drop_all_damaged()?;
        this.collect_files()?;
        Ok(this)
    }

    /// The best entry for any of `keys`.
    pub fn lookup(
        &self,
        caller: &Caller,
        keys: &[String],
        version: &str,
    ) -> Result<Option<Entry>, ApiError> {
        if keys.is_empty() || keys.len() > MAX_LOOKUP_KEYS {
            return Err(ApiError::key_count());
        }
        for key in keys {
            check_name(key, version)?;
        }
        for scope in caller.readable() {
            for key in keys {
                let name = name(caller, scope, key, version);
                while let Some(entry) = self.best(&name)? {
                    // One that is damaged is dropped, and another may stand behind it.
                    if !self.is_intact(&entry)? {
                        continue;
                    }
                    // A full disk must not turn a hit into a failure.
                    if let Err(error) = self.db.touch(entry.id, (self.clock)()) {
                        tracing::warn!(%error, "the time of an access could not be noted");
                    }
                    return Ok(Some(entry));
                }
            }
        }
        Ok(None)
    }

    fn best(&self, name: &EntryName) -> Result<Option<Entry>, ApiError> {
        match self.db.exact(name)? {
            None => Ok(self.db.newest(name)?),
            exact => Ok(exact),
        }
    }

    /// Takes a key for an upload.
    pub fn reserve(
        &self,
        caller: &Caller,
        key: &str,
        version: &str,
    ) -> Result<Arc<Upload>, ApiError> {
        check_name(key, version)?;
        let scope = caller.write_scope().ok_or_else(ApiError::read_only)?;
        let name = name(caller, scope, key, version);
        self.uploads.insert(&name, || {
            if self.db.exact(&name)?.is_some() {
                return Err(ApiError::already_exists());
            }
            let id = (rand::random::<u64>() >> (u64::BITS - ID_BITS)).cast_signed();
            let usage = UploadUsage::new(&self.quotas, &name)?;
            let file = self.blobs.create(id)?;
            Ok(Upload::new(id, name.clone(), file, (self.clock)(), usage))
        })
    }

    /// The upload `id`, for whoever was trusted with the id.
    pub fn upload(&self, id: i64) -> Result<Arc<Upload>, ApiError> {
        self.uploads.by_id(id).ok_or_else(ApiError::not_found)
    }

    /// The upload `id`, if it is the caller's.
    pub fn upload_of(&self, caller: &Caller, id: i64) -> Result<Arc<Upload>, ApiError> {
        let upload = self.upload(id)?;
        if !may_write(caller, &upload.name) {
            return Err(ApiError::not_found());
        }
        Ok(upload)
    }

    /// Commits the upload `id`. Answers the entry's id.
    pub fn commit(&self, caller: &Caller, id: i64, size: u64) -> Result<i64, ApiError> {
        match self.uploads.by_id(id) {
            Some(upload) if may_write(caller, &upload.name) => self.finish(caller, &upload, size),
            Some(_) => Err(ApiError::not_found()),
            None => committed(caller, self.db.by_id(id)?, size),
        }
    }

    /// Commits the upload of a key. Answers the entry's id.
    pub fn commit_key(
        &self,
        caller: &Caller,
        key: &str,
        version: &str,
        size: u64,
    ) -> Result<i64, ApiError> {
        check_name(key, version)?;
        let scope = caller.write_scope().ok_or_else(ApiError::read_only)?;
        let name = name(caller, scope, key, version);
        match self.uploads.by_name(&name) {
            Some(upload) => self.finish(caller, &upload, size),
            None => committed(caller, self.db.exact(&name)?, size),
        }
    }

    fn finish(&self, caller: &Caller, upload: &Upload, size: u64) -> Result<i64, ApiError> {
        let _turn = upload.commit_lock();
        if self.uploads.by_id(upload.id).is_none() {
            // A commit that was repeated while the first was still under way: as if it came after.
            return committed(caller, self.db.by_id(upload.id)?, size);
        }
        let extents = upload.seal(size)?;
        if let Err(error) = self.persist(upload, size, extents) {
            upload.unseal();
            if error.ends_upload() {
                self.give_up(upload);
            }
            return Err(error);
        }
        self.uploads.remove(upload);
        Ok(upload.id)
    }

    /// Gives up an upload that can come to nothing any more. Where the disk has no room for it, its
    /// bytes would keep the disk full until somebody misses it.
    pub fn give_up(&self, upload: &Upload) {
        if upload.abandon()
            && let Err(error) = self.discard(upload)
        {
            tracing::warn!(%error, "the bytes of an upload that was given up stay until the next start");
        }
    }

    fn discard(&self, upload: &Upload) -> Result<(), ApiError> {
        self.uploads.remove(upload);
        upload.close();
        Ok(self.blobs.discard(upload.id)?)
    }

    fn persist(&self, upload: &Upload, size: u64, extents: Vec<Extent>) -> Result<(), ApiError> {
        upload.close();
        let extents = upload.file().trim(extents)?;
        let now = (self.clock)();
        let entry = Entry {
            id: upload.id,
            name: upload.name.clone(),
            size,
            stored: stored_bytes(&extents),
            created: now,
            accessed: now,
        };
        self.blobs.publish(entry.id, upload.file())?;
        if let Err(error) = self.db.insert(&entry, &extents) {
            self.blobs.unpublish(entry.id)?;
            return Err(error.into());
        }
        Ok(())
    }

    /// The entry `id`, its file and where its bytes lie there, for whoever was trusted with the id.
    pub fn content(&self, id: i64) -> Result<(Entry, Vec<Extent>, File), ApiError> {
        let entry = self.db.by_id(id)?.ok_or_else(ApiError::not_found)?;
        match self.blobs.read(id) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.drop_damaged(&entry, None)?;
                Err(ApiError::not_found())
            }
            Ok(file) if !self.is_intact_in(&entry, &file)? => Err(ApiError::not_found()),
            file => {
                let extents = self.db.extents(id)?.ok_or_else(ApiError::not_found)?;
                Ok((entry, extents, file?))
            }
        }
    }

    /// How many entries match, and one page of them.
    pub fn list(&self, filter: &Filter, page: Page) -> Result<(u64, Vec<Entry>), ApiError> {
        Ok((self.db.count(filter)?, self.db.list(filter, page)?))
    }

    /// Deletes the entries with exactly this key in the scopes of the filter. Answers what is gone.
    pub fn delete_key(&self, filter: &Filter) -> Result<Vec<Entry>, ApiError> {
        let all = Page {
            sort: SortBy::CreatedAt,
            direction: Direction::Asc,
            skip: 0,
            take: u32::MAX,
        };
        let mut entries = self.db.list(filter, all)?;
        entries.retain(|entry| entry.name.key == filter.key_prefix);
        for entry in &entries {
            self.remove(entry.id)?;
        }
        Ok(entries)
    }

    /// Deletes the entry `id`, if the caller may. One that it may not read does not exist for it.
    pub fn delete(&self, caller: &Caller, id: i64) -> Result<(), ApiError> {
        let entry = self.db.by_id(id)?.ok_or_else(ApiError::not_found)?;
        let EntryName {
            repository, scope, ..
        } = &entry.name;
        if *repository != caller.repository {
            return Err(ApiError::not_found());
        }
        if caller.deletable().any(|deletable| deletable == scope) {
            return self.remove(id);
        }
        Err(if caller.may_read(scope) {
            ApiError::deletion_denied()
        } else {
            ApiError::not_found()
        })
    }

    /// The entry first: a file without an entry is garbage, the opposite would be damage.
    fn remove(&self, id: i64) -> Result<(), ApiError> {
        self.delete_row(id)?;
        Ok(self.blobs.remove(id)?)
    }

    /// Deleting must work on a full disk: it is how room is made.
    fn delete_row(&self, id: i64) -> Result<bool, ApiError> {
        match self.db.delete(id).map_err(ApiError::from) {
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                self.ballast.release();
                let deleted = self.db.delete(id);
                self.ballast.restore();
                Ok(deleted?)
            }
            other => other,
        }
    }

    /// Gives up the reservations that nothing has happened to since `before`. Answers how many.
    pub fn expire_uploads(&self, before: Timestamp) -> Result<usize, ApiError> {
        let mut expired = 0;
        for upload in self.uploads.all() {
            if upload.abandon_if_idle(before) {
                self.discard(&upload)?;
                expired += 1;
            }
        }
        Ok(expired)
    }

    /// Removes files that no entry needs, and sees to the ballast. Answers how many.
    pub fn collect_files(&self) -> Result<usize, ApiError> {
        let mut removed = 0;
        for id in self.blobs.ids()? {
            // In this order: an upload leaves the registry only after its entry is there.
            if self.uploads.by_id(id).is_none() && self.db.by_id(id)?.is_none() {
                self.blobs.remove(id)?;
                removed += 1;
            }
        }
        self.ballast.restore();
        Ok(removed)
    }

    /// Writes down when entries were found. A full disk must not keep anything else from being done.
    pub fn note_accesses(&self) {
        if let Err(error) = self.db.flush() {
            tracing::warn!(%error, "times of access could not be noted");
        }
    }

    /// Fails if the database cannot be read.
    pub fn ping(&self) -> Result<(), ApiError> {
        Ok(self.db.ping()?)
    }
}

/// A commit that is repeated, since its answer was lost, is a success.
fn committed(caller: &Caller, entry: Option<Entry>, size: u64) -> Result<i64, ApiError> {
    match entry {
        Some(entry) if may_write(caller, &entry.name) && entry.size == size => Ok(entry.id),
        Some(entry) if may_write(caller, &entry.name) => Err(ApiError::already_exists()),
        _ => Err(ApiError::not_found()),
    }
}

fn may_write(caller: &Caller, name: &EntryName) -> bool {
    name.repository == caller.repository && caller.write_scope() == Some(&name.scope)
}

fn name(caller: &Caller, scope: &str, key: &str, version: &str) -> EntryName {
    EntryName {
        repository: caller.repository.clone(),
        scope: scope.to_owned(),
        key: key.to_owned(),
        version: version.to_owned(),
    }
}

fn check_name(key: &str, version: &str) -> Result<(), ApiError> {
    let fits = |text: &str| !text.is_empty() && text.chars().count() <= MAX_KEY_CHARS;
    if !fits(key) || key.contains([',', AFTER_ALL_KEYS]) {
        return Err(ApiError::invalid_key());
    }
    if !fits(version) {
        return Err(ApiError::invalid_version());
    }
    Ok(())
}
