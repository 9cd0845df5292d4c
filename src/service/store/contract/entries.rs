//! Metadata.

use std::sync::Arc;

use super::{Stores, assert_kind, name, time};
use crate::{
    protocol::rest::{Direction, SortBy},
    service::store::{
        blob_store::Published,
        entry_store::{Filter, Page, Search},
        error::StoreErrorKind,
    },
};

fn all() -> Filter {
    Filter::default()
}

fn by_access(take: u32) -> Page {
    Page {
        sort: SortBy::LastAccessedAt,
        direction: Direction::Asc,
        skip: 0,
        take,
    }
}

impl Stores {
    async fn find(&self, scopes: &[&str], keys: &[&str]) -> Option<i64> {
        let owned = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect();
        let search = Search {
            repository: "o/r".to_owned(),
            scopes: owned(scopes),
            keys: owned(keys),
            version: "v".to_owned(),
        };
        let found = self.entries.find(&search).await.unwrap();
        found.map(|entry| entry.id)
    }

    async fn listed(&self, filter: &Filter, page: Page) -> Vec<i64> {
        let entries = self.entries.list(filter, page).await.unwrap();
        entries.into_iter().map(|entry| entry.id).collect()
    }
}

pub(super) async fn a_name_is_taken_from_its_reservation_until_its_entry_goes(stores: &Stores) {
    let entries = &stores.entries;
    entries.reserve(&name("main", "k"), 1).await.unwrap();
    assert_kind(
        entries.reserve(&name("main", "k"), 2).await,
        StoreErrorKind::Conflict,
    );
    entries.reserve(&name("other", "k"), 3).await.unwrap();
    let reserved = entries.reserved_by(&name("main", "k")).await.unwrap();
    assert_eq!(reserved, Some(1));
    assert!(entries.by_name(&name("main", "k")).await.unwrap().is_none());
    entries.release(1).await.unwrap();
    entries.release(1).await.unwrap();
    stores.save(4, name("main", "k"), b"x").await;
    let reserved = entries.reserved_by(&name("main", "k")).await.unwrap();
    assert_eq!(reserved, None, "it is an entry");
    assert_kind(
        entries.reserve(&name("main", "k"), 5).await,
        StoreErrorKind::Conflict,
    );
    let published = Published {
        extents: Vec::new(),
        stored: 0,
    };
    let second = stores.insert(6, name("main", "k"), &published).await;
    assert_kind(second, StoreErrorKind::Conflict);
    assert_eq!(entries.delete(4).await.unwrap(), Some(4));
    assert_eq!(entries.delete(4).await.unwrap(), None);
    assert!(entries.content(4).await.unwrap().is_none());
    entries.reserve(&name("main", "k"), 7).await.unwrap();
}

pub(super) async fn of_many_who_reserve_at_once_one_wins(stores: &Stores) {
    let reserve = |id| {
        let entries = Arc::clone(&stores.entries);
        async move { entries.reserve(&name("main", "k"), id).await.is_ok() }
    };
    let won = futures_util::future::join_all((1..=16).map(reserve)).await;
    assert_eq!(won.into_iter().filter(|won| *won).count(), 1);
}

pub(super) async fn scopes_come_before_keys_and_exact_before_newest(stores: &Stores) {
    for (id, scope, key) in [
        (5, "main", "index#2"),
        (4, "main", "index#10"),
        (3, "main", "index"),
        (2, "branch", "index#1"),
        (1, "main", "unlike"),
    ] {
        stores.save(id, name(scope, key), b"x").await;
    }
    assert_eq!(stores.find(&["main"], &["index"]).await, Some(3));
    assert_eq!(
        stores.find(&["main"], &["index#"]).await,
        Some(4),
        "by commits"
    );
    assert_eq!(stores.find(&["main"], &["index#2"]).await, Some(5));
    assert_eq!(
        stores.find(&["main"], &["none", "unli", "index"]).await,
        Some(1)
    );
    let both = ["branch", "main"];
    assert_eq!(stores.find(&both, &["index", "unlike"]).await, Some(2));
    assert_eq!(stores.find(&both, &["unlike", "index"]).await, Some(2));
    assert_eq!(stores.find(&both, &["unlike"]).await, Some(1));
    assert_eq!(stores.find(&both, &["in%", "INDEX"]).await, None);
    assert_eq!(stores.find(&[], &["index"]).await, None);
}

