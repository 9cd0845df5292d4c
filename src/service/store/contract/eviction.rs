//! What an eviction asks for: which entries nobody needs, and how much all take.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{Stores, assert_kind, name, time};
use crate::service::store::{
    blob_store::Published,
    entry_store::{EntryName, LeastRecentlyUsed, Totals, Usage},
    error::StoreErrorKind,
    extent::{Extent, ObjectId},
};

/// All that are no newest index.
fn others() -> LeastRecentlyUsed {
    LeastRecentlyUsed {
        repository: None,
        newest_indexes: false,
        before: None,
    }
}

fn newest_indexes() -> LeastRecentlyUsed {
    LeastRecentlyUsed {
        newest_indexes: true,
        ..others()
    }
}

fn of(repository: &str, key: &str) -> EntryName {
    EntryName {
        repository: repository.to_owned(),
        ..name("main", key)
    }
}

fn usage(bytes: u64, entries: u64) -> Usage {
    Usage { bytes, entries }
}

impl Stores {
    async fn idle(&self, which: &LeastRecentlyUsed, take: u32) -> Vec<i64> {
        let entries = self.entries.least_recently_used(which, take).await;
        entries.unwrap().iter().map(|entry| entry.id).collect()
    }

    async fn usage(&self, repository: Option<&str>) -> Usage {
        self.entries.usage(repository).await.unwrap()
    }
}

pub(super) async fn who_was_found_least_recently_comes_first(stores: &Stores) {
    for (id, repository) in [(1, "o/r"), (2, "o/s"), (3, "o/r"), (4, "o/s")] {
        stores
            .save(id, of(repository, &format!("k{id}")), b"x")
            .await;
    }
    assert_eq!(stores.idle(&others(), 3).await, [1, 2, 3]);
    stores.entries.touch(1, time(100)).await.unwrap();
    assert_eq!(stores.idle(&others(), 10).await, [2, 3, 4, 1]);
    let mut which = others();
    which.repository = Some("o/r".to_owned());
    assert_eq!(stores.idle(&which, 10).await, [3, 1]);
    which.before = Some(time(100));
    assert_eq!(stores.idle(&which, 10).await, [3]);
    which.repository = None;
    which.before = Some(time(4));
    assert_eq!(stores.idle(&which, 10).await, [2, 3]);
    assert!(stores.idle(&newest_indexes(), 10).await.is_empty());
}

pub(super) async fn the_newest_index_of_each_kind_is_marked(stores: &Stores) {
    let index = |kind: &str, number| format!("index-{kind}-1-f921bd05#{number}");
    for (id, scope, key) in [
        (1, "main", index("app", 1)),
        (2, "main", index("app", 3)),
        (3, "main", index("app", 2)),
        (4, "branch", index("app", 1)),
        (5, "main", index("other", 1)),
        (6, "main", "index-app-1-f921bd05-sig#1".to_owned()),
        (7, "main", "index.html".to_owned()),
    ] {
        stores.save(id, name(scope, &key), b"x").await;
    }
    // By commits, as lookups have it, and not by number.
    assert_eq!(stores.idle(&newest_indexes(), 10).await, [3, 4, 5, 6]);
    assert_eq!(stores.idle(&others(), 10).await, [1, 2, 7]);
    assert!(stores.entries.delete(3).await.unwrap().is_some());
    assert_eq!(stores.idle(&newest_indexes(), 10).await, [2, 4, 5, 6]);
    assert!(stores.entries.delete(1).await.unwrap().is_some());
    assert_eq!(stores.idle(&newest_indexes(), 10).await, [2, 4, 5, 6]);
    stores.save(8, name("branch", &index("app", 2)), b"x").await;
    assert_eq!(stores.idle(&newest_indexes(), 10).await, [2, 5, 6, 8]);
    assert_eq!(stores.idle(&others(), 10).await, [4, 7]);
}

