//! Who calls: by a token of this service, or of an issuer that the operator trusts, or by what the proxy of Forgejo's
//! runner says.

use jsonwebtoken::dangerous::insecure_decode_claims;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::{
    auth::{self, Principal},
    auth_error::AuthError,
    forgejo::JobHeaders,
    instance::Service,
    token,
};

/// Most of a foreign issuer's name that is repeated to whoever sent it.
const MAX_SHOWN_CHARS: usize = 200;

/// Who a token says has issued it. Only the key to verify it with depends on that.
#[derive(Deserialize)]
struct Unverified {
    iss: String,
}

impl Service {
    /// Reads the value of an `Authorization` header; or what a proxy says of its job, if the service knows Forgejo's
    /// secret. Then that alone counts: the token beside it is Forgejo's own.
    pub(super) async fn authenticate(
        &self,
        header: Option<&str>,
        job: Option<JobHeaders<'_>>,
    ) -> Result<Principal, AuthError> {
        let principal = match self.forgejo().zip(job) {
            Some((key, job)) => {
                let caller = key.verify(job, self.now());
                caller.map(Principal::Caller).map_err(AuthError::from)
            }
            None => self.verify(header).await,
        };
        if let Err(refusal) = &principal {
            self.metrics().refused_token(refusal.into());
        }
        principal
    }

    async fn verify(&self, header: Option<&str>) -> Result<Principal, AuthError> {
        let token = header.and_then(auth::bearer).ok_or(AuthError::Missing)?;
        let claims = insecure_decode_claims(token);
        let iss = claims.ok().map(|Unverified { iss }| iss);
        if iss.as_deref() == Some(token::ISSUER) {
            let principal = self.tokens().verify(token, self.now())?;
            self.revocations().check(&principal).await?;
            return Ok(principal);
        }
        if let Some(issuer) = iss.as_deref().and_then(|iss| self.issuers().find(iss)) {
            let caller = issuer.verify(token, self.now()).await?;
            return Ok(Principal::Caller(caller));
        }
        if let Some(jobs) = self.gitea()
            && let Some(caller) = jobs.caller(token, self.now()).await?
        {
            return Ok(Principal::Caller(caller));
        }
        Err(match iss {
            Some(iss) => AuthError::Issuer(iss.chars().take(MAX_SHOWN_CHARS).collect()),
            None => AuthError::Invalid,
        })
    }

    /// Reads the value of an `Authorization` header of a runner of Gitea.
    pub(super) fn authenticate_runner(&self, header: Option<&str>) -> Result<(), AuthError> {
        let shown = header.and_then(auth::bearer);
        let refusal = match (self.gitea(), shown) {
            (Some(jobs), Some(shown)) if jobs.is_secret(shown) => return Ok(()),
            (_, None) => AuthError::Missing,
            _ => AuthError::RunnerSecret,
        };
        self.metrics().refused_token((&refusal).into());
        Err(refusal)
    }

    /// Keeps the keys of trusted issuers fresh until `shutdown`.
    pub(super) async fn refresh_keys_until(&self, shutdown: CancellationToken) {
        self.issuers().refresh_until(shutdown).await;
    }
}