pub(super) async fn entries_are_listed_by_what_they_are_sorted_by(stores: &Stores) {
    stores.save(1, name("main", "a1"), b"xx").await;
    stores.save(2, name("main", "a2"), b"x").await;
    stores.save(3, name("other", "b"), b"xxx").await;
    let mut filter = Filter {
        repository: Some("o/r".to_owned()),
        key_prefix: "a".to_owned(),
        scopes: Some(vec!["main".to_owned(), "other".to_owned()]),
        ..Filter::default()
    };
    let by_size = Page {
        sort: SortBy::SizeInBytes,
        direction: Direction::Desc,
        skip: 0,
        take: 10,
    };
    assert_eq!(stores.entries.count(&filter).await.unwrap(), 2);
    assert_eq!(stores.listed(&filter, by_size).await, [1, 2]);
    filter.key_text = "A2".to_owned();
    assert_eq!(stores.listed(&filter, by_size).await, [2]);
    filter.key_text = "%".to_owned();
    assert_eq!(stores.entries.count(&filter).await.unwrap(), 0);
    filter.key_prefix.clear();
    filter.key_text.clear();
    let second = Page {
        skip: 1,
        take: 1,
        ..by_size
    };
    assert_eq!(stores.listed(&filter, second).await, [1]);
    filter.scopes = Some(vec!["other".to_owned()]);
    assert_eq!(stores.listed(&filter, by_size).await, [3]);
    filter.repository = Some("o/s".to_owned());
    assert_eq!(stores.entries.count(&filter).await.unwrap(), 0);
}

pub(super) async fn entries_come_in_the_order_of_their_commits(stores: &Stores) {
    for (id, key) in [(7, "b"), (1, "a"), (9, "c"), (4, "d")] {
        stores.save(id, name("main", key), b"xy").await;
    }
    stores.entries.delete(1).await.unwrap();
    let after = async |position| stores.entries.committed(position).await.unwrap();
    let all = after(i64::MIN).await;
    let ids: Vec<_> = all.iter().map(|entry| (entry.id, entry.stored)).collect();
    assert_eq!(ids, [(7, 2), (9, 2), (4, 2)]);
    assert_eq!(after(all[0].position).await, all[1..]);
    assert!(after(all[2].position).await.is_empty());
}

/// What is reserved may have bytes already, which whoever collects garbage must leave alone.
pub(super) async fn what_is_reserved_is_needed(stores: &Stores) {
    stores.save(1, name("main", "a"), b"x").await;
    let [second, third] = ["b", "c"].map(|key| name("main", key));
    stores.entries.reserve(&second, 2).await.unwrap();
    stores.entries.reserve(&third, 3).await.unwrap();
    stores.entries.release(3).await.unwrap();
    let needed = stores.entries.needed(vec![1, 2, 3, 4]).await.unwrap();
    assert_eq!(needed, [1, 2].into());
}

/// What an eviction begins with.
pub(super) async fn who_was_found_last_is_the_last_to_go(stores: &Stores) {
    for id in 1..=3 {
        let key = ["a", "b", "c"][usize::try_from(id - 1).unwrap()];
        stores.save(id, name("main", key), b"x").await;
    }
    assert_eq!(stores.listed(&all(), by_access(2)).await, [1, 2]);
    stores.entries.touch(1, time(100)).await.unwrap();
    // However it is sorted, a listing has it at once.
    let by_creation = Page {
        sort: SortBy::CreatedAt,
        ..by_access(1)
    };
    let rows = stores.entries.list(&all(), by_creation).await.unwrap();
    assert_eq!((rows[0].id, rows[0].accessed), (1, time(100)));
    assert_eq!(stores.listed(&all(), by_access(3)).await, [2, 3, 1]);
    stores.entries.flush().await.unwrap();
    let touched = stores.entries.by_id(1).await.unwrap().unwrap();
    assert_eq!((touched.accessed, touched.created), (time(100), time(1)));
}

pub(super) async fn the_store_answers_and_keeps_room(stores: &Stores) {
    stores.entries.ping().await.unwrap();
    stores.entries.keep_room().await.unwrap();
    assert!(stores.entries.max_searches() > 0);
}
