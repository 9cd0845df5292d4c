//! Metadata: which entries there are, and which keys are reserved.

use std::{collections::HashSet, fmt::Debug, ops::AddAssign};

use async_trait::async_trait;
use jiff::Timestamp;

pub(crate) use super::entry::{Committed, Entry, EntryName};
use super::{error::StoreError, extent::Extent, shared_contents::SharedContents};
use crate::protocol::rest::{Direction, SortBy};

/// No key may hold this character (see `entries`), so it ends the range of keys with a prefix.
pub(crate) const AFTER_ALL_KEYS: char = char::MAX;

/// Where the range of keys with a prefix ends.
pub(crate) fn end_of(prefix: &str) -> String {
    format!("{prefix}{AFTER_ALL_KEYS}")
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
    /// What keys have somewhere, whatever the case of its letters from A to Z; empty for all.
    pub(crate) key_text: String,
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

/// What entries take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Bytes of content.
    pub(crate) bytes: u64,
    /// How many there are.
    pub(crate) entries: u64,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.entries += other.entries;
    }
}

impl Usage {
    /// Bytes and number as databases have them.
    pub(super) fn signed(self) -> [i64; 2] {
        [self.bytes, self.entries].map(|number| i64::try_from(number).unwrap_or(i64::MAX))
    }

    /// The same with one entry more, of so many bytes.
    pub(crate) fn with(self, size: u64) -> Self {
        Self {
            bytes: self.bytes.saturating_add(size),
            entries: self.entries.saturating_add(1),
        }
    }

    /// The same without one entry of so many bytes.
    pub(crate) fn without(self, size: u64) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(size),
            entries: self.entries.saturating_sub(1),
        }
    }
}

/// What there is in all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// What all entries take.
    pub(crate) all: Usage,
    /// Bytes of that which are not stored, since entries share their contents.
    pub(crate) shared_bytes: u64,
    /// What those of one repository take at most: its bytes and its number may be of two.
    pub(crate) largest_repository: Usage,
    /// When the entry was found that nobody has found for longest. May be as late as what
    /// [`EntryStore::touch`] has noted.
    pub(crate) least_recent: Option<Timestamp>,
}

/// Entries that may be evicted.
#[derive(Debug, Clone)]
pub(crate) struct LeastRecentlyUsed {
    /// Of this repository; `None` for those of all.
    pub(crate) repository: Option<String>,
    /// Either those that are the newest index of their repository, scope, version and name, or all others.
    pub(crate) newest_indexes: bool,
    /// Those that were not found since.
    pub(crate) before: Option<Timestamp>,
}

/// Entries and reservations.
///
/// What a method has answered is so for all that is asked after it, by whichever process shares the
/// store; what [`EntryStore::insert`] and [`EntryStore::delete`] have answered survives a loss of power.
#[async_trait]
pub(crate) trait EntryStore: SharedContents + Debug + Send + Sync {
    /// How many searches may run at once, so that calls that take no time find room beside them.
    fn max_searches(&self) -> usize;

    /// The best entry for a search; of several with a prefix that which was committed last. One call: a
    /// store that is far away must not be asked once for each scope and key.
    async fn find(&self, search: &Search) -> Result<Option<Entry>, StoreError>;

    /// The entry with exactly this name.
    async fn by_name(&self, name: &EntryName) -> Result<Option<Entry>, StoreError>;

    /// The entry with this id.
    async fn by_id(&self, id: i64) -> Result<Option<Entry>, StoreError>;

    /// Those of `ids` that are contents somebody needs: an entry, an upload of another process that shares the store, or
    /// whoever reads what [`SharedContents::share`] has released.
    async fn needed(&self, ids: Vec<i64>) -> Result<HashSet<i64>, StoreError>;

    /// The entry with this id, and where its bytes lie.
    async fn content(&self, id: i64) -> Result<Option<(Entry, Vec<Extent>)>, StoreError>;

    /// Some entries above the position `after`, in the order of their commits. Empty when there are no more.
    async fn committed(&self, after: i64) -> Result<Vec<Committed>, StoreError>;

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

    /// Whether this process collects garbage and joins contents for all that share the store. Whoever asks first does,
    /// for as long as its lease runs.
    async fn is_collector(&self) -> Result<bool, StoreError>;

    /// Whether other processes may share the store.
    fn is_shared(&self) -> bool;

    /// Says where other processes reach this one, which takes the bytes of what it has reserved.
    async fn announce(&self, address: String) -> Result<(), StoreError>;

    /// Where the process is reached that has reserved for the upload `id`, if that is another one and there.
    async fn address_of(&self, id: i64) -> Result<Option<String>, StoreError>;

    /// Gives up the reservation of the upload `id`, if it has one.
    async fn release(&self, id: i64) -> Result<(), StoreError>;

    /// Adds an entry whose bytes lie in `extents`, and ends its reservation: at no time is the name free. Where its
    /// content is another entry's already, that says where they lie.
    /// `Conflict` if somebody else has the name by now. Where the answer to a call can be lost, repeating it is a success.
    async fn insert(&self, entry: &Entry, extents: &[Extent]) -> Result<(), StoreError>;

    /// Notes that an entry was found. May be lost with the process.
    async fn touch(&self, id: i64, now: Timestamp) -> Result<(), StoreError>;

    /// Removes an entry, and answers its content, which others may need; `None` if there is none. Works when there is no
    /// room for anything else, since this is how room is made.
    async fn delete(&self, id: i64) -> Result<Option<i64>, StoreError>;

    /// The entries that were found least recently, the first of them first. Of those that are equal in that, the one
    /// that was committed first.
    async fn least_recently_used(
        &self,
        which: &LeastRecentlyUsed,
        take: u32,
    ) -> Result<Vec<Entry>, StoreError>;

    /// Removes an entry that was listed so, as [`EntryStore::delete`] does; `None` if it was found since, or is gone.
    async fn delete_unless_found(&self, entry: &Entry) -> Result<Option<i64>, StoreError>;

    /// What the entries of a repository take, or all. Does not look at each entry.
    async fn usage(&self, repository: Option<&str>) -> Result<Usage, StoreError>;

    /// The repositories whose entries take more than this, in bytes or in number. Does not look at each entry.
    async fn repositories_above(&self, usage: Usage) -> Result<Vec<String>, StoreError>;

    /// What there is in all. Does not look at each entry.
    async fn totals(&self) -> Result<Totals, StoreError>;

    /// Writes down what [`EntryStore::touch`] has noted.
    async fn flush(&self) -> Result<(), StoreError>;

    /// Ends what this process has under way: writes down what [`EntryStore::touch`] has noted, and gives up all that
    /// it has reserved, and collecting.
    async fn close(&self) -> Result<(), StoreError>;

    /// Prepares for the next full disk, now that whatever could go has gone.
    async fn keep_room(&self) -> Result<(), StoreError>;

    /// Fails if the store cannot be read.
    async fn ping(&self) -> Result<(), StoreError>;
}
