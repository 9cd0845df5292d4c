//! Contents that several entries have.

use super::{Stores, assert_kind, name, time};
use crate::{
    digest::Digest,
    service::store::{
        entry_store::{Entry, Totals},
        error::StoreErrorKind,
    },
};

/// Three scopes in which the same bytes are saved.
const SCOPES: [&str; 3] = ["main", "one", "other"];

impl Stores {
    /// Saves the same bytes in all scopes, as the entries 1, 2 and 3.
    async fn save_everywhere(&self, bytes: &'static [u8]) {
        for (id, scope) in (1..).zip(SCOPES) {
            self.save(id, name(scope, "k"), bytes).await;
        }
    }

    async fn entry(&self, id: i64) -> Entry {
        self.entries.by_id(id).await.unwrap().unwrap()
    }

    /// Notes the digest that a content would have with these bytes.
    async fn hash(&self, content: i64, bytes: &[u8]) {
        let digest = Digest::sha256(bytes);
        self.entries.set_digest(content, digest).await.unwrap();
    }

    async fn share(&self, id: i64, other: i64) -> bool {
        let (entry, other) = (self.entry(id).await, self.entry(other).await);
        let shared = self.entries.share(&entry, &other, time(100)).await;
        shared.unwrap()
    }

    /// Gives the entries 2 and 3 the content of the entry 1.
    async fn share_everywhere(&self, bytes: &'static [u8]) {
        self.save_everywhere(bytes).await;
        for id in 1..=3 {
            self.hash(id, bytes).await;
        }
        assert!(self.share(2, 1).await);
        assert!(self.share(3, 1).await);
    }

    async fn needed(&self) -> Vec<i64> {
        let needed = self.entries.needed(vec![1, 2, 3]).await.unwrap();
        let mut needed: Vec<_> = needed.into_iter().collect();
        needed.sort_unstable();
        needed
    }

    async fn uncompared(&self) -> Vec<i64> {
        let entries = self.entries.uncompared(i64::MIN).await.unwrap();
        entries.iter().map(|entry| entry.id).collect()
    }

    async fn alike(&self, id: i64) -> Vec<i64> {
        let entry = self.entry(id).await;
        let alike = self.entries.alike(&entry, 10).await.unwrap();
        alike.iter().map(|entry| entry.id).collect()
    }

    async fn shared_bytes(&self) -> u64 {
        self.entries.totals().await.unwrap().shared_bytes
    }
}

pub(super) async fn entries_are_like_those_of_other_scopes(stores: &Stores) {
    stores.save_everywhere(b"bytes").await;
    stores.save(4, name("fourth", "k"), b"other size").await;
    stores.save(5, name("fourth", "another"), b"bytes").await;
    stores.save(6, name("one", "empty"), b"").await;
    stores.save(7, name("other", "empty"), b"").await;
    let mut elsewhere = name("main", "k");
    elsewhere.repository = "o/other".to_owned();
    stores.save(8, elsewhere, b"bytes").await;
    let mut version = name("main", "k");
    version.version = "another".to_owned();
    stores.save(9, version, b"bytes").await;
    assert_eq!(stores.uncompared().await, [2, 3]);
    let second = stores.entries.uncompared(i64::MIN).await.unwrap()[0];
    let rest = stores.entries.uncompared(second.position).await.unwrap();
    assert_eq!((rest.len(), rest[0].id), (1, 3));
    assert_eq!(stores.alike(2).await, [1, 3]);
    assert_eq!(stores.alike(3).await, [1, 2]);
    let third = stores.entry(3).await;
    assert_eq!(stores.entries.alike(&third, 1).await.unwrap().len(), 1);
    stores.entries.set_compared(2).await.unwrap();
    assert_eq!(stores.uncompared().await, [3]);
    assert!(stores.entries.may_share().await.unwrap());
    assert!(stores.entries.is_collector().await.unwrap());
}

