//! Tokens that were made and revoked.

use std::collections::HashSet;

use super::{Stores, time};
use crate::{
    protocol::scope::{Permission, Scope},
    service::{
        grant::{Grant, Role},
        store::token_store::TokenRecord,
    },
};

fn record(id: &str, name: &str, second: i64) -> TokenRecord {
    TokenRecord {
        id: id.to_owned(),
        name: name.to_owned(),
        grant: Grant::Cache {
            repository: "o/r".to_owned(),
            scopes: vec![
                Scope::new("refs/heads/main", Permission::READ_WRITE_DELETE),
                Scope::new("refs/heads/next", Permission::READ),
            ],
        },
        created: time(second),
        expires: time(second + 100),
        revoked: None,
    }
}

fn administrator(role: Role, repository: Option<&str>) -> Grant {
    Grant::Administration {
        role,
        repository: repository.map(str::to_owned),
    }
}

impl Stores {
    async fn record(&self, token: TokenRecord) -> TokenRecord {
        self.tokens.record(&token).await.unwrap();
        token
    }

    async fn revoke(&self, name_or_id: &str, second: i64) -> Vec<String> {
        let revoked = self.tokens.revoke(name_or_id, time(second)).await.unwrap();
        assert!(
            revoked
                .iter()
                .all(|token| token.revoked == Some(time(second)))
        );
        let mut ids: Vec<_> = revoked.into_iter().map(|token| token.id).collect();
        ids.sort_unstable();
        ids
    }
}

pub(super) async fn tokens_are_listed_as_they_were_made(stores: &Stores) {
    let mut made = vec![stores.record(record("b", "ci", 0)).await];
    for (id, second, grant) in [
        ("a", 1, administrator(Role::Read, None)),
        ("c", 2, administrator(Role::Admin, Some("o/r"))),
    ] {
        let token = TokenRecord {
            grant,
            ..record(id, "ops", second)
        };
        made.push(stores.record(token).await);
    }
    assert_eq!(stores.tokens.tokens().await.unwrap(), made);
    let one = async |id| stores.tokens.token(id).await.unwrap();
    assert_eq!(one("a").await.as_ref(), Some(&made[1]));
    assert_eq!(one("ops").await, None, "that is a name");
}

pub(super) async fn a_token_is_revoked_by_its_id_or_its_name(stores: &Stores) {
    for (id, name) in [("a", "ci"), ("b", "ci"), ("c", "other")] {
        stores.record(record(id, name, 0)).await;
    }
    assert_eq!(stores.revoke("nobody", 1).await, [""; 0]);
    assert_eq!(stores.revoke("a", 1).await, ["a"]);
    assert_eq!(
        stores.revoke("ci", 2).await,
        ["b"],
        "those that are not yet"
    );
    assert_eq!(stores.revoke("ci", 3).await, [""; 0]);
    let all = stores.tokens.tokens().await.unwrap();
    let revoked: Vec<_> = all.iter().map(|token| token.revoked).collect();
    assert_eq!(revoked, [Some(time(1)), Some(time(2)), None]);
    let known = async |second| stores.tokens.revoked(time(second)).await.unwrap();
    let both = HashSet::from(["a".to_owned(), "b".to_owned()]);
    assert_eq!(known(99).await, both);
    assert_eq!(known(100).await, HashSet::new(), "they have ended");
}

pub(super) async fn tokens_that_ended_are_forgotten(stores: &Stores) {
    for (id, second) in [("a", 0), ("b", 50)] {
        stores.record(record(id, "ci", second)).await;
    }
    assert_eq!(stores.tokens.forget_expired(time(100)).await.unwrap(), 0);
    assert_eq!(stores.tokens.forget_expired(time(101)).await.unwrap(), 1);
    let left = stores.tokens.tokens().await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].id, "b");
}
