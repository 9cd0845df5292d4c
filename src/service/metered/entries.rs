//! The database.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use jiff::Timestamp;

use super::metered;
use crate::{
    digest::Digest,
    service::{
        engine_metrics::EngineMetrics,
        store::{
            Committed, Entry, EntryName, EntryStore, Extent, Filter, LeastRecentlyUsed, Page,
            Search, SharedContents, StoreError, StoreKind, Totals, Usage,
        },
    },
};

/// Entries whose calls are timed.
#[derive(Debug)]
pub(super) struct MeteredEntries {
    inner: Arc<dyn EntryStore>,
    metrics: EngineMetrics,
}

impl MeteredEntries {
    pub(super) fn new(inner: Arc<dyn EntryStore>, metrics: EngineMetrics) -> Self {
        Self { inner, metrics }
    }
}

metered! {
    impl EntryStore for MeteredEntries as Database;
    async fn find(&self, search: &Search) -> Option<Entry>;
    async fn by_name(&self, name: &EntryName) -> Option<Entry>;
    async fn by_id(&self, id: i64) -> Option<Entry>;
    async fn needed(&self, ids: Vec<i64>) -> HashSet<i64>;
    async fn content(&self, id: i64) -> Option<(Entry, Vec<Extent>)>;
    async fn committed(&self, after: i64) -> Vec<Committed>;
    async fn count(&self, filter: &Filter) -> u64;
    async fn list(&self, filter: &Filter, page: Page) -> Vec<Entry>;
    async fn reserve(&self, name: &EntryName, id: i64) -> ();
    async fn reserved_by(&self, name: &EntryName) -> Option<i64>;
    async fn renew_lease(&self) -> ();
    async fn is_collector(&self) -> bool;
    async fn announce(&self, address: String) -> ();
    async fn address_of(&self, id: i64) -> Option<String>;
    async fn release(&self, id: i64) -> ();
    async fn insert(&self, entry: &Entry, extents: &[Extent]) -> ();
    async fn touch(&self, id: i64, now: Timestamp) -> ();
    async fn delete(&self, id: i64) -> Option<i64>;
    async fn least_recently_used(&self, which: &LeastRecentlyUsed, take: u32) -> Vec<Entry>;
    async fn delete_unless_found(&self, entry: &Entry) -> Option<i64>;
    async fn usage(&self, repository: Option<&str>) -> Usage;
    async fn repositories_above(&self, usage: Usage) -> Vec<String>;
    async fn totals(&self) -> Totals;
    async fn flush(&self) -> ();
    async fn close(&self) -> ();
    async fn keep_room(&self) -> ();
    async fn ping(&self) -> ();
    plain {
        fn max_searches(&self) -> usize {
            self.inner.max_searches()
        }

        fn is_shared(&self) -> bool {
            self.inner.is_shared()
        }
    }
}

metered! {
    impl SharedContents for MeteredEntries as Database;
    async fn may_share(&self) -> bool;
    async fn uncompared(&self, after: i64) -> Vec<Committed>;
    async fn alike(&self, entry: &Entry, take: u32) -> Vec<Entry>;
    async fn set_compared(&self, id: i64) -> ();
    async fn digest(&self, content: i64) -> Option<Digest>;
    async fn set_digest(&self, content: i64, digest: Digest) -> ();
    async fn share(&self, entry: &Entry, other: &Entry, keep_until: Timestamp) -> bool;
    async fn forget_released(&self, now: Timestamp) -> ();
    async fn stored(&self, content: i64) -> Option<u64>;
    async fn delete_content(&self, content: i64) -> Vec<Entry>;
    plain {}
}
