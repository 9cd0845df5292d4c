//! What a client talks to: a service, and an identity there.

use url::Url;

use super::Token;
use crate::secret::Secret;

/// Which version of the API a service speaks, and where.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Api {
    /// `<url>/_apis/artifactcache/…`
    V1(Url),
    /// `<url>/twirp/…` and Azure blobs.
    V2(Url),
}

impl Api {
    /// Where it is, whatever it speaks.
    pub(crate) fn url(&self) -> &Url {
        let (Self::V1(url) | Self::V2(url)) = self;
        url
    }
}

/// Where GitHub's REST API is, for listings.
#[derive(Debug, Clone)]
pub struct RestTarget {
    /// `https://api.github.com/`, or a GHES's `/api/v3/`.
    pub base: Url,
    /// `owner/repo`.
    pub repository: String,
    /// A GitHub token (not the runtime token).
    pub token: Secret,
}

/// One service and one identity there.
#[derive(Debug, Clone)]
pub struct Target {
    /// The cache API.
    pub api: Api,
    /// The runtime token.
    pub token: Token,
    /// The REST API, if a listing is possible.
    pub rest: Option<RestTarget>,
}

/// Names a service and the repository and scopes of a token there, without the token: what proofs
/// of existence are kept under. Equal identities see the same entries.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity(pub(crate) String);

impl Identity {
    /// The identity of a token at a service; [`Token::subject`] says what of the token counts.
    pub(super) fn new(api: &Api, token: &Token) -> Self {
        let (version, url) = match api {
            Api::V1(url) => ("v1", url),
            Api::V2(url) => ("v2", url),
        };
        // GHES and others carry an account in the path, so the path counts.
        let place = format!("{}{}", url.origin().ascii_serialization(), url.path());
        let place = place.trim_end_matches('/');
        Self(format!("{version} {place} {}", token.subject().hex()))
    }
}
