//! Why a token is refused.

use jiff::Timestamp;

use super::{forgejo_error::ForgejoError, grant::TokenIdentity};
use crate::telemetry::Labels;

/// Why a caller is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum AuthError {
    /// No `Authorization: Bearer …`.
    #[error("the request has no bearer token")]
    Missing,
    /// Not a token of this service.
    #[error("the token was not issued by this service, or was altered")]
    Invalid,
    /// A token whose time is over.
    #[error("the token expired at {0}")]
    Expired(Timestamp),
    /// A token whose time has not come.
    #[error("the token is not valid before {0}")]
    NotYet(Timestamp),
    /// A token that the operator has revoked.
    #[error("the token {:?} was revoked", .0.name)]
    Revoked(TokenIdentity),
    /// The database does not say which tokens were revoked.
    #[error(
        "the cache service cannot reach its database, which knows whether the token was revoked; try again later"
    )]
    RevocationsUnavailable,
    /// A token of somebody else.
    #[error(
        "the token is of the issuer {0:?}, which this service does not trust (serve --trust-issuer)"
    )]
    Issuer(String),
    /// A token that names a trusted issuer, and is none of its.
    #[error("the token is not signed with a key of its issuer")]
    Signature,
    /// A token of a trusted issuer that says too little.
    #[error(
        "the token's claim {0:?} is missing, or not of the form that runtime tokens of GitHub have"
    )]
    Claim(&'static str),
    /// A token of a trusted issuer for a repository that is not welcome.
    #[error("the repository {0} may not use this service (serve --trust-repository)")]
    Repository(String),
    /// A token of a trusted issuer that does not answer.
    #[error("the keys of the token's issuer cannot be fetched now; try again later")]
    KeysUnavailable,
    /// A runner of Gitea whose secret is another.
    #[error(
        "the secret of the runner (cache.external_secret) is not that of serve --gitea-secret-file"
    )]
    RunnerSecret,
    /// A job of Forgejo whose runner's word is not good here.
    #[error(transparent)]
    Forgejo(#[from] ForgejoError),
}

/// The same for counters, which have no room for details.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// There is none.
    Missing,
    /// It was altered, or is no token.
    Invalid,
    /// Its time is over.
    Expired,
    /// Its time has not come.
    NotYet,
    /// It was revoked.
    Revoked,
    /// The database does not say whether it was revoked.
    RevocationsUnavailable,
    /// Its issuer is not trusted.
    Issuer,
    /// Its issuer has not signed it.
    Signature,
    /// A claim is missing.
    Claim,
    /// Its repository is not welcome.
    Repository,
    /// Its issuer does not answer.
    KeysUnavailable,
}

impl Labels for RefusalReason {
    const NAMES: &'static [&'static str] = &["reason"];

    fn values(&self) -> Vec<String> {
        let reason = match self {
            Self::Missing => "missing",
            Self::Invalid => "invalid",
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::Revoked => "revoked",
            Self::RevocationsUnavailable => "revocations_unavailable",
            Self::Issuer => "issuer",
            Self::Signature => "signature",
            Self::Claim => "claim",
            Self::Repository => "repository",
            Self::KeysUnavailable => "keys_unavailable",
        };
        vec![reason.to_owned()]
    }

    fn known() -> Vec<Self> {
        vec![
            Self::Missing,
            Self::Invalid,
            Self::Expired,
            Self::NotYet,
            Self::Revoked,
            Self::RevocationsUnavailable,
            Self::Issuer,
            Self::Signature,
            Self::Claim,
            Self::Repository,
            Self::KeysUnavailable,
        ]
    }
}

impl From<&AuthError> for RefusalReason {
    fn from(error: &AuthError) -> Self {
        match error {
            AuthError::Missing => Self::Missing,
            AuthError::Invalid | AuthError::RunnerSecret => Self::Invalid,
            AuthError::Expired(_) | AuthError::Forgejo(ForgejoError::Expired(_)) => Self::Expired,
            AuthError::NotYet(_) | AuthError::Forgejo(ForgejoError::NotYet(_)) => Self::NotYet,
            AuthError::Revoked(_) => Self::Revoked,
            AuthError::RevocationsUnavailable => Self::RevocationsUnavailable,
            AuthError::Issuer(_) => Self::Issuer,
            AuthError::Signature | AuthError::Forgejo(ForgejoError::Mac) => Self::Signature,
            AuthError::Claim(_) | AuthError::Forgejo(ForgejoError::Header(_)) => Self::Claim,
            AuthError::Repository(_) => Self::Repository,
            AuthError::KeysUnavailable => Self::KeysUnavailable,
        }
    }
}
