//! Fetches the keys of an issuer.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use reqwest::{Client, redirect::Policy};
use serde::Deserialize;
use url::Url;

use super::{
    issuer_url::{KeysUrl, TrustedIssuer},
    key_set::KeySet,
};
use crate::error_chain::error_chain;

/// How long one document may take. An issuer answers in tenths of a second.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(5);

/// Longest document. GitHub's keys with their certificates have about 10 KiB.
const MAX_DOCUMENT_BYTES: usize = 256 << 10;

/// The document that says where the keys are (`OpenID` Connect Discovery).
const DISCOVERY: &str = "openid-configuration";

/// Where they are if it does not say.
const KEYS: &str = "jwks";

/// Where an issuer's keys come from.
#[derive(Debug)]
pub(super) struct KeySource {
    issuer: TrustedIssuer,
    client: Client,
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {reason}")]
pub(super) struct FetchError {
    url: Url,
    reason: String,
}

#[derive(Deserialize)]
struct Discovery {
    jwks_uri: String,
}

impl KeySource {
    /// Nothing is fetched yet. The system's certificates are trusted, or those that `SSL_CERT_FILE` and
    /// `SSL_CERT_DIR` name.
    pub(super) fn new(issuer: TrustedIssuer) -> Result<Self, reqwest::Error> {
        let mut builder = Client::builder()
            .timeout(DOCUMENT_TIMEOUT)
            // An answer counts as that of the address which the operator has named.
            .redirect(Policy::none())
            .user_agent(concat!("buildkit-gha/", env!("CARGO_PKG_VERSION")));
        if issuer.issuer.is_loopback() {
            builder = builder.no_proxy();
        }
        Ok(Self {
            client: builder.build()?,
            issuer,
        })
    }

    /// The keys as they are now.
    pub(super) async fn fetch(&self) -> Result<KeySet, FetchError> {
        if let Some(keys) = &self.issuer.keys {
            return self.keys_at(keys.url().clone()).await;
        }
        match self.discover().await {
            Ok(keys) => self.keys_at(keys.url().clone()).await,
            // GHES may have no such document; whether it has keys where GitHub's are is asked each time.
            Err(discovery) => {
                tracing::debug!(error = %discovery, "the issuer does not say where its keys are");
                let keys = self.keys_at(self.issuer.issuer.well_known(KEYS)).await;
                keys.map_err(|mut error| {
                    error.reason = format!("{} ({discovery})", error.reason);
                    error
                })
            }
        }
    }

    /// Where the issuer says that its keys are.
    async fn discover(&self) -> Result<KeysUrl, FetchError> {
        let url = self.issuer.issuer.well_known(DISCOVERY);
        let document = self.get(&url).await?;
        let failed = |reason: String| FetchError { url, reason };
        let discovery: Discovery = match serde_json::from_slice(&document) {
            Ok(discovery) => discovery,
            Err(error) => return Err(failed(format!("it names no jwks_uri: {error}"))),
        };
        let keys = discovery.jwks_uri.parse();
        keys.map_err(|error| failed(format!("its jwks_uri cannot be trusted: {error}")))
    }

    async fn keys_at(&self, url: Url) -> Result<KeySet, FetchError> {
        let document = self.get(&url).await?;
        KeySet::parse(&document).map_err(|error| FetchError {
            url,
            reason: error.to_string(),
        })
    }

    async fn get(&self, url: &Url) -> Result<Bytes, FetchError> {
        self.read(url).await.map_err(|reason| FetchError {
            url: url.clone(),
            reason,
        })
    }

    async fn read(&self, url: &Url) -> Result<Bytes, String> {
        let reason = |error: reqwest::Error| error_chain(&error.without_url());
        let mut response = self.client.get(url.clone()).send().await.map_err(reason)?;
        if response.status() != reqwest::StatusCode::OK {
            return Err(format!("it answers {}", response.status()));
        }
        let mut document = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(reason)? {
            if document.len() + piece.len() > MAX_DOCUMENT_BYTES {
                return Err(format!("it has more than {MAX_DOCUMENT_BYTES} bytes"));
            }
            document.extend_from_slice(&piece);
        }
        Ok(document.freeze())
    }
}
