//! Runtime tokens: minted and verified here, with the claims that GitHub's have.

use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::{api_error::ApiError, auth_error::AuthError, key::MasterKey};
use crate::{
    protocol::scope::{self, Scope},
    secret::Secret,
};

/// Who issues the tokens of this service.
pub(super) const ISSUER: &str = "buildkit-gha";

/// How far the clock of whoever minted a token may be ahead of ours.
const CLOCK_LEEWAY_SECS: i64 = 60;

const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;

/// Longest life of a token. Nothing but a new secret, and with it new tokens for all, ends one before
/// its time; a year is what people renew certificates by.
pub(super) const MAX_TTL: Duration = Duration::from_secs(366 * SECONDS_OF_A_DAY);

/// The repository of tokens that name none.
pub const DEFAULT_REPOSITORY: &str = "local/cache";

/// Longest `owner/repo`: GitHub allows 39 and 100 characters.
const MAX_REPOSITORY_CHARS: usize = 140;

/// Who calls, as its verified token says.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// `owner/repo`: entries of other repositories do not exist for this caller.
    pub(super) repository: String,
    /// What it may read and write, in order.
    pub(super) scopes: Vec<Scope>,
    /// When its token ends. What it is given ends no later.
    pub(super) expires: Timestamp,
}

impl Caller {
    /// Refuses another repository than its own; as on GitHub, it learns nothing of it.
    pub(super) fn check_repository(&self, repository: &str) -> Result<(), ApiError> {
        if !self.repository.eq_ignore_ascii_case(repository) {
            return Err(ApiError::not_found());
        }
        Ok(())
    }

    /// The scopes whose entries it may read, in the token's order.
    pub(super) fn readable(&self) -> impl Iterator<Item = &str> {
        let readable = self.scopes.iter().filter(|s| s.permission.readable());
        readable.map(|scope| scope.name.as_str())
    }

    /// True if it may read the entries of `scope`.
    pub(super) fn may_read(&self, scope: &str) -> bool {
        self.readable().any(|readable| readable == scope)
    }

    /// The scopes whose entries it may delete.
    pub(super) fn deletable(&self) -> impl Iterator<Item = &str> {
        let deletable = self.scopes.iter().filter(|s| s.permission.deletable());
        deletable.map(|scope| scope.name.as_str())
    }

    /// The one scope in which it creates entries: the first that is writable.
    pub(super) fn write_scope(&self) -> Option<&str> {
        let writable = self.scopes.iter().find(|s| s.permission.writable());
        writable.map(|scope| scope.name.as_str())
    }
}

/// Why a token cannot be minted.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// Nothing to grant.
    #[error("a token needs at least one scope")]
    NoScope,
    /// More than any reader accepts.
    #[error("a token may have at most {} scopes", scope::MAX_SCOPES)]
    TooManyScopes,
    /// Not of the form `owner/repo`.
    #[error("{0:?} is not a repository of the form owner/repo")]
    Repository(String),
    /// A life that is longer than any token's.
    #[error(
        "a token may be good for at most {} days: one that is lost cannot be called back",
        MAX_TTL.as_secs() / SECONDS_OF_A_DAY
    )]
    Ttl,
    /// The service's secret cannot be read or made.
    #[error("the service's secret cannot be read: {0}")]
    Secret(#[from] std::io::Error),
    /// The database that has the service's secret cannot be used.
    #[error("the database cannot be used: {0}")]
    Database(String),
    /// The database has no secret.
    #[error("the database has no secret yet: start the service first")]
    NoDatabaseSecret,
    /// The signing library refused.
    #[error("the token cannot be signed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    ac: String,
    repository: String,
    iss: String,
    iat: i64,
    nbf: i64,
    exp: i64,
}

/// Mints and verifies tokens.
pub(super) struct Tokens {
    encode: EncodingKey,
    decode: DecodingKey,
    validation: Validation,
}

impl Tokens {
    /// Tokens signed with a key derived from the service's secret.
    pub(super) fn new(master: &MasterKey) -> Self {
        let key = master.derive("runtime token");
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        // Time is checked against the service's own clock, which tests can move.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Self {
            encode: EncodingKey::from_secret(&key),
            decode: DecodingKey::from_secret(&key),
            validation,
        }
    }

    /// A token for `scopes` of `repository`, valid from `now` on for `ttl`.
    pub(super) fn mint(
        &self,
        repository: &str,
        scopes: &[Scope],
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Secret, MintError> {
        if scopes.is_empty() {
            return Err(MintError::NoScope);
        }
        if scopes.len() > scope::MAX_SCOPES {
            return Err(MintError::TooManyScopes);
        }
        if !is_repository(repository) {
            return Err(MintError::Repository(repository.to_owned()));
        }
        if ttl > MAX_TTL {
            return Err(MintError::Ttl);
        }
        let expires = now.checked_add(ttl).map_err(|_| MintError::Ttl)?;
        let claims = Claims {
            ac: scope::format(scopes),
            repository: repository.to_owned(),
            iss: ISSUER.to_owned(),
            iat: now.as_second(),
            nbf: now.as_second(),
            exp: expires.as_second(),
        };
        let header = Header::new(Algorithm::HS256);
        Ok(jsonwebtoken::encode(&header, &claims, &self.encode)?.into())
    }

    /// Who calls with a token of this service.
    pub(super) fn verify(&self, token: &str, now: Timestamp) -> Result<Caller, AuthError> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decode, &self.validation)
            .map_err(|_| AuthError::Invalid)?
            .claims;
        let time = |secs| Timestamp::from_second(secs).map_err(|_| AuthError::Invalid);
        let (starts, expires) = (time(claims.nbf)?, time(claims.exp)?);
        check_times(Some(starts), expires, now)?;
        Ok(Caller {
            repository: claims.repository,
            expires,
            scopes: scope::parse(&claims.ac).map_err(|_| AuthError::Invalid)?,
        })
    }
}

