//! Metadata: which entries there are, and which keys are reserved.

use std::{collections::HashSet, fmt::Debug};

use async_trait::async_trait;
use jiff::Timestamp;

use super::{error::StoreError, extent::Extent};
use crate::protocol::rest::{Direction, SortBy};

/// No key may hold this character (see `entries`), so it ends the range of keys with a prefix.
pub(crate) const AFTER_ALL_KEYS: char = char::MAX;

/// Where the range of keys with a prefix ends.
pub(crate) fn end_of(prefix: &str) -> String {
    format!("{prefix}{AFTER_ALL_KEYS}")
}

/// What makes an entry unique.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct EntryName {
    /// `owner/repo`.
    pub(crate) repository: String,
    /// The ref.
    pub(crate) scope: String,
    pub(crate) key: String,
    pub(crate) version: String,
}

/// A committed entry.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Its id, which was that of its reservation.
    pub(crate) id: i64,
    pub(crate) name: EntryName,
    /// Its size in bytes.
    pub(crate) size: u64,
    /// What its content needs in the blob store: see [`super::blob_store::Published`].
    pub(crate) stored: u64,
    /// When it was committed.
    pub(crate) created: Timestamp,
    /// When it was last found.
    pub(crate) accessed: Timestamp,
}

/// A lookup. Scopes come before keys, and each key counts first exactly and then as a prefix: the first
/// scope that has any of the keys decides.
#[derive(Debug, Clone)]
pub(crate) struct Search {
    pub(crate) repository: String,
    /// The scopes, the most important one first.
    pub(crate) scopes: Vec<String>,
    /// The keys, the most wanted one first.
    pub(crate) keys: Vec<String>,
    pub(crate) version: String,
}

/// Some entries.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    /// The repository; `None` for those of all.
    pub(crate) repository: Option<String>,
    /// What keys begin with; empty for all.
    pub(crate) key_prefix: String,
    /// The scopes; `None` for all.
    pub(crate) scopes: Option<Vec<String>>,
}

/// One page of a sorted listing. Entries that are equal in what they are sorted by come in the order of
/// their commits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    pub(crate) sort: SortBy,
    pub(crate) direction: Direction,
    /// How many entries to leave out.
    pub(crate) skip: u64,
    /// How many to give.
    pub(crate) take: u32,
}

/// Entries and reservations.
///
/// What a method has answered is so for all that is asked after it, by whichever process shares the
/// store; what [`EntryStore::insert`] and [`EntryStore::delete`] have answered survives a loss of power.
#[async_trait]
pub(crate) trait EntryStore: Debug + Send + Sync {
    /// How many searches may run at once, so that calls that take no time find room beside them.
    fn max_searches(&self) -> usize;

    /// The best entry for a search; of several with a prefix that which was committed last. One call: a
    /// store that is far away must not be asked once for each scope and key.
    async fn find(&self, search: &Search) -> Result<Option<Entry>, StoreError>;

    /// The entry with exactly this name.
    async fn by_name(&self, name: &EntryName) -> Result<Option<Entry>, StoreError>;

    /// The entry with this id.
    async fn by_id(&self, id: i64) -> Result<Option<Entry>, StoreError>;

    /// Those of `ids` whose content somebody needs: an entry, or an upload of another process that shares the store.
    async fn needed(&self, ids: Vec<i64>) -> Result<HashSet<i64>, StoreError>;

    /// The entry with this id, and where its bytes lie.
    async fn content(&self, id: i64) -> Result<Option<(Entry, Vec<Extent>)>, StoreError>;

    /// Some ids above `after`, in ascending order, each with what its content needs ([`Entry::stored`]).
    /// Empty when there are no more.
    async fn ids(&self, after: i64) -> Result<Vec<(i64, u64)>, StoreError>;

    /// How many entries match.
    async fn count(&self, filter: &Filter) -> Result<u64, StoreError>;

    /// One page of the entries that match. Those that were found least recently are the first of
    /// [`SortBy::LastAccessedAt`].
    async fn list(&self, filter: &Filter, page: Page) -> Result<Vec<Entry>, StoreError>;

    /// Takes a name for the upload `id`. `Conflict` if an entry or a reservation has it.
    async fn reserve(&self, name: &EntryName, id: i64) -> Result<(), StoreError>;

    /// The upload that has a name reserved.
    async fn reserved_by(&self, name: &EntryName) -> Result<Option<i64>, StoreError>;

    /// Says that this process is still there, so that nobody else takes what it has reserved. Where others can, that
    /// is called every `RENEW_INTERVAL`.
    async fn renew_lease(&self) -> Result<(), StoreError>;

    /// Whether other processes may share the store.
    fn is_shared(&self) -> bool;

    /// Says where other processes reach this one, which takes the bytes of what it has reserved.
    async fn announce(&self, address: String) -> Result<(), StoreError>;

    /// Where the process is reached that has reserved for the upload `id`, if that is another one and there.
    async fn address_of(&self, id: i64) -> Result<Option<String>, StoreError>;

    /// Gives up the reservation of the upload `id`, if it has one.
    async fn release(&self, id: i64) -> Result<(), StoreError>;

    /// Adds an entry whose bytes lie in `extents`, and ends its reservation: at no time is the name free.
    /// `Conflict` if somebody else has the name by now. Where the answer to a call can be lost, repeating it is a success.
    async fn insert(&self, entry: &Entry, extents: &[Extent]) -> Result<(), StoreError>;

    /// Notes that an entry was found. May be lost with the process.
    async fn touch(&self, id: i64, now: Timestamp) -> Result<(), StoreError>;

    /// Removes an entry; false if there is none. Works when there is no room for anything else, since this is
    /// how room is made.
    async fn delete(&self, id: i64) -> Result<bool, StoreError>;

    /// Writes down what [`EntryStore::touch`] has noted.
    async fn flush(&self) -> Result<(), StoreError>;

    /// Ends what this process has under way: writes down what [`EntryStore::touch`] has noted, and gives up all that
    /// it has reserved.
    async fn close(&self) -> Result<(), StoreError>;

    /// Prepares for the next full disk, now that whatever could go has gone.
    async fn keep_room(&self) -> Result<(), StoreError>;

    /// Fails if the store cannot be read.
    async fn ping(&self) -> Result<(), StoreError>;
}
