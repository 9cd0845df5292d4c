//! The runtime token, read but not verified: only the service can verify it.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::{
    digest::Digest,
    protocol::scope::{self, InvalidScopes, Scope},
    secret::Secret,
};

/// GitHub's tokens are about 2 KiB; a header line longer than this is refused by most servers.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// Clocks of two machines may differ by this much.
const CLOCK_LEEWAY: jiff::SignedDuration = jiff::SignedDuration::from_secs(60);

/// Claims that name the repository, where the issuer gives them.
const REPOSITORY_CLAIMS: [&str; 2] = ["repository_id", "repository"];

/// Claims that say, with the repository, what entries a token can see; equal in each token of one
/// repository and branch.
const STABLE_CLAIMS: [&str; 5] = ["iss", "aud", "repository_id", "repository", "ac"];

/// Claims that differ between two tokens of one job.
const PASSING_CLAIMS: [&str; 4] = ["exp", "nbf", "iat", "jti"];

/// A runtime token and what it says of itself.
#[derive(Debug, Clone)]
pub struct Token {
    raw: Secret,
    scopes: Vec<Scope>,
    not_before: Timestamp,
    expires: Timestamp,
    subject: Digest,
    repository: Option<String>,
    role: Option<String>,
}

/// Why a token cannot be used. No text of the token is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a JWT with the claims that the Actions cache needs.
    #[error("the token is not a runtime token of the Actions cache (ACTIONS_RUNTIME_TOKEN): {0}")]
    Malformed(#[from] MalformedToken),
    /// The time of the token is over.
    #[error("the token expired at {0}; a runtime token lives for about as long as its job")]
    Expired(Timestamp),
    /// The time of the token has not begun.
    #[error("the token is not valid before {0}; check this machine's clock")]
    NotYetValid(Timestamp),
}

