use super::*;
use crate::{
    protocol::scope::{Permission, Scope},
    service::data_dir::DataDir,
};

fn tokens() -> (tempfile::TempDir, Tokens) {
    let dir = tempfile::tempdir().unwrap();
    let master = MasterKey::load_or_create(&DataDir::open(dir.path()).unwrap()).unwrap();
    (dir, Tokens::new(&master))
}

fn time(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn cache(repository: &str, scopes: &[Scope], ttl: Duration) -> NewToken {
    NewToken {
        grant: Grant::Cache {
            repository: repository.to_owned(),
            scopes: scopes.to_vec(),
        },
        ttl,
        name: None,
    }
}

fn administration(role: Role, repository: Option<&str>) -> NewToken {
    NewToken {
        grant: Grant::Administration {
            role,
            repository: repository.map(str::to_owned),
        },
        ttl: Duration::from_secs(100),
        name: Some("ops".to_owned()),
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn main() -> [Scope; 1] {
    [Scope::new("refs/heads/main", Permission::READ)]
}

#[test]
fn a_token_is_good_for_its_time_only() {
    let (_dir, tokens) = tokens();
    let scopes = [
        Scope::new("refs/pull/7/merge", Permission::READ),
        Scope::new("refs/heads/main", Permission::READ_WRITE),
    ];
    let minted = tokens.mint(cache("o/r", &scopes, seconds(100)), time(0));
    let minted = minted.unwrap();
    let verify = |now| tokens.verify(minted.secret.expose(), now);
    let Principal::Caller(caller) = verify(time(99)).unwrap() else {
        panic!("it is no administrator's");
    };
    assert_eq!(caller.repository, "o/r");
    assert_eq!(caller.write_scope(), Some("refs/heads/main"));
    assert_eq!(caller.readable().count(), 2);
    let token = caller.token.unwrap();
    assert_eq!(token.id, minted.record.id);
    assert_eq!(token.name, minted.record.name);
    assert_eq!(token.name, "o/r@2027-01-15T08:00:00Z");
    let late = verify(time(100)).unwrap_err();
    assert_eq!(late, AuthError::Expired(time(100)));
    let early = verify(time(-61)).unwrap_err();
    assert_eq!(early, AuthError::NotYet(time(0)));
}

#[test]
fn an_administrators_token_names_its_role_and_no_scope() {
    let (_dir, tokens) = tokens();
    for (role, repository) in [(Role::Read, None), (Role::Admin, Some("o/r"))] {
        let minted = tokens.mint(administration(role, repository), time(0));
        let principal = tokens.verify(minted.unwrap().secret.expose(), time(1));
        let Principal::Administrator(administrator) = principal.unwrap() else {
            panic!("it opens no cache");
        };
        assert_eq!(administrator.role, role);
        assert_eq!(administrator.repository.as_deref(), repository);
        assert_eq!(administrator.token.name, "ops");
    }
}

/// What versions without roles, names and ids have minted.
#[test]
fn older_tokens_are_good_until_they_expire() {
    let (_dir, tokens) = tokens();
    let claims = |role: Option<&str>| {
        let mut claims = serde_json::json!({
            "ac": r#"[{"Scope":"refs/heads/main","Permission":1}]"#,
            "repository": "o/r",
            "iss": ISSUER,
            "iat": time(0).as_second(),
            "nbf": time(0).as_second(),
            "exp": time(100).as_second(),
        });
        if let Some(role) = role {
            claims["role"] = role.into();
        }
        let header = Header::new(Algorithm::HS256);
        jsonwebtoken::encode(&header, &claims, &tokens.encode).unwrap()
    };
    let old = tokens.verify(&claims(None), time(1)).unwrap();
    assert!(matches!(&old, Principal::Caller(caller) if caller.token.is_none()));
    for role in ["read", "owner"] {
        let refused = tokens.verify(&claims(Some(role)), time(1)).unwrap_err();
        assert_eq!(refused, AuthError::Invalid, "without an id, or unknown");
    }
}

#[test]
fn a_token_of_another_service_is_refused() {
    let (_dir, ours) = tokens();
    let (_other_dir, theirs) = tokens();
    let minted = theirs.mint(cache("o/r", &main(), seconds(100)), time(0));
    let refused = ours.verify(minted.unwrap().secret.expose(), time(0));
    assert_eq!(refused.unwrap_err(), AuthError::Invalid);
}

#[test]
fn what_no_reader_could_use_is_not_minted() {
    let (_dir, tokens) = tokens();
    let mint = |new| tokens.mint(new, time(0)).map(drop);
    let empty = mint(cache("o/r", &[], seconds(1)));
    assert!(matches!(empty, Err(MintError::NoScope)));
    for bad in ["", "o", "/r", "o/", "o/r/x", "o/..", "o/a b"] {
        let of_cache = mint(cache(bad, &main(), seconds(1)));
        assert!(matches!(of_cache, Err(MintError::Repository(_))));
        let of_administrator = mint(administration(Role::Read, Some(bad)));
        assert!(matches!(of_administrator, Err(MintError::Repository(_))));
    }
    for bad in [String::new(), "a\nb".to_owned(), "x".repeat(201)] {
        let mut new = administration(Role::Read, None);
        new.name = Some(bad);
        assert!(matches!(mint(new), Err(MintError::Name)));
    }
}

#[test]
fn the_life_of_each_kind_has_a_limit() {
    let (_dir, tokens) = tokens();
    let mint = |new| tokens.mint(new, time(0)).map(drop);
    let ttls = [(MAX_TTL, true), (MAX_TTL + seconds(1), false)];
    for (ttl, good) in ttls.into_iter().chain([(Duration::MAX, false)]) {
        let minted = mint(cache("o/r", &main(), ttl));
        assert_eq!(minted.is_ok(), good, "{minted:?}");
    }
    for (ttl, good) in [
        (MAX_ADMINISTRATOR_TTL, true),
        (MAX_ADMINISTRATOR_TTL + seconds(1), false),
    ] {
        let mut new = administration(Role::Read, None);
        new.ttl = ttl;
        let minted = mint(new);
        assert_eq!(minted.is_ok(), good, "{minted:?}");
    }
}
