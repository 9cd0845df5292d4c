//! What the handler of a request needs: who calls, whether there is room for it, its message, and URLs
//! for its answer.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use axum::{
    body::Body,
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use url::Url;

use super::{
    access::Access, forgejo_headers, forward::Forwarder, forwarded::ProxyTrust, upstream::Upstream,
};
use crate::{
    http1::{Peer, RequestPermit},
    secret::SecretUrl,
    service::{
        api_error::{ApiError, ErrorKind},
        auth::{Caller, Principal},
        auth_error::AuthError,
        instance::Service,
        metrics::Found,
        rate_limits::Counted,
        sign::Permission,
        store::{ContentStream, Entry},
        transfer::next_frame,
    },
};

/// Whose quota the requests of administrators are counted in. No repository has such a name.
pub(super) const ADMINISTRATORS: &str = "administrators";

/// The same for what Gitea's runners say.
pub(super) const RUNNERS: &str = "runners";

/// Largest body of a call that is no upload: a lookup with eleven keys of 512 characters of four
/// bytes each, escaped, still fits.
const MAX_MESSAGE_BYTES: usize = 256 << 10;

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let kind = match error {
            AuthError::KeysUnavailable | AuthError::RevocationsUnavailable => {
                ErrorKind::Unavailable
            }
            AuthError::Repository(_) => ErrorKind::PermissionDenied,
            _ => ErrorKind::Unauthenticated,
        };
        Self::new(kind, error.to_string())
    }
}

/// What all requests share.
#[derive(Clone)]
pub(super) struct AppState {
    pub(super) service: Service,
    /// Named in URLs when a client sends no usable `Host`.
    pub(super) local: SocketAddr,
    /// Whether people were told of a proxy that they have not named.
    pub(super) told_of_proxy: Arc<AtomicBool>,
    /// The way to other replicas.
    pub(super) forwarder: Arc<Forwarder>,
    /// The way to the results service, if there is one.
    pub(super) upstream: Option<Arc<Upstream>>,
}

/// What the handler of a request needs.
pub(super) struct Context {
    /// The service.
    pub(super) service: Service,
    /// The line of the request.
    pub(super) access: Access,
    state: AppState,
    peer: Option<IpAddr>,
    permit: Option<Arc<RequestPermit>>,
}

impl FromRequestParts<AppState> for Context {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let access = parts.extensions.get::<Access>().cloned();
        Ok(Self {
            service: state.service.clone(),
            state: state.clone(),
            access: access.unwrap_or_default(),
            permit: parts.extensions.get::<Arc<RequestPermit>>().cloned(),
            peer: parts.extensions.get::<Peer>().map(|peer| peer.0.ip()),
        })
    }
}

impl Context {
    /// Who calls, as its token says. The body comes after this.
    pub(super) async fn principal(&self, headers: &HeaderMap) -> Result<Principal, ApiError> {
        let header = headers.get(header::AUTHORIZATION);
        let bearer = header.and_then(|value| value.to_str().ok());
        let job = forgejo_headers::job_headers(headers);
        let principal = self.service.authenticate(bearer, job).await;
        if let Err(AuthError::Revoked(token)) = &principal {
            self.access.revoked(token.clone());
        }
        let principal = principal?;
        self.access.principal(&principal);
        self.admit(match &principal {
            Principal::Caller(caller) => &caller.repository,
            Principal::Administrator(_) => ADMINISTRATORS,
        })?;
        Ok(principal)
    }

    /// The job or builder that calls; an administrator is refused.
    pub(super) async fn caller(&self, headers: &HeaderMap) -> Result<Caller, ApiError> {
        match self.principal(headers).await? {
            Principal::Caller(caller) => Ok(caller),
            Principal::Administrator(_) => Err(ApiError::no_cache_token()),
        }
    }

    /// The way to other replicas.
    pub(super) fn forwarder(&self) -> &Forwarder {
        &self.state.forwarder
    }

    /// The way to the results service, if there is one.
    pub(super) fn upstream(&self) -> Option<&Upstream> {
        self.state.upstream.as_deref()
    }

