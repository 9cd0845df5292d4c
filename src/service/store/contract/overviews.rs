//! What people ask for who look after a service.

use super::{Stores, name, time};
use crate::service::store::{
    activity::{Activity, Day},
    entry_store::{EntryName, Usage},
    overview_store::{RepositoryUsage, ScopeUsage},
};

fn of(repository: &str, scope: &str, key: &str) -> EntryName {
    EntryName {
        repository: repository.to_owned(),
        ..name(scope, key)
    }
}

fn usage(bytes: u64, entries: u64) -> Usage {
    Usage { bytes, entries }
}

impl Stores {
    async fn note(&self, repository: &str, day: Day, activity: Activity) {
        let noted = self.overviews.note(repository, day, activity).await;
        noted.unwrap();
    }

    async fn days(&self, repositories: &[&str], since: Day) -> Vec<(String, Day, Activity)> {
        let repositories: Vec<_> = repositories.iter().map(|&name| name.to_owned()).collect();
        let days = self.overviews.activity(&repositories, since).await;
        let parts = days.unwrap().into_iter();
        parts
            .map(|day| (day.repository, day.day, day.activity))
            .collect()
    }

    async fn repositories(&self, only: Option<&str>, skip: u64) -> (u64, Vec<(String, Usage)>) {
        let (count, page) = self.overviews.repositories(only, skip, 2).await.unwrap();
        let row = |row: RepositoryUsage| (row.repository, row.usage);
        (count, page.into_iter().map(row).collect())
    }
}

pub(super) async fn what_has_happened_is_summed_by_repository_and_day(stores: &Stores) {
    let today = Day::of(time(0));
    let yesterday = today.before(1);
    stores.note("o/r", yesterday, Activity::lookup(true)).await;
    stores.note("o/r", today, Activity::lookup(false)).await;
    stores.note("o/r", today, Activity::added(5)).await;
    stores.note("o/s", today, Activity::evicted(3)).await;
    stores.overviews.write_activity(yesterday).await.unwrap();
    stores.note("o/r", today, Activity::added(6)).await;
    let mut sum = Activity::lookup(false);
    sum.added = usage(11, 2);
    let first = ("o/r".to_owned(), yesterday, Activity::lookup(true));
    let second = ("o/r".to_owned(), today, sum);
    let other = ("o/s".to_owned(), today, Activity::evicted(3));
    let both = ["o/s", "o/r", "o/none"];
    assert_eq!(
        stores.days(&both, yesterday).await,
        [first, second.clone(), other]
    );
    let of_today = stores.days(&["o/r"], today).await;
    assert_eq!(of_today, std::slice::from_ref(&second));
    stores.overviews.write_activity(today).await.unwrap();
    assert_eq!(stores.days(&["o/r"], yesterday).await, [second]);
}

pub(super) async fn repositories_are_listed_with_what_they_take(stores: &Stores) {
    stores.save(1, of("o/small", "main", "a"), b"x").await;
    stores.save(2, of("o/large", "main", "a"), b"xxx").await;
    stores.save(3, of("o/large", "main", "b"), b"x").await;
    let today = Day::of(time(0));
    stores.note("o/gone", today, Activity::evicted(1)).await;
    let row = |name: &str, bytes, entries| (name.to_owned(), usage(bytes, entries));
    let first = vec![row("o/large", 4, 2), row("o/small", 1, 1)];
    assert_eq!(stores.repositories(None, 0).await, (3, first));
    let last = vec![row("o/gone", 0, 0)];
    assert_eq!(stores.repositories(None, 2).await, (3, last));
    let one = vec![row("o/small", 1, 1)];
    assert_eq!(stores.repositories(Some("o/small"), 0).await, (1, one));
    assert_eq!(stores.repositories(Some("o/none"), 0).await, (0, vec![]));
}

pub(super) async fn scopes_are_listed_with_what_they_take(stores: &Stores) {
    stores.save(1, name("main", "a"), b"xx").await;
    stores.save(2, name("next", "a"), b"xxx").await;
    stores.save(3, name("main", "b"), b"xx").await;
    stores.save(4, of("o/s", "other", "a"), b"xxxx").await;
    let scope = |scope: &str, bytes, entries, newest| ScopeUsage {
        scope: scope.to_owned(),
        usage: usage(bytes, entries),
        newest: time(newest),
    };
    let (main, next) = (scope("main", 4, 2, 3), scope("next", 3, 1, 2));
    let scopes = async |take| stores.overviews.scopes("o/r", take).await.unwrap();
    assert_eq!(scopes(10).await, (2, vec![main.clone(), next]));
    assert_eq!(scopes(1).await, (2, vec![main]));
    let none = stores.overviews.scopes("o/none", 1).await.unwrap();
    assert_eq!(none, (0, vec![]));
}

pub(super) async fn entries_are_found_by_their_keys_without_numbers(stores: &Stores) {
    for (id, scope, key) in [
        (1, "main", "blob"),
        (2, "next", "blob"),
        (3, "main", "blob#1"),
        (4, "main", "blob-sig"),
        (5, "main", "other"),
    ] {
        stores.save(id, name(scope, key), b"x").await;
    }
    stores.save(6, of("o/s", "main", "blob"), b"x").await;
    let keys = vec!["blob".to_owned(), "none".to_owned()];
    let found = stores.overviews.numbered("o/r", keys).await.unwrap();
    let ids: Vec<_> = found.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [1, 2, 3]);
}

pub(super) async fn who_shares_the_store_is_known(stores: &Stores) {
    let entries = &stores.entries;
    entries.announce("http://here/".to_owned()).await.unwrap();
    entries.reserve(&name("main", "k"), 1).await.unwrap();
    let replicas = stores.overviews.replicas().await.unwrap();
    if !entries.is_shared() {
        assert!(replicas.is_empty());
        return;
    }
    assert_eq!(replicas.len(), 1);
    assert_eq!(replicas[0].address.as_deref(), Some("http://here/"));
    assert_eq!((replicas[0].own, replicas[0].uploads), (true, 1));
}