/// Refuses a token whose time is not now.
pub(super) fn check_times(
    starts: Option<Timestamp>,
    expires: Timestamp,
    now: Timestamp,
) -> Result<(), AuthError> {
    if expires <= now {
        return Err(AuthError::Expired(expires));
    }
    let latest = now.as_second().saturating_add(CLOCK_LEEWAY_SECS);
    match starts {
        Some(starts) if starts.as_second() > latest => Err(AuthError::NotYet(starts)),
        _ => Ok(()),
    }
}

/// The token in the value of an `Authorization` header. GitHub's REST clients say `Bearer` or `token`; the
/// scheme's case does not matter.
pub(super) fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    let known = ["bearer", "token"];
    known
        .iter()
        .any(|name| scheme.eq_ignore_ascii_case(name))
        .then(|| token.trim())
}

fn is_repository(text: &str) -> bool {
    let part = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && part != "." && part != ".." && part.chars().all(allowed)
    };
    let split = text.split_once('/');
    text.len() <= MAX_REPOSITORY_CHARS
        && split.is_some_and(|(owner, name)| part(owner) && part(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::scope::Permission;
    use crate::service::data_dir::DataDir;

    fn tokens() -> (tempfile::TempDir, Tokens) {
        let dir = tempfile::tempdir().unwrap();
        let master = MasterKey::load_or_create(&DataDir::open(dir.path()).unwrap()).unwrap();
        (dir, Tokens::new(&master))
    }

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn a_token_is_good_for_its_time_only() {
        let (_dir, tokens) = tokens();
        let scopes = [
            Scope::new("refs/pull/7/merge", Permission::READ),
            Scope::new("refs/heads/main", Permission::READ_WRITE),
        ];
        let ttl = Duration::from_secs(100);
        let token = tokens.mint("o/r", &scopes, ttl, time(0)).unwrap();
        let caller = tokens.verify(token.expose(), time(99)).unwrap();
        assert_eq!(caller.repository, "o/r");
        assert_eq!(caller.write_scope(), Some("refs/heads/main"));
        assert_eq!(caller.readable().count(), 2);
        let late = tokens.verify(token.expose(), time(100)).unwrap_err();
        assert_eq!(late, AuthError::Expired(time(100)));
        let early = tokens.verify(token.expose(), time(-61)).unwrap_err();
        assert_eq!(early, AuthError::NotYet(time(0)));
    }

    #[test]
    fn a_token_of_another_service_is_refused() {
        let (_dir, ours) = tokens();
        let (_other_dir, theirs) = tokens();
        let scopes = [Scope::new("x", Permission::READ)];
        let ttl = Duration::from_secs(100);
        let token = theirs.mint("o/r", &scopes, ttl, time(0)).unwrap();
        let refused = ours.verify(token.expose(), time(0)).unwrap_err();
        assert_eq!(refused, AuthError::Invalid);
    }

    #[test]
    fn a_header_is_read_as_githubs_clients_write_it() {
        for (header, token) in [
            ("Bearer abc", Some("abc")),
            ("token abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic abc", None),
            ("Bearer", None),
        ] {
            assert_eq!(bearer(header), token, "{header}");
        }
    }

    #[test]
    fn what_no_reader_could_use_is_not_minted() {
        let (_dir, tokens) = tokens();
        let scopes = [Scope::new("x", Permission::READ)];
        let mint = |repository: &str, scopes: &[Scope], ttl| {
            tokens.mint(repository, scopes, Duration::from_secs(ttl), time(0))
        };
        assert!(matches!(mint("o/r", &[], 1), Err(MintError::NoScope)));
        assert!(matches!(
            mint("o/r", &scopes, u64::MAX),
            Err(MintError::Ttl)
        ));
        mint("o/r", &scopes, MAX_TTL.as_secs()).unwrap();
        assert!(matches!(
            mint("o/r", &scopes, MAX_TTL.as_secs() + 1),
            Err(MintError::Ttl)
        ));
        for bad in ["", "o", "/r", "o/", "o/r/x", "o/..", "o/a b"] {
            assert!(matches!(
                mint(bad, &scopes, 1),
                Err(MintError::Repository(_))
            ));
        }
    }
}
