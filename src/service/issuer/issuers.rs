//! All issuers that the operator trusts, and the tokens that are of one of them.

use std::{collections::HashSet, sync::Arc};

use futures_util::future::join_all;
use jiff::Timestamp;
use jsonwebtoken::{Header, Validation, decode_header};
use tokio_util::sync::CancellationToken;

use super::{
    claims::Claims,
    issuer_url::{IssuerUrl, TrustedIssuer},
    key_cache::{KeyCache, NoKey},
    key_set::PublicKey,
    key_source::KeySource,
    trusted_repository::TrustedRepository,
};
use crate::{
    error_chain::error_chain,
    service::{auth::Caller, auth_error::AuthError, clock::Clock},
};

/// Most issuers: GitHub, and an enterprise server or two. Each has a task and a few connections.
const MAX_ISSUERS: usize = 16;

/// The issuers.
pub(in crate::service) struct Issuers(Vec<Issuer>);

/// Where everybody may have a repository, and with it tokens.
const PUBLIC: &str = "https://token.actions.githubusercontent.com";

/// One of them.
pub(in crate::service) struct Issuer {
    url: IssuerUrl,
    owner: String,
    keys: KeyCache,
    /// Those that may use the service; all if there are none.
    repositories: Arc<[TrustedRepository]>,
}

/// Why issuers cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum IssuersError {
    /// More than are kept.
    #[error("at most {MAX_ISSUERS} issuers can be trusted")]
    TooMany,
    /// Entries of two would be in one place.
    #[error(
        "two trusted issuers would have the same repositories, those of {0:?}: trust one of them"
    )]
    SameName(String),
    /// No connection can be set up.
    #[error(
        "connections to trusted issuers cannot be set up: {0}; install the system's certificates \
         (ca-certificates), or name a file of them in SSL_CERT_FILE"
    )]
    Client(String),
}

impl Issuers {
    /// Nothing is fetched before [`Issuers::refresh_until`].
    pub(in crate::service) fn new(
        trusted: &[TrustedIssuer],
        repositories: &[TrustedRepository],
        clock: &Clock,
    ) -> Result<Self, IssuersError> {
        if trusted.len() > MAX_ISSUERS {
            return Err(IssuersError::TooMany);
        }
        let repositories: Arc<[_]> = repositories.into();
        let mut owners = HashSet::new();
        let issuer = |trusted: &TrustedIssuer| {
            let owner = trusted.issuer.owner();
            if !owners.insert(owner.clone()) {
                return Err(IssuersError::SameName(owner));
            }
            let source = KeySource::new(trusted.clone());
            let source = source.map_err(|error| IssuersError::Client(error_chain(&error)))?;
            Ok(Issuer {
                url: trusted.issuer.clone(),
                owner,
                repositories: Arc::clone(&repositories),
                keys: KeyCache::new(source, clock.clone()),
            })
        };
        let issuers = trusted.iter().map(issuer);
        issuers.collect::<Result<_, _>>().map(Self)
    }

    /// The one of which a token says that it is.
    pub(in crate::service) fn find(&self, iss: &str) -> Option<&Issuer> {
        self.0.iter().find(|issuer| issuer.url.is_named_by(iss))
    }

    /// True if everybody who has an account at GitHub is let in.
    pub(in crate::service) fn are_open(&self) -> bool {
        let public = |issuer: &Issuer| issuer.url.is_named_by(PUBLIC);
        let open = |issuer: &Issuer| issuer.repositories.is_empty();
        self.0.iter().any(|issuer| public(issuer) && open(issuer))
    }

    /// Keeps their keys fresh until `shutdown`.
    pub(in crate::service) async fn refresh_until(&self, shutdown: CancellationToken) {
        let issuers = self.0.iter();
        join_all(issuers.map(|issuer| issuer.keys.refresh_until(shutdown.clone()))).await;
    }
}

impl Issuer {
    /// Who calls with a token that says that it is of this issuer. `now` is the time when it came.
    pub(in crate::service) async fn verify(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Caller, AuthError> {
        let header = decode_header(token).map_err(|_| AuthError::Signature)?;
        // Whoever writes it says that readers must refuse what they do not understand.
        if header.crit.is_some() {
            return Err(AuthError::Signature);
        }
        let keys = self.keys.keys_for(&header).await;
        let keys = keys.map_err(|none| match none {
            NoKey::Unknown => AuthError::Signature,
            NoKey::Unavailable => AuthError::KeysUnavailable,
        })?;
        let claims = keys
            .candidates(&header)
            .find_map(|key| claims(token, &header, key))
            .ok_or(AuthError::Signature)?;
        claims.caller(&self.owner, |id| self.trusts(id), now)
    }

    fn trusts(&self, id: &str) -> bool {
        let trusted = |repository: &TrustedRepository| repository.is(&self.owner, id);
        self.repositories.is_empty() || self.repositories.iter().any(trusted)
    }
}

/// The claims of a token that `key` has signed.
fn claims(token: &str, header: &Header, key: &PublicKey) -> Option<Claims> {
    if header.alg != key.algorithm {
        return None;
    }
    let mut validation = Validation::new(key.algorithm);
    // Times are checked against the service's own clock. Whom a runtime token is meant for is GitHub's own service,
    // in words that are nowhere promised.
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    let verified = jsonwebtoken::decode(token, &key.decode, &validation);
    verified.ok().map(|data| data.claims)
}
