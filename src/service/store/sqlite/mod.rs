//! An [`EntryStore`] in one SQLite database, for one process: the reservations are in its memory.

mod ballast;
mod database;
mod overview;
mod pool;
mod reservations;
mod rows;
mod schema;
mod sharing;
mod tokens;
mod usage;

use std::{collections::HashSet, io, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::Mutex;

pub(crate) use self::tokens::SqliteTokens;
use self::{ballast::Ballast, database::Database, reservations::Reservations};
use super::{
    entry_store::{
        Committed, Entry, EntryName, EntryStore, Filter, LeastRecentlyUsed, Page, Search, Totals,
        Usage,
    },
    error::{StoreError, StoreErrorKind, StoreKind},
    extent::{Extent, ObjectId},
};
use crate::service::{blocking::run_blocking, data_dir::DataDir};

/// The database's file in the data directory, and those that SQLite keeps beside it.
pub(crate) const FILE: &str = "entries.db";
const WAL: &str = "entries.db-wal";
const SHARED: &str = "entries.db-shm";

/// The database of one data directory. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct SqliteStore(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    database: Database,
    ballast: Ballast,
    reservations: Mutex<Reservations>,
}

impl SqliteStore {
    /// Opens the database of a data directory, or makes it. Blocks.
    pub(crate) fn open(data_dir: &DataDir) -> Result<Self, StoreError> {
        let ballast = Ballast::new(data_dir.path());
        // Opening a database writes, and a full disk must not keep its entries from being read.
        ballast.release();
        secure_files(data_dir)?;
        Ok(Self(Arc::new(Inner {
            database: Database::open(&data_dir.path().join(FILE))?,
            ballast,
            reservations: Mutex::default(),
        })))
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let inner = Arc::clone(&self.0);
        run_blocking(move || work(&inner)).await
    }

    fn database(&self) -> &Database {
        &self.0.database
    }

    async fn query<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Database) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.run(|inner| Ok(work(&inner.database)?)).await
    }
}

/// Looks at the files of the database, and makes the first of them if it is not there.
fn secure_files(data_dir: &DataDir) -> io::Result<()> {
    // SQLite gives its other files the mode of this one.
    for name in [FILE, WAL, SHARED] {
        data_dir.secure_if_present(name)?;
    }
    data_dir.file(FILE).map(drop)
}

impl Inner {
    fn reserve(&self, name: &EntryName, id: i64) -> Result<(), StoreError> {
        // Held until it is known that no entry has the name: an entry is there before its reservation ends.
        let mut reservations = self.reservations.lock();
        let taken = reservations.by_name(name).is_some() || self.database.by_name(name)?.is_some();
        if taken {
            return Err(StoreError::new(
                StoreKind::Database,
                StoreErrorKind::Conflict,
            ));
        }
        reservations.insert(name, id);
        Ok(())
    }

    /// Runs a deletion, on a full disk with the room that is set aside for it.
    fn delete<T>(
        &self,
        delete: impl Fn(&Database) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        match delete(&self.database).map_err(StoreError::from) {
            Err(error) if error.kind() == StoreErrorKind::Full => {
                self.ballast.release();
                let deleted = delete(&self.database);
                self.ballast.restore();
                Ok(deleted?)
            }
            other => other,
        }
    }
}

#[async_trait]
impl EntryStore for SqliteStore {
    fn max_searches(&self) -> usize {
        pool::SEARCHES
    }

    async fn find(&self, search: &Search) -> Result<Option<Entry>, StoreError> {
        let search = search.clone();
        self.query(move |database| database.find(&search)).await
    }

    async fn by_name(&self, name: &EntryName) -> Result<Option<Entry>, StoreError> {
        let name = name.clone();
        self.query(move |database| database.by_name(&name)).await
    }

    async fn by_id(&self, id: i64) -> Result<Option<Entry>, StoreError> {
        self.query(move |database| database.by_id(id)).await
    }

    /// Asks for the reservation first: an entry is there before its reservation ends.
    async fn needed(&self, ids: Vec<i64>) -> Result<HashSet<i64>, StoreError> {
        self.run(move |inner| {
            let mut needed = HashSet::new();
            for id in ids {
                let reserved = inner.reservations.lock().has(id);
                if reserved || inner.database.is_content(id)? {
                    needed.insert(id);
                }
            }
            Ok(needed)
        })
        .await
    }

