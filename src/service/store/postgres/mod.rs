//! An [`EntryStore`] in PostgreSQL, for any number of processes: what they must agree on is in its tables, and the
//! only clock is the database's.

mod connections;
mod database_url;
mod entries;
mod error;
mod leases;
mod migrations;
mod overview;
mod reservations;
mod rows;
mod search;
mod sharing;
mod stale_reservations;
#[cfg(test)]
#[cfg(feature = "e2e")] // They run a server.
mod tests;
mod tls;
mod tokens;
mod touches;
mod usage;
mod version_5;

use std::sync::Arc;

use std::collections::HashSet;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use jiff::Timestamp;
use parking_lot::Mutex;

pub use self::database_url::{DatabaseUrl, DatabaseUrlError};
#[cfg(test)]
#[cfg(feature = "e2e")]
pub(super) use self::tests::open_new;
pub(crate) use self::tokens::PostgresTokens;
use self::{
    connections::Connections, reservations::Reservation, stale_reservations::StaleReservations,
};
use super::{
    activity::ActivitySums,
    entry_store::{
        Committed, Entry, EntryName, EntryStore, Filter, LeastRecentlyUsed, Page, Search, Totals,
        Usage,
    },
    error::{StoreError, StoreErrorKind},
    extent::Extent,
    touches::Touches,
};
use crate::{protocol::rest::SortBy, secret::Secret};

/// One database, as one process sees it.
#[derive(Debug)]
pub(crate) struct PostgresStore {
    connections: Connections,
    /// Who reserves: a new one for each process, so that nobody inherits what a process had reserved that
    /// has died.
    owner: i64,
    /// Where other processes reach this one, once it is known.
    address: Mutex<Option<String>>,
    stale: StaleReservations,
    touches: Touches,
    activity: ActivitySums,
}

impl PostgresStore {
    /// Connects, and brings the tables to this version.
    pub(crate) async fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let store = Self {
            connections: Connections::new(url)?,
            owner: rand::random(),
            address: Mutex::default(),
            stale: StaleReservations::default(),
            touches: Touches::default(),
            activity: ActivitySums::default(),
        };
        store
            .connections
            .run_long(|client| migrations::bring_up(client).boxed())
            .await?;
        store.renew_lease().await?;
        Ok(store)
    }

    /// Whether no other process uses it, as far as leases say: one that has died counts for a minute.
    pub(crate) async fn is_alone(&self) -> Result<bool, StoreError> {
        let owner = self.owner;
        self.connections
            .run(move |client| leases::is_alone(client, owner).boxed())
            .await
    }

    /// Says which content its entries are about, or that it was another so far.
    pub(crate) async fn bind(&self, content: &str) -> Result<bool, StoreError> {
        let content = content.to_owned();
        self.connections
            .run(move |client| migrations::bind(client, content).boxed())
            .await
    }
}

/// The secret of the services of this database.
impl PostgresStore {
    /// Which it is: `proposed` if there was none.
    pub(crate) async fn secret(&self, proposed: Secret) -> Result<Secret, StoreError> {
        self.connections
            .run(move |client| migrations::secret(client, proposed).boxed())
            .await
    }

    /// The tokens that were made for them.
    pub(crate) fn tokens(&self) -> PostgresTokens {
        PostgresTokens::sharing(&self.connections)
    }

    /// The one that the services of a database have made, if they have.
    pub(crate) async fn existing_secret(url: &DatabaseUrl) -> Result<Option<Secret>, StoreError> {
        secret_of(&Connections::new(url)?).await
    }

    /// The same of one that is open.
    pub(crate) async fn current_secret(&self) -> Result<Option<Secret>, StoreError> {
        secret_of(&self.connections).await
    }
}

async fn secret_of(connections: &Connections) -> Result<Option<Secret>, StoreError> {
    connections
        .run(|client| migrations::existing_secret(client).boxed())
        .await
}

#[async_trait]
impl EntryStore for PostgresStore {
    fn max_searches(&self) -> usize {
        connections::SEARCHES
    }

    async fn find(&self, search: &Search) -> Result<Option<Entry>, StoreError> {
        let search = search.clone();
        self.connections
            .run(move |client| search::find(client, search).boxed())
            .await
    }

    async fn by_name(&self, name: &EntryName) -> Result<Option<Entry>, StoreError> {
        let name = name.clone();
        self.connections
            .run(move |client| entries::by_name(client, name).boxed())
            .await
    }

    async fn by_id(&self, id: i64) -> Result<Option<Entry>, StoreError> {
        self.connections
            .run(move |client| entries::by_id(client, id).boxed())
            .await
    }

    async fn needed(&self, ids: Vec<i64>) -> Result<HashSet<i64>, StoreError> {
        self.connections
            .run(move |client| entries::needed(client, ids).boxed())
            .await
    }

    async fn content(&self, id: i64) -> Result<Option<(Entry, Vec<Extent>)>, StoreError> {
        self.connections
            .run(move |client| entries::content(client, id).boxed())
            .await
    }

    async fn committed(&self, after: i64) -> Result<Vec<Committed>, StoreError> {
        self.connections
            .run(move |client| entries::committed(client, after).boxed())
            .await
    }

    async fn count(&self, filter: &Filter) -> Result<u64, StoreError> {
        let filter = filter.clone();
        self.connections
            .run(move |client| search::count(client, filter).boxed())
            .await
    }