pub(super) async fn who_was_found_meanwhile_stays(stores: &Stores) {
    for (id, key) in [(1, "a"), (2, "b"), (3, "c")] {
        stores.save(id, name("main", key), b"x").await;
    }
    let listed = stores.entries.least_recently_used(&others(), 10).await;
    let [a, b, c] = &listed.unwrap()[..] else {
        panic!("three were stored")
    };
    stores.entries.touch(1, time(100)).await.unwrap();
    assert_eq!(stores.entries.delete_unless_found(a).await.unwrap(), None);
    stores.entries.touch(2, time(100)).await.unwrap();
    stores.entries.flush().await.unwrap();
    assert_eq!(stores.entries.delete_unless_found(b).await.unwrap(), None);
    assert_eq!(
        stores.entries.delete_unless_found(c).await.unwrap(),
        Some(3)
    );
    assert_eq!(stores.entries.delete_unless_found(c).await.unwrap(), None);
    assert_eq!(stores.idle(&others(), 10).await, [1, 2]);
}

pub(super) async fn what_entries_take_follows_what_there_is(stores: &Stores) {
    let entries = &stores.entries;
    assert_eq!(entries.totals().await.unwrap(), Totals::default());
    assert_eq!(stores.usage(Some("o/r")).await, Usage::default());
    stores.save(1, of("o/r", "a"), b"xxxx").await;
    stores.save(2, of("o/r", "b"), b"xx").await;
    stores.save(3, of("o/s", "a"), b"xxx").await;
    assert_eq!(stores.usage(Some("o/r")).await, usage(6, 2));
    assert_eq!(stores.usage(None).await, usage(9, 3));
    let published = Published {
        extents: Vec::new(),
        stored: 0,
    };
    let taken = stores.insert(4, of("o/s", "a"), &published).await;
    assert_kind(taken, StoreErrorKind::Conflict);
    entries.touch(1, time(100)).await.unwrap();
    entries.flush().await.unwrap();
    let totals = entries.totals().await.unwrap();
    let expected = Totals {
        all: usage(9, 3),
        shared_bytes: 0,
        largest_repository: usage(6, 2),
        least_recent: Some(time(2)),
    };
    assert_eq!(totals, expected);
    let above = async |bytes, number| {
        let mut above = entries.repositories_above(usage(bytes, number)).await;
        above.as_mut().unwrap().sort();
        above.unwrap()
    };
    assert_eq!(above(5, u64::MAX).await, ["o/r"]);
    assert_eq!(above(6, 1).await, ["o/r"]);
    assert_eq!(above(2, u64::MAX).await, ["o/r", "o/s"]);
    assert!(above(u64::MAX, 2).await.is_empty());
    assert!(entries.delete(1).await.unwrap().is_some());
    assert!(entries.delete(3).await.unwrap().is_some());
    assert_eq!(stores.usage(Some("o/s")).await, Usage::default());
    assert_eq!(stores.usage(None).await, usage(2, 1));
}

pub(super) async fn what_entries_take_is_right_after_many_at_once(stores: &Stores) {
    const MANY: i64 = 24;
    let save = |id: i64| {
        let entries = Arc::clone(&stores.entries);
        // Several indexes of one kind, in two repositories: all that triggers look after.
        let key = format!("index-app-1-f921bd05#{id}");
        let name = of(["o/r", "o/s"][usize::from(id % 2 == 0)], &key);
        async move {
            let extent = Extent {
                object: ObjectId(id),
                offset: 0,
                len: id.cast_unsigned(),
            };
            let entry = crate::service::store::Entry {
                id,
                content: id,
                name: name.clone(),
                size: extent.len,
                stored: extent.len,
                created: time(id),
                accessed: time(id),
            };
            entries.reserve(&name, id).await.unwrap();
            entries.insert(&entry, &[extent]).await.unwrap();
            id % 3 == 0 && entries.delete(id).await.unwrap() == Some(id)
        }
    };
    let deleted = join_all((1..=MANY).map(save)).await;
    assert_eq!(deleted.into_iter().filter(|deleted| *deleted).count(), 8);
    let left = |even: bool| (1..=MANY).filter(move |id| id % 3 != 0 && (id % 2 == 0) == even);
    for (repository, even) in [("o/r", false), ("o/s", true)] {
        let bytes = left(even).sum::<i64>().cast_unsigned();
        let expected = usage(bytes, left(even).count() as u64);
        assert_eq!(stores.usage(Some(repository)).await, expected);
    }
}
