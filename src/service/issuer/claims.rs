//! What the claims of a runtime token of GitHub's allow here.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::{
    protocol::scope::{self, Scope},
    service::{
        auth::{Caller, check_times},
        auth_error::AuthError,
    },
};

/// Longest id of a repository: a number of 64 bits.
const MAX_ID_DIGITS: usize = 20;

/// Longest name of a scope: Git allows no longer names of branches on any usual disk.
const MAX_SCOPE_BYTES: usize = 1024;

/// The claims that are read. What is missing is told by its name, so nothing is required here.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    #[serde(default)]
    ac: Value,
    #[serde(default)]
    repository_id: Value,
    #[serde(default)]
    nbf: Value,
    #[serde(default)]
    exp: Value,
}

impl Claims {
    /// Who calls, if the token is good at `now`. Its repository is one of `owner`'s, if `is_trusted` says so of its id.
    pub(super) fn caller(
        &self,
        owner: &str,
        is_trusted: impl FnOnce(&str) -> bool,
        now: Timestamp,
    ) -> Result<Caller, AuthError> {
        let expires = time(&self.exp).ok_or(AuthError::Claim("exp"))?;
        let starts = match &self.nbf {
            Value::Null => None,
            said => Some(time(said).ok_or(AuthError::Claim("nbf"))?),
        };
        check_times(starts, expires, now)?;
        let id = repository_id(&self.repository_id).ok_or(AuthError::Claim("repository_id"))?;
        let scopes = scopes(&self.ac).ok_or(AuthError::Claim("ac"))?;
        let repository = format!("{owner}/{id}");
        if !is_trusted(&id) {
            return Err(AuthError::Repository(repository));
        }
        Ok(Caller {
            repository,
            scopes,
            expires,
            token: None,
        })
    }
}

fn time(claim: &Value) -> Option<Timestamp> {
    Timestamp::from_second(claim.as_i64()?).ok()
}

/// The id, which outlives names; GitHub writes it as a text.
fn repository_id(claim: &Value) -> Option<String> {
    let id = match claim {
        Value::String(id) => id.clone(),
        Value::Number(id) => id.as_u64()?.to_string(),
        _ => return None,
    };
    is_repository_id(&id).then_some(id)
}

/// True if a repository can have it.
pub(super) fn is_repository_id(text: &str) -> bool {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (1..=MAX_ID_DIGITS).contains(&text.len())
}

/// What the token may read and write, and no more: the bit that lets tokens of this service delete has no meaning
/// that is known in GitHub's.
fn scopes(claim: &Value) -> Option<Vec<Scope>> {
    let scopes = scope::parse(claim.as_str()?).ok()?;
    let usable = |scope: &Scope| !scope.name.is_empty() && scope.name.len() <= MAX_SCOPE_BYTES;
    let without_deletion = |scope: Scope| Scope {
        permission: scope.permission.without_deletion(),
        ..scope
    };
    let usable = scopes.iter().all(usable);
    usable.then(|| scopes.into_iter().map(without_deletion).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn caller(change: impl FnOnce(&mut Value)) -> Result<Caller, AuthError> {
        let mut claims = json!({
            "ac": r#"[{"Scope":"refs/pull/7/merge","Permission":3},{"Scope":"refs/heads/main","Permission":1}]"#,
            "repository_id": "12345",
            "nbf": NOW,
            "exp": NOW + 100,
            "scp": "Actions.Results:a:b",
        });
        change(&mut claims);
        let claims: Claims = serde_json::from_value(claims).unwrap();
        let now = Timestamp::from_second(NOW).unwrap();
        claims.caller("ghes.example", |id| id == "12345", now)
    }

    #[test]
    fn a_pull_request_writes_its_own_scope_and_reads_its_base() {
        let caller = caller(|_| ()).unwrap();
        assert_eq!(caller.repository, "ghes.example/12345");
        assert_eq!(caller.write_scope(), Some("refs/pull/7/merge"));
        let readable: Vec<_> = caller.readable().collect();
        assert_eq!(readable, ["refs/pull/7/merge", "refs/heads/main"]);
        assert_eq!(caller.expires.as_second(), NOW + 100);
    }

    #[test]
    fn a_claim_that_is_missing_or_strange_is_named() {
        let long = format!(
            r#"[{{"Scope":"{}","Permission":1}}]"#,
            "x".repeat(MAX_SCOPE_BYTES + 1)
        );
        for (name, value) in [
            ("ac", Value::Null),
            ("ac", json!([])),
            ("ac", json!("[{}]")),
            ("ac", json!(r#"[{"Scope":"x","Permission":1000}]"#)),
            ("ac", json!(r#"[{"Scope":"","Permission":1}]"#)),
            ("ac", json!(long)),
            ("repository_id", Value::Null),
            ("repository_id", json!("")),
            ("repository_id", json!("octo/app")),
            ("repository_id", json!(-1)),
            ("repository_id", json!("123456789012345678901")),
            ("exp", Value::Null),
            ("exp", json!("soon")),
            ("nbf", json!("soon")),
        ] {
            let refused = caller(|claims| claims[name] = value.clone()).unwrap_err();
            assert_eq!(refused, AuthError::Claim(name), "{value}");
        }
        let numeric = caller(|claims| claims["repository_id"] = json!(12345)).unwrap();
        assert_eq!(numeric.repository, "ghes.example/12345");
    }

    #[test]
    fn nothing_is_allowed_beyond_reading_and_writing() {
        let all = r#"[{"Scope":"refs/heads/main","Permission":255}]"#;
        let caller_of = |ac: &str| caller(|claims| claims["ac"] = json!(ac)).unwrap();
        let all = caller_of(all);
        assert_eq!(all.write_scope(), Some("refs/heads/main"));
        assert_eq!(all.deletable().count(), 0);
        let read_only = caller_of(r#"[{"Scope":"refs/heads/main","Permission":1}]"#);
        assert_eq!(read_only.write_scope(), None);
        let write_only = caller_of(r#"[{"Scope":"refs/heads/main","Permission":2}]"#);
        assert_eq!(write_only.readable().count(), 0);
        let none = caller_of("[]");
        assert_eq!(
            (none.readable().count(), none.write_scope()),
            (0, None),
            "`cache-mode: none`"
        );
    }

    #[test]
    fn a_repository_may_be_unwelcome() {
        let refused = caller(|claims| claims["repository_id"] = json!("6")).unwrap_err();
        assert_eq!(refused, AuthError::Repository("ghes.example/6".to_owned()));
    }

    #[test]
    fn times_are_held() {
        let ended = caller(|claims| claims["exp"] = json!(NOW)).unwrap_err();
        assert!(matches!(ended, AuthError::Expired(_)));
        caller(|claims| claims["nbf"] = json!(NOW + 60)).unwrap();
        let early = caller(|claims| claims["nbf"] = json!(NOW + 61)).unwrap_err();
        assert!(matches!(early, AuthError::NotYet(_)));
        caller(|claims| claims["nbf"] = Value::Null).unwrap();
    }
}