    /// Counts a request that a token or a signed URL has opened, until its answer has left.
    pub(super) fn admit(&self, repository: &str) -> Result<(), ApiError> {
        let quota = self.service.quotas().repository(repository);
        self.access.hold(quota.requests.acquire(1)?);
        self.authorized();
        Ok(())
    }

    /// Counts a request of which a repository may have so many in a minute.
    pub(super) fn count(&self, counted: Counted, caller: &Caller) -> Result<(), ApiError> {
        let limiter = self.service.rate_limiter();
        limiter.admit(counted, &caller.repository)
    }

    /// Says that a token or a signature is good: the connection keeps its place until the answer has
    /// left.
    pub(super) fn authorized(&self) {
        if let Some(permit) = &self.permit {
            permit.authorized();
        }
    }

    /// Notes what a lookup has come to that wants `primary` most.
    pub(super) fn looked_up(&self, primary: &str, entry: Option<&Entry>) {
        let key = entry.map(|entry| entry.name.key.as_str());
        self.service.metrics().looked_up(Found::of(primary, key));
        if let Some(entry) = entry {
            self.access.entry(&entry.name);
            self.access.size(entry.size);
        }
    }

    /// The whole body of a call that is no upload.
    pub(super) async fn message(&self, caller: &Caller, body: Body) -> Result<Bytes, ApiError> {
        self.collect(&caller.repository, body, MAX_MESSAGE_BYTES)
            .await
    }

    /// A whole body of at most `limit` bytes. What waits in memory for its end is counted.
    pub(super) async fn collect(
        &self,
        repository: &str,
        mut body: Body,
        limit: usize,
    ) -> Result<Bytes, ApiError> {
        let quota = self.service.quotas().repository(repository);
        let mut held = quota.held.acquire(0)?;
        let mut whole = BytesMut::new();
        while let Some(frame) = next_frame(&mut body).await? {
            if whole.len() + frame.len() > limit {
                return Err(ApiError::long_message(limit));
            }
            held.grow(frame.len() as u64)?;
            whole.extend_from_slice(&frame);
        }
        Ok(whole.freeze())
    }

    /// A body with bytes of a content.
    pub(super) fn stream(&self, pieces: ContentStream) -> Body {
        let service = self.service.clone();
        Body::from_stream(pieces.inspect(move |piece| match piece {
            Ok(piece) => service.metrics().sent(piece.len() as u64),
            Err(error) => {
                tracing::warn!(%error, "content cannot be read; its download is cut off");
            }
        }))
    }

    /// A signed URL under which this client reaches the blob `id`, until `expires` at the latest.
    pub(super) fn signed_url(
        &self,
        headers: &HeaderMap,
        expires: Timestamp,
        id: i64,
        permission: Permission,
    ) -> SecretUrl {
        let service = &self.service;
        let expires = service.now().checked_add(self.url_ttl(expires));
        let expires = expires.unwrap_or(Timestamp::MAX);
        service
            .signer()
            .sign(&self.base(headers), id, permission, expires)
    }

    /// Where the content `id` is read by way of the proxy of Forgejo's runner, if its request came so.
    pub(super) fn proxied_url(&self, headers: &HeaderMap, id: i64) -> Option<SecretUrl> {
        self.service.forgejo()?;
        forgejo_headers::job_headers(headers)?;
        forgejo_headers::proxied_url(headers, id)
    }

    /// How long a URL is good: no longer than the token, which ends at `expires`, would open what it leads to.
    pub(super) fn url_ttl(&self, expires: Timestamp) -> Duration {
        let left = expires.duration_since(self.service.now());
        let left = Duration::try_from(left).unwrap_or_default();
        left.min(self.service.config().url_ttl)
    }

    fn base(&self, headers: &HeaderMap) -> Url {
        if let Some(base) = &self.service.config().base_url {
            return base.clone();
        }
        let proxy_trust = ProxyTrust {
            peer: self.peer,
            trusted: &self.service.config().trusted_proxies,
            tls: self.service.tls().is_some(),
        };
        proxy_trust.warn_if_unnamed(headers, &self.state.told_of_proxy);
        proxy_trust.base(headers).unwrap_or_else(|| {
            let local = self.state.local;
            let scheme = self.service.scheme();
            Url::parse(&format!("{scheme}://{local}/")).expect("an address and port are a URL")
        })
    }
}