    async fn list(&self, filter: &Filter, page: Page) -> Result<Vec<Entry>, StoreError> {
        if page.sort == SortBy::LastAccessedAt {
            self.flush().await?;
        }
        let filter = filter.clone();
        let mut entries = self
            .connections
            .run(move |client| search::list(client, filter, page).boxed())
            .await?;
        self.touches.show(&mut entries);
        Ok(entries)
    }

    async fn reserve(&self, name: &EntryName, id: i64) -> Result<(), StoreError> {
        let reservation = Reservation {
            name: name.clone(),
            id,
            owner: self.owner,
        };
        let stale = self.stale.all();
        let reserved = self
            .connections
            .run(|client| reservations::reserve(client, reservation, stale).boxed())
            .await;
        // It may be there although its answer is lost.
        if reserved
            .as_ref()
            .is_err_and(|error| error.kind() == StoreErrorKind::Unreachable)
        {
            self.stale.add([id]);
        }
        reserved?.then_some(()).ok_or_else(error::conflict)
    }

    async fn reserved_by(&self, name: &EntryName) -> Result<Option<i64>, StoreError> {
        let name = name.clone();
        self.connections
            .run(move |client| reservations::reserved_by(client, name).boxed())
            .await
    }

    async fn release(&self, id: i64) -> Result<(), StoreError> {
        let released = self
            .connections
            .run(move |client| reservations::release(client, vec![id]).boxed())
            .await;
        if released.is_err() {
            self.stale.add([id]);
        }
        released
    }

    async fn insert(&self, entry: &Entry, extents: &[Extent]) -> Result<(), StoreError> {
        let (entry, extents) = (entry.clone(), rows::encode(extents));
        let inserted = self
            .connections
            .run(move |client| entries::insert(client, entry, extents).boxed())
            .await?;
        inserted.then_some(()).ok_or_else(error::conflict)
    }

    async fn touch(&self, id: i64, now: Timestamp) -> Result<(), StoreError> {
        if self.touches.add(id, now) {
            self.flush().await?;
        }
        Ok(())
    }

    async fn delete(&self, id: i64) -> Result<Option<i64>, StoreError> {
        self.connections
            .run(move |client| entries::delete(client, id).boxed())
            .await
    }

    async fn least_recently_used(
        &self,
        which: &LeastRecentlyUsed,
        take: u32,
    ) -> Result<Vec<Entry>, StoreError> {
        self.flush().await?;
        let which = which.clone();
        let mut entries = self
            .connections
            .run(move |client| usage::least_recently_used(client, which, take).boxed())
            .await?;
        entries.retain(|entry| !self.touches.is_later(entry));
        Ok(entries)
    }

    async fn delete_unless_found(&self, entry: &Entry) -> Result<Option<i64>, StoreError> {
        if self.touches.is_later(entry) {
            return Ok(None);
        }
        let (id, accessed) = (entry.id, entry.accessed.as_millisecond());
        self.connections
            .run(move |client| usage::delete_unless_found(client, id, accessed).boxed())
            .await
    }

    async fn usage(&self, repository: Option<&str>) -> Result<Usage, StoreError> {
        let repository = repository.map(str::to_owned);
        self.connections
            .run(move |client| usage::usage(client, repository).boxed())
            .await
    }

    async fn repositories_above(&self, usage: Usage) -> Result<Vec<String>, StoreError> {
        self.connections
            .run(move |client| usage::repositories_above(client, usage).boxed())
            .await
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        self.connections
            .run(|client| usage::totals(client).boxed())
            .await
    }

    async fn flush(&self) -> Result<(), StoreError> {
        let Some(all) = self.touches.take() else {
            return Ok(());
        };
        let write = Arc::clone(&all);
        let written = self
            .connections
            .run(move |client| touches::write(client, write).boxed())
            .await;
        match written {
            Ok(()) => self.touches.written(&all),
            Err(_) => self.touches.put_back(&all),
        }
        written
    }

    async fn is_collector(&self) -> Result<bool, StoreError> {
        let owner = self.owner;
        self.connections
            .run(move |client| leases::is_collector(client, owner).boxed())
            .await
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn announce(&self, address: String) -> Result<(), StoreError> {
        *self.address.lock() = Some(address);
        self.renew_lease().await
    }

    async fn address_of(&self, id: i64) -> Result<Option<String>, StoreError> {
        let owner = self.owner;
        self.connections
            .run(move |client| leases::address_of(client, id, owner).boxed())
            .await
    }

    async fn renew_lease(&self) -> Result<(), StoreError> {
        let (owner, address) = (self.owner, self.address.lock().clone());
        self.connections
            .run(move |client| leases::renew(client, owner, address).boxed())
            .await?;
        let stale = self.stale.all();
        if !stale.is_empty() {
            let ids = stale.clone();
            self.connections
                .run(|client| reservations::release(client, ids).boxed())
                .await?;
            self.stale.remove(&stale);
        }
        Ok(())
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.write_sums().await?;
        self.flush().await?;
        let owner = self.owner;
        self.connections
            .run(move |client| leases::end(client, owner).boxed())
            .await
    }

    /// The disk is the database's, which keeps room for itself.
    async fn keep_room(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.connections
            .run(|client| entries::ping(client).boxed())
            .await
    }
}