/// What is wrong with a token that is none. No text of the token is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedToken {
    /// There is no token.
    #[error("it is empty")]
    Empty,
    /// More bytes than any real token has.
    #[error("it is longer than 16 KiB")]
    TooLong,
    /// Not a JWT.
    #[error("a JWT has three parts with dots between them")]
    Parts,
    /// The claims are not encoded as a JWT's are.
    #[error("its second part is not base64")]
    Base64,
    /// The claims are no claims.
    #[error("its second part is not a JSON object")]
    Json,
    /// A claim that must be a text.
    #[error("its claim {0:?} is missing or not a text")]
    NoText(&'static str),
    /// A claim that must be a time.
    #[error("its claim {0:?} is missing or not a time")]
    NoTime(&'static str),
    /// The claim that names the scopes.
    #[error(transparent)]
    Scopes(#[from] ScopesError),
}

/// A claim `ac` that cannot be read. Equal are those that say the same.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub struct ScopesError(Arc<InvalidScopes>);

impl PartialEq for ScopesError {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_string() == other.0.to_string()
    }
}

impl Eq for ScopesError {}

impl Token {
    /// Reads what a token says of itself. Its time is not checked: see [`Token::check`].
    pub fn parse(raw: Secret) -> Result<Self, TokenError> {
        let claims = claims(raw.expose())?;
        let ac = text(&claims, "ac")?;
        let scopes =
            scope::parse(ac).map_err(|error| MalformedToken::from(ScopesError(Arc::new(error))))?;
        Ok(Self {
            scopes,
            not_before: time(&claims, "nbf")?,
            expires: time(&claims, "exp")?,
            subject: subject(&claims),
            repository: text(&claims, "repository").ok().map(str::to_owned),
            role: text(&claims, "role").ok().map(str::to_owned),
            raw,
        })
    }

    /// The token itself.
    pub fn raw(&self) -> &Secret {
        &self.raw
    }

    /// All scopes in the token's order.
    pub fn scopes(&self) -> &[Scope] {
        &self.scopes
    }

    /// The scopes that lookups go through, in order.
    pub fn readable(&self) -> impl Iterator<Item = &Scope> {
        self.scopes
            .iter()
            .filter(|scope| scope.permission.readable())
    }

    /// The scope that the service writes to.
    pub fn first_writable(&self) -> Option<&Scope> {
        self.scopes.iter().find(|scope| scope.permission.writable())
    }

    /// The scope whose hash stock puts in the key of an index that it writes.
    pub fn last_writable(&self) -> Option<&Scope> {
        self.scopes
            .iter()
            .rfind(|scope| scope.permission.writable())
    }

    /// The repository that the token is for, where it says so.
    pub fn repository(&self) -> Option<&str> {
        self.repository.as_deref()
    }

    /// True for a token of `serve` that lists and deletes entries and opens none: it names a role and no scope.
    pub fn is_administrators(&self) -> bool {
        self.role.is_some() && self.scopes.is_empty()
    }

    /// When the token ends.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Whether the token can be used at `now`.
    pub fn check(&self, now: Timestamp) -> Result<(), TokenError> {
        if now
            .saturating_sub(CLOCK_LEEWAY)
            .is_ok_and(|now| now >= self.expires)
        {
            return Err(TokenError::Expired(self.expires));
        }
        if now
            .saturating_add(CLOCK_LEEWAY)
            .is_ok_and(|now| now < self.not_before)
        {
            return Err(TokenError::NotYetValid(self.not_before));
        }
        Ok(())
    }

    /// A hash of whose token this is: equal for two tokens that see the same entries, as far as
    /// the claims can tell.
    ///
    /// Where the repository is named, repository and scopes decide, so that all jobs of a branch
    /// agree. GitHub's tokens have not always named it; then all claims decide except those of
    /// time, which ties the answer to one job: two repositories are never taken for one.
    pub(crate) fn subject(&self) -> Digest {
        self.subject
    }
}

/// The claims of an unverified JWT.
fn claims(raw: &str) -> Result<Map<String, Value>, MalformedToken> {
    if raw.is_empty() {
        return Err(MalformedToken::Empty);
    }
    if raw.len() > MAX_TOKEN_BYTES {
        return Err(MalformedToken::TooLong);
    }
    let parts: Vec<&str> = raw.split('.').collect();
    let [_, payload, _] = parts.as_slice() else {
        return Err(MalformedToken::Parts);
    };
    let payload = URL_SAFE_NO_PAD.decode(payload);
    let payload = payload.map_err(|_| MalformedToken::Base64)?;
    // serde's error may quote a value, so it is left out.
    serde_json::from_slice(&payload).map_err(|_| MalformedToken::Json)
}

fn text<'a>(claims: &'a Map<String, Value>, name: &'static str) -> Result<&'a str, MalformedToken> {
    let text = claims.get(name).and_then(Value::as_str);
    text.ok_or(MalformedToken::NoText(name))
}

fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Timestamp, MalformedToken> {
    let seconds = claims.get(name).and_then(Value::as_f64);
    // A cast of a float saturates, and out of jiff's range is an error.
    let time = seconds.and_then(|seconds| {
        #[allow(clippy::cast_possible_truncation, reason = "whole seconds are enough")]
        Timestamp::from_second(seconds as i64).ok()
    });
    time.ok_or(MalformedToken::NoTime(name))
}

fn subject(claims: &Map<String, Value>) -> Digest {
    let named = REPOSITORY_CLAIMS
        .iter()
        .any(|name| claims.contains_key(*name));
    let mut deciding: Vec<(&String, &Value)> = claims
        .iter()
        .filter(|(name, _)| {
            if named {
                STABLE_CLAIMS.contains(&name.as_str())
            } else {
                !PASSING_CLAIMS.contains(&name.as_str())
            }
        })
        .collect();
    deciding.sort_by_key(|(name, _)| name.as_str());
    Digest::sha256(serde_json::to_vec(&deciding).expect("JSON values can be written"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &Value) -> Secret {
        let payload = URL_SAFE_NO_PAD.encode(claims.to_string());
        Secret::new(format!("eyJhbGciOiJIUzI1NiJ9.{payload}.c2ln"))
    }

    fn with(extra: &Value) -> Value {
        let ac = r#"[{"Scope":"refs/pull/7/merge","Permission":3},{"Scope":"refs/heads/main","Permission":1}]"#;
        let mut claims = serde_json::json!({"ac": ac, "nbf": 1_000, "exp": 2_000.0});
        let object = claims.as_object_mut().unwrap();
        object.extend(extra.as_object().unwrap().clone());
        claims
    }

    fn parse(extra: &Value) -> Result<Token, TokenError> {
        Token::parse(jwt(&with(extra)))
    }

    #[test]
    fn scopes_and_times_are_read() {
        let token = parse(&serde_json::json!({})).unwrap();
        assert_eq!(token.readable().count(), 2);
        assert_eq!(token.first_writable().unwrap().name, "refs/pull/7/merge");
        assert_eq!(token.last_writable().unwrap().name, "refs/pull/7/merge");
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(token.check(at(1_500)), Ok(()));
        assert_eq!(
            token.check(at(900)),
            Err(TokenError::NotYetValid(at(1_000)))
        );
        assert_eq!(token.check(at(2_100)), Err(TokenError::Expired(at(2_000))));
    }

    #[test]
    fn a_role_without_scopes_is_an_administrators() {
        let administrators = |extra| parse(&extra).unwrap().is_administrators();
        assert!(administrators(
            serde_json::json!({"ac": "[]", "role": "read"})
        ));
        assert!(!administrators(serde_json::json!({"role": "read"})));
        assert!(!administrators(serde_json::json!({"ac": "[]"})));
    }

    #[test]
    fn malformed_tokens_are_refused_without_their_text() {
        let no_json = format!("a.{}.c", URL_SAFE_NO_PAD.encode("hunter2"));
        let long = "x".repeat(MAX_TOKEN_BYTES + 1);
        for raw in [
            "",
            "hunter2",
            "hunter2.hunter2",
            "a.hunter2!.c",
            &no_json,
            &long,
        ] {
            let error = Token::parse(Secret::new(raw)).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
        for (name, value) in [
            ("ac", serde_json::json!(7)),
            ("ac", serde_json::json!("{}")),
            ("exp", serde_json::json!("hunter2")),
            ("nbf", serde_json::json!(1e300)),
        ] {
            let error = parse(&serde_json::json!({name: value}))
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(name) && !error.contains("hunter2"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_subject_outlives_a_renewal_and_tells_repositories_apart() {
        let subject = |extra: &Value| parse(extra).unwrap().subject();
        let named = |id, run, exp| serde_json::json!({"repository_id": id, "scp": run, "exp": exp});
        assert_eq!(
            subject(&named("1", "run1", 5)),
            subject(&named("1", "run2", 6))
        );
        assert_ne!(
            subject(&named("1", "run1", 5)),
            subject(&named("2", "run1", 5))
        );
        let unnamed = |run, exp| serde_json::json!({"scp": run, "exp": exp});
        assert_eq!(subject(&unnamed("run1", 5)), subject(&unnamed("run1", 6)));
        assert_ne!(subject(&unnamed("run1", 5)), subject(&unnamed("run2", 5)));
    }
}