    async fn content(&self, id: i64) -> Result<Option<(Entry, Vec<Extent>)>, StoreError> {
        self.query(move |database| database.content(id)).await
    }

    async fn committed(&self, after: i64) -> Result<Vec<Committed>, StoreError> {
        self.query(move |database| database.committed(after)).await
    }

    async fn count(&self, filter: &Filter) -> Result<u64, StoreError> {
        let filter = filter.clone();
        self.query(move |database| database.count(&filter)).await
    }

    async fn list(&self, filter: &Filter, page: Page) -> Result<Vec<Entry>, StoreError> {
        let filter = filter.clone();
        self.query(move |database| database.list(&filter, page))
            .await
    }

    async fn reserve(&self, name: &EntryName, id: i64) -> Result<(), StoreError> {
        let name = name.clone();
        self.run(move |inner| inner.reserve(&name, id)).await
    }

    async fn reserved_by(&self, name: &EntryName) -> Result<Option<i64>, StoreError> {
        let name = name.clone();
        self.run(move |inner| Ok(inner.reservations.lock().by_name(&name)))
            .await
    }

    async fn release(&self, id: i64) -> Result<(), StoreError> {
        self.run(move |inner| {
            inner.reservations.lock().remove(id);
            Ok(())
        })
        .await
    }

    async fn insert(&self, entry: &Entry, extents: &[Extent]) -> Result<(), StoreError> {
        // The tables have no column for another object than the file with the entry's id.
        if extents
            .iter()
            .any(|extent| extent.object != ObjectId(entry.content))
        {
            let kind = StoreErrorKind::Unavailable;
            let reason = "an entry of this database has one file";
            return Err(StoreError::with_source(StoreKind::Database, kind, reason));
        }
        let (entry, extents) = (entry.clone(), extents.to_vec());
        self.run(move |inner| {
            inner.database.insert(&entry, &extents)?;
            inner.reservations.lock().remove(entry.id);
            Ok(())
        })
        .await
    }

    async fn touch(&self, id: i64, now: Timestamp) -> Result<(), StoreError> {
        self.query(move |database| database.touch(id, now)).await
    }

    async fn delete(&self, id: i64) -> Result<Option<i64>, StoreError> {
        self.run(move |inner| inner.delete(|database| database.delete(id)))
            .await
    }

    async fn least_recently_used(
        &self,
        which: &LeastRecentlyUsed,
        take: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        let which = which.clone();
        self.query(move |database| database.least_recently_used(&which, take))
            .await
    }

    async fn delete_unless_found(&self, entry: &Entry) -> Result<Option<i64>, StoreError> {
        let entry = entry.clone();
        self.run(move |inner| inner.delete(|database| database.delete_unless_found(&entry)))
            .await
    }

    async fn usage(&self, repository: Option<&str>) -> Result<Usage, StoreError> {
        let repository = repository.map(str::to_owned);
        self.query(move |database| database.usage(repository.as_deref()))
            .await
    }

    async fn repositories_above(&self, usage: Usage) -> Result<Vec<String>, StoreError> {
        self.query(move |database| database.repositories_above(usage))
            .await
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        self.query(Database::totals).await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        self.query(Database::flush).await
    }

    /// Reservations go with the process.
    async fn close(&self) -> Result<(), StoreError> {
        self.query(Database::write_sums).await?;
        self.flush().await
    }

    /// There is nobody else.
    async fn is_collector(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// Nobody else can take them.
    fn is_shared(&self) -> bool {
        false
    }

    /// There are no others.
    async fn announce(&self, _address: String) -> Result<(), StoreError> {
        Ok(())
    }

    async fn address_of(&self, _id: i64) -> Result<Option<String>, StoreError> {
        Ok(None)
    }

    async fn renew_lease(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn keep_room(&self) -> Result<(), StoreError> {
        self.run(|inner| {
            inner.ballast.restore();
            Ok(())
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.query(Database::ping).await
    }
}