pub(super) async fn equal_contents_become_one(stores: &Stores) {
    stores.share_everywhere(b"bytes").await;
    assert!(stores.uncompared().await.is_empty());
    assert!(stores.alike(3).await.is_empty());
    for id in 1..=3 {
        assert_eq!(stores.entry(id).await.content, 1);
        assert_eq!(stores.read(id, 0..5).await.unwrap(), b"bytes");
    }
    let totals = stores.entries.totals().await.unwrap();
    assert_eq!((totals.all.bytes, totals.shared_bytes), (15, 10));
    // Somebody may be reading the others.
    assert_eq!(stores.needed().await, [1, 2, 3]);
    stores.entries.forget_released(time(99)).await.unwrap();
    assert_eq!(stores.needed().await, [1, 2, 3]);
    stores.entries.forget_released(time(100)).await.unwrap();
    assert_eq!(stores.needed().await, [1]);
    assert_eq!(stores.entries.stored(2).await.unwrap(), None);
    let needs = stores.entry(1).await.stored;
    assert_eq!(stores.entries.stored(1).await.unwrap(), Some(needs));
    // A fourth one is compared with what they have.
    stores.save(4, name("fourth", "k"), b"bytes").await;
    assert_eq!(stores.alike(4).await, [1]);
    let digest = stores.entries.digest(1).await.unwrap();
    assert_eq!(digest, Some(Digest::sha256(b"bytes")));
    assert_eq!(stores.entries.digest(4).await.unwrap(), None);
}

pub(super) async fn a_content_stays_until_its_last_entry_goes(stores: &Stores) {
    stores.share_everywhere(b"bytes").await;
    stores.entries.forget_released(time(100)).await.unwrap();
    assert_eq!(stores.entries.delete(1).await.unwrap(), Some(1));
    assert_eq!(stores.needed().await, [1]);
    assert_eq!(stores.read(2, 1..5).await.unwrap(), b"ytes");
    assert_eq!(stores.shared_bytes().await, 5);
    let third = stores.entry(3).await;
    let evicted = stores.entries.delete_unless_found(&third).await;
    assert_eq!(evicted.unwrap(), Some(1));
    assert_eq!(stores.shared_bytes().await, 0);
    assert_eq!(stores.needed().await, [1]);
    assert_eq!(stores.entries.delete(2).await.unwrap(), Some(1));
    assert!(stores.needed().await.is_empty());
    assert_eq!(stores.entries.totals().await.unwrap(), Totals::default());
}

pub(super) async fn only_what_is_equal_and_there_is_shared(stores: &Stores) {
    stores.save_everywhere(b"bytes").await;
    assert!(!stores.share(2, 1).await, "nobody has compared them");
    stores.hash(1, b"bytes").await;
    stores.hash(2, b"bytez").await;
    assert!(!stores.share(2, 1).await, "other bytes");
    stores.hash(3, b"bytes").await;
    let [first, second, third] = [
        stores.entry(1).await,
        stores.entry(2).await,
        stores.entry(3).await,
    ];
    let share = async |entry: &Entry, other: &Entry| {
        let shared = stores.entries.share(entry, other, time(100)).await;
        shared.unwrap()
    };
    stores.entries.delete(1).await.unwrap();
    assert!(!share(&third, &first).await, "it is gone");
    stores.hash(2, b"bytes").await;
    stores.entries.delete(3).await.unwrap();
    assert!(!share(&third, &second).await, "it is gone");
    let mut stranger = second.clone();
    stranger.name.repository = "o/other".to_owned();
    assert!(!share(&stranger, &second).await, "of another repository");
    assert_eq!(stores.needed().await, [2]);
    assert_eq!(stores.shared_bytes().await, 0);
}

/// As a migration inserts them.
pub(super) async fn an_entry_comes_with_a_content_that_is_there(stores: &Stores) {
    stores.save(1, name("main", "k"), b"bytes").await;
    let entry = Entry {
        id: 2,
        name: name("one", "k"),
        ..stores.entry(1).await
    };
    stores.entries.reserve(&entry.name, 2).await.unwrap();
    stores.entries.insert(&entry, &[]).await.unwrap();
    assert!(stores.uncompared().await.is_empty());
    assert_eq!(stores.shared_bytes().await, 5);
    assert_eq!(stores.read(2, 0..5).await.unwrap(), b"bytes");
    let again = stores.entries.reserve(&entry.name, 3).await;
    assert_kind(again, StoreErrorKind::Conflict);
}

pub(super) async fn a_damaged_content_takes_all_its_entries_with_it(stores: &Stores) {
    stores.share_everywhere(b"bytes").await;
    stores.save(4, name("main", "kept"), b"kept").await;
    let gone = stores.entries.delete_content(1).await.unwrap();
    let mut ids: Vec<_> = gone.iter().map(|entry| entry.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [1, 2, 3]);
    assert!(stores.entries.delete_content(1).await.unwrap().is_empty());
    let totals = stores.entries.totals().await.unwrap();
    assert_eq!((totals.all.bytes, totals.shared_bytes), (4, 0));
}
