//! Runtime tokens: minted and verified here, with the claims that GitHub's have, and some more.

use std::time::Duration;

use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};

use super::{
    auth::{Administrator, Caller, Principal, check_times},
    auth_error::AuthError,
    grant::{Grant, Role, TokenIdentity},
    key::MasterKey,
    store::TokenRecord,
};
use crate::{protocol::scope, secret::Secret};

/// Who issues the tokens of this service.
pub(super) const ISSUER: &str = "buildkit-gha";

const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;

/// Longest life of a token of a builder: a year is what people renew certificates by, and one that is lost can be
/// revoked before its time.
pub(super) const MAX_TTL: Duration = Duration::from_secs(366 * SECONDS_OF_A_DAY);

/// Longest life of an administrator's token, which may be about all repositories: nobody should forget for longer
/// than a quarter that it is there.
pub(super) const MAX_ADMINISTRATOR_TTL: Duration = Duration::from_secs(92 * SECONDS_OF_A_DAY);

/// The repository of tokens that name none.
pub const DEFAULT_REPOSITORY: &str = "local/cache";

/// Longest `owner/repo`: GitHub allows 39 and 100 characters.
const MAX_REPOSITORY_CHARS: usize = 140;

/// Longest name of a token: it stands in tables and logs.
const MAX_NAME_CHARS: usize = 200;

/// A token that is to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// What it allows.
    pub grant: Grant,
    /// How long it is good for.
    pub ttl: Duration,
    /// What people call it; `None` for a name that says what it is for and since when.
    pub name: Option<String>,
}

/// A token that was made.
#[derive(Debug)]
pub struct Minted {
    /// What its bearer shows.
    pub secret: Secret,
    /// What is known of it.
    pub record: TokenRecord,
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
    /// A name that tables and logs cannot show.
    #[error(
        "a token's name must have 1 to {MAX_NAME_CHARS} characters, none of them a control character"
    )]
    Name,
    /// A life that is longer than any token's.
    #[error("such a token may be good for at most {} days", .0.as_secs() / SECONDS_OF_A_DAY)]
    Ttl(Duration),
    /// The signing library refused.
    #[error("the token cannot be signed: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

/// What stands in a token. Older versions wrote neither `jti` nor `name`, and knew no role.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    ac: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    repository: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<Role>,
    #[serde(flatten)]
    identity: Option<Identity>,
    iss: String,
    iat: i64,
    nbf: i64,
    exp: i64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Identity {
    jti: String,
    name: String,
}

impl Claims {
    fn principal(self) -> Result<(Principal, Timestamp, Timestamp), AuthError> {
        let time = |secs| Timestamp::from_second(secs).map_err(|_| AuthError::Invalid);
        let (starts, expires) = (time(self.nbf)?, time(self.exp)?);
        let token = self.identity.map(|identity| TokenIdentity {
            id: identity.jti,
            name: identity.name,
        });
        let principal = match self.role {
            None => Principal::Caller(Caller {
                repository: self.repository.ok_or(AuthError::Invalid)?,
                scopes: scope::parse(&self.ac).map_err(|_| AuthError::Invalid)?,
                expires,
                token,
            }),
            Some(role) => Principal::Administrator(Administrator {
                token: token.ok_or(AuthError::Invalid)?,
                role,
                repository: self.repository,
            }),
        };
        Ok((principal, starts, expires))
    }
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

    /// A token that is good from `now` on.
    pub(super) fn mint(&self, new: NewToken, now: Timestamp) -> Result<Minted, MintError> {
        let NewToken { grant, ttl, name } = new;
        check(&grant)?;
        let max_ttl = max_ttl(&grant);
        let expires = now.checked_add(ttl).ok().filter(|_| ttl <= max_ttl);
        let expires = expires.ok_or(MintError::Ttl(max_ttl))?;
        let name = name.unwrap_or_else(|| grant.name(now));
        if !(1..=MAX_NAME_CHARS).contains(&name.chars().count()) || name.contains(char::is_control)
        {
            return Err(MintError::Name);
        }
        let record = TokenRecord {
            id: format!("{:016x}", rand::random::<u64>()),
            name,
            grant,
            created: now,
            expires,
            revoked: None,
        };
        Ok(Minted {
            secret: self.sign(&record)?,
            record,
        })
    }

    fn sign(&self, token: &TokenRecord) -> Result<Secret, MintError> {
        let (scopes, role) = match &token.grant {
            Grant::Cache { scopes, .. } => (scopes.as_slice(), None),
            Grant::Administration { role, .. } => (&[][..], Some(*role)),
        };
        let created = token.created.as_second();
        let claims = Claims {
            ac: scope::format(scopes),
            repository: token.grant.repository().map(str::to_owned),
            role,
            identity: Some(Identity {
                jti: token.id.clone(),
                name: token.name.clone(),
            }),
            iss: ISSUER.to_owned(),
            iat: created,
            nbf: created,
            exp: token.expires.as_second(),
        };
        let header = Header::new(Algorithm::HS256);
        Ok(jsonwebtoken::encode(&header, &claims, &self.encode)?.into())
    }

    /// Who calls with a token of this service. Whether it was revoked is not known here.
    pub(super) fn verify(&self, token: &str, now: Timestamp) -> Result<Principal, AuthError> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decode, &self.validation)
            .map_err(|_| AuthError::Invalid)?
            .claims;
        let (principal, starts, expires) = claims.principal()?;
        check_times(Some(starts), expires, now)?;
        Ok(principal)
    }
}

/// Refuses what no reader could use.
fn check(grant: &Grant) -> Result<(), MintError> {
    if let Grant::Cache { scopes, .. } = grant {
        if scopes.is_empty() {
            return Err(MintError::NoScope);
        }
        if scopes.len() > scope::MAX_SCOPES {
            return Err(MintError::TooManyScopes);
        }
    }
    match grant.repository() {
        Some(repository) if !is_repository(repository) => {
            Err(MintError::Repository(repository.to_owned()))
        }
        _ => Ok(()),
    }
}

fn max_ttl(grant: &Grant) -> Duration {
    match grant {
        Grant::Cache { .. } => MAX_TTL,
        Grant::Administration { .. } => MAX_ADMINISTRATOR_TTL,
    }
}

/// True for `owner/repo`.
pub(super) fn is_repository(text: &str) -> bool {
    let part = |part: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && part != "." && part != ".." && part.chars().all(allowed)
    };
    let split = text.split_once('/');
    text.len() <= MAX_REPOSITORY_CHARS
        && split.is_some_and(|(owner, name)| part(owner) && part(name))
}

#[cfg(test)]
mod tests;
